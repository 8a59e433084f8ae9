use std::{error::Error, sync::Arc, time::Duration};

use tintype_process::Shutdown;
use tintype_store::{Presence, jobs::Delivery, open::Stores, random_hex};
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    Converters, WorkerConfig,
    backoff::{Failures, delay_after},
    heartbeat,
    job::Workplace,
};

/// The longest wait between two questions to a queue that does not answer.
const MAX_QUEUE_DELAY: Duration = Duration::from_secs(10);

/// Conversions for each slot that may take longer than usual without holding up others. Memory is counted all the same.
const ASIDE_PER_SLOT: usize = 4;

/// Results for each slot that are being written while the next pictures are converted. Further ones keep their slots until there is a place: a
/// store that takes results more slowly than they are made must hold that up.
const WRITING_PER_SLOT: usize = 2;

/// Works until `shutdown` begins: takes hints from the queue, as many as there are free slots, and makes what they point at. Then it takes
/// nothing new, finishes what it has begun and returns; when stopping at once, it gives back what it has begun.
///
/// No error ends it: what a store cannot do now is tried later.
pub async fn run(stores: Stores, config: WorkerConfig, converters: Converters, shutdown: Shutdown) {
    let aside = Arc::new(Semaphore::new(config.slots.max(1) * ASIDE_PER_SLOT));
    let presence = if stores.exclusive { Presence::always() } else { Presence::of(stores.catalog.clone()) };
    let writing = Arc::new(Semaphore::new(config.slots.max(1) * WRITING_PER_SLOT));
    let (worker_id, outages) = (random_hex(), Failures::default());
    let place = Arc::new(Workplace { worker_id, stores, presence, config, converters, shutdown, outages, aside, writing });
    info!(worker.id = %place.worker_id, slots = place.config.slots, "worker {} works", place.worker_id);
    tokio::select! {
        () = take_hints(&place) => {}
        () = heartbeat::beat(&place) => {}
    }
    info!(worker.id = %place.worker_id, "worker {} has ended", place.worker_id);
}

async fn take_hints(place: &Arc<Workplace>) {
    let slots = Arc::new(Semaphore::new(place.config.slots.max(1)));
    let jobs = TaskTracker::new();
    let mut failures = 0;
    loop {
        let first = tokio::select! {
            biased;
            () = place.shutdown.draining() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.expect("nobody closes the semaphore"),
        };
        let mut free = vec![first];
        while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            free.push(slot);
        }
        let leased = tokio::select! {
            biased;
            () = place.shutdown.draining() => break,
            leased = place.stores.jobs.lease(free.len()) => leased,
        };
        let deliveries = match leased {
            Ok(deliveries) => {
                if failures > 0 {
                    info!("the queue answers again");
                    failures = 0;
                }
                deliveries
            }
            Err(error) => {
                if failures == 0 {
                    warn!(error = &error as &dyn Error, "the queue does not answer; trying again until it does");
                }
                failures += 1;
                tokio::select! {
                    () = sleep(delay_after(failures).min(MAX_QUEUE_DELAY)) => continue,
                    () = place.shutdown.draining() => break,
                }
            }
        };
        for (delivery, slot) in deliveries.into_iter().zip(free) {
            let place = Arc::clone(place);
            let delivery: Box<dyn Delivery> = delivery;
            jobs.spawn(async move { place.follow(delivery, slot).await });
        }
    }
    jobs.close();
    jobs.wait().await;
}
