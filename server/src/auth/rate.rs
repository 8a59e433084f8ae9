use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;
use tintype_proto::v1::ErrorReason;
use tintype_store::UserId;

use crate::status::Refusal;

/// Users whose rate is known at once; far more than make calls in the time that a bucket takes to fill.
const MAX_USERS: u64 = 100_000;

/// How many calls each user may make: a token bucket in the form of the generic cell rate algorithm (ITU-T I.371), one instant for each user.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    per_second: u32,
    /// Between two calls at the allowed rate; `None`: as many as come.
    interval: Option<Duration>,
    /// How far calls may be ahead of that rate.
    tolerance: Duration,
    /// When the user's next call would come at the allowed rate.
    due: Cache<UserId, Arc<Mutex<Instant>>>,
}

impl Rates {
    /// Lets `per_second` calls of each user through over time, and `burst` of them at once after a pause. 0 a second: all.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        let tolerance = interval.unwrap_or_default() * burst.saturating_sub(1);
        // By then the bucket is full again, which is what a user has who was never seen.
        let forget_after = tolerance + Duration::from_secs(1);
        Self { per_second, interval, tolerance, due: Cache::builder().max_capacity(MAX_USERS).time_to_idle(forget_after).build() }
    }

    /// Counts a call at `now`, or tells after which time the next one is let through.
    pub(crate) fn take(&self, user: UserId, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let due = self.due.get_with(user, || Arc::new(Mutex::new(now)));
        // An instant is whole whatever happened to its holder.
        let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = due.saturating_duration_since(now);
        if let Some(early) = ahead.checked_sub(self.tolerance).filter(|early| !early.is_zero()) {
            return Err(early);
        }
        *due = now + ahead + interval;
        Ok(())
    }

    /// What a caller is told who comes too soon.
    pub(crate) fn refusal(&self, pause: Duration) -> Refusal {
        let value = self.per_second;
        let refusal = Refusal::new(ErrorReason::RateLimited, format!("more than {value} calls a second (requests_per_second)"));
        refusal.with("limit", "requests_per_second").with("value", value).retry_after(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: UserId = UserId(1);

    #[test]
    fn a_burst_goes_through_and_then_the_rate() {
        let rates = Rates::new(50, 200);
        let begin = Instant::now();
        assert!((0..200).all(|_| rates.take(ADA, begin).is_ok()));
        assert_eq!(rates.take(ADA, begin), Err(Duration::from_millis(20)));
        assert_eq!(rates.take(UserId(2), begin), Ok(()), "others are not held up");
        let second = begin + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rates.take(ADA, second).is_ok()).count(), 50);
        let later = begin + Duration::from_hours(1);
        assert_eq!((0..500).filter(|_| rates.take(ADA, later).is_ok()).count(), 200, "no more than a burst is saved up");
    }

    #[test]
    fn refused_calls_cost_nothing() {
        let rates = Rates::new(1, 1);
        let begin = Instant::now();
        assert_eq!(rates.take(ADA, begin), Ok(()));
        for _ in 0..10 {
            assert_eq!(rates.take(ADA, begin), Err(Duration::from_secs(1)));
        }
        assert_eq!(rates.take(ADA, begin + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_rate_of_zero_lets_all_through() {
        let rates = Rates::new(0, 1);
        let now = Instant::now();
        assert!((0..10_000).all(|_| rates.take(ADA, now).is_ok()));
    }
}
