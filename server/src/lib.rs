//! Tintype's server: gRPC services, the HTTP face, sign-in, and the wiring of the stores.

mod admin;
mod app;
mod auth;
mod calls;
mod changes;
mod config;
mod core;
mod events;
mod faces;
mod health;
mod healthcheck;
mod http;
mod limits;
mod links;
mod port;
mod rpc;
#[cfg(all(test, feature = "embedded"))]
mod states;
mod status;
mod usage;
mod welcome;
mod wire;
mod wire_admin;
mod wire_edits;
mod wire_links;
mod wire_shares;
mod wire_verify;

use tintype_process::{Shutdown, bound_heaps, init_logs, raise_descriptor_limit};

pub use config::Config;
#[cfg(feature = "embedded")]
pub use tintype_worker::serve_as_converter;

/// Does what the settings say: serves until a signal ends it, asks a server for its health, or lets the admin in again.
pub fn main(config: Config) -> anyhow::Result<()> {
    if let Some(config::Command::Healthcheck) = config.command {
        return healthcheck::healthcheck(config.http_addr);
    }
    bound_heaps();
    init_logs(config.log_format, &config.log).map_err(anyhow::Error::msg)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(config::Command::ResetAdmin) = config.command {
        return runtime.block_on(admin::reset(&config));
    }
    let served = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals()?;
        app::run(config, shutdown).await
    });
    // With `--sandbox off` a conversion that hangs is on a thread that nobody can end but the end of the process.
    runtime.shutdown_background();
    served
}
