use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Bounds of the buckets of every histogram, in seconds: from a look-up to the longest conversion.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// How often what was measured is put into its buckets, so that nothing piles up while nobody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Everything that this process has measured. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// What a metric is: `OPERATIONS.md` lists the same.
struct Metric(&'static str, Unit, &'static str);

const COUNTERS: [Metric; 8] = [
    Metric("tintype_calls_total", Unit::Count, "Calls that ended, by method and code"),
    Metric("tintype_sent_bytes_total", Unit::Bytes, "Bytes of answers handed to the network, by method"),
    Metric("tintype_received_bytes_total", Unit::Bytes, "Bytes of requests that arrived, by method"),
    Metric("tintype_connections_refused_total", Unit::Count, "Connections closed at once, by the limit that left no place"),
    Metric("tintype_calls_cut_off_total", Unit::Count, "Calls ended by the server, by reason"),
    Metric("tintype_conversions_total", Unit::Count, "Attempts at a rendition that ended, by outcome"),
    Metric("tintype_sweeps_total", Unit::Count, "Sweeps, by outcome"),
    Metric("tintype_swept_total", Unit::Count, "Things that sweeps settled, by what they were"),
];
const GAUGES: [Metric; 6] = [
    Metric("tintype_calls_open", Unit::Count, "Calls under way, by method"),
    Metric("tintype_connections_open", Unit::Count, "Open connections"),
    Metric("tintype_dependency_up", Unit::Count, "1 while it answers, 0 while it does not: catalog, blobs, jobs"),
    Metric("tintype_workers_alive", Unit::Count, "Workers that gave a sign of life of late"),
    Metric("tintype_pending_renditions", Unit::Count, "Renditions that wait for a worker"),
    Metric("tintype_oldest_pending_seconds", Unit::Seconds, "Age of the one that has waited longest"),
];
const HISTOGRAMS: [Metric; 2] = [
    Metric("tintype_call_seconds", Unit::Seconds, "How long calls took, by method"),
    Metric("tintype_conversion_seconds", Unit::Seconds, "How long attempts at a rendition took, by outcome"),
];

impl Metrics {
    /// Of what [`render`](Self::render) returns.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Measures from now on, for the whole process; can be done once. Must be called within a Tokio runtime.
    pub fn start() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?;
        for Metric(name, unit, text) in COUNTERS {
            describe_counter!(name, unit, text);
        }
        for Metric(name, unit, text) in GAUGES {
            describe_gauge!(name, unit, text);
        }
        for Metric(name, unit, text) in HISTOGRAMS {
            describe_histogram!(name, unit, text);
        }
        let upkeep = handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                upkeep.run_upkeep();
            }
        });
        Ok(Self(handle))
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        self.0.render()
    }
}
