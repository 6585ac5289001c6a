//! The load: writes events at a steady rate; each is acknowledged before it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::campaign::EventNo;
use crate::observation::Observation;

const TURN: Duration = Duration::from_millis(10);
/// Longer than any fault of the broker lasts.
const FLUSH: Duration = Duration::from_secs(300);

struct Acknowledged {
    observed: Sender<Observation>,
    acknowledged: Arc<AtomicU32>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            let _ = self.observed.send(Observation::Acknowledged);
        }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU32>,
    thread: JoinHandle<()>,
}

impl Load {
    pub fn start(bootstrap: &str, topic: String, rate: u32, observed: Sender<Observation>) -> Self {
        let acknowledged = Arc::<AtomicU32>::default();
        let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "300000")
            .set("message.max.bytes", "2000000")
            .set("linger.ms", "5")
            .set("log_level", "2")
            .create_with_context(Acknowledged { observed, acknowledged: Arc::clone(&acknowledged) })
            .expect("a producer");
        let (stop, pause) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let held = (Arc::clone(&stop), Arc::clone(&pause));
        let thread = thread::spawn(move || {
            let (stop, pause) = held;
            let mut next = 0;
            let mut due = 0.0;
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                thread::park_timeout(TURN);
                let elapsed = std::mem::replace(&mut last, Instant::now()).elapsed();
                if pause.load(Ordering::Relaxed) {
                    continue;
                }
                due += elapsed.as_secs_f64() * f64::from(rate);
                while due >= 1.0 {
                    due -= 1.0;
                    send(&producer, &topic, EventNo(next));
                    next += 1;
                }
            }
            producer.flush(FLUSH).expect("the broker takes what is left");
        });
        Self { stop, pause, acknowledged, thread }
    }

    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Stops when all that was sent is acknowledged or refused. Answers how many events are acknowledged.
    pub fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

fn send(producer: &ThreadedProducer<Acknowledged>, topic: &str, event: EventNo) {
    let (key, value) = (event.0.to_string(), event.value());
    let mut record = BaseRecord::to(topic).key(&key);
    record.payload = value.as_ref();
    while let Err((_, back)) = producer.send(record) {
        thread::park_timeout(TURN);
        record = back;
    }
}
