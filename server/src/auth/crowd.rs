use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tintype_store::UserId;

use crate::status::Refusal;

/// How many calls each user has under way, so that none can take every place of the server. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    max_calls: usize,
    /// Of users who have any.
    calls: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A call of a user, as long as it is under way.
#[derive(Debug)]
pub(crate) struct Place {
    user: UserId,
    crowd: Crowd,
}

impl Crowd {
    pub(crate) fn new(max_calls: usize) -> Self {
        Self { max_calls, calls: Arc::default() }
    }

    /// Counts one more call of this user; a refusal when there are as many as there may be.
    pub(crate) fn enter(&self, user: UserId) -> Result<Place, Refusal> {
        let mut calls = self.lock();
        let count = calls.entry(user).or_default();
        if *count >= self.max_calls {
            return Err(Refusal::busy("calls of one user", "max_calls_per_user", self.max_calls));
        }
        *count += 1;
        Ok(Place { user, crowd: self.clone() })
    }

    /// The map is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.crowd.lock();
        if let Some(count) = calls.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn each_user_has_so_many_calls_and_no_one_elses() {
        let crowd = Crowd::new(2);
        let first = crowd.enter(ADA).expect("a place");
        let second = crowd.enter(ADA).expect("a place");
        assert!(crowd.enter(ADA).is_err());
        let other = crowd.enter(BOB).expect("a place of his own");
        drop(first);
        let third = crowd.enter(ADA).expect("one is free again");
        assert!(crowd.enter(ADA).is_err());
        drop((second, third, other));
        assert!(crowd.lock().is_empty(), "nothing is kept of users without calls");
    }
}
