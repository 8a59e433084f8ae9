//! What the server says of itself: gRPC health and `/healthz`.

use std::{collections::BTreeSet, time::Duration};

use metrics::gauge;
use serde_json::{Value, json};
use tintype_process::Shutdown;
use tintype_store::{Kind, StoreError, Timestamp, Worker, open::Stores};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::status::Chain;

/// How often dependencies are asked, and how long they may take to answer.
const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// Services that gRPC health speaks of; the empty name stands for the whole server.
const SERVICES: [&str; 5] = ["", "tintype.v1.AdminService", "tintype.v1.AuthService", "tintype.v1.ImageService", "tintype.v1.UserService"];

/// How a dependency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Ok,
    /// It answers, but takes nothing more.
    Full(String),
    Away(String),
}

impl Condition {
    /// A full one still serves reads and deletions, which make room.
    fn answers(&self) -> bool {
        !matches!(self, Self::Away(_))
    }

    fn text(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Full(why) | Self::Away(why) => why,
        }
    }
}

impl From<&StoreError> for Condition {
    fn from(error: &StoreError) -> Self {
        let why = error.to_string();
        if error.kind() == Kind::Full { Self::Full(why) } else { Self::Away(why) }
    }
}

/// What the server knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    draining: bool,
    catalog: Condition,
    blobs: Condition,
    jobs: Condition,
    workers: usize,
    /// How the workers contain conversions; the names that are in use, in order.
    sandbox: BTreeSet<String>,
}

impl Health {
    /// Calls can be served: what only waits for the queue or for a worker does not count.
    pub(crate) fn is_serving(&self) -> bool {
        !self.draining && self.catalog.answers() && self.blobs.answers()
    }

    /// The body of `/healthz`.
    pub(crate) fn to_json(&self) -> Value {
        let status = match self {
            Self { draining: true, .. } => "draining",
            health if !health.is_serving() => "unavailable",
            Self { catalog: Condition::Ok, blobs: Condition::Ok, jobs: Condition::Ok, workers: 1.., .. } => "ok",
            _ => "degraded",
        };
        json!({
            "status": status,
            "version": env!("CARGO_PKG_VERSION"),
            "catalog": self.catalog.text(),
            "blobs": self.blobs.text(),
            "jobs": self.jobs.text(),
            "workers": self.workers,
            "sandbox": self.sandbox,
        })
    }
}

/// The latest health.
pub(crate) type HealthReceiver = watch::Receiver<Health>;

/// Looks once, then keeps looking and tells gRPC health, until the server drains.
pub(crate) async fn watch_health(stores: Stores, reporter: HealthReporter, shutdown: &Shutdown) -> HealthReceiver {
    let first = look(&stores).await;
    report(&reporter, &first).await;
    let (sender, receiver) = watch::channel(first);
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = stop.draining() => break,
            }
            let health = look(&stores).await;
            if health != *sender.borrow() {
                report(&reporter, &health).await;
                let told = health.to_json();
                sender.send_replace(health);
                // Last, so that whoever reads this finds it so everywhere.
                tracing::info!(health = %told, "health changed");
            }
        }
        sender.send_modify(|health| health.draining = true);
        let health = sender.borrow().clone();
        report(&reporter, &health).await;
        end_watches(reporter).await;
    });
    receiver
}

/// Ends the streams of `Health.Watch` after the last status: they would keep their connections open for ever.
async fn end_watches(mut reporter: HealthReporter) {
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

async fn look(stores: &Stores) -> Health {
    let workers = stores.catalog.workers(Timestamp::now().minus(Worker::ALIVE));
    let (catalog, blobs, jobs, workers) = tokio::join!(
        condition(stores.catalog.ping()),
        condition(stores.blobs.ping()),
        condition(stores.jobs.ping()),
        timeout(PATIENCE, workers)
    );
    let workers = workers.ok().and_then(Result::ok).unwrap_or_default();
    let sandbox = workers.iter().map(|worker| worker.sandbox.clone()).collect();
    Health { draining: false, catalog, blobs, jobs, workers: workers.len(), sandbox }
}

async fn condition(ping: impl Future<Output = Result<(), StoreError>>) -> Condition {
    match timeout(PATIENCE, ping).await {
        Ok(Ok(())) => Condition::Ok,
        Ok(Err(error)) => {
            tracing::debug!(error = %Chain(&error), "a dependency is away or full");
            Condition::from(&error)
        }
        Err(_) => Condition::Away(format!("no answer for {} s", PATIENCE.as_secs())),
    }
}

async fn report(reporter: &HealthReporter, health: &Health) {
    for (name, condition) in [("catalog", &health.catalog), ("blobs", &health.blobs), ("jobs", &health.jobs)] {
        gauge!("tintype_dependency_up", "dependency" => name).set(f64::from(u8::from(condition.answers())));
        let is_full = matches!(condition, Condition::Full(_));
        gauge!("tintype_dependency_full", "dependency" => name).set(f64::from(u8::from(is_full)));
    }
    gauge!("tintype_workers_alive").set(health.workers as f64);
    let status = if health.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_queue_it_serves_and_says_degraded() {
        let (catalog, blobs, jobs) = (Condition::Ok, Condition::Ok, Condition::Ok);
        let fine = Health { draining: false, catalog, blobs, jobs, workers: 1, sandbox: BTreeSet::from(["process".to_owned()]) };
        assert_eq!(fine.to_json()["status"], "ok");
        let no_queue = Health { jobs: Condition::Away("gone".to_owned()), ..fine.clone() };
        assert!(no_queue.is_serving());
        assert_eq!(no_queue.to_json()["status"], "degraded");
        let no_worker = Health { workers: 0, ..fine.clone() };
        assert_eq!((no_worker.is_serving(), no_worker.to_json()["status"].as_str()), (true, Some("degraded")));
        let no_catalog = Health { catalog: Condition::Away("gone".to_owned()), ..fine };
        assert!(!no_catalog.is_serving());
        assert_eq!(no_catalog.to_json()["status"], "unavailable");
    }

    #[tokio::test]
    async fn a_full_store_serves_and_says_degraded() {
        let found = async |kind| condition(async move { Err(StoreError::new(kind, "cannot make a file in the blob folder")) }).await;
        let (catalog, jobs) = (Condition::Ok, Condition::Ok);
        let full = Health { draining: false, catalog, blobs: found(Kind::Full).await, jobs, workers: 1, sandbox: BTreeSet::new() };
        assert!(full.is_serving());
        assert_eq!(full.to_json()["status"], "degraded");
        assert_eq!(full.to_json()["blobs"], "cannot make a file in the blob folder");
        for kind in [Kind::Unavailable, Kind::Misconfigured] {
            let away = Health { blobs: found(kind).await, ..full.clone() };
            assert!(!away.is_serving(), "{kind:?}");
        }
    }
}
