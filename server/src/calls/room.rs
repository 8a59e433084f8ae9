use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::Refusal;

/// How many calls of one kind there may be at once. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// The limit's name.
    limit: &'static str,
    max_calls: usize,
    places: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(limit: &'static str, max_calls: usize) -> Self {
        Self { limit, max_calls, places: Arc::new(Semaphore::new(max_calls)) }
    }

    /// A place, free again when it is dropped; a refusal when none is left.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::overloaded(self.limit, self.max_calls))
    }
}
