//! The console as people meet it, in a real browser: everything that the integration's help page describes, what one
//! does when an endpoint fails, and whether the pages can be used by everybody.

use std::time::{Duration, Instant};

use barnabas::demo::receiver::{Behaviour, Credentials};
use http::StatusCode;
use serde_json::json;

use crate::support::chromium::{Chromium, ESCAPE, Scheme};
use crate::support::service::Service;
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const PASSWORD: &str = "canary7f3a-secret";
const EVERY_EVENT: [&str; 6] = [
    "message_send",
    "message_delivery",
    "message_open",
    "message_click",
    "message_failure",
    "message_unsubscribe",
];
/// From a click to its effect at the endpoint.
const SOON: Duration = Duration::from_secs(2);

/// A stage with a window that is signed in.
fn start(stage: Option<Stage>) -> Option<(Stage, Service, Chromium)> {
    let stage = stage?;
    let service = stage.serve();
    let browser = Chromium::start(service.admin())?;
    browser.sign_in(&service.set_up_token());
    Some((stage, service, browser))
}

/// Ticks or unticks a list's "select all".
fn select_all(browser: &Chromium, list: &str) {
    let group = format!("//fieldset[legend[normalize-space()='{list}']]");
    browser.click_at(&format!("{group}//label[normalize-space()='Select all']"));
}

/// Opens the menu of a connection and asks for something.
fn ask_for(browser: &Chromium, action: &str) {
    browser.click("Actions ▾");
    browser.click_at(&format!("//details//a[normalize-space()='{action}']"));
    browser.wait_for(&format!("{action} “"));
}

/// What the dialog's button does.
fn confirm(browser: &Chromium, action: &str) {
    browser.click_at(&format!("//dialog[@open]//button[normalize-space()='{action}']"));
}

#[test]
fn the_help_page_is_walked_from_connect_to_delete() {
    let stage = Stage::new("browser-help", ADMIN);
    let Some((stage, service, browser)) = start(stage) else { return };
    stage.receiver.set_behaviour("/crm", Behaviour::Healthy);
    stage.receiver.set_credentials("/crm", &Credentials::basic("xp", PASSWORD));
    stage.produce(0..20);
    browser.fill("Project", PROJECT);
    browser.click("Open");
    browser.click("Marketplace");
    browser.wait_for("Webhooks");
    browser.click_at("//section[.//h2='Webhooks']//a[normalize-space()='Connect']");
    connect(&browser, &stage.receiver.url("/crm"));
    let connected = Instant::now();
    stage.produce(100..101);
    stage.receiver.wait_for("/crm", 1, PATIENCE).unwrap();
    assert!(connected.elapsed() < SOON, "the first delivery took {:?}", connected.elapsed());
    assert_eq!(stage.receiver.counts("/crm").failed, 0, "the credentials are what was entered");

    browser.click("Configured integrations");
    browser.wait_for("1 connection");
    browser.click("CRM");
    edit(&browser);
    stop_start_and_delete(&stage, &service, &browser);
    let complaints = browser.complaints();
    // The form that was sent with faults.
    assert!(complaints.iter().all(|complaint| complaint.contains("422")), "{complaints:#?}");
    service.stop();
}

/// Fills in the form to connect, first badly and then well.
fn connect(browser: &Chromium, url: &str) {
    browser.wait_for("Connect a webhook");
    browser.fill("Name", "CRM");
    browser.fill("URL", "http://hooks.example.com/");
    browser.click_at("//main//button[normalize-space()='Connect']");
    browser.wait_for("Not connected yet");
    browser.wait_for("The URL must start with https://");
    let focused = browser.script("return document.activeElement.id");
    assert_eq!(focused, "faults", "what is wrong is read out first");
    browser.fill("URL", url);
    browser.click("Bearer Token");
    browser.wait_for("Token");
    browser.click("Basic Auth");
    browser.fill("Username", "xp");
    browser.fill("Password", PASSWORD);
    select_all(browser, "Event types");
    browser.click("Email");
    browser.wait_for("20 of the last 20 events");
    browser.click_at("//main//button[normalize-space()='Connect']");
    browser.wait_for("Connected. Events that it wants are delivered from now on.");
}

fn edit(browser: &Chromium) {
    browser.click("Settings");
    browser.fill("Name", "CRM suppression");
    browser.click("Save");
    browser.wait_for("Saved.");
    let title = browser.script("return document.querySelector('h1').innerText");
    assert_eq!(title, "CRM suppression");
}

fn stop_start_and_delete(stage: &Stage, service: &Service, browser: &Chromium) {
    ask_for(browser, "Deactivate");
    // Its text is there a moment before it is open.
    let is_open = "return document.querySelector('dialog:modal') !== null";
    eventually("the dialog is open", || (browser.script(is_open) == json!(true)).then_some(()));
    browser.press(ESCAPE);
    let focused = "return document.activeElement.textContent";
    eventually("the focus comes back", || {
        (browser.script(focused) == json!("Actions ▾")).then_some(())
    });
    browser.wait_for("Active");
    ask_for(browser, "Deactivate");
    confirm(browser, "Deactivate");
    browser.wait_for("Deactivated. No new attempt starts.");
    let delivered = stage.receiver.counts("/crm").requests;
    let unmatched = || service.metric("barnabas_events_unmatched_total", "");
    let before = unmatched();
    stage.produce(200..203);
    eventually("nobody wants them", || (unmatched() >= before + 3.0).then_some(()));
    ask_for(browser, "Activate");
    confirm(browser, "Activate");
    browser.wait_for("Activated. Events are delivered again.");
    stage.produce(300..301);
    stage.receiver.wait_for("/crm", delivered + 1, PATIENCE).unwrap();
    ask_for(browser, "Delete");
    browser.wait_for("This cannot be undone.");
    confirm(browser, "Delete");
    browser.wait_for("Nothing is connected yet");
    let ids = stage.receiver.receipts("/crm").into_iter().filter_map(|receipt| receipt.webhook_id);
    let missed: Vec<_> = ids.filter(|id| id.starts_with("e20")).collect();
    assert!(missed.is_empty(), "{missed:?} were sent to an inactive connection");
}

#[test]
fn it_is_found_out_why_an_endpoint_got_nothing_and_mended() {
    let stage = Stage::new("browser-failing", ADMIN);
    let Some((stage, service, browser)) = start(stage) else { return };
    stage.connect("crm", json!({"name": "CRM"}));
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    stage.receiver.set_behaviour("/crm", Behaviour::status(status));
    browser.open(&format!("/projects/{PROJECT}/connections/crm/attempts"));
    browser.wait_for("No attempt here");
    stage.produce(0..1);
    // Nothing is reloaded: the page follows.
    browser.wait_for("dead letter: all attempts failed");
    browser.click("Pause");
    browser.wait_for("Paused");
    browser.choose("Outcome", "All failures");
    browser.click("Filter");
    browser.click_at("//tbody/tr[1]//a");
    browser.wait_for("Attempt 4 of e0");
    for text in ["500", "authorization", "\"event\":\"message_open\""] {
        browser.wait_for(text);
    }
    assert!(!browser.text().contains("t0ken"), "the credentials are shown");

    browser.click("Test");
    browser.click("Send test event");
    browser.wait_for("Refused");
    stage.receiver.set_behaviour("/crm", Behaviour::Healthy);
    browser.choose("Channel", "SMS");
    browser.click("Send test event");
    browser.wait_for("Delivered");
    browser.wait_for("\"message_type\":\"sms\"");
    put_back(&browser);
    let put_back = |id: &str| {
        let receipts = stage.receiver.receipts("/crm");
        receipts.iter().filter(|receipt| receipt.webhook_id.as_deref() == Some(id)).count() == 5
    };
    eventually("it is delivered in the end", || put_back("e0").then_some(()));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    service.stop();
}

fn put_back(browser: &Chromium) {
    browser.click("Dead letters");
    browser.wait_for("All attempts failed");
    browser.click_at("//tbody/tr[1]//input[@type='checkbox']");
    browser.click("Redrive selected…");
    browser.wait_for("Can be put back");
    browser.click("Put 1 back, 50 a second");
    browser.wait_for("Done.");
    browser.click("Dead letters");
    let marked = "return document.querySelector('tbody td:last-child').innerText.trim() !== ''";
    eventually("it is marked", || (browser.script(marked) == json!(true)).then_some(()));
}

#[test]
fn a_redrive_shows_how_far_it_is_and_can_be_stopped() {
    // For each of two connections, with two attempts each: few enough that no breaker opens.
    const EVENTS: u64 = 9;
    let settings = format!("{ADMIN}[retry]\nschedule = [\"100ms\"]\n");
    let stage = Stage::new("browser-redrive", &settings);
    let Some((stage, service, browser)) = start(stage) else { return };
    for id in ["crm", "erp"] {
        stage.connect(id, json!({}));
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        stage.receiver.set_behaviour(&format!("/{id}"), Behaviour::status(status));
    }
    stage.produce(0..EVENTS);
    eventually("all are listed", || {
        browser.open(&format!("/projects/{PROJECT}/dead-letters"));
        browser.text().contains("Redrive all 18 matching…").then_some(())
    });
    browser.fill("Rate per second", "1");
    browser.click("Redrive all 18 matching…");
    browser.wait_for("Can be put back");
    browser.click("Put 18 back, 1 a second");
    browser.wait_for("Stop");
    // Nothing is reloaded: the page looks again.
    let value = "return document.querySelector('progress').value";
    let done = || browser.script(value).as_f64().unwrap();
    eventually("it goes on", || (done() >= 2.0).then_some(()));
    assert_eq!(browser.script("return document.querySelector('progress').max"), json!(18));
    browser.click("Stop");
    browser.wait_for("Stopped.");
    assert!(done() < 18.0, "{} were put back", done());
    judge(&browser, "redrive", &browser.path());
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.open(&format!("/projects/{PROJECT}/dead-letters/redrives/unknown"));
    browser.wait_for("not known here any more");
    service.stop();
}

/// A project as it is after some days: most is well, and something is not.
fn busy_stage() -> Option<Stage> {
    let stage = Stage::new("browser-screens", ADMIN)?;
    for (id, name, events, channels) in [
        ("crm", "CRM suppression", vec!["message_open", "message_failure"], vec!["email", "sms"]),
        ("lake", "Data lake", EVERY_EVENT.to_vec(), vec!["email", "mobile_push", "sms"]),
        ("loyalty", "Loyalty points", vec!["message_open", "message_click"], vec!["email"]),
        ("desk", "Support desk", vec!["message_open"], vec!["email", "mobile_push"]),
    ] {
        let by = "token:anna";
        stage.connect(
            id,
            json!({"name": name, "events": events, "channels": channels, "updated_by": by}),
        );
    }
    stage.put("old", json!({"name": "Old ERP", "status": "inactive", "updated_by": "token:ops"}));
    let status = StatusCode::SERVICE_UNAVAILABLE;
    stage.receiver.set_behaviour("/desk", Behaviour::status(status));
    Some(stage)
}

#[test]
fn everybody_can_use_the_main_screens_by_day_and_by_night() {
    let Some((stage, service, browser)) = start(busy_stage()) else { return };
    browser.click("Sign out");
    browser.wait_for("Sign in");
    browser.open(&format!("/sign-in#{}", service.set_up_token()));
    browser.wait_for("Projects");
    assert!(!browser.path().contains("bnb_"), "the token stays in the history");
    stage.produce(0..12);
    stage.produce_raw(Some(b"<no event>"));
    let letters = format!("/projects/{PROJECT}/dead-letters");
    eventually("it is given up", || {
        browser.open(&letters);
        browser.text().contains("All attempts failed").then_some(())
    });
    let desk = format!("/projects/{PROJECT}/connections/desk");
    let integrations = format!("/projects/{PROJECT}/integrations");
    for (name, path) in [
        ("projects", "/projects".to_owned()),
        ("marketplace", integrations.clone()),
        ("connect", format!("{integrations}/webhooks/connect")),
        ("configured", format!("{integrations}/configured")),
        ("settings", desk.clone()),
        ("attempts", format!("{desk}/attempts")),
        ("health", format!("{desk}/health")),
        ("test", format!("{desk}/test")),
        ("delete", format!("{desk}/delete")),
        ("dead-letters", letters),
        ("pipeline", "/pipeline".to_owned()),
        ("rejected-records", "/rejected-records".to_owned()),
        ("not-found", format!("{desk}x")),
        ("sign-in", "/sign-in".to_owned()),
    ] {
        judge(&browser, name, &path);
    }
    browser.open(&format!("{desk}/attempts"));
    browser.click_at("//tbody/tr[1]//a");
    browser.wait_for("Attempt");
    let path = browser.path();
    judge(&browser, "attempt", &path);
    service.stop();
}

fn judge(browser: &Chromium, name: &str, path: &str) {
    browser.open(path);
    for (scheme, suffix) in [(Scheme::Dark, "-dark"), (Scheme::Light, "")] {
        browser.prefer(scheme);
        let barriers = browser.barriers();
        assert!(barriers.is_empty(), "{name}, {scheme:?}: {barriers:#?}");
        browser.picture(&format!("{name}{suffix}"));
    }
    browser.zoom(200);
    assert!(!browser.is_too_wide(), "{name} has to be scrolled sideways at 200 %");
    browser.picture(&format!("{name}-zoomed"));
    browser.zoom(100);
    let complaints = browser.complaints();
    let is_expected = |complaint: &String| name == "not-found" && complaint.contains("404");
    assert!(complaints.iter().all(is_expected), "{name}: {complaints:#?}");
}
