//! Dead letters: listed, shown, put back into delivery, exported.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use barnabas::admin::dead_letters::{
    LetterPage, LetterQuery, RedriveOrder, RedriveReport, Refusal, Scope, Selection,
};
use barnabas::demo::receiver::Behaviour;
use barnabas::engine::connection::ConnectionKey;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::console::Console;
use crate::support::stage::{PROJECT, Stage, event};
use crate::support::{PATIENCE, eventually};

fn failing() -> Behaviour {
    Behaviour::status(http::StatusCode::INTERNAL_SERVER_ERROR)
}

fn all() -> LetterQuery {
    LetterQuery { limit: 100, ..LetterQuery::default() }
}

fn of(connection: &str) -> LetterQuery {
    let key = ConnectionKey::parse(&format!("{PROJECT}/{connection}")).unwrap();
    LetterQuery { connection: Some(key), ..all() }
}

fn order(selection: Selection) -> RedriveOrder {
    let rate_per_second = NonZeroU32::new(1000).unwrap();
    RedriveOrder { project_id: None, selection, rate_per_second, again: false }
}

fn listed(console: &Console, query: &LetterQuery, count: u64) -> LetterPage {
    eventually("the dead letters are listed", || {
        let page = console.models.dead_letters.page(query);
        assert!(page.matched <= count, "{} of {count}", page.matched);
        (page.matched == count).then_some(page)
    })
}

fn redrive(console: &Console, order: &RedriveOrder) -> RedriveReport {
    let (progress, watched) = watch::channel(RedriveReport::default());
    let stop = CancellationToken::new();
    let redrive = console.models.dead_letters.redrive(order, &progress, &stop);
    let report = console.ask(redrive).unwrap();
    assert_eq!(*watched.borrow(), report);
    assert!(report.is_done);
    report
}

#[test]
fn dead_letters_are_listed_shown_and_exported() {
    let Some(stage) = Stage::new("redrive", "") else { return };
    stage.connect("down", json!({}));
    stage.connect("other", json!({}));
    for path in ["/down", "/other"] {
        stage.receiver.set_behaviour(path, failing());
    }
    let console = Console::start(&stage);
    let letters = &console.models.dead_letters;
    // Few enough that no breaker opens.
    stage.produce(0..3);
    stage.produce_raw(Some(b"\xff no event"));
    assert_eq!(listed(&console, &all(), 7).page.items.len(), 7);
    let page = listed(&console, &of("down"), 3);
    assert!(page.page.items.iter().all(|letter| &*letter.reason == "exhausted"));
    assert_eq!(page.page.items[0].attempts, Some(4));
    let malformed = LetterQuery { reason: Some("malformed_event".to_owned()), ..all() };
    let malformed = listed(&console, &malformed, 1).page.items.remove(0);

    let first = letters.page(&LetterQuery { limit: 2, ..of("down") });
    let rest = LetterQuery { cursor: first.page.next_cursor, ..of("down") };
    let ids: BTreeSet<_> =
        first.page.items.iter().chain(&letters.page(&rest).page.items).map(|l| l.id).collect();
    assert_eq!((first.page.items.len(), ids.len()), (2, 3));

    let shown = &page.page.items[0];
    let letter =
        console.ask(letters.show(&Scope::Project(PROJECT.to_owned()), shown.id)).unwrap().unwrap();
    let number: u64 = shown.event_id.as_deref().unwrap()[1..].parse().unwrap();
    assert_eq!(letter.value.unwrap(), event(number).to_string());
    for another in [Scope::Project("another".to_owned()), Scope::Rejected] {
        assert!(console.ask(letters.show(&another, shown.id)).unwrap().is_none());
    }
    let rejected = LetterQuery { scope: Scope::Rejected, ..all() };
    assert_eq!(listed(&console, &rejected, 1).page.items[0].id, malformed.id);
    let bytes = console.ask(letters.show(&Scope::Rejected, malformed.id)).unwrap().unwrap();
    assert_eq!((bytes.value, bytes.value_base64.as_deref()), (None, Some("/yBubyBldmVudA==")));

    let exported: Vec<Value> = console.ask(async {
        let mut lines = letters.export(&all());
        let mut exported = Vec::new();
        while let Some(line) = lines.recv().await {
            exported.push(serde_json::from_slice(&line.unwrap()).unwrap());
        }
        exported
    });
    assert_eq!(exported.len(), 7);
    let same = exported.iter().find(|line| line["id"] == shown.id.to_string()).unwrap();
    assert_eq!(same["value"], event(number).to_string());
    console.stop();
}

#[test]
fn what_was_a_delivery_is_delivered_again_with_the_same_id_and_attempts_anew() {
    let Some(stage) = Stage::new("redrive-again", "") else { return };
    stage.connect("down", json!({}));
    stage.receiver.set_behaviour("/down", failing());
    let console = Console::start(&stage);
    let letters = &console.models.dead_letters;
    // Few enough that no breaker opens.
    stage.produce(0..3);
    stage.produce_raw(Some(b"no event"));
    let malformed = LetterQuery { reason: Some("malformed_event".to_owned()), ..all() };
    let malformed = listed(&console, &malformed, 1).page.items.remove(0);
    listed(&console, &of("down"), 3);
    stage.receiver.set_behaviour("/down", Behaviour::Healthy);
    let everything = order(Selection::Matching(of("down")));
    let dry = letters.dry_run(&everything);
    assert_eq!((dry.matched, dry.redrivable, dry.redriven), (3, 3, 0));
    let before = stage.receiver.counts("/down").requests;
    let report = redrive(&console, &everything);
    assert_eq!((report.matched, report.redriven, report.failed), (3, 3, 0));
    stage.receiver.wait_for("/down", before + 3, PATIENCE).unwrap();
    let again: BTreeSet<_> = stage
        .receiver
        .receipts("/down")
        .into_iter()
        .skip(usize::try_from(before).unwrap())
        .map(|receipt| (receipt.webhook_id.unwrap(), receipt.webhook_attempt.unwrap()))
        .collect();
    let wanted = (0..3).map(|number| (format!("e{number}"), "1".to_owned()));
    assert_eq!(again, wanted.collect(), "the same ids, counted anew");

    let repeated = redrive(&console, &everything);
    assert_eq!(repeated.refused, [(Refusal::AlreadyRedriven, 3)].into());
    let no_delivery = redrive(&console, &order(Selection::Ids(vec![malformed.id])));
    assert_eq!(no_delivery.refused, [(Refusal::NoConnection, 1)].into());
    let foreign = RedriveOrder { project_id: Some("77".to_owned()), ..everything };
    assert_eq!(letters.dry_run(&foreign).refused, [(Refusal::NotFound, 3)].into());
    console.stop();
    assert_eq!(stage.receiver.counts("/down").requests, before + 3, "and nothing else");
}

#[test]
fn what_would_be_given_up_again_is_not_put_back() {
    let Some(stage) = Stage::new("redrive-inactive", "") else { return };
    for id in ["stopped", "deleted", "aged"] {
        stage.connect(id, json!({}));
        stage.receiver.set_behaviour(&format!("/{id}"), failing());
    }
    let console = Console::start(&stage);
    stage.produce(0..1);
    listed(&console, &all(), 3);
    stage.put("stopped", json!({"revision": 2, "status": "inactive"}));
    stage.put("aged", json!({"revision": 2, "delivery": {"max_age_seconds": 1}}));
    stage.delete("deleted");
    let everything = order(Selection::Matching(all()));
    let wanted =
        [(Refusal::ConnectionDeleted, 1), (Refusal::ConnectionInactive, 1), (Refusal::Expired, 1)];
    let report = eventually("the table knows of the changes", || {
        let report = console.models.dead_letters.dry_run(&everything);
        (report.refused == wanted.into()).then_some(report)
    });
    assert_eq!((report.matched, report.redrivable), (3, 0));
    assert_eq!(redrive(&console, &everything).redriven, 0);
    console.stop();
}
