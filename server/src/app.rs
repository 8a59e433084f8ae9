//! From settings to a running server, and back to an end.

use std::{fs, iter, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use tintype_process::Shutdown;
use tintype_store::{
    Kind, NewUser, Role, Timestamp,
    catalog::Catalog,
    open::{JobsUrl, Opener, Stores},
    orphans::OrphanSweeper,
    sweep::{SweepConfig, SweepReport, sweep},
};
use tokio::{net::TcpListener, time::sleep};
use tonic::{
    service::Routes,
    transport::{Identity, server::TcpIncoming},
};
use tonic_health::server::{HealthReporter, HealthService};

use crate::{
    auth::{Authorizer, DEVELOPMENT_PASSWORD, Gate, Passwords, Tokens},
    changes::Changes,
    config::Config,
    core::{Core, SharedCore},
    faces,
    health::watch_health,
    limits::Limits,
    status::{Chain, Refusal},
    welcome,
};

/// Name of the first user.
pub(crate) const ADMIN: &str = "admin";

/// Serves until `shutdown` drains. Errors are those of the start.
pub(crate) async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let tls = identity(&config)?;
    if config.is_public() && tls.is_none() && !config.dev {
        bail!(
            "refusing to serve plaintext on {} and {}: give --tls-cert and --tls-key, listen on a loopback address, or set TINTYPE_DEV=1",
            config.grpc_addr,
            config.http_addr
        );
    }
    let limits = config.limits();
    let store_config = config.stores.config()?;
    let stores = tokio::select! {
        opened = Stores::open(&store_config, Opener::Server) => opened?,
        () = shutdown.draining() => return Ok(()),
    };
    let passwords = Passwords::new().map_err(refused)?;
    let sign_in = admit_admin(&config, &*stores.catalog, &passwords).await?;
    if stores.exclusive {
        let voided = stores.catalog.void_leases(Timestamp::now()).await?;
        tracing::debug!(voided, "leases of an earlier run are void");
    }

    let core = Arc::new(Core {
        authorizer: Authorizer::new(stores.catalog.clone()),
        changes: Changes::follow(stores.catalog.clone(), &shutdown).await?,
        passwords,
        limits,
        auto_formats: config.auto_formats.clone(),
        shutdown: shutdown.clone(),
        stores: stores.clone(),
    });
    let local_jobs = store_config.jobs == JobsUrl::Local;
    start_sweeper(&core, local_jobs);
    start_embedded_workers(&config, &core, local_jobs)?;

    let reporter = HealthReporter::new();
    let health = watch_health(stores.clone(), reporter.clone(), &shutdown).await;
    let gate = Gate { tokens: Tokens::new(stores.catalog.clone()) };
    let grpc = faces::grpc_routes(&core, gate, HealthService::from_health_reporter(reporter))?;
    let http = faces::http_routes(grpc.clone(), health);

    let grpc_listener = TcpListener::bind(config.grpc_addr).await.with_context(|| format!("gRPC address {}", config.grpc_addr))?;
    let http_listener = TcpListener::bind(config.http_addr).await.with_context(|| format!("HTTP address {}", config.http_addr))?;
    let addresses = welcome::Addresses { grpc: grpc_listener.local_addr()?, http: http_listener.local_addr()?, tls: tls.is_some() };
    serve(&core, grpc, grpc_listener, tls.as_ref(), false)?;
    serve(&core, http, http_listener, tls.as_ref(), true)?;
    welcome::print(&addresses, &store_config, &sign_in);

    shutdown.drained(config.grace()).await;
    Ok(())
}

/// Serves one port in the background until the server drains and its open calls have ended.
fn serve(core: &SharedCore, routes: axum::Router, listener: TcpListener, tls: Option<&Identity>, http1: bool) -> anyhow::Result<()> {
    let shutdown = core.shutdown.clone();
    let mut server = faces::server(&core.limits, tls)?.accept_http1(http1);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    core.shutdown.spawn(async move {
        let stop = shutdown.clone();
        let serving = server.add_routes(Routes::from(routes)).serve_with_incoming_shutdown(incoming, async move { stop.draining().await });
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!(error = %Chain(&error), "a port ended");
                    shutdown.drain();
                }
            }
            // Streams that never end by themselves, health watches among them.
            () = shutdown.stopping_at_once() => {}
        }
    });
    Ok(())
}

/// Sweeps at once and then in intervals. A queue inside this process starts empty, so the first sweep tells it of everything pending.
fn start_sweeper(core: &SharedCore, local_jobs: bool) {
    let config = SweepConfig { max_attempts: core.limits.conversion.max_attempts, ..SweepConfig::default() };
    let first = if local_jobs { SweepConfig { resend_after: Duration::ZERO, ..config.clone() } } else { config.clone() };
    let (stores, shutdown) = (core.stores.clone(), core.shutdown.clone());
    core.shutdown.spawn(async move {
        let mut orphans = OrphanSweeper::default();
        for config in iter::once(&first).chain(iter::repeat(&config)) {
            match sweep(&stores, config, Timestamp::now()).await {
                Ok(report) if report != SweepReport::default() => tracing::info!(?report, "swept"),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %Chain(&error), "a sweep was not complete"),
            }
            if let Err(error) = orphans.step(&stores, Timestamp::now()).await {
                tracing::warn!(error = %Chain(&error), "blobs without a row could not be looked for");
            }
            tokio::select! {
                () = sleep(config.interval) => {}
                () = shutdown.draining() => return,
            }
        }
    });
}

#[cfg(feature = "embedded")]
fn start_embedded_workers(config: &Config, core: &SharedCore, local_jobs: bool) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = config.embedded_workers.unwrap_or(if local_jobs { cores } else { 0 });
    if slots == 0 && local_jobs {
        bail!("with jobs on local: only embedded workers can convert; give --embedded-workers 1 or more, or a nats:// queue");
    }
    if slots > 0 {
        let worker = tintype_worker::WorkerConfig { slots, limits: core.limits.conversion.clone(), ..Default::default() };
        core.shutdown.spawn(tintype_worker::run(core.stores.clone(), worker, core.shutdown.clone()));
    }
    Ok(())
}

#[cfg(not(feature = "embedded"))]
fn start_embedded_workers(config: &Config, _core: &SharedCore, local_jobs: bool) -> anyhow::Result<()> {
    if local_jobs || config.embedded_workers.is_some_and(|slots| slots > 0) {
        bail!("this server is built without workers: give a nats:// queue with --jobs, and start tintype-worker beside it");
    }
    Ok(())
}

/// Creates the admin in a new catalog, and keeps the development password away from public addresses. Returns how to sign in.
async fn admit_admin(config: &Config, catalog: &dyn Catalog, passwords: &Passwords) -> anyhow::Result<String> {
    let public = config.is_public() && !config.dev;
    if catalog.has_users().await? {
        let admin = catalog.user_by_name(ADMIN).await?;
        let hash = admin.map(|admin| admin.password_hash);
        let development = hash.is_some() && passwords.verify(DEVELOPMENT_PASSWORD.to_owned(), hash).await.map_err(refused)?;
        if development && public {
            bail!(
                "refusing to serve a public address while the password of {ADMIN} is the development password; set TINTYPE_DEV=1 to allow it"
            );
        }
        return Ok(if development { format!("{ADMIN} / {DEVELOPMENT_PASSWORD}") } else { format!("{ADMIN}, with the password you chose") });
    }
    let chosen = config.admin_password.clone();
    let password = chosen.clone().unwrap_or_else(|| SecretString::from(DEVELOPMENT_PASSWORD));
    if public && password.expose_secret() == DEVELOPMENT_PASSWORD {
        bail!("refusing to serve a public address with the development password: set TINTYPE_ADMIN_PASSWORD, or TINTYPE_DEV=1 to allow it");
    }
    if password.expose_secret().is_empty() || password.expose_secret().len() > Limits::MAX_PASSWORD_BYTES {
        bail!("the admin's password must have 1 to {} bytes", Limits::MAX_PASSWORD_BYTES);
    }
    let password_hash = passwords.hash(password.expose_secret().to_owned()).await.map_err(refused)?;
    match catalog.create_user(NewUser { name: ADMIN.to_owned(), role: Role::Admin, password_hash }, Timestamp::now()).await {
        Ok(_) => tracing::info!("created the user {ADMIN}"),
        // Another server of the same catalog was quicker.
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    Ok(match chosen {
        Some(_) => format!("{ADMIN}, with the password you chose"),
        None => format!("{ADMIN} / {DEVELOPMENT_PASSWORD}"),
    })
}

fn identity(config: &Config) -> anyhow::Result<Option<Identity>> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let read = |path: &std::path::Path| fs::read(path).with_context(|| format!("TLS file {}", path.display()));
    Ok(Some(Identity::from_pem(read(cert)?, read(key)?)))
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::Error::new(tonic::Status::from(refusal))
}
