use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tintype_proto::v1::ErrorReason;
use tokio::time::Instant;

use crate::status::Refusal;

/// What is asked of a client while a call waits for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long it may be silent; also the time over which its rate is taken.
    pub(crate) idle: Duration,
    /// 0: any.
    pub(crate) min_bytes_per_second: u64,
}

/// How fast a client sends or takes the bytes of one direction of a call. Only the time counts in which it is waited for: a store that is slow, or
/// a watch that has nothing to tell, is not its fault.
#[derive(Debug)]
pub(super) struct Pace {
    what: &'static str,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// Since when the client is waited for, if it is.
    waiting_since: Option<Instant>,
    /// How long it was waited for before that, and what came of it.
    seen: Seen,
    /// What was so when the rate was last taken.
    looked_at: Seen,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// `what` happens to bytes: they are sent or taken.
    pub(super) fn new(what: &'static str, patience: Patience) -> Self {
        Self { what, patience, state: Mutex::default() }
    }

    /// There is something to be sent or taken.
    pub(super) fn opened(&self) {
        self.lock().is_open = true;
    }

    /// There is nothing more.
    pub(super) fn closed(&self) {
        let mut state = self.lock();
        state.is_open = false;
        state.waiting_since = None;
    }

    /// Whether there is more to come and it is not the client that it waits for.
    pub(super) fn is_held_up(&self) -> bool {
        let state = self.lock();
        state.is_open && state.waiting_since.is_none()
    }

    /// It is the client's turn, if it was not already.
    pub(super) fn waits(&self, now: Instant) {
        self.lock().waiting_since.get_or_insert(now);
    }

    /// The client did its part: so many bytes.
    pub(super) fn moved(&self, bytes: usize, now: Instant) {
        let mut state = self.lock();
        if let Some(since) = state.waiting_since.take() {
            state.seen.waited += now - since;
        }
        state.seen.bytes += bytes as u64;
    }

    /// All bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().seen.bytes
    }

    /// When to look again, or why the client is not waited for any longer.
    pub(super) fn look(&self, now: Instant) -> Result<Instant, Refusal> {
        let idle = self.patience.idle;
        let mut state = self.lock();
        let silent = state.waiting_since.map_or(Duration::ZERO, |since| now - since);
        if silent >= idle {
            let message = format!("nothing was {} for {:?}", self.what, idle);
            return Err(Refusal::new(ErrorReason::StreamIdle, message));
        }
        let seen = Seen { waited: state.seen.waited + silent, bytes: state.seen.bytes };
        let waited = seen.waited.saturating_sub(state.looked_at.waited);
        if waited < idle {
            return Ok(now + idle.saturating_sub(waited.max(silent)));
        }
        let per_second = (seen.bytes - state.looked_at.bytes) * 1000 / (waited.as_millis() as u64).max(1);
        let limit = self.patience.min_bytes_per_second;
        if per_second < limit {
            let what = self.what;
            let message = format!("{per_second} bytes a second were {what}, fewer than the limit of {limit} (min_stream_bytes_per_second)");
            let refusal = Refusal::new(ErrorReason::StreamTooSlow, message).with("limit", "min_stream_bytes_per_second");
            return Err(refusal.with("value", limit).with("seen", per_second));
        }
        state.looked_at = seen;
        Ok(now + idle.saturating_sub(silent))
    }

    /// Numbers are whole whatever happened to their holder.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::StatusExt;

    use super::*;

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(30), min_bytes_per_second: 100 };
    const SECOND: Duration = Duration::from_secs(1);

    fn reason(refusal: Refusal) -> (Code, String) {
        let status = Status::from(refusal);
        (status.code(), status.get_error_details().error_info().expect("info").reason.clone())
    }

    /// What becomes of a client that moves so many bytes each second.
    fn at_rate(bytes: usize, seconds: u32) -> Result<(), (Code, String)> {
        let pace = Pace::new("sent", PATIENCE);
        let begin = Instant::now();
        for second in 0..seconds {
            pace.waits(begin + SECOND * second);
            pace.moved(bytes, begin + SECOND * (second + 1));
            pace.look(begin + SECOND * (second + 1)).map_err(reason)?;
        }
        Ok(())
    }

    #[test]
    fn a_slow_client_is_ended_and_an_honest_one_is_not() {
        assert_eq!(at_rate(1, 29), Ok(()));
        assert_eq!(at_rate(1, 31), Err((Code::DeadlineExceeded, "STREAM_TOO_SLOW".to_owned())));
        assert_eq!(at_rate(99, 31), Err((Code::DeadlineExceeded, "STREAM_TOO_SLOW".to_owned())));
        assert_eq!(at_rate(100, 3_600), Ok(()));
    }

    #[test]
    fn silence_counts_only_while_the_client_is_waited_for() {
        let pace = Pace::new("sent", PATIENCE);
        let begin = Instant::now();
        assert_eq!(pace.look(begin + SECOND * 1_000).expect("nobody waits"), begin + SECOND * 1_030);
        pace.waits(begin + SECOND * 1_000);
        assert_eq!(pace.look(begin + SECOND * 1_010).expect("not yet"), begin + SECOND * 1_030);
        // Asking again is no answer.
        pace.waits(begin + SECOND * 1_020);
        assert!(pace.look(begin + SECOND * 1_029).is_ok());
        let refusal = pace.look(begin + SECOND * 1_030).expect_err("silent for 30 s");
        assert_eq!(reason(refusal).1, "STREAM_IDLE");
    }

    #[test]
    fn without_a_least_rate_any_will_do() {
        let pace = Pace::new("taken", Patience { min_bytes_per_second: 0, ..PATIENCE });
        let begin = Instant::now();
        for second in (0..600).step_by(20) {
            pace.waits(begin + SECOND * second);
            pace.moved(1, begin + SECOND * (second + 20));
            assert!(pace.look(begin + SECOND * (second + 20)).is_ok());
        }
    }
}
