//! Settings: one clap struct, whose `--help` is the reference.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, builder::TypedValueParser};
use secrecy::SecretString;
use tintype_process::LogFormat;
use tintype_store::{
    Format, NewUser,
    args::{LimitArgs, StoreArgs},
};

use crate::limits::Limits;

/// Tintype's server: stores images, has them converted, streams them back.
#[derive(Debug, Parser)]
#[command(name = "tintype-server", version, max_term_width = 120)]
pub struct Config {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) stores: StoreArgs,

    /// Address of the gRPC port.
    #[arg(long, env = "TINTYPE_GRPC_ADDR", default_value = "127.0.0.1:50051", value_name = "ADDR")]
    pub(crate) grpc_addr: SocketAddr,

    /// Address of the HTTP port: REST, gRPC-Web, /healthz and /metrics.
    #[arg(long, env = "TINTYPE_HTTP_ADDR", default_value = "127.0.0.1:7771", value_name = "ADDR", global = true)]
    pub(crate) http_addr: SocketAddr,

    /// Where clients find the HTTP port, for the links that lead to it: `https://images.example.org`, with a path before which a proxy puts
    /// nothing else. Default: the address of the HTTP port.
    #[arg(long, env = "TINTYPE_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<String>,

    #[arg(skip)]
    pub(crate) admin_password: Option<SecretString>,

    /// File with the password of the user `admin`, used once, when the catalog has no user yet; or set `TINTYPE_ADMIN_PASSWORD` to the
    /// password itself. Default: the development password, on loopback only.
    #[arg(long, env = "TINTYPE_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    admin_password_file: Option<PathBuf>,

    #[arg(long, env = "TINTYPE_ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    admin_password_value: Option<String>,

    /// Allows the development password and plaintext on any address: set to 1 by the compose file, never in production.
    #[arg(long, env = "TINTYPE_DEV", action = clap::ArgAction::SetTrue, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) dev: bool,

    /// PEM file with the server's certificate chain; with it both ports speak TLS only. All TLS files are read again when they change.
    #[arg(long, env = "TINTYPE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key.
    #[arg(long, env = "TINTYPE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// PEM file with the authorities whose client certificates are asked for: with it both ports let in only who has one. Tokens are needed all
    /// the same.
    #[arg(long, env = "TINTYPE_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Conversions at once inside this process. Default: one for each core with `local:`, none with `nats:`.
    #[arg(long, env = "TINTYPE_EMBEDDED_WORKERS", value_name = "N")]
    pub(crate) embedded_workers: Option<usize>,

    /// Formats that every image gets, apart from the one it has.
    #[arg(long, env = "TINTYPE_AUTO_FORMATS", default_value = "jpeg,png", value_delimiter = ',', value_name = "FORMATS")]
    pub(crate) auto_formats: Vec<Format>,

    /// How long open calls may go on after SIGTERM, in seconds.
    #[arg(long, env = "TINTYPE_GRACE_SECS", default_value_t = 30, value_name = "SECONDS")]
    grace_secs: u64,

    /// What is logged: `level` or a list of `target=level`.
    #[arg(long, env = "TINTYPE_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,

    /// How it is logged: `text` or `json`.
    #[arg(long, env = "TINTYPE_LOG_FORMAT", default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    #[cfg(feature = "embedded")]
    #[command(flatten)]
    pub(crate) converters: tintype_worker::ConverterArgs,

    #[command(flatten)]
    limits: ServerLimitArgs,
}

/// What the binary does besides serving.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(crate) enum Command {
    /// Asks the server on the HTTP port, in plain HTTP, whether it serves; exit code 0 when it does. For container health checks.
    Healthcheck,
    /// Lets the user `admin` in again: gives it a new password, printed once unless `TINTYPE_ADMIN_PASSWORD` sets it, makes it an
    /// administrator who is not disabled, and revokes its tokens. A server with a SQLite catalog must be stopped meanwhile.
    ResetAdmin,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct ServerLimitArgs {
    #[command(flatten)]
    conversion: LimitArgs,
    /// Open streams of one connection.
    #[arg(long, env = "TINTYPE_MAX_STREAMS", default_value_t = 100, value_name = "N")]
    max_streams_per_connection: u32,
    /// How long a client may be silent while the server waits for it to send more of a request or to take more of an answer, in seconds.
    #[arg(long, env = "TINTYPE_STREAM_IDLE_SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    stream_idle_secs: u64,
    /// Bytes a second that a client must send or take while the server waits for it, over each time of `--stream-idle-secs`; 0: any.
    #[arg(long, env = "TINTYPE_MIN_STREAM_BYTES_PER_SECOND", default_value_t = 128, value_name = "N")]
    min_stream_bytes_per_second: u64,
    /// Calls under way at once; more are refused with UNAVAILABLE. Watches, which have a bound of their own, and health do not count.
    #[arg(long, env = "TINTYPE_MAX_CALLS", default_value_t = 1_000, value_parser = at_least_one(), value_name = "N")]
    max_calls: usize,
    /// Calls of one user under way at once, with watches; more are refused, so that none takes every place.
    #[arg(long, env = "TINTYPE_MAX_CALLS_PER_USER", default_value_t = 750, value_parser = at_least_one(), value_name = "N")]
    max_calls_per_user: usize,
    /// Open connections of both ports; more are closed at once.
    #[arg(long, env = "TINTYPE_MAX_CONNECTIONS", default_value_t = 4_096, value_parser = at_least_one(), value_name = "N")]
    max_connections: usize,
    /// Open connections from one address (IPv6: one /64); more are closed at once. Raise it behind a proxy, from which everything comes.
    #[arg(long, env = "TINTYPE_MAX_CONNECTIONS_PER_SOURCE", default_value_t = 1_024, value_parser = at_least_one(), value_name = "N")]
    max_connections_per_source: usize,
    /// How long a connection may be without a call before it is closed, in seconds; one of HTTP/1.1 at most 10.
    #[arg(long, env = "TINTYPE_CONNECTION_IDLE_SECS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    connection_idle_secs: u64,
    /// How long `wait` holds a download, in seconds.
    #[arg(long, env = "TINTYPE_MAX_WAIT_SECS", default_value_t = 300, value_name = "SECONDS")]
    max_wait_secs: u64,
    /// Quota in bytes of users for whom no other is said.
    #[arg(long, env = "TINTYPE_USER_QUOTA_BYTES", default_value_t = NewUser::DEFAULT_QUOTA_BYTES, value_name = "N",
          value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    user_quota_bytes: u64,
    /// Calls of one user that this server lets through in a second over time; 0: as many as come.
    #[arg(long, env = "TINTYPE_REQUESTS_PER_SECOND", default_value_t = 50, value_name = "N")]
    requests_per_second: u32,
    /// Calls of one user that this server lets through at once after a pause.
    #[arg(long, env = "TINTYPE_REQUEST_BURST", default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    request_burst: u32,
    /// Renditions of one image beyond which none can be asked for.
    #[arg(long, env = "TINTYPE_MAX_RENDITIONS_PER_IMAGE", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    max_renditions_per_image: u32,
    /// How long what is durable of an unfinished upload is kept after the last of it arrived, in seconds.
    #[arg(long, env = "TINTYPE_UPLOAD_EXPIRY_SECS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    upload_expiry_secs: u64,
    /// How long a watch is silent at most, in seconds.
    #[arg(long, env = "TINTYPE_WATCH_HEARTBEAT_SECS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    watch_heartbeat_secs: u64,
}

/// What can stand before the path of a link.
fn public_url(text: &str) -> Result<String, String> {
    let uri: axum::http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
        return Err("must begin with http:// or https:// and have no query".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A count that may not be zero.
fn at_least_one() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(1..).map(|count| count as usize)
}

impl Config {
    /// Reads flags and environment, and the files that they name.
    pub fn load() -> anyhow::Result<Self> {
        let mut config = Self::parse();
        config.admin_password = match (&config.admin_password_file, config.admin_password_value.take()) {
            (Some(file), _) => {
                let text = fs::read_to_string(file).map_err(|error| anyhow::anyhow!("admin password file {}: {error}", file.display()))?;
                Some(text.trim_end_matches(['\r', '\n']).into())
            }
            (None, value) => value.map(Into::into),
        };
        Ok(config)
    }

    /// How long open calls may go on after the signal to stop.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_secs)
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> Limits {
        let limits = &self.limits;
        Limits {
            conversion: limits.conversion.limits(),
            max_streams_per_connection: limits.max_streams_per_connection,
            stream_idle: Duration::from_secs(limits.stream_idle_secs),
            min_stream_bytes_per_second: limits.min_stream_bytes_per_second,
            max_calls: limits.max_calls,
            max_calls_per_user: limits.max_calls_per_user,
            max_connections: limits.max_connections,
            max_connections_per_source: limits.max_connections_per_source,
            connection_idle: Duration::from_secs(limits.connection_idle_secs),
            max_wait: Duration::from_secs(limits.max_wait_secs),
            user_quota_bytes: limits.user_quota_bytes,
            requests_per_second: limits.requests_per_second,
            request_burst: limits.request_burst,
            max_renditions_per_image: limits.max_renditions_per_image,
            upload_expiry: Duration::from_secs(limits.upload_expiry_secs),
            watch_heartbeat: Duration::from_secs(limits.watch_heartbeat_secs),
        }
    }

    /// Whether any port can be reached from another machine.
    pub(crate) fn is_public(&self) -> bool {
        !(self.grpc_addr.ip().is_loopback() && self.http_addr.ip().is_loopback())
    }
}
