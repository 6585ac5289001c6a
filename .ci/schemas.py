"""Custom resources and dashboards, read by the models that their makers' own schemas were turned into.

A model keeps what its schema knows: what is not there again after reading and writing is unknown to the operator, or to
Grafana. Wrong types and missing fields are refused by the reading itself.
"""

import json
import pathlib
import sys

import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

MANIFESTS = {
    "components/keda/scaledobject.yaml": ScaledObject,
    "components/monitoring/podmonitor.yaml": PodMonitor,
    "components/monitoring/prometheusrule.yaml": PrometheusRule,
}


def lost(given, kept, place=""):
    """The places of what is not there again."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept and value not in (None, [], {}):
                yield f"{place}.{key}"
            elif key in kept:
                yield from lost(value, kept[key], f"{place}.{key}")
    elif isinstance(given, list) and isinstance(kept, list):
        if len(given) != len(kept):
            yield place
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{place}[{number}]")
    elif given != kept and str(given) != str(kept):
        yield f"{place}: {given!r} became {kept!r}"


def manifest(path, model):
    given = yaml.safe_load(path.read_text())
    kept = json.loads(model.model_validate(given).model_dump_json(by_alias=True, exclude_none=True))
    return given, kept


def dashboard(path):
    given = json.loads(path.read_text())
    kept = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
    return given, kept


def main(deploy):
    read = [(deploy / "kubernetes" / name, model) for name, model in MANIFESTS.items()]
    pairs = [(path, manifest(path, model)) for path, model in read]
    boards = sorted((deploy / "grafana/dashboards").glob("*.json"))
    pairs += [(path, dashboard(path)) for path in boards]
    assert len(boards) == 5, "the dashboards were found"
    faults = [f"{path}: {place}" for path, pair in pairs for place in lost(*pair)]
    print("\n".join(faults) or f"{len(pairs)} files are as their schemas want them")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
