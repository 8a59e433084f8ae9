use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tintype_store::{Claim, Hold, OpenUpload, Timestamp};
use tokio::time::Instant;

/// Everything before this is a time of the run, everything after it one of the machine's clock. Runs begin in 1970.
const LATEST_OF_A_RUN: i64 = 1_000_000_000_000_000;
const SECOND_MICROS: i64 = 1_000_000;

/// The time of a run, which passes as tokio's paused clock does: in no time while everybody waits.
///
/// What runs takes its times from the machine's clock. They are told to the stores through this: the distance of a time from the machine's now is
/// its distance from the run's now, in whole seconds, in which all distances are given; the rest is how long the machine took.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    begin: Instant,
    ticks: Arc<AtomicI64>,
    /// What the catalog was told when it was asked for an upload, by the time that it was asked with: that time becomes the hold of a new one.
    holds: Arc<Mutex<HashMap<i64, i64>>>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { begin: Instant::now(), ticks: Arc::default(), holds: Arc::default() }
    }

    /// Never the same twice.
    pub(super) fn now(&self) -> Timestamp {
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed);
        Timestamp(SECOND_MICROS).plus(self.begin.elapsed()).plus(Duration::from_micros(tick as u64))
    }

    /// A time of the machine's clock as one of the run.
    pub(super) fn of_run(&self, time: Timestamp) -> Timestamp {
        if time.0 < LATEST_OF_A_RUN {
            return time;
        }
        let distance = time.0 - Timestamp::now().0;
        let seconds = (distance + SECOND_MICROS / 2).div_euclid(SECOND_MICROS);
        Timestamp(self.now().0 + seconds * SECOND_MICROS)
    }

    /// A time of the run as one of the machine's clock.
    fn of_machine(&self, time: Timestamp) -> Timestamp {
        Timestamp(Timestamp::now().0 + time.0 - self.now().0)
    }

    /// The time of the run at which an upload is taken.
    pub(super) fn taking(&self, time: Timestamp) -> Timestamp {
        let of_run = self.of_run(time);
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).insert(time.0, of_run.0);
        of_run
    }

    pub(super) fn hold(&self, hold: Hold) -> Hold {
        Hold(self.holds.lock().unwrap_or_else(PoisonError::into_inner).get(&hold.0).copied().unwrap_or(hold.0))
    }

    pub(super) fn claim(&self, claim: Claim) -> Claim {
        match claim {
            Claim::NotBefore(at) => Claim::NotBefore(self.of_machine(at)),
            claim => claim,
        }
    }

    pub(super) fn upload(&self, upload: &OpenUpload) -> OpenUpload {
        OpenUpload { hold: self.hold(upload.hold), updated_at: self.of_run(upload.updated_at), ..upload.clone() }
    }
}
