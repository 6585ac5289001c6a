//! All that Prometheus may know, in one struct. The doc comment of a field is its help text.
//!
//! Labels are bounded: a reason, a tier, a partition; never a URL or an event, and a connection only where the operator
//! has listed it. Counting happens at the edges and in the driver, around the engine.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Seconds, from a fast endpoint's answer to the longest timeout.
const ATTEMPT_BUCKETS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];
/// Seconds, from at once to the last tier.
const AGE_BUCKETS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0,
    172_800.0,
];

macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ty = $make:ident($($argument:expr)?); )*) => {
        /// The families, each registered.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $( #[doc = $help] pub $field: $kind, )*
        }

        impl Metrics {
            /// Registers every family.
            ///
            /// # Errors
            /// Never with the families as they stand: a name that stood twice would be one.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let name = concat!("barnabas_", stringify!($field));
                    let $field = $make(name, $help.trim() $(, $argument)?)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                registry.register(Box::new(ProcessCollector::for_self()))?;
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

metrics! {
    /// Event records read.
    events_consumed_total: IntCounter = counter();
    /// Event records that nobody can have subscribed to, by reason.
    events_skipped_total: IntCounterVec = counters(&["reason"]);
    /// Events that no connection wanted.
    events_unmatched_total: IntCounter = counter();
    /// Deliveries that ended here, by outcome: delivered, retried, parked, dead_lettered, dropped, abandoned.
    deliveries_total: IntCounterVec = counters(&["outcome"]);
    /// Attempts made, by outcome and class of the answer's status.
    attempts_total: IntCounterVec = counters(&["outcome", "status_class"]);
    /// Seconds that an attempt took.
    attempt_duration_seconds: Histogram = histogram(&ATTEMPT_BUCKETS);
    /// Seconds from the event's record to the 2xx answer.
    delivery_age_seconds: Histogram = histogram(&AGE_BUCKETS);
    /// Seconds from the time at which an attempt was due, and its connection's own limits allowed it, to its start.
    dispatch_delay_seconds: Histogram = histogram(&AGE_BUCKETS);
    /// Deliveries that a retry tier has acknowledged, by the tier's delay.
    retries_scheduled_total: IntCounterVec = counters(&["tier"]);
    /// Records that the dead letters have acknowledged, by reason.
    dead_letters_total: IntCounterVec = counters(&["reason"]);
    /// Dead letters that were put back into a tier by somebody.
    dead_letters_redriven_total: IntCounter = counter();
    /// Deliveries that nobody wanted any more, by reason.
    deliveries_dropped_total: IntCounterVec = counters(&["reason"]);
    /// Connections that were deactivated by the service, by reason.
    deactivations_total: IntCounterVec = counters(&["reason"]);
    /// Attempts under way.
    in_flight: IntGauge = gauge();
    /// Lanes by state.
    lanes: IntGaugeVec = gauges(&["state"]);
    /// Deliveries that wait in the lanes.
    queued_deliveries: IntGauge = gauge();
    /// Connections by status.
    connections: IntGaugeVec = gauges(&["status"]);
    /// Connection records that were refused; the previous revision stays in force.
    connection_records_refused_total: IntCounter = counter();
    /// New contents of the keyring file, by result: changed, refused.
    keyring_reloads_total: IntCounterVec = counters(&["result"]);
    /// Open breakers.
    breakers_open: IntGauge = gauge();
    /// Attempts that the egress guard refused, by reason.
    egress_denied_total: IntCounterVec = counters(&["reason"]);
    /// Records that are not settled, by topic and partition.
    kafka_lag_records: IntGaugeVec = gauges(&["topic", "partition"]);
    /// Age in seconds of the oldest record that is not settled, by topic; in a retry tier counted from when it was due.
    kafka_lag_seconds: IntGaugeVec = gauges(&["topic"]);
    /// When the first delivery that waits in a retry tier is due, in UNIX seconds, by topic; 0 where none waits.
    kafka_next_due_timestamp_seconds: IntGaugeVec = gauges(&["topic"]);
    /// Partitions that this instance owns, by what they hold: events, retries.
    kafka_assigned_partitions: IntGaugeVec = gauges(&["source"]);
    /// Deliveries in memory that are not settled, by where they were read: events, retries.
    open_deliveries: IntGaugeVec = gauges(&["source"]);
    /// Bytes of the events of these deliveries.
    open_bytes: IntGaugeVec = gauges(&["source"]);
    /// Rebalances, by kind: assigned, revoked, lost.
    kafka_rebalances_total: IntCounterVec = counters(&["kind"]);
    /// Commits that failed; each is repeated.
    commit_failures_total: IntCounter = counter();
    /// Records that the broker deleted before they were read, by topic: its retention is shorter than the delay.
    kafka_records_expired_total: IntCounterVec = counters(&["topic"]);
    /// Deliveries whose partition was gone before they were settled: they may arrive twice.
    possible_duplicates_total: IntCounter = counter();
    /// Records that could not be written at first; each is repeated.
    produce_failures_total: IntCounter = counter();
    /// Attempts that are missing in the attempt log: its queue was full, or the broker away.
    attempt_log_dropped_total: IntCounter = counter();
    /// Spans that are missing in the traces: the exporter's queue was full, or the collector away.
    spans_dropped_total: IntCounter = counter();
    /// Whether the connections were read to their end.
    table_ready: IntGauge = gauge();
    /// What readiness is made of, by check: 1 where it is fulfilled.
    ready: IntGaugeVec = gauges(&["check"]);
    /// As deliveries_total, for the connections of telemetry.connections.
    connection_deliveries_total: IntCounterVec = counters(&["connection", "outcome"]);
    /// As queued_deliveries, for the connections of telemetry.connections.
    connection_queued_deliveries: IntGaugeVec = gauges(&["connection"]);
    /// As in_flight, for the connections of telemetry.connections.
    connection_in_flight: IntGaugeVec = gauges(&["connection"]);
    /// Whether the breaker is open, for the connections of telemetry.connections.
    connection_breaker_open: IntGaugeVec = gauges(&["connection"]);
    /// Always 1, with the version.
    build_info: IntGaugeVec = gauges(&["version"]);
}

impl Metrics {
    /// All families in Prometheus' text format.
    ///
    /// # Errors
    /// If a family cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// The counters of one label's values, looked up once; each is shown from the start, as 0.
#[derive(Debug)]
pub struct Labelled(Vec<(&'static str, IntCounter)>);

impl Labelled {
    /// One for each of these values.
    pub fn new(
        values: impl IntoIterator<Item = &'static str>,
        counter: impl Fn(&'static str) -> IntCounter,
    ) -> Self {
        Self(values.into_iter().map(|value| (value, counter(value))).collect())
    }

    /// Counts one of that value.
    pub fn inc(&self, value: &str) {
        let counter = self.0.iter().find(|(known, _)| *known == value);
        debug_assert!(counter.is_some(), "{value} is not among the label's values");
        if let Some((_, counter)) = counter {
            counter.inc();
        }
    }
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounter> {
    IntCounter::new(name, help)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGauge> {
    IntGauge::new(name, help)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_the_contract_is_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.events_consumed_total.inc();
        metrics.deliveries_total.with_label_values(&["delivered"]).inc();
        let text = metrics.render().unwrap();
        assert!(text.contains("barnabas_events_consumed_total 1"), "{text}");
        assert!(text.contains("barnabas_deliveries_total{outcome=\"delivered\"} 1"));
        assert!(text.contains("# HELP barnabas_in_flight Attempts under way."));
        assert!(text.contains("process_cpu_seconds_total"));
    }
}
