//! How much users store, what is still arriving included.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tintype_store::{StoreError, UserId, catalog::Catalog};

use crate::status::Refusal;

/// Bytes of unfinished uploads at this server that the catalog does not count, by user. The catalog counts what is finished, and has the last word about the quota.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    catalog: Arc<dyn Catalog>,
    arriving: Arc<Mutex<HashMap<UserId, u64>>>,
}

/// What has arrived of one upload. Counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Arriving {
    usage: Usage,
    user: UserId,
    bytes: u64,
    /// The next ones, which the catalog counts.
    counted_bytes: u64,
    /// As the catalog said last.
    stored: Stored,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    quota_bytes: u64,
    used_bytes: u64,
}

impl Stored {
    fn has_room(self, more_bytes: u64) -> bool {
        self.used_bytes.saturating_add(more_bytes) <= self.quota_bytes
    }
}

impl Usage {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, arriving: Arc::default() }
    }

    /// What has arrived of the user's unfinished uploads.
    pub(crate) fn arriving_bytes(&self, user: UserId) -> u64 {
        self.lock().get(&user).copied().unwrap_or_default()
    }

    /// What has arrived of everybody's unfinished uploads.
    pub(crate) fn all_arriving_bytes(&self) -> u64 {
        self.lock().values().sum()
    }

    /// Begins to count an upload. Refuses one whose announced size does not fit into the quota.
    pub(crate) async fn begin(&self, user: UserId, announced_bytes: u64) -> Result<Arriving, Refusal> {
        let stored = self.stored(user).await?;
        let more_bytes = self.arriving_bytes(user).saturating_add(announced_bytes);
        if !stored.has_room(more_bytes) {
            return Err(refusal(user, stored, more_bytes));
        }
        Ok(Arriving { usage: self.clone(), user, bytes: 0, counted_bytes: 0, stored })
    }

    /// Begins an upload of which the catalog counts so many bytes already.
    pub(crate) fn counted(&self, user: UserId, counted_bytes: u64) -> Arriving {
        let stored = Stored { quota_bytes: u64::MAX, used_bytes: 0 };
        Arriving { usage: self.clone(), user, bytes: 0, counted_bytes, stored }
    }

    async fn stored(&self, user: UserId) -> Result<Stored, StoreError> {
        let user = self.catalog.user(user).await?;
        // Whoever was deleted has no room for anything; the end of the token is told elsewhere.
        Ok(user.map_or(Stored { quota_bytes: 0, used_bytes: 0 }, |user| Stored {
            quota_bytes: user.quota_bytes,
            used_bytes: user.used_bytes + user.unfinished_bytes,
        }))
    }

    /// The map is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, u64>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving {
    /// Counts bytes that arrived. Refuses them when it is certain that they do not fit into the quota.
    pub(crate) async fn add(&mut self, bytes: u64) -> Result<(), Refusal> {
        let counted = bytes.min(self.counted_bytes);
        self.counted_bytes -= counted;
        let bytes = bytes - counted;
        if bytes == 0 {
            return Ok(());
        }
        self.bytes += bytes;
        *self.usage.lock().entry(self.user).or_default() += bytes;
        if self.stored.has_room(self.usage.arriving_bytes(self.user)) {
            return Ok(());
        }
        // Something may have been deleted meanwhile. What arrives is looked at after that, so that nothing that was finished in between
        // counts twice.
        self.stored = self.usage.stored(self.user).await?;
        let arriving = self.usage.arriving_bytes(self.user);
        if self.stored.has_room(arriving) { Ok(()) } else { Err(refusal(self.user, self.stored, arriving)) }
    }

    /// Counts so many of the bytes no more, because the catalog is going to: never do both.
    pub(crate) fn hand_over(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.stored.used_bytes += bytes;
        self.forget(bytes);
    }

    fn forget(&self, bytes: u64) {
        let mut arriving = self.usage.lock();
        if let Some(sum) = arriving.get_mut(&self.user) {
            *sum -= bytes;
            if *sum == 0 {
                arriving.remove(&self.user);
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.forget(self.bytes);
    }
}

fn refusal(user: UserId, stored: Stored, more_bytes: u64) -> Refusal {
    Refusal::quota_exceeded(user, stored.quota_bytes, stored.used_bytes.saturating_add(more_bytes))
}
