use std::{net::SocketAddr, num::NonZeroUsize, thread::available_parallelism, time::Duration};

use clap::{Args, Parser, ValueEnum};
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
    /// How conversions are contained.
    pub sandbox: Sandbox,
    /// Memory for all conversions together, in bytes. `None`: that of one for each slot, but at most half of what this process can have.
    pub budget_bytes: Option<u64>,
}

/// What happens where conversions cannot be kept in processes of their own, without files and network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// Warn and do what can be done.
    Auto,
    /// Refuse to start.
    Require,
    /// Convert inside this process, whatever the system could do.
    Off,
}

/// How conversions are contained, the same for workers and for servers with workers inside.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Conversions")]
pub struct ConverterArgs {
    /// Whether conversions must be contained: in processes without files and network, with limits. Default: `require` for
    /// tintype-worker, `auto` for the workers inside a server.
    #[arg(long, env = "TINTYPE_SANDBOX", value_name = "MODE", value_enum)]
    sandbox: Option<Sandbox>,

    /// Memory in bytes that all conversions may take together; those that find none wait. Default: `--conversion-bytes` for each
    /// conversion at once, at most half of the memory of the machine or the container.
    #[arg(long, env = "TINTYPE_CONVERSION_BUDGET_BYTES", value_name = "N")]
    conversion_budget_bytes: Option<u64>,
}

impl ConverterArgs {
    /// The settings applied to `config`, whose `sandbox` is the default.
    pub fn applied_to(&self, config: WorkerConfig) -> WorkerConfig {
        WorkerConfig { sandbox: self.sandbox.unwrap_or(config.sandbox), budget_bytes: self.conversion_budget_bytes, ..config }
    }
}

impl Default for WorkerConfig {
    /// A slot for each core, contained as far as the system can.
    fn default() -> Self {
        Self {
            slots: available_parallelism().map_or(1, NonZeroUsize::get),
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            limits: ConversionLimits::default(),
            sandbox: Sandbox::Auto,
            budget_bytes: None,
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

    /// Address on which metrics are told to whoever asks for `/metrics`, in plain HTTP. Default: nowhere.
    #[arg(long, env = "TINTYPE_METRICS_ADDR", value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// How long conversions under way may go on after SIGTERM, in seconds.
    #[arg(long, env = "TINTYPE_GRACE_SECS", default_value_t = 30, value_name = "SECONDS")]
    pub grace_secs: u64,

    /// What is logged: `level` or a list of `target=level`.
    #[arg(long, env = "TINTYPE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How it is logged: `text` or `json`.
    #[arg(long, env = "TINTYPE_LOG_FORMAT", default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// How conversions are contained.
    #[command(flatten)]
    pub converters: ConverterArgs,

    /// What a conversion may take.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl Settings {
    /// The settings of the worker itself.
    pub fn worker(&self) -> WorkerConfig {
        let defaults = WorkerConfig::default();
        let slots = self.slots.map_or(defaults.slots, NonZeroUsize::get);
        self.converters.applied_to(WorkerConfig { slots, limits: self.limits.limits(), sandbox: Sandbox::Require, ..defaults })
    }
}
