use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use clap::Parser;
use tintype_process::LogFormat;
use tintype_store::{
    ConversionLimits,
    args::{LimitArgs, StoreArgs},
};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Conversions at once.
    pub slots: usize,
    /// How long a rendition is held without a sign of life; renewed three times as often.
    pub lease: Duration,
    /// How often the worker says that it is there.
    pub heartbeat: Duration,
    /// What a conversion may take.
    pub limits: ConversionLimits,
}

impl Default for WorkerConfig {
    /// A slot for each core.
    fn default() -> Self {
        Self {
            slots: available_parallelism().map_or(1, NonZeroUsize::get),
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            limits: ConversionLimits::default(),
        }
    }
}

/// Tintype's worker: makes renditions for a server elsewhere, as many workers as you like.
#[derive(Debug, Parser)]
#[command(name = "tintype-worker", version, max_term_width = 120)]
pub struct Settings {
    /// The stores, the same as the server's. What is inside another process cannot be shared: the catalog has to be `postgres://…` and the
    /// queue `nats://…`.
    #[command(flatten)]
    pub stores: StoreArgs,

    /// Conversions at once. Default: one for each core.
    #[arg(long, env = "TINTYPE_SLOTS", value_name = "N")]
    pub slots: Option<NonZeroUsize>,

    /// How long conversions under way may go on after SIGTERM, in seconds.
    #[arg(long, env = "TINTYPE_GRACE_SECS", default_value_t = 30, value_name = "SECONDS")]
    pub grace_secs: u64,

    /// What is logged: `level` or a list of `target=level`.
    #[arg(long, env = "TINTYPE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How it is logged: `text` or `json`.
    #[arg(long, env = "TINTYPE_LOG_FORMAT", default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What a conversion may take.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl Settings {
    /// The settings of the worker itself.
    pub fn worker(&self) -> WorkerConfig {
        let defaults = WorkerConfig::default();
        WorkerConfig { slots: self.slots.map_or(defaults.slots, NonZeroUsize::get), limits: self.limits.limits(), ..defaults }
    }
}
