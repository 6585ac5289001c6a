//! The manifests for Kubernetes: what must agree with the program, with the documents and with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize as _;
use serde_yaml_ng::Value;

use crate::{deploy, read};

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents(path: &str) -> Vec<Value> {
    let text = read(path);
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|one| Value::deserialize(one).unwrap())
        .collect()
}

fn stateful_set() -> Value {
    yaml("kubernetes/base/statefulset.yaml")
}

fn container() -> Value {
    stateful_set()["spec"]["template"]["spec"]["containers"][0].clone()
}

/// What `check-config` says of the manifests' configuration with a further setting.
fn check_config(further: (&str, &str)) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .args(["check-config", "--offline", "--config"])
        .arg(deploy("kubernetes/base/barnabas.toml"))
        .env(further.0, further.1)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The configuration says when it is killed, and by the next test that is enough.
#[test]
fn the_configuration_knows_when_it_is_killed() {
    let config: toml::Table = toml::from_str(&read("kubernetes/base/barnabas.toml")).unwrap();
    let pod = &stateful_set()["spec"]["template"]["spec"];
    assert_eq!(
        config["shutdown"]["kill_after_seconds"].as_integer(),
        pod["terminationGracePeriodSeconds"].as_i64()
    );
    let service = &yaml("compose.yaml")["services"]["barnabas"];
    let seconds = service["environment"]["BARNABAS_SHUTDOWN__KILL_AFTER_SECONDS"].as_u64().unwrap();
    assert_eq!(service["stop_grace_period"], format!("{seconds}s"));
}

#[test]
fn a_grace_that_outlasts_the_pod_is_refused() {
    let (code, report) = check_config(("BARNABAS_SHUTDOWN__GRACE_SECONDS", "26"));
    assert_eq!(code, Some(78), "{report}");
    assert!(report.contains("shutdown.kill_after_seconds"), "{report}");
    assert!(report.contains("let it be killed after 61 s"), "{report}");
}

#[test]
fn the_configuration_is_one_that_check_config_accepts() {
    let (code, report) = check_config(("BARNABAS_KAFKA__GROUP_INSTANCE_ID", "barnabas-0"));
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn the_pods_name_stays_and_services_give_it_no_variables() {
    let pod = &stateful_set()["spec"]["template"]["spec"];
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(stateful_set()["spec"]["podManagementPolicy"], "Parallel");
    let env = container()["env"].as_sequence().unwrap().clone();
    let name = env.iter().find(|one| one["name"] == "BARNABAS_KAFKA__GROUP_INSTANCE_ID").unwrap();
    assert_eq!(name["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
}

#[test]
fn it_runs_without_rights_on_its_node() {
    let pod = &stateful_set()["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = container();
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    let dockerfile = read("Dockerfile");
    assert!(
        dockerfile.contains(&format!(
            "USER {0}:{0}",
            pod["securityContext"]["runAsUser"].as_u64().unwrap()
        ))
    );
}

#[test]
fn probes_and_the_scrape_meet_a_port_that_is_served() {
    let container = container();
    let config: toml::Table = toml::from_str(&read("kubernetes/base/barnabas.toml")).unwrap();
    let listen = config["telemetry"]["listen"].as_str().unwrap();
    let port = listen.rsplit(':').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(container["ports"][0]["containerPort"].as_u64(), Some(port));
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
    }
    let monitor = yaml("kubernetes/components/monitoring/podmonitor.yaml");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(
        (&endpoint["port"], &endpoint["path"]),
        (&container["ports"][0]["name"], &"/metrics".into())
    );
    assert_eq!(monitor["spec"]["jobLabel"], "app.kubernetes.io/name", "alerts are by job");
}

#[test]
fn everything_selects_the_pods_that_there_are() {
    let labels = &stateful_set()["spec"]["template"]["metadata"]["labels"];
    let base = |name: &str| yaml(&format!("kubernetes/base/{name}.yaml"))["spec"].clone();
    assert_eq!(&base("statefulset")["selector"]["matchLabels"], labels);
    assert_eq!(&base("service")["selector"], labels);
    assert_eq!(&base("poddisruptionbudget")["selector"]["matchLabels"], labels);
    assert_eq!(&base("networkpolicy")["podSelector"]["matchLabels"], labels);
    let monitor = yaml("kubernetes/components/monitoring/podmonitor.yaml");
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
}

#[test]
fn the_autoscaler_looks_at_the_events_alone() {
    let object = yaml("kubernetes/components/keda/scaledobject.yaml");
    let triggers = object["spec"]["triggers"].as_sequence().unwrap();
    assert_eq!(triggers.len(), 1);
    assert_eq!(triggers[0]["metadata"]["topic"], "campaign.actions");
    assert_eq!(triggers[0]["metadata"]["consumerGroup"], "barnabas");
    assert_eq!(object["spec"]["scaleTargetRef"]["name"], stateful_set()["metadata"]["name"]);
}

#[test]
fn every_file_that_a_kustomization_names_is_there() {
    for folder in
        ["base", "components/keda", "components/strimzi", "components/monitoring", "example"]
    {
        let kustomization = yaml(&format!("kubernetes/{folder}/kustomization.yaml"));
        for key in ["resources", "components"] {
            for named in kustomization[key].as_sequence().into_iter().flatten() {
                let path = deploy("kubernetes").join(folder).join(named.as_str().unwrap());
                assert!(path.exists(), "{folder} names {}", path.display());
            }
        }
    }
}

#[test]
fn prometheus_operator_gets_the_rules_that_are_tested() {
    let rule = yaml("kubernetes/components/monitoring/prometheusrule.yaml");
    assert_eq!(rule["spec"]["groups"], yaml("prometheus/barnabas.rules.yaml")["groups"]);
}

/// `(resource, name, pattern) -> operations`.
type Rights = BTreeMap<(String, String, String), BTreeSet<String>>;

#[test]
fn strimzis_user_has_the_rights_of_the_readme() {
    let mut documented = Rights::new();
    let readme = read("README.md");
    let is_right = |line: &&str| line.starts_with("| serve |") || line.starts_with("| admin |");
    for row in readme.lines().filter(is_right).map(|line| &line["| serve |".len()..]) {
        let cells: Vec<_> =
            row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let kind = cells[0].replace("transactional-id", "transactionalId");
        let pattern = cells[2].replace("prefixed", "prefix");
        let operations = documented.entry((kind, cells[1].clone(), pattern)).or_default();
        operations.insert(cells[3].clone());
    }
    let user = yaml("kubernetes/components/strimzi/kafkauser.yaml");
    let mut given = Rights::new();
    for acl in user["spec"]["authorization"]["acls"].as_sequence().unwrap() {
        let text = |key: &str| acl["resource"][key].as_str().unwrap().to_owned();
        let operations = acl["operations"].as_sequence().unwrap().iter();
        given.insert(
            (text("type"), text("name"), text("patternType")),
            operations.map(|one| one.as_str().unwrap().to_owned()).collect(),
        );
    }
    assert!(!documented.is_empty());
    assert_eq!(given, documented);
}

#[test]
fn strimzis_topics_are_all_that_the_service_wants() {
    let default: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    let schedule = default["retry"]["schedule"].as_array().unwrap();
    let tiers = schedule.iter().map(|delay| format!("barnabas.retry.{}", delay.as_str().unwrap()));
    let fixed = ["connections", "states", "dead-letters", "attempts", "audit"];
    let wanted: BTreeSet<_> =
        fixed.iter().map(|name| format!("barnabas.{name}")).chain(tiers).collect();
    let topics = documents("kubernetes/components/strimzi/kafkatopics.yaml");
    let given: BTreeSet<_> = topics
        .iter()
        .map(|topic| topic["spec"]["topicName"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(given, wanted);
}

#[test]
fn the_image_holds_what_it_starts() {
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("COPY config/production.toml /etc/barnabas/barnabas.toml"));
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(
        dockerfile.contains(&format!("FROM rust:{version}-")),
        "the oldest Rust that builds it"
    );
    assert!(fs::exists(deploy("../config/production.toml")).unwrap());
    for volume in ["compose/connection", "prometheus/prometheus.yaml", "grafana/provisioning"] {
        assert!(read("compose.yaml").contains(&format!("./{volume}")), "{volume}");
        assert!(fs::exists(deploy(volume)).unwrap(), "{volume}");
    }
}
