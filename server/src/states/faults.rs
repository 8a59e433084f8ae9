use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tintype_store::{Kind, StoreError};
use tokio::{sync::watch, time::sleep};

/// Numbers that look random and are the same for the same seed (`SplitMix64`: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }

    /// Another one, with numbers of its own.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

/// Longer than two leases.
pub(super) const LONGEST_STALL_MILLIS: u64 = 70_000;

/// How often what goes wrong, in one of so many calls; 0: never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Odds {
    /// A call fails, half of them after it has done what it was asked for.
    pub(super) error: u64,
    /// The actor dies in a call, half of them after it is done.
    pub(super) crash: u64,
    /// A call takes longer than any lease lasts.
    pub(super) stall: u64,
    /// A hint to the queue is lost, comes twice or late.
    pub(super) hint: u64,
    /// The longest that other calls take, in milliseconds.
    pub(super) latency_millis: u64,
}

/// Whether a process is alive. One that is dead is in the middle of something for ever: nothing of it is run any more, not even what is dropped.
#[derive(Debug, Clone)]
pub(super) struct Life(watch::Sender<bool>);

impl Life {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(true))
    }

    pub(super) fn end(&self) {
        self.0.send_replace(false);
    }

    pub(super) fn is_over(&self) -> bool {
        !*self.0.borrow()
    }

    /// Returns when it is over.
    pub(super) async fn over(&self) {
        // The sender is here, so it cannot fail.
        let _ = self.0.subscribe().wait_for(|alive| !alive).await;
    }
}

/// What goes wrong for one process, decided by a seed of its own. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Faults {
    pub(super) life: Life,
    odds: Odds,
    random: Arc<Mutex<Random>>,
    /// For everybody: nothing goes wrong any more.
    calm: Arc<AtomicBool>,
}

impl Faults {
    pub(super) fn new(odds: Odds, random: Random, calm: &Arc<AtomicBool>) -> Self {
        Self { life: Life::new(), odds, random: Arc::new(Mutex::new(random)), calm: Arc::clone(calm) }
    }

    /// Does what is asked for, or not, and tells what became of it, or not.
    pub(super) async fn around<T>(&self, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.before().await?;
        let done = act();
        self.after(done).await
    }

    pub(super) async fn before(&self) -> Result<(), StoreError> {
        self.wait().await;
        if self.happens(|odds| odds.crash * 2) {
            self.life.end();
        }
        self.unless_over().await;
        if self.happens(|odds| odds.error * 2) { Err(fault("before anything was done")) } else { Ok(()) }
    }

    pub(super) async fn after<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.happens(|odds| odds.crash * 2) {
            self.life.end();
        }
        self.unless_over().await;
        let lost = self.happens(|odds| odds.error * 2);
        self.wait().await;
        self.unless_over().await;
        if lost && done.is_ok() { Err(fault("after it was done")) } else { done }
    }

    /// Whether a hint goes astray: then how many come in its place, and how much later.
    pub(super) fn astray(&self) -> Option<Vec<Duration>> {
        if !self.happens(|odds| odds.hint) {
            return None;
        }
        let mut random = self.lock();
        Some((0..random.below(3)).map(|_| random.millis(LONGEST_STALL_MILLIS)).collect())
    }

    pub(super) fn happens(&self, one_in: impl FnOnce(&Odds) -> u64) -> bool {
        let count = one_in(&self.odds);
        count > 0 && !self.calm.load(Ordering::Relaxed) && self.lock().one_in(count)
    }

    async fn wait(&self) {
        if self.odds.latency_millis > 0 {
            let stalled = self.happens(|odds| odds.stall);
            let wait = self.lock().millis(if stalled { LONGEST_STALL_MILLIS } else { self.odds.latency_millis });
            sleep(wait).await;
        }
    }

    async fn unless_over(&self) {
        if self.life.is_over() {
            pending::<()>().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault(when: &str) -> StoreError {
    StoreError::new(Kind::Unavailable, format!("a fault of this run: failed {when}"))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("odds", &self.odds).field("over", &self.life.is_over()).finish_non_exhaustive()
    }
}
