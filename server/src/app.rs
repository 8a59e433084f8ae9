//! From settings to a running server, and back to an end.

use std::{iter, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use metrics::{counter, gauge};
use tintype_process::{Metrics, Shutdown};
use tintype_store::{
    Presence, Schemes, Timestamp,
    open::{JobsUrl, Opener, Stores},
    orphans::OrphanSweeper,
    sweep::{SweepConfig, SweepReport, sweep},
};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tonic_health::server::{HealthReporter, HealthService};

use crate::{
    admin,
    auth::{Authorizer, Crowd, Gate, Passwords, Rates, Sessions, Throttle, Tokens},
    calls::{Bounds, Patience},
    changes::Changes,
    config::Config,
    core::{Core, SharedCore},
    events, faces,
    health::watch_health,
    http,
    limits::Limits,
    links::Links,
    port::{Places, Port, Tls, TlsFiles},
    status::Chain,
    usage::Usage,
    welcome,
};

/// Serves until `shutdown` drains. Errors are those of the start.
pub(crate) async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let tls = tls(&config, &shutdown)?;
    if config.is_public() && tls.is_none() && !config.dev {
        bail!(
            "refusing to serve plaintext on {} and {}: give --tls-cert and --tls-key, listen on a loopback address, or set TINTYPE_DEV=1",
            config.grpc_addr,
            config.http_addr
        );
    }
    let metrics = Metrics::start()?;
    let started_at = Timestamp::now();
    let limits = config.limits();
    let store_config = config.stores.config()?;
    let stores = tokio::select! {
        opened = Stores::open(&store_config, Opener::Server) => opened?,
        () = shutdown.draining() => return Ok(()),
    };
    let passwords = Passwords::new().map_err(admin::refused)?;
    let sign_in = admin::admit(&config, &*stores.catalog, &passwords).await?;
    if stores.exclusive {
        let voided = stores.catalog.void_leases(Timestamp::now()).await?;
        tracing::debug!(voided, "leases of an earlier run are void");
    }

    let core = Arc::new(Core {
        authorizer: Authorizer::new(stores.catalog.clone()),
        changes: Changes::follow(stores.catalog.clone(), &*stores.nudges, &shutdown).await?,
        links: Links::new(stores.catalog.clone(), config.public_url.clone()),
        passwords,
        throttle: Throttle::new(),
        usage: Usage::new(stores.catalog.clone()),
        limits,
        auto_formats: config.auto_formats.clone(),
        shutdown: shutdown.clone(),
        stores: stores.clone(),
        started_at,
        schemes: Schemes::from(&store_config),
        watches: Arc::new(Semaphore::new(Limits::MAX_WATCHES)),
        checks: Arc::new(Semaphore::new(Limits::MAX_CHECKS)),
    });
    let local_jobs = store_config.jobs == JobsUrl::Local;
    let presence = if core.stores.exclusive { Presence::always() } else { Presence::of(core.stores.catalog.clone()) };
    start_sweeper(&core, presence.clone(), local_jobs);
    events::start(&core);
    start_embedded_workers(&config, &core, local_jobs).await?;

    let reporter = HealthReporter::new();
    let health = watch_health(stores.clone(), reporter.clone(), &shutdown).await;
    let sessions = Sessions::default();
    sessions.watch(stores.catalog.clone());
    let rates = Rates::new(core.limits.requests_per_second, core.limits.request_burst);
    let crowd = Crowd::new(core.limits.max_calls_per_user);
    let gate = Gate { tokens: Tokens::new(stores.catalog.clone()), rates, crowd, sessions };
    let rest = http::routes(&core, &gate);
    let bounds = bounds(&core, presence);
    let grpc = faces::grpc_routes(&core, bounds.clone(), gate, HealthService::from_health_reporter(reporter))?;
    let http = faces::http_routes(grpc.clone(), rest, bounds, health, metrics);

    let grpc_listener = TcpListener::bind(config.grpc_addr).await.with_context(|| format!("gRPC address {}", config.grpc_addr))?;
    let http_listener = TcpListener::bind(config.http_addr).await.with_context(|| format!("HTTP address {}", config.http_addr))?;
    let addresses = welcome::Addresses { grpc: grpc_listener.local_addr()?, http: http_listener.local_addr()?, tls: tls.is_some() };
    core.links.listens_at(addresses.http_url());
    let places = Places::new(core.limits.max_connections, core.limits.max_connections_per_source);
    let port = |http1| Port::new(&core.limits, places.clone(), tls.clone(), http1, shutdown.clone());
    port(false).serve(grpc_listener, grpc);
    port(true).serve(http_listener, http);
    welcome::print(&addresses, &store_config, &sign_in);

    shutdown.drained(config.grace()).await;
    Ok(())
}

fn bounds(core: &Core, presence: Presence) -> Bounds {
    let limits = &core.limits;
    let patience = Patience { idle: limits.stream_idle, min_bytes_per_second: limits.min_stream_bytes_per_second };
    Bounds::new(limits.max_calls, patience, presence)
}

/// Sweeps at once and then in intervals. A queue inside this process starts empty, so the first sweep tells it of everything pending.
fn start_sweeper(core: &SharedCore, presence: Presence, local_jobs: bool) {
    let config = SweepConfig { max_attempts: core.limits.conversion.max_attempts, ..SweepConfig::default() };
    let config = config.keeping_uploads(core.limits.upload_expiry);
    let first = if local_jobs { SweepConfig { resend_after: Duration::ZERO, ..config.clone() } } else { config.clone() };
    let (stores, shutdown) = (core.stores.clone(), core.shutdown.clone());
    core.shutdown.spawn(async move {
        let mut orphans = OrphanSweeper::default();
        for config in iter::once(&first).chain(iter::repeat(&config)) {
            // What is cut off in the middle is found by the next sweep.
            let swept = presence.unless_away(sweep(&stores, config, Timestamp::now())).await;
            measure_sweep(swept.as_ref().ok());
            measure_queue(&stores, &presence).await;
            match swept {
                Ok(report) if report != SweepReport::default() => tracing::info!(?report, "swept"),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %Chain(&error), "a sweep was not complete"),
            }
            if let Err(error) = presence.unless_away(orphans.step(&stores, Timestamp::now())).await {
                tracing::warn!(error = %Chain(&error), "blobs without a row could not be looked for");
            }
            tokio::select! {
                () = sleep(config.interval) => {}
                () = shutdown.draining() => return,
            }
        }
    });
}

fn measure_sweep(report: Option<&SweepReport>) {
    counter!("tintype_sweeps_total", "outcome" => if report.is_some() { "complete" } else { "incomplete" }).increment(1);
    let Some(report) = report else { return };
    let settled = [
        ("expired_leases", report.expired_leases),
        ("resent", report.resent),
        ("removed_images", report.removed_images),
        ("removed_blobs", report.removed_blobs),
        ("removed_unpublished", report.removed_unpublished),
    ];
    for (what, count) in settled {
        counter!("tintype_swept_total", "what" => what).increment(count);
    }
}

/// While the catalog does not tell, what it told last stands.
async fn measure_queue(stores: &Stores, presence: &Presence) {
    let Ok(totals) = presence.unless_away(stores.catalog.totals()).await else { return };
    gauge!("tintype_pending_renditions").set(totals.pending_count as f64);
    let age = totals.pending_since.map_or(Duration::ZERO, |since| Timestamp::now().since(since));
    gauge!("tintype_oldest_pending_seconds").set(age.as_secs_f64());
}

#[cfg(feature = "embedded")]
async fn start_embedded_workers(config: &Config, core: &SharedCore, local_jobs: bool) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = config.embedded_workers.unwrap_or(if local_jobs { cores } else { 0 });
    if slots == 0 && local_jobs {
        bail!("with jobs on local: only embedded workers can convert; give --embedded-workers 1 or more, or a nats:// queue");
    }
    if slots > 0 {
        let worker = tintype_worker::WorkerConfig { slots, limits: core.limits.conversion.clone(), ..Default::default() };
        let worker = config.converters.applied_to(worker);
        let converters = tintype_worker::Converters::start(&worker).await?;
        core.shutdown.spawn(tintype_worker::run(core.stores.clone(), worker, converters, core.shutdown.clone()));
    }
    Ok(())
}

#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "with workers it waits for their converters")]
async fn start_embedded_workers(config: &Config, _core: &SharedCore, local_jobs: bool) -> anyhow::Result<()> {
    if local_jobs || config.embedded_workers.is_some_and(|slots| slots > 0) {
        bail!("this server is built without workers: give a nats:// queue with --jobs, and start tintype-worker beside it");
    }
    Ok(())
}

fn tls(config: &Config, shutdown: &Shutdown) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: config.tls_client_ca.clone() };
    Tls::follow(files, shutdown).map(Some)
}
