use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The longest wait.
const MAX_DELAY: Duration = Duration::from_mins(1);

/// How long to wait after this many failures in a row: 1, 2, 4 … seconds, a minute at most.
pub(crate) fn delay_after(failures: u32) -> Duration {
    let seconds = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(MAX_DELAY)
}

/// Failures in a row, counted by all jobs of a worker together: what fails for them is the same store.
#[derive(Debug, Default)]
pub(crate) struct Failures(AtomicU32);

impl Failures {
    /// One more; how long to wait now.
    pub(crate) fn another(&self) -> Duration {
        delay_after(self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// It works again.
    pub(crate) fn none(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew() {
        let failures = Failures::default();
        let waits: Vec<u64> = (0..8).map(|_| failures.another().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        failures.none();
        assert_eq!(failures.another(), Duration::from_secs(1));
        assert_eq!(delay_after(u32::MAX), MAX_DELAY);
    }
}
