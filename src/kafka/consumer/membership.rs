//! How a consumer becomes a member of its group, and how it becomes one anew when the group has put it out.
//!
//! A static member whose session ran out, for the broker or it was away for too long, joins again under its name. A
//! commit that was under way bears its former id; the broker takes it for a second bearer of the name, and librdkafka
//! gives the whole consumer up. That is no reason to end: a new consumer takes the name back and goes on from what is
//! committed. If it is put out again soon, somebody else really has the name, and one of the two must end.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use tracing::warn;

use super::committer::Committer;
use super::context::{GroupConsumer, GroupContext};
use super::waker::Waker;
use super::{ConsumerError, Reader};

/// Put out twice within that time, it ends. Two bearers of a name put each other out in turn, with each heartbeat.
const AGAIN: Duration = Duration::from_secs(30);

/// A consumer that wakes the polling thread. It is no member before it subscribes.
pub(super) fn connect(
    config: &ClientConfig,
    context: &GroupContext,
    waker: &Waker,
) -> Result<GroupConsumer, KafkaError> {
    let mut consumer: GroupConsumer = config.create_with_context(context.clone())?;
    let waker = waker.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    Ok(consumer)
}

/// Asks the group for partitions of these topics.
pub(super) fn join(consumer: &GroupConsumer, topics: &[String]) -> Result<(), ConsumerError> {
    let names: Vec<_> = topics.iter().map(String::as_str).collect();
    consumer
        .subscribe(&names)
        .map_err(|source| ConsumerError::Start { topics: topics.join(", "), source })
}

impl Reader {
    /// Becomes a member anew, if it was not put out a moment ago.
    pub(super) fn begin_anew(&mut self, error: KafkaError) -> Result<(), ConsumerError> {
        let now = self.clock.now();
        if self.put_out_at.is_some_and(|last| now.since(last) < AGAIN) {
            return Err(ConsumerError::Fatal(error));
        }
        self.put_out_at = Some(now);
        warn!(%error, source = ?self.source, "the group has put this member out; it joins anew");
        self.metrics.kafka_rebalances_total.with_label_values(&["lost"]).inc();
        let partitions: Vec<_> = self.desk.intake().assignment().map(|(one, _)| one).collect();
        self.abandon(&partitions);
        self.update_share();

        let (context, waker) = (GroupContext::default(), self.waker.clone());
        let start_error = |source| ConsumerError::Start { topics: self.topics.join(", "), source };
        let consumer = Arc::new(connect(&self.config, &context, &waker).map_err(start_error)?);
        // The former one must be gone before the new one takes its name.
        self.context.close();
        self.queues.clear();
        self.committer = Committer::start(&consumer, self.topics.clone(), waker)?;
        self.consumer = consumer;
        self.context = context;
        join(&self.consumer, &self.topics)
    }
}
