//! What librdkafka tells a group's consumer, kept until its thread asks.
//!
//! A rebalance is only noted in the callback. The thread that polls takes it up right after the poll, in straight
//! code that may drain and commit (ADR 1); librdkafka waits for its assign or unassign.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use tracing::{error, warn};

use super::lag::Extent;
use crate::kafka::trouble::{Trouble, mend};

/// The polling consumer of a group.
pub(super) type GroupConsumer = BaseConsumer<GroupContext>;

/// How far each partition's log reaches: `(topic, partition) -> extent`.
pub(super) type Extents = BTreeMap<(String, i32), Extent>;

/// A change of the assignment that waits to be carried out.
#[derive(Debug)]
pub(super) enum Rebalance {
    /// Partitions are given to this member.
    Assign(TopicPartitionList),
    /// Partitions are to be given up, in order.
    Revoke(TopicPartitionList),
    /// Partitions are gone: another member may have them already.
    Lost(TopicPartitionList),
}

/// The notes of the callbacks.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupContext(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    rebalances: Mutex<VecDeque<Rebalance>>,
    extents: Mutex<Extents>,
    /// The group has come to rest with this member in it.
    is_member: AtomicBool,
    /// The thread polls no more: what is revoked is given up in the callback.
    closing: AtomicBool,
    trouble: Trouble,
}

impl GroupContext {
    /// The next change to be carried out.
    pub(super) fn take_rebalance(&self) -> Option<Rebalance> {
        self.0.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The extents that came with the last statistics, if there are new ones.
    pub(super) fn take_extents(&self) -> Extents {
        std::mem::take(&mut *self.0.extents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this member has ever been part of the group. One for whom no partition is left is told of none.
    pub(super) fn is_member(&self) -> bool {
        self.0.is_member.load(Ordering::Acquire)
    }

    /// Says what went wrong, unless that was said just now.
    pub(super) fn warn(&self, error: &KafkaError, reason: &str) {
        if let Some(unsaid) = self.0.trouble.occurs(Instant::now()) {
            let mend = mend(error);
            warn!(%error, reason, mend, unsaid, "the connection to Kafka has trouble; it is tried again");
        }
    }

    /// From now on nobody takes rebalances.
    pub(super) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for GroupContext {
    fn stats(&self, statistics: Statistics) {
        if statistics.cgrp.is_some_and(|group| group.join_state == "steady") {
            self.0.is_member.store(true, Ordering::Release);
        }
        let mut extents = self.0.extents.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, details) in statistics.topics {
            for (number, partition) in details.partitions {
                if number >= 0 && partition.hi_offset >= 0 {
                    let is_read =
                        partition.next_offset >= partition.hi_offset && partition.fetchq_cnt == 0;
                    let extent = Extent {
                        beginning: partition.lo_offset,
                        end: partition.hi_offset,
                        fetched: partition.next_offset,
                        is_read,
                    };
                    extents.insert((topic.clone(), number), extent);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.warn(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let list = partitions.clone();
        let rebalance = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assign(list)
        } else if consumer.assignment_lost() {
            Rebalance::Lost(list)
        } else {
            Rebalance::Revoke(list)
        };
        if self.0.closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                error!(%error, "the last partitions cannot be given up");
            }
            return;
        }
        self.0.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}
