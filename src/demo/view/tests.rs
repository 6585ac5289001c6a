//! What is shown, as it is shown.

use super::*;

fn account(name: &str, endpoint: &str, matched: u64, delivered: u64) -> Account {
    let account = Account {
        name: name.to_owned(),
        endpoint: endpoint.to_owned(),
        matched,
        delivered,
        ..Account::default()
    };
    Account { waiting: account.rest(), ..account }
}

fn row(account: Account, per_second: u64, state: LaneState) -> Row {
    Row { account, per_second, state: Some(state) }
}

fn dead(mut account: Account, letters: u64) -> Account {
    (0..letters).for_each(|_| account.dead_lettered.count("exhausted"));
    account.waiting = account.rest();
    account
}

fn picture(act: Act) -> Picture {
    Picture {
        act,
        elapsed: Duration::from_millis(12_400),
        written: Written { events: 1440, malformed: 2, unknown: 5, journeys: 26 },
        events_per_second: 160,
        telemetry: SocketAddr::from(([127, 0, 0, 1], 38_217)),
        log: PathBuf::from("/tmp/barnabas-demo-32528-0/barnabas.log"),
        rows: vec![
            row(account("CRM sync", "healthy", 699, 698), 64, LaneState::Idle),
            row(account("Billing", "limit 24/s", 273, 250), 24, LaneState::Backlogged),
            row(dead(account("Old ERP", "dead, refuses", 189, 0), 12), 0, LaneState::BreakerOpen),
        ],
    }
}

fn shown(picture: &Picture) -> String {
    let lines: Vec<_> = table(picture).iter().map(|line| text(line)).collect();
    lines.join("\n")
}

#[test]
fn the_table_while_the_campaign_runs() {
    insta::assert_snapshot!(shown(&picture(Act::Running)), @"
    Barnabas demo  12 s  running
    events   1440, 160/s  (2 malformed, 5 unknown names, 26 of journeys)
    metrics  http://127.0.0.1:38217/metrics
    log      /tmp/barnabas-demo-32528-0/barnabas.log

    NAME      ENDPOINT        MATCHED DELIVERED  /S RETRIED DEAD WAITS STATE
    CRM sync  healthy             699       698  64       0    0     1 busy
    Billing   limit 24/s          273       250  24       0    0    23 backlogged
    Old ERP   dead, refuses       189         0   0       0   12   177 breaker open

    Ctrl-C ends with a summary.
    ");
}

#[test]
fn what_is_waited_for_is_said() {
    let shown = shown(&picture(Act::Settling(Duration::from_secs(40))));
    let end = shown.split_once("breaker open\n\n").map(|(_, end)| end).unwrap();
    insta::assert_snapshot!(end, @"
    The campaign is over, 201 deliveries are open (40 s more at most):
      CRM sync: 1, retries fall due
      Billing: 23, it keeps to its rate
      Old ERP: 177, its endpoint is down; given up 20 s after the first try
    Ctrl-C ends at once, without a summary.
    ");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for act in [Act::Starting, Act::Running, Act::Settling(Duration::ZERO), Act::Stopping] {
        for line in shown(&picture(act)).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}

#[test]
fn a_log_gets_a_line_for_each_connection() {
    insta::assert_snapshot!(report(&picture(Act::Running)).join("\n"), @"
    12 s  CRM sync  healthy         699 matched, 698 delivered (64/s), 0 retried, 0 dead, 1 waiting, busy
    12 s  Billing   limit 24/s      273 matched, 250 delivered (24/s), 0 retried, 0 dead, 23 waiting, backlogged
    12 s  Old ERP   dead, refuses   189 matched, 0 delivered (0/s), 0 retried, 12 dead, 177 waiting, breaker open
    ");
}

#[test]
fn the_summary_says_that_the_sums_agree() {
    let mut end = Summary {
        campaign_seconds: 12.0,
        took_seconds: 34.2,
        written: picture(Act::Running).written,
        connections: vec![
            account("CRM sync", "healthy", 699, 699),
            dead(account("Old ERP", "dead, refuses", 189, 0), 189),
        ],
        ..Summary::default()
    };
    end.dead_letters_without_connection.count("malformed_event");
    end.dead_letters_without_connection.count("malformed_event");
    insta::assert_snapshot!(summary(&end).join("\n"), @"
    1440 events in 12 s, 34 s in all.

    NAME      ENDPOINT        MATCHED DELIVERED RETRIED DEAD DROPPED WAITING TWICE
    CRM sync  healthy             699       699       0    0       0       0     0
    Old ERP   dead, refuses       189         0       0  189       0       0     0

    Dead letters, Old ERP: 189 exhausted.
    Dead letters, no connection: 2 malformed_event.
    Skipped: 5 with names that the catalog does not have, 26 of journeys.
    The sums agree: every event that matched is delivered or a dead letter.
    ");
}

#[test]
fn a_summary_whose_sums_do_not_agree_does_not_say_so() {
    let connections = vec![account("CRM sync", "healthy", 10, 9)];
    let lost = Summary {
        connections: connections.into_iter().map(|own| Account { waiting: 0, ..own }).collect(),
        ..Summary::default()
    };
    assert!(!summary(&lost).join("\n").contains("agree"));
}
