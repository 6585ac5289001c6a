//! The load generator's own process.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, BufRead as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::Order;
use crate::sink::server::micros;

/// How often a steady load looks what is due.
const TURN: Duration = Duration::from_millis(1);
const FLUSH: Duration = Duration::from_secs(120);

#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Vec<(u64, u64)>>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if result.is_ok() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((number as u64, micros()));
        }
    }
}

type Writer = ThreadedProducer<Acknowledged>;

/// Carries out an order a line until stdin ends; answers each with an empty line, or with what went wrong.
pub fn run(bootstrap: &str) -> Result<(), String> {
    let acknowledged = Acknowledged::default();
    let mut writers = BTreeMap::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let answer =
            carry_out(&line, bootstrap, &mut writers, &acknowledged).err().unwrap_or_default();
        println!("{}", answer.replace('\n', " "));
        io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn connect(bootstrap: &str, linger_ms: u32, acknowledged: &Acknowledged) -> Result<Writer, String> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.messages", "2000000")
        .set("queue.buffering.max.kbytes", "2000000")
        .set("linger.ms", linger_ms.to_string())
        .create_with_context(acknowledged.clone())
        .map_err(|error| error.to_string())
}

fn carry_out(
    line: &str,
    bootstrap: &str,
    writers: &mut BTreeMap<u32, Writer>,
    acknowledged: &Acknowledged,
) -> Result<(), String> {
    let order: Order = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let producer = match writers.entry(order.linger_ms) {
        Entry::Occupied(writer) => writer.into_mut(),
        Entry::Vacant(none) => none.insert(connect(bootstrap, order.linger_ms, acknowledged)?),
    };
    acknowledged.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let started = Instant::now();
    let mut sent = 0;
    while sent < order.count {
        let due = match order.rate {
            0 => order.count,
            rate => micros_of(started.elapsed()) * rate / 1_000_000,
        };
        while sent < due.min(order.count) {
            send(producer, &order, order.first + sent);
            sent += 1;
        }
        if sent < order.count {
            thread::sleep(TURN);
        }
    }
    producer.flush(FLUSH).map_err(|error| error.to_string())?;
    let all = acknowledged.0.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() as u64 != order.count {
        return Err(format!("{} of {} events were acknowledged", all.len(), order.count));
    }
    let Some(path) = order.acknowledged else { return Ok(()) };
    let bytes: Vec<u8> = all
        .iter()
        .flat_map(|(number, at)| [number.to_le_bytes(), at.to_le_bytes()].concat())
        .collect();
    std::fs::write(path, bytes).map_err(|error| error.to_string())
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn send(producer: &Writer, order: &Order, number: u64) {
    let value = value(order, number);
    let at = i64::try_from(micros() / 1000 - order.age * 1000).unwrap_or_default();
    let opaque = usize::try_from(number).unwrap_or_default();
    let mut record = BaseRecord::<(), [u8], usize>::with_opaque_to(&order.topic, opaque)
        .payload(value.as_bytes())
        .timestamp(at);
    while let Err((_, back)) = producer.send(record) {
        thread::sleep(TURN);
        record = back;
    }
}

/// An event of the usual size: 250 bytes.
fn value(order: &Order, number: u64) -> String {
    let project = order.first_project + number % order.projects;
    format!(
        "{{\"event_id\":\"e{number}\",\"project_id\":\"p{project}\",\"event\":\"{}\",\"time\":1760090581,\
         \"properties\":{{\"message_type\":\"email\",\"campaign_id\":245624,\"profile_id\":{number},\
         \"device_id\":\"0f4c1f9e2b7d4a55\",\"trigger_id\":99871,\"email\":\"jane.doe@example.com\"}}}}",
        order.event
    )
}
