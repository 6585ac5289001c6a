//! What `deploy/compose.yaml` starts: without an engine, but with its very settings and its very connection.

use std::path::Path;

use barnabas::demo::receiver::Behaviour;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use crate::support::PATIENCE;
use crate::support::service::Service;
use crate::support::stage::Stage;

const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
/// `KEY|RECORD`, as the console producer reads it.
const CONNECTION: &str = include_str!("../../deploy/compose/connection");
/// Where compose's receiver listens.
const PORT: &str = "8443";

/// The environment of the service `barnabas`, with what is of this machine put in place of what is of compose's.
fn environment(stage: &Stage) -> Vec<(String, String)> {
    let mut compose: Yaml = serde_yaml_ng::from_str(COMPOSE).unwrap();
    compose.apply_merge().unwrap();
    let number = |value: &Yaml| value.as_u64().unwrap().to_string();
    let text = |value: &Yaml| value.as_str().map_or_else(|| number(value), str::to_owned);
    let given = compose["services"]["barnabas"]["environment"].as_mapping().unwrap();
    let mut environment: Vec<_> =
        given.iter().map(|(key, value)| (text(key), text(value))).collect();
    let port = stage.receiver.address().port().to_string();
    let ports = compose["services"]["barnabas"]["environment"]["BARNABAS_EGRESS__PORTS"].clone();
    assert!(text(&ports).contains(PORT));
    for (key, value) in [
        ("BARNABAS_KAFKA__BOOTSTRAP_SERVERS", stage.bootstrap.clone()),
        ("BARNABAS_KAFKA__GROUP_ID", stage.name.clone()),
        ("BARNABAS_TOPICS__EVENTS", stage.events()),
        ("BARNABAS_TOPICS__PREFIX", stage.name.clone()),
        ("BARNABAS_RETRY__SCHEDULE", "300ms,700ms,1s".to_owned()),
        ("BARNABAS_EGRESS__CA_FILE", stage.folder().join("ca.pem").display().to_string()),
        ("BARNABAS_EGRESS__PORTS", text(&ports).replace(PORT, &port)),
        ("BARNABAS_TELEMETRY__LISTEN", "127.0.0.1:0".to_owned()),
        ("BARNABAS_ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
    ] {
        environment.retain(|(given, _)| given != key);
        environment.push((key.to_owned(), value));
    }
    environment
}

#[test]
fn with_composes_settings_composes_connection_gets_its_events() {
    let Some(stage) = Stage::new("compose", "") else { return };
    let (key, record) = CONNECTION.trim_end().split_once('|').unwrap();
    assert_eq!(key, "4172/listen");
    let port = stage.receiver.address().port().to_string();
    let record: Value = serde_json::from_str(&record.replace(PORT, &port)).unwrap();
    stage.receiver.set_behaviour("/webhook", Behaviour::Healthy);
    stage.put("listen", record);
    let environment = environment(&stage);
    let environment: Vec<_> =
        environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    // What the image holds.
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/production.toml");
    let service = Service::start(&config, stage.folder().join("compose.log"), &environment).ready();
    stage.produce(0..3);
    stage.receiver.wait_for("/webhook", 3, PATIENCE).unwrap();
    service.stop();
}
