//! When a call is made again, and how long to wait before.

use std::{io, time::Duration};

use tintype_proto::v1::ErrorReason;
use tokio::time::{Instant, sleep};

use crate::{Error, Result};

/// How often and how patiently a call is repeated that failed for a passing reason.
///
/// Only calls that may be repeated without harm are: reads, deletions, and uploads, which carry a request id. Between two attempts
/// lies a random time up to a bound that doubles each time ("full jitter"), or what the server asks for if that is longer. A call that came
/// too soon for the user's rate (`RATE_LIMITED`) has not failed: it is repeated as long as `max_total` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a call is made at most, the first time included. 8 by default, enough for a server that restarts; 1 means: never again.
    pub max_attempts: u32,
    /// Bound of the first wait. 100 ms by default.
    pub first_backoff: Duration,
    /// Bound that no later wait exceeds, unless the server asks for more. 5 s by default.
    pub max_backoff: Duration,
    /// No attempt begins later than this after the first failure. 30 s by default.
    pub max_total: Duration,
}

impl RetryPolicy {
    /// Never repeats a call.
    pub fn never() -> RetryPolicy {
        RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }
    }

    /// Repeats a call until it was made `max_attempts` times.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> RetryPolicy {
        self.max_attempts = max_attempts;
        self
    }

    /// Begins no attempt later than `max_total` after the first failure.
    #[must_use]
    pub fn max_total(mut self, max_total: Duration) -> RetryPolicy {
        self.max_total = max_total;
        self
    }

    pub(crate) fn start(self) -> Attempts {
        Attempts { policy: self, made: 1, waits: 0, first_failure: None }
    }

    fn backoff(&self, waits: u32) -> Duration {
        let doubled = self.first_backoff.saturating_mul(1_u32.checked_shl(waits).unwrap_or(u32::MAX));
        doubled.min(self.max_backoff)
    }
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 8,
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            max_total: Duration::from_secs(30),
        }
    }
}

/// The attempts at one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    /// Those that count, the first one included.
    made: u32,
    waits: u32,
    first_failure: Option<Instant>,
}

impl Attempts {
    /// Returns when it is time for the next attempt, or gives `error` back if there shall be none.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        let Some(pause) = self.pause(&error) else { return Err(error) };
        self.first_failure.get_or_insert_with(Instant::now);
        self.waits = self.waits.saturating_add(1);
        if !error.is(ErrorReason::RateLimited) {
            self.made += 1;
        }
        sleep(pause).await;
        Ok(())
    }

    /// Whether another attempt would follow on `error`.
    pub(crate) fn would_wait(&self, error: &Error) -> bool {
        self.pause(error).is_some()
    }

    /// Something was achieved: what fails next fails for the first time.
    pub(crate) fn reset(&mut self) {
        *self = self.policy.start();
    }

    fn pause(&self, error: &Error) -> Option<Duration> {
        if !error.is_retryable() || self.made >= self.policy.max_attempts {
            return None;
        }
        let asked = error.retry_after().unwrap_or_default();
        let pause = asked.max(self.policy.backoff(self.waits).mul_f64(random_fraction()));
        let waited = self.first_failure.map_or(Duration::ZERO, |failure| failure.elapsed());
        (waited + pause <= self.policy.max_total).then_some(pause)
    }
}

/// From 0 to 1. Without a source of randomness half of the bound serves as well: only the spread between clients is lost.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn random_id() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| Error::local("no random bits for a request id", io::Error::other(error.to_string())))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn unavailable(retry_after: Option<Duration>) -> Error {
        Status::with_error_details(Code::Unavailable, "away", ErrorDetails::with_retry_info(retry_after)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_by_number() {
        let mut attempts = RetryPolicy::default().start();
        for _ in 1..8 {
            attempts.wait(unavailable(None)).await.unwrap();
        }
        assert!(attempts.wait(unavailable(None)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_by_time() {
        let mut attempts = RetryPolicy::default().max_attempts(u32::MAX).start();
        let began = Instant::now();
        while attempts.wait(unavailable(None)).await.is_ok() {}
        assert!(began.elapsed() <= Duration::from_secs(30));
        assert!(began.elapsed() > Duration::from_secs(20), "the time was not used");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_server_asks_for_is_left() {
        let mut attempts = RetryPolicy::default().start();
        let began = Instant::now();
        attempts.wait(unavailable(Some(Duration::from_secs(7)))).await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(7));
        assert!(!attempts.would_wait(&unavailable(Some(Duration::from_mins(1)))), "longer than the whole patience");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_came_too_soon_is_repeated_while_there_is_time() {
        let too_soon = || {
            let mut details = ErrorDetails::with_error_info("RATE_LIMITED", "tintype", HashMap::new());
            details.set_retry_info(Some(Duration::from_millis(20)));
            Error::from(Status::with_error_details(Code::ResourceExhausted, "too soon", details))
        };
        let mut attempts = RetryPolicy::default().start();
        let began = Instant::now();
        for _ in 0..6 {
            attempts.wait(too_soon()).await.unwrap();
        }
        attempts.wait(unavailable(None)).await.unwrap();
        while attempts.wait(too_soon()).await.is_ok() {}
        assert!(began.elapsed() <= Duration::from_secs(30));
        assert!(RetryPolicy::never().start().wait(too_soon()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        let mut attempts = RetryPolicy::default().start();
        assert!(attempts.wait(Status::not_found("gone").into()).await.is_err());
    }

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let policy = RetryPolicy::default();
        let bounds: Vec<u128> = [0, 1, 2, 5, 6, 40].map(|waits| policy.backoff(waits).as_millis()).into();
        assert_eq!(bounds, [100, 200, 400, 3200, 5000, 5000]);
    }
}
