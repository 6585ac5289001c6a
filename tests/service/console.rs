//! The console as a browser without script meets it: what is filled in there takes effect, and nobody is shown what they
//! may not do.

use std::process::Command;

use barnabas::demo::receiver::{Behaviour, Credentials};

use crate::support::browser::{Browser, Page};
use crate::support::service::{PROGRAM, Service};
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const PASSWORD: &str = "canary7f3a-secret";

fn start(test: &str) -> Option<(Stage, Service)> {
    let stage = Stage::new(test, ADMIN)?;
    stage.receiver.set_behaviour("/crm", Behaviour::Healthy);
    stage.receiver.set_credentials("/crm", &Credentials::basic("xp", PASSWORD));
    let service = stage.serve();
    Some((stage, service))
}

fn signed_in(service: &Service) -> Browser {
    Browser::signed_in(service.admin(), &service.set_up_token())
}

fn connect() -> String {
    format!("/projects/{PROJECT}/integrations/webhooks/connect")
}

fn configured() -> String {
    format!("/projects/{PROJECT}/integrations/configured")
}

/// Fills in the form to connect a webhook, and sends it.
fn send(browser: &Browser, once: &str, name: &str, url: &str, rest: &[(&str, &str)]) -> Page {
    let mut fields = vec![("once", once), ("name", name), ("url", url), ("auth", "basic")];
    fields.extend([("username", "xp"), ("password", PASSWORD)]);
    fields.extend(rest);
    browser.send(&connect(), &fields)
}

/// Connects a webhook that wants all opened emails; its path.
fn connected(browser: &Browser, name: &str, url: &str) -> String {
    let once = browser.open(&connect()).expect(200).hidden("once");
    let wanted = [("events", "message_open"), ("channels", "email")];
    let page = send(browser, &once, name, url, &wanted).expect(200);
    assert!(page.shows("Connected. Events that it wants are delivered from now on."));
    page.path.split('?').next().unwrap().to_owned()
}

#[test]
fn a_webhook_is_connected_after_its_faults_are_corrected() {
    let Some((stage, service)) = start("console-connect") else { return };
    let stranger = Browser::new(service.admin());
    assert_eq!(stranger.open(&configured()).path, "/sign-in");
    assert!(stranger.send("/session", &[("token", "bnb_x.y")]).path.starts_with("/sign-in"));
    let browser = signed_in(&service);
    assert!(browser.open(&configured()).expect(200).shows("Nothing is connected yet"));

    let once = browser.open(&connect()).expect(200).hidden("once");
    let faulty = [("channels", "email"), ("burst", "many")];
    let refused = send(&browser, &once, "CRM", "http://example.com/", &faulty).expect(422);
    for (id, text) in [
        ("url", "The URL must start with https://"),
        ("events", "Choose at least one."),
        ("burst", "Burst must be a whole number from 1 to 10000"),
    ] {
        assert!(refused.shows(&format!("id=\"{id}-fault\">{text}")), "{id}: {}", refused.html);
    }
    assert!(refused.shows("<a href=\"#url\">") && refused.shows("value=\"CRM\""));
    assert!(refused.shows("value=\"email\" checked") && refused.shows("value=\"many\""));
    assert!(!refused.shows(PASSWORD), "a secret comes back");

    let url = stage.receiver.url("/crm");
    let right = [("all_events", "on"), ("channels", "email")];
    let page = send(&browser, &once, "CRM", &url, &right).expect(200);
    assert!(page.shows("Connected.") && page.shows("<h1>CRM</h1>") && !page.shows(PASSWORD));
    stage.produce(0..3);
    stage.receiver.wait_for("/crm", 3, PATIENCE).unwrap();
    assert_eq!(stage.receiver.counts("/crm").failed, 0);

    // The same form again, as by a second click: the same connection.
    let again = send(&browser, &once, "CRM", &url, &right).expect(200);
    assert!(again.shows("This form was sent before"));
    let taken = send(&browser, "another-form", "CRM", &url, &right).expect(409);
    assert!(taken.shows("id=\"name-fault\">Another connection"), "{}", taken.html);
    assert!(browser.open(&configured()).shows(">1 connection<"));
    service.stop();
}

#[test]
fn a_connection_is_edited_and_no_edit_is_lost() {
    let Some((stage, service)) = start("console-edit") else { return };
    let browser = signed_in(&service);
    let url = stage.receiver.url("/crm");
    let path = connected(&browser, "CRM", &url);
    let save = |revision: &str, name: &str, url: &str| {
        let fields = [("revision", revision), ("name", name), ("url", url), ("auth", "basic")];
        let rest = [("username", "xp"), ("events", "message_open"), ("channels", "email")];
        browser.send(&path, &[&fields[..], &rest[..], &[("rate_per_second", "100")]].concat())
    };

    // The password is left blank: it stays.
    let page = save("1", "CRM suppression", &url).expect(200);
    assert!(page.shows("Saved.") && page.shows("<h1>CRM suppression</h1>"));
    assert!(page.shows("value=\"100\"") && page.shows("leave blank to keep"));
    stage.produce(0..3);
    stage.receiver.wait_for("/crm", 3, PATIENCE).unwrap();
    assert_eq!(stage.receiver.counts("/crm").failed, 0);

    let stale = save("1", "Another", &url).expect(412);
    assert!(stale.shows("somebody changed this connection") && stale.shows("value=\"Another\""));
    assert!(stale.shows(&format!("<a href=\"{path}\">Load the current version</a>")));
    let port = stage.receiver.address().port();
    let elsewhere = format!("https://hooks.example.com:{port}/");
    let refused = save("2", "CRM", &elsewhere).expect(422);
    assert!(refused.shows("id=\"password-fault\">The URL leads to another host or port now"));
    assert!(save("2", "CRM suppression", &url).expect(200).shows("There was nothing to change."));
    service.stop();
}

#[test]
fn a_connection_is_stopped_started_and_deleted_once_that_is_confirmed() {
    let Some((stage, service)) = start("console-life") else { return };
    let browser = signed_in(&service);
    let path = connected(&browser, "CRM", &stage.receiver.url("/crm"));
    let act = |word: &str| {
        let asked = browser.open(&format!("{path}/{word}")).expect(200);
        let revision = asked.hidden("revision");
        browser.send(&format!("{path}/{word}"), &[("revision", &revision)]).expect(200)
    };
    let stopped = act("deactivate");
    assert!(stopped.shows("Deactivated by a user") && stopped.shows(&format!("{path}/activate")));
    assert!(!stopped.shows(&format!("{path}/deactivate")));
    let stale = browser.send(&format!("{path}/delete"), &[("revision", "1")]).expect(412);
    assert!(stale.shows("Nothing was done"));
    assert!(act("activate").shows("<span class=\"pill good\">Active</span>"));
    assert!(act("delete").shows("Nothing is connected yet"));
    browser.open(&path).expect(404);
    stage.produce(0..3);
    eventually("the events are skipped", || {
        (service.metric("barnabas_events_unmatched_total", "") >= 3.0).then_some(())
    });
    assert_eq!(stage.receiver.counts("/crm").requests, 0);
    let actions = stage.audit().into_iter().map(|record| record["action"].clone());
    let actions: Vec<_> = actions.collect();
    assert_eq!(actions, ["create", "deactivate", "activate", "delete"]);
    service.stop();
}

#[test]
fn a_viewer_sees_no_power_and_no_text_becomes_html() {
    let Some(stage) = Stage::new("console-viewer", "") else { return };
    let file = stage.folder().join("tokens.json");
    let new = |id: &str, role: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["tokens", "new", id, "--role", role, "--project", PROJECT, "--file"]);
        let output = command.arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let [editor, viewer] = [("ed", "editor"), ("eye", "viewer")].map(|(id, role)| new(id, role));
    let stage = stage.with(&format!("{ADMIN}tokens_file = \"{}\"\n", file.display()));
    let service = stage.serve();
    let editor = Browser::signed_in(service.admin(), &editor);
    let hostile = "<script>alert(1)</script>\"'";
    let url = format!("{}?key=s3cret", stage.receiver.url("/crm"));
    let path = connected(&editor, hostile, &url);
    let own = editor.open(&path).expect(200);
    assert!(own.shows("?key=s3cret") && own.shows(&format!("{path}/deactivate")));
    assert!(!own.shows(&format!("{path}/delete")), "deleting is an operator's");
    editor.open(&format!("{path}/delete")).expect(403);

    let viewer = Browser::signed_in(service.admin(), &viewer);
    for place in [format!("/projects/{PROJECT}/integrations"), configured(), path.clone()] {
        let page = viewer.open(&place).expect(200);
        for power in ["webhooks/connect", "/deactivate", "/activate", "/delete", ">Save<"] {
            assert!(!page.shows(power), "{place} shows {power}: {}", page.html);
        }
        assert!(!page.shows("s3cret") && !page.shows("<script>alert"), "{}", page.html);
    }
    assert!(viewer.open(&configured()).shows("&#60;script&#62;alert(1)"));
    viewer.send(&path, &[("revision", "1")]).expect(403);
    viewer.send(&format!("{path}/deactivate"), &[("revision", "1")]).expect(403);
    viewer.open("/projects/9/integrations").expect(403);
    service.stop();
}
