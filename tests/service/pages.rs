//! The console's main pages as they are sent: what changes in them is seen before it is accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::stage::{PROJECT, Stage};

/// When the connections were changed, in UNIX seconds.
const CHANGED_AT: u64 = 1_700_000_000;

/// A page without what differs from run to run.
fn settled(html: &str, receiver: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let age = format!("{} days ago", (now - CHANGED_AT) / 86_400);
    let html = html.replace(receiver, "receiver.example.com").replace(&age, "[age]");
    let before = "name=\"once\" value=\"";
    let Some((head, rest)) = html.split_once(before) else { return html };
    let (_, tail) = rest.split_once('"').expect("a value has an end");
    format!("{head}{before}[once]\"{tail}")
}

#[test]
fn the_main_pages_are_as_they_were() {
    let Some(stage) = Stage::new("pages", "[admin]\nlisten = \"127.0.0.1:0\"\n") else { return };
    let by =
        |name: &str| json!({"name": name, "updated_at": CHANGED_AT, "updated_by": "token:anna"});
    stage.put("crm", by("CRM <suppression>"));
    let mut old = by("Old ERP");
    old["status"] = json!("inactive");
    stage.put("erp", old);
    stage.put("broken", json!({"url": "http://example.com/"}));
    let service = stage.serve();
    let stranger = Browser::new(service.admin());
    let browser = Browser::signed_in(service.admin(), &service.set_up_token());
    let integrations = format!("/projects/{PROJECT}/integrations");
    let crm = format!("/projects/{PROJECT}/connections/crm");
    let letters = format!("/projects/{PROJECT}/dead-letters");
    for path in [format!("{crm}/attempts?live=off"), letters.clone()] {
        eventually("the topics are read", || {
            let page = browser.open(&path);
            (page.status == 200 && !page.shows("still being read")).then_some(())
        });
    }
    let receiver = stage.receiver.address().to_string();
    insta::assert_snapshot!("sign-in", stranger.open("/sign-in").html);
    for (name, path) in [
        ("projects", "/projects".to_owned()),
        ("marketplace", integrations.clone()),
        ("connect", format!("{integrations}/webhooks/connect")),
        ("configured", format!("{integrations}/configured")),
        ("configured-none", "/projects/7/integrations/configured".to_owned()),
        ("settings", crm.clone()),
        ("settings-unreadable", format!("/projects/{PROJECT}/connections/broken")),
        ("attempts", format!("{crm}/attempts?live=off")),
        ("test", format!("{crm}/test")),
        ("deactivate", format!("{crm}/deactivate")),
        ("dead-letters", letters),
        ("not-found", format!("{crm}x")),
    ] {
        insta::assert_snapshot!(name, settled(&browser.open(&path).html, &receiver));
    }
    service.stop();
}
