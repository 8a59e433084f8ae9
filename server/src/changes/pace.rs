use std::time::Duration;

/// How often the log is read while nobody listens.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is read while somebody listens and nudges do not come, or have just come: then more may be on its way, or another server
/// is at giving positions.
const LISTENED: Duration = Duration::from_millis(50);
/// How often it is read while nudges tell when to.
const NUDGED: Duration = Duration::from_secs(1);
/// How long nudges gather before the log is read: so often at most.
pub(super) const GATHER: Duration = Duration::from_millis(10);
pub(super) const AFTER_ERROR: Duration = Duration::from_secs(1);

/// When to look at the log again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Nudges come: nothing was found lately that was not announced by one.
    trusted: bool,
    /// Something was found, or announced, by the last look.
    busy: bool,
    /// The pause before this look was long, and nothing but time ended it.
    unannounced: bool,
}

impl Pace {
    /// How long to wait for a nudge.
    pub(super) fn pause(&self, is_listened: bool) -> Duration {
        match self {
            _ if !is_listened => IDLE,
            Self { trusted: true, busy: false, .. } => NUDGED,
            _ => LISTENED,
        }
    }

    /// The wait ended without a nudge.
    pub(super) fn polled(&mut self) {
        self.unannounced = !self.busy;
        self.busy = false;
    }

    /// The wait ended with a nudge.
    pub(super) fn nudged(&mut self) {
        *self = Self { trusted: true, busy: true, unannounced: false };
    }

    /// The look brought so many changes.
    pub(super) fn found(&mut self, count: usize) {
        if count > 0 {
            self.trusted &= !self.unannounced;
            self.busy = true;
        }
        self.unannounced = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_nudges_the_log_is_polled_while_somebody_listens() {
        let mut pace = Pace::default();
        assert_eq!((pace.pause(true), pace.pause(false)), (LISTENED, IDLE));
        pace.polled();
        pace.found(0);
        assert_eq!(pace.pause(true), LISTENED);
    }

    #[test]
    fn a_nudge_is_looked_after_once_more_and_then_waited_for() {
        let mut pace = Pace::default();
        pace.nudged();
        pace.found(0);
        assert_eq!(pace.pause(true), LISTENED, "another server may be giving positions");
        pace.polled();
        pace.found(3);
        assert_eq!(pace.pause(true), LISTENED, "more may come");
        pace.polled();
        pace.found(0);
        assert_eq!(pace.pause(true), NUDGED);
    }

    #[test]
    fn nudges_that_fail_to_come_are_not_relied_on() {
        let mut pace = Pace::default();
        pace.nudged();
        pace.found(1);
        pace.polled();
        pace.found(0);
        assert_eq!(pace.pause(true), NUDGED);
        pace.polled();
        pace.found(1);
        pace.polled();
        pace.found(0);
        assert_eq!(pace.pause(true), LISTENED, "a change came without one");
        pace.nudged();
        pace.found(1);
        pace.polled();
        pace.found(0);
        assert_eq!(pace.pause(true), NUDGED, "they come again");
    }
}
