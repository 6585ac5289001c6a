//! The configuration as users meet it: layers, faults, defaults.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::kafka::connections::PlaintextSecrets;

/// Loads a file's text and an environment.
fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, FaultReport> {
    let file = layer::from_toml(toml, "barnabas.toml").unwrap();
    let own = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    let (variables, faults) = layer::from_environment(environment.iter().map(own));
    Config::of_layers([file, variables], faults)
}

/// The lines of the report.
fn faults(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let report = load(toml, environment).unwrap_err();
    report.faults().iter().map(ToString::to_string).collect()
}

#[test]
fn the_default_file_equals_the_default_sections() {
    let config = load("", &[]).unwrap();
    assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn the_default_file_has_every_key_and_explains_it() {
    let shown = format!("{:#?}", Config::default());
    for line in shown.lines() {
        // A field of a section or of the whole: `    name: …`; the catalog's own names stand deeper.
        let Some((name, _)) = line.trim_start().split_once(": ") else { continue };
        let depth = line.len() - line.trim_start().len();
        if depth > 8 || name.starts_with('"') || name == "warnings" {
            continue;
        }
        let is_key = DEFAULTS.lines().any(|line| line.starts_with(&format!("{name} = ")));
        let is_section =
            DEFAULTS.contains(&format!("[{name}]")) || DEFAULTS.contains(&format!(".{name}]"));
        assert!(is_key || is_section, "{name} is not in config/default.toml");
    }
    let mut above = "";
    for line in DEFAULTS.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#') && !line.contains("{ label");
        assert!(!is_key || above.starts_with('#'), "{line} has no comment");
        above = line;
    }
}

#[test]
fn the_production_file_is_sound() {
    let production = include_str!("../../config/production.toml");
    let (_folder, keyring) = keyring(0o600);
    let config = load(production, &[("BARNABAS_SECRETS__KEYRING_FILE", &keyring)]).unwrap();
    assert!(config.warnings().is_empty());
    assert_eq!(config.connections.plaintext_secrets, PlaintextSecrets::Reject);
    let without = load(production, &[]).unwrap();
    assert!(without.warnings()[0].contains("secrets.keyring_file is not set"));
}

/// A keyring's file in a folder of its own.
fn keyring(mode: u32) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    std::fs::write(&path, include_str!("../../tests/fixtures/v1/keyring.json")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (folder, name)
}

#[test]
fn a_keyring_is_read_before_the_start() {
    let (_folder, good) = keyring(0o600);
    let config = load(&format!("secrets.keyring_file = '{good}'"), &[]).unwrap();
    assert!(config.warnings().is_empty());
    let (_folder, open_to_all) = keyring(0o644);
    for (path, what) in [(&*open_to_all, "mode 644"), ("/nonexistent/k.json", "cannot be read")] {
        let lines = faults(&format!("secrets.keyring_file = '{path}'"), &[]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("secrets.keyring_file") && lines[0].contains(what), "{lines:?}");
        assert!(lines[0].contains("barnabas keyring new"), "{lines:?}");
    }
}

#[test]
fn later_layers_stand_above_earlier_ones() {
    let file =
        "[delivery]\nburst = 7\nrate_per_second = 8\n[catalog.events.quiz]\nlabel = 'Quiz'\n";
    let config = load(file, &[("BARNABAS_DELIVERY__BURST", "9")]).unwrap();
    assert_eq!((config.delivery.burst, config.delivery.rate_per_second), (9, 8));
    assert_eq!(config.delivery.max_in_flight, 16);
    assert_eq!(config.catalog.events.len(), 7, "names are added");
}

#[test]
fn lists_come_by_commas() {
    let environment = [
        ("BARNABAS_EGRESS__ALLOW", "127.0.0.1/32, 10.0.0.0/8"),
        ("BARNABAS_EGRESS__PORTS", "443,8443"),
        ("BARNABAS_RETRY__SCHEDULE", "200ms,1s"),
        ("BARNABAS_KAFKA__PROPERTIES__SASL_USERNAME", "svc,a"),
        ("BARNABAS_CONFIG", "ignored"),
    ];
    let config = load("", &environment).unwrap();
    assert_eq!(config.egress.allow.len(), 2);
    assert_eq!(config.egress.ports, [443, 8443]);
    assert_eq!(config.retry.schedule, ["200ms", "1s"]);
    assert_eq!(config.kafka.properties["sasl.username"], "svc,a");
}

#[test]
fn properties_may_be_numbers_and_need_no_quotes() {
    let file = "[kafka.properties]\nlinger.ms = 9\nsocket.keepalive.enable = false\n";
    let config = load(file, &[]).unwrap();
    assert_eq!(config.kafka.properties["linger.ms"], "9");
    assert_eq!(config.kafka.properties["socket.keepalive.enable"], "false");
}

#[test]
fn every_fault_stands_in_one_report() {
    let file = "
        [delivery]
        burst = 0
        timeout_second = 3
        [retry]
        schedule = ['5s', 'soon', '8d']
        [catalog.events.'Bad Name']
        label = 'x'
        [egress]
        allow = ['10.0.0.0/99']
        allow_hosts = ['https://x']
        ca_file = '/nonexistent/ca.pem'
        [topics]
        prefix = 'a b'
        [kafka.properties]
        acks = 1
        no.such.property = 'x'
        [log]
        level = 'a=b=c'
        format = 'xml'
        [payload]
        extra_properties = ['email']
    ";
    let environment = [("BARNABAS_SHUTDOWN__GRACE_SECONDS", "soon"), ("BARNABAS_NO__SUCH", "1")];
    let report = faults(file, &environment).join("\n");
    let keys = [
        "catalog.events (barnabas.toml)",
        "delivery.burst = 0",
        "delivery.timeout_second = 3",
        "egress.allow = ",
        "egress.allow_hosts = ",
        "egress.ca_file = ",
        "kafka.properties.acks = 1",
        "kafka.properties.no.such.property = \"x\"",
        "log.format = \"xml\"",
        "log.level = ",
        "no.such = \"1\" (BARNABAS_NO__SUCH)",
        "payload.extra_properties",
        "`soon`",
        "`8d`",
        "shutdown.grace_seconds = \"soon\" (BARNABAS_SHUTDOWN__GRACE_SECONDS)",
        "topics.prefix = \"a b\"",
    ];
    for key in keys {
        assert!(report.contains(key), "{key} is missing in\n{report}");
    }
    assert_eq!(report.lines().count(), keys.len(), "{report}");
}

#[test]
fn a_new_name_needs_a_label_and_may_have_aliases() {
    let file = "[catalog.events.quiz]\naliases = ['quizz']\n";
    let lines = faults(file, &[]);
    assert!(lines[0].starts_with("catalog.events.quiz.label: "), "{lines:?}");
    let labelled = [file, "label = 'Quiz'\n"].concat();
    assert_eq!(load(&labelled, &[]).unwrap().catalog.events["quiz"].aliases, ["quizz"]);
    let alias = [("BARNABAS_CATALOG__EVENTS__MESSAGE_OPEN__ALIASES", "opened,seen")];
    assert_eq!(load("", &alias).unwrap().catalog.events["message_open"].aliases.len(), 2);
}

#[test]
fn a_preset_and_a_schedule_exclude_each_other() {
    let preset = "retry.preset = 'standard-webhooks'\n";
    assert_eq!(load(preset, &[]).unwrap().retry.preset, "standard-webhooks");
    let both = [preset, "retry.schedule = ['5s']"].concat();
    assert_eq!(faults(&both, &[]).len(), 1);
}

#[test]
fn a_password_is_never_shown() {
    let environment = [("BARNABAS_KAFKA__PROPERTIES__SASL_PASSWORD", "s3cret")];
    let config = load("", &environment).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let doubled = [("BARNABAS_KAFKA__PROPERTIES__SSL_KEY_PASSWORDS", "s3cret")];
    let report = faults("", &doubled).join("\n");
    assert!(report.contains("[redacted]") && !report.contains("s3cret"), "{report}");
}

#[test]
fn an_empty_file_name_unsets_a_lower_layer() {
    let file = "egress.ca_file = '/nonexistent/ca.pem'";
    let config = load(file, &[("BARNABAS_EGRESS__CA_FILE", "")]).unwrap();
    assert_eq!(config.egress.ca_file, None);
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let path = PathBuf::from("/nonexistent/barnabas.toml");
    let report = Config::load(Some(&path)).unwrap_err().to_string();
    assert!(report.contains("/nonexistent/barnabas.toml: the file cannot be read"), "{report}");
}

#[test]
fn the_admin_api_is_open_to_others_only_with_tokens() {
    assert_eq!(load("admin.listen = ''", &[]).unwrap().admin.listen, None);
    assert!(load("admin.listen = '[::1]:0'", &[]).is_ok());
    let lines = faults("admin.listen = '0.0.0.0:8080'", &[]);
    assert!(lines[0].contains("admin.listen") && lines[0].contains("tokens_file"), "{lines:?}");
}
