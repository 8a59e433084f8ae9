//! `tintype-worker`: reads the settings, works, and says why it ended.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use tintype_process::{Metrics, Shutdown, bound_heaps, init_logs, raise_descriptor_limit, serve_metrics};
use tintype_store::open::{Opener, Stores};
use tintype_worker::{Converters, Settings, run, serve_as_converter};
use tokio::net::TcpListener;
use tracing::info;

fn main() -> ExitCode {
    if let Some(code) = serve_as_converter() {
        return code;
    }
    match work(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tintype-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(settings: &Settings) -> anyhow::Result<()> {
    bound_heaps();
    init_logs(settings.log_format, &settings.log).map_err(anyhow::Error::msg)?;
    raise_descriptor_limit();
    let config = settings.stores.config()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let worked = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals()?;
        if let Some(address) = settings.metrics_addr {
            let listener = TcpListener::bind(address).await.with_context(|| format!("metrics address {address}"))?;
            info!("metrics are at http://{}/metrics", listener.local_addr()?);
            serve_metrics(listener, Metrics::start()?, &shutdown);
        }
        let worker = settings.worker();
        let converters = Converters::start(&worker).await?;
        let stores = tokio::select! {
            opened = Stores::open(&config, Opener::Worker) => opened.context("cannot open the stores")?,
            () = shutdown.draining() => return Ok(()),
        };
        shutdown.spawn(run(stores, worker, converters, shutdown.clone()));
        shutdown.drained(Duration::from_secs(settings.grace_secs)).await;
        Ok(())
    });
    // With `--sandbox off` a conversion that does not end is on a thread that nobody can end.
    runtime.shutdown_background();
    worked
}
