//! A producer with a thread that takes the broker's acknowledgements in.
//!
//! As rdkafka's own threaded producer, but its thread waits for a second at a time instead of a tenth: rdkafka's poll
//! hands librdkafka whole milliseconds, and spins through what is left of the last one. At ten waits a second that was
//! up to a hundredth of a core for each producer, with nothing to do. An acknowledgement ends a wait at once either way.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

/// How long a wait for acknowledgements is; the thread outlives its producer by so much at most.
const WAIT: Duration = Duration::from_secs(1);

/// The producer. Its context hears of every acknowledgement on the producer's own thread.
pub(super) struct PolledProducer<C: ProducerContext + 'static> {
    inner: Arc<BaseProducer<C>>,
    is_over: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> PolledProducer<C> {
    /// Makes the client and starts its thread.
    pub(super) fn new(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let inner: Arc<BaseProducer<C>> = Arc::new(config.create_with_context(context)?);
        let is_over = Arc::new(AtomicBool::new(false));
        let (polled, ends) = (Arc::clone(&inner), Arc::clone(&is_over));
        thread::Builder::new()
            .name("acknowledgements".to_owned())
            .spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    polled.poll(WAIT);
                }
            })
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { inner, is_over })
    }
}

impl<C: ProducerContext + 'static> Deref for PolledProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<C: ProducerContext + 'static> Drop for PolledProducer<C> {
    /// Nobody waits for the thread: what had to be written was flushed before.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError, Sender};

    use rdkafka::ClientContext;
    use rdkafka::message::DeliveryResult;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::BaseRecord;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    struct Heard(Sender<bool>);

    impl ClientContext for Heard {}

    impl ProducerContext for Heard {
        type DeliveryOpaque = ();

        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            let _ = self.0.send(result.is_ok());
        }
    }

    #[test]
    fn acknowledgements_are_heard_unasked_and_the_thread_ends_with_its_producer() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let (sender, heard) = mpsc::channel();
        let producer = PolledProducer::new(&config, Heard(sender)).unwrap();
        producer.send(BaseRecord::<(), str>::to("events").payload("one")).unwrap();
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(true));

        drop(producer);

        assert_eq!(heard.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}
