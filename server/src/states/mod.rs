//! Uploads, conversions and the sweeper while everything around them fails, thousands of times.
//!
//! A run is servers, workers and clients on one thread and a clock that passes in no time. Every call that one of them makes to a store may take
//! long, fail before or after it did what was asked for, or be the last one of its process, which is then started anew. A seed decides all of it.
//! Meanwhile and at the end the stores are held against what the clients were told.
//!
//! The catalog is the real one on SQLite: it is too wide for a second one that could be trusted, and what it promises is a part of what is looked at.
//! Blobs are in memory, where time and what a crash leaves behind can be told; hints are those of the local queue, and go astray.

mod blobs;
mod catalog;
mod checks;
mod clients;
mod clock;
mod faults;
mod jobs;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, available_parallelism},
    time::Duration,
};

use tintype_store::{
    orphans::{KEEP_UNRECORDED, OrphanSweeper},
    sweep::{SweepConfig, sweep},
};
use tokio::time::sleep;

use self::{catalog::Template, checks::Seen, faults::LONGEST_STALL_MILLIS, world::World};

/// Runs when `TINTYPE_TEST_SEEDS` says nothing.
const RUNS: u64 = 150;
/// What one client does.
const OPERATIONS: u64 = 6;
const CLIENTS: u64 = 3;
const LOOK_EVERY: Duration = Duration::from_secs(11);
/// Nothing that began before the faults ended takes longer.
const LULL: Duration = Duration::from_millis(2 * LONGEST_STALL_MILLIS);
/// Enough for every rendition to be begun as often as it may be.
const PATIENCE: Duration = Duration::from_mins(30);

#[test]
fn every_promise_holds_whatever_fails_around_uploads_and_jobs() {
    let (runs, only) = (number("TINTYPE_TEST_SEEDS"), number("TINTYPE_TEST_SEED"));
    let template = Template::make();
    let first = only.unwrap_or(0);
    let end = if only.is_some() { first + 1 } else { runs.unwrap_or(RUNS) };
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&template, seed))) {
                failed.store(true, Ordering::Relaxed);
                println!("failed with TINTYPE_TEST_SEED={seed}");
                resume_unwind(panic);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "what a test is told")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn run(template: &Template, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime can be built");
    runtime.block_on(async {
        let world = World::new(template, seed);
        live(&world).await;
        settle(&world).await;
    });
    // Conversions on threads of their own have ended with those who waited for them.
    runtime.shutdown_background();
    template.remove(seed);
}

/// Everybody does what they do while everything fails.
async fn live(world: &Arc<World>) {
    world.populate().await;
    let clients = (0..CLIENTS).map(|client| {
        let (world, owner) = (Arc::clone(world), world.users[client as usize % world.users.len()]);
        tokio::spawn(async move { clients::use_it(&world, owner, client * OPERATIONS, OPERATIONS).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut seen = Seen::default();
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        sleep(LOOK_EVERY).await;
        checks::look(world, &mut seen);
        world.unless_panicked().await;
    }
    for client in clients {
        client.await.expect("no client panics");
    }
    world.calm_down();
    let mut waited = Duration::ZERO;
    while waited < LULL || checks::is_busy(world) {
        assert!(waited < PATIENCE, "P3: renditions are decided in the end");
        sleep(LULL / 4).await;
        waited += LULL / 4;
        checks::look(world, &mut seen);
        world.unless_panicked().await;
    }
}

/// Nothing fails any more, and time passes.
async fn settle(world: &Arc<World>) {
    world.workers.drain();
    world.workers.drained(Duration::from_mins(1)).await;
    let (stores, config) = (world.stores(), SweepConfig::default());
    for pause in [Duration::ZERO, config.keep_unpublished, KEEP_UNRECORDED] {
        let now = world.clock.now().plus(pause + Duration::from_hours(2));
        sweep(&stores, &config, now).await.expect("nothing fails any more");
        OrphanSweeper::default().step(&stores, now).await.expect("nothing fails any more");
    }
    world.unless_panicked().await;
    checks::settled(world);
}
