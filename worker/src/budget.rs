//! How much memory all conversions of a worker may take together.

use std::sync::Arc;

use tintype_store::{ConversionLimits, FailureReason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::job::JobError;

/// What is counted, because a semaphore's permits are few.
const UNIT_BYTES: u64 = 1 << 20;

/// Memory that conversions are given before they begin, in the order in which they ask.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: u64,
    units: Arc<Semaphore>,
}

impl Budget {
    /// A budget of its own for each worker.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { bytes, units: Arc::new(Semaphore::new(units)) }
    }

    /// Enough for all slots, but not more than half of the memory that there is.
    pub(crate) fn default_bytes(slots: usize, limits: &ConversionLimits) -> u64 {
        let half = tintype_process::memory_bytes().map_or(u64::MAX, |bytes| bytes / 2);
        limits.memory_bytes.saturating_mul(slots as u64).min(half)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until there is room for a conversion; it is given back with the permit. Refuses what would not fit even alone.
    pub(crate) async fn room_for(&self, needed_bytes: u64) -> Result<OwnedSemaphorePermit, JobError> {
        let units = u32::try_from(needed_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        if u64::from(units) > self.bytes / UNIT_BYTES {
            let message = format!(
                "the conversion may need {needed_bytes} bytes of memory, more than the limit of {} for all conversions (conversion_budget_bytes)",
                self.bytes
            );
            return Err(JobError::failed(FailureReason::ResourceLimit, message));
        }
        Ok(Arc::clone(&self.units).acquire_many_owned(units).await.expect("nobody closes the semaphore"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conversions_wait_for_each_other_and_one_too_large_alone_is_refused_by_name() {
        let budget = Budget::new(10 << 20);
        let first = budget.room_for(6 << 20).await.ok().expect("there is room");
        let mut second = Box::pin(budget.room_for(5 << 20));
        assert!(futures_util::poll!(&mut second).is_pending(), "there is no room for both");
        drop(first);
        assert!(second.await.is_ok());
        let Err(JobError::Failed(failure)) = budget.room_for((10 << 20) + 1).await else { panic!("it never fits") };
        assert_eq!(failure.reason, FailureReason::ResourceLimit);
        let needed = "may need 10485761 bytes of memory, more than the limit of 10485760";
        assert!(failure.message.contains(needed) && failure.message.contains("conversion_budget_bytes"), "{}", failure.message);
    }
}
