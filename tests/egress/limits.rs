//! What an endpoint can cost us: memory, and what happens when this process itself has nothing left to give.

use std::fs::{self, File};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use barnabas::engine::address::AddressRule;
use barnabas::engine::outcome::AttemptResult;
use barnabas::webhook::client::{Client, Limits, Request};
use barnabas::webhook::resolver::Resolver;
use barnabas::webhook::tls;

use super::attempts::{OK, client, config, named, run};
use super::network::Network;

/// Answers of each kind, one after the other.
const ANSWERS: usize = 8;
/// What the whole process, receiver and test included, may grow by. One answer alone would be ten thousand times that.
const GROWTH_KIB: u64 = 8 * 1024;
const PIECE: &[u8] = &[b'x'; 64 * 1024];

#[test]
fn memory_is_flat_whatever_an_endpoint_answers() {
    run("limits::memory_is_flat_whatever_an_endpoint_answers", || async {
        let network = Network::new().await;
        let kinds: [(u16, &str, &'static [u8]); 4] = [
            (8001, "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", PIECE),
            (8002, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"),
            (8003, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n", PIECE),
            (8004, "HTTP/1.1 200 OK\r\n", b"x-header: value\r\n"),
        ];
        let mut config = config(&network, &[]);
        config.ports = kinds.iter().map(|(port, ..)| *port).collect();
        let rule = Arc::new(AddressRule::new(&config, Vec::new()));
        let tls = tls::client_config(config.ca_file.as_deref()).unwrap();
        let client =
            Client::new(Arc::clone(&rule), tls, Resolver::from_system(), Limits::default());
        let mut before = None;
        for (port, head, piece) in kinds {
            let left = network.flood(port, head, piece).await;
            let endpoint = rule.check_url(&format!("https://good.example.com:{port}/")).unwrap();
            let request = Request { endpoint: Arc::new(endpoint), ..named("good") };
            for number in 1..=ANSWERS {
                let result = client.send(request.clone()).await;
                let is_cut = result == OK || matches!(result, AttemptResult::Failed { .. });
                assert!(is_cut, "{head:?}: {result:?}");
                assert_eq!(client.open_connections(), 0, "the link is closed");
                while left.load(Ordering::SeqCst) < number {
                    tokio::task::yield_now().await;
                }
                let before = *before.get_or_insert_with(peak_kib);
                let grown = peak_kib() - before;
                assert!(grown < GROWTH_KIB, "{head:?}: {grown} KiB more");
            }
        }
    });
}

#[test]
fn want_of_file_descriptors_is_our_fault_and_passes() {
    run("limits::want_of_file_descriptors_is_our_fault_and_passes", || async {
        let network = Network::new().await;
        let client = client(&network, &[], Limits::default());
        let pid = process::id().to_string();
        let limited = Command::new("prlimit").args(["--nofile=256:256", "--pid", &pid]).status();
        assert!(limited.unwrap().success());

        let mut files: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        assert!((100..256).contains(&files.len()), "{}", files.len());
        // No socket for the look-up, and then, once the name is known, none for the connection.
        assert_eq!(client.send(named("good")).await, AttemptResult::OurFault);
        drop(files);
        assert_eq!(client.send(named("good")).await, OK);
    });
}

/// The most memory that this process has ever had in RAM.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
