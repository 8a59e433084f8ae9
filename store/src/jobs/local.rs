//! The queue inside this process.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{Delivery, JobQueue, LEASE_WAIT, NudgeListener, Nudges};
use crate::{RenditionId, StoreError};

/// Hints that may wait at once. Further ones are dropped: the sweeper tells of them again once there is room.
const MAX_WAITING: usize = 100_000;

/// After it a hint comes back whose follower panicked: a defect that shows each time must not keep a processor busy.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(5);

/// A queue in memory, gone with the process. Cheap to clone; all clones are one. An id that waits already is not queued twice.
#[derive(Debug, Clone, Default)]
pub struct Local {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes one call that waits for a hint, which wakes the next one when there is more.
    changed: Notify,
    nudged: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<RenditionId>,
    /// The same ids as in `waiting`.
    known: HashSet<RenditionId>,
    delayed: BTreeSet<(Instant, RenditionId)>,
}

impl State {
    fn push(&mut self, id: RenditionId) {
        if self.waiting.len() < MAX_WAITING && self.known.insert(id) {
            self.waiting.push_back(id);
        }
    }

    fn take(&mut self, max: usize, now: Instant) -> Vec<RenditionId> {
        while let Some((_, id)) = self.delayed.first().copied().filter(|(due, _)| *due <= now) {
            self.delayed.pop_first();
            self.push(id);
        }
        let taken: Vec<_> = self.waiting.drain(..max.min(self.waiting.len())).collect();
        for id in &taken {
            self.known.remove(id);
        }
        taken
    }

    /// When there is something to take: in the past when there is now.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() { self.delayed.first().map(|(due, _)| *due) } else { Some(now) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, ids: &[RenditionId]) {
        let mut state = self.state();
        for id in ids {
            state.push(*id);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn push_later(&self, id: RenditionId, due: Instant) {
        let mut state = self.state();
        if state.delayed.len() < MAX_WAITING {
            state.delayed.insert((due, id));
        }
        drop(state);
        // Whoever waits must learn that it has to wake earlier.
        self.changed.notify_one();
    }
}

#[async_trait]
impl JobQueue for Local {
    async fn publish(&self, ids: &[RenditionId]) -> Result<(), StoreError> {
        self.shared.push(ids);
        Ok(())
    }

    async fn lease(&self, max: usize) -> Result<Vec<Box<dyn Delivery>>, StoreError> {
        let deadline = Instant::now() + LEASE_WAIT;
        loop {
            let now = Instant::now();
            let (taken, next_due) = {
                let mut state = self.shared.state();
                (state.take(max, now), state.next_due(now))
            };
            // From here to the return nothing is awaited: a dropped call has taken nothing.
            if !taken.is_empty() || now >= deadline || max == 0 {
                if next_due.is_some() {
                    self.shared.changed.notify_one();
                }
                let delivered = |id| Box::new(LocalDelivery { id, queue: Some(Arc::clone(&self.shared)) }) as Box<dyn Delivery>;
                return Ok(taken.into_iter().map(delivered).collect());
            }
            let wake = next_due.map_or(deadline, |due| due.min(deadline));
            // Either way the loop looks again.
            let _ = timeout_at(wake, self.shared.changed.notified()).await;
        }
    }

    fn ack_wait(&self) -> Option<Duration> {
        None
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A hint of [`Local`].
#[derive(Debug)]
struct LocalDelivery {
    id: RenditionId,
    /// Where it goes back to; `None` once it is answered.
    queue: Option<Arc<Shared>>,
}

#[async_trait]
impl Delivery for LocalDelivery {
    fn rendition(&self) -> RenditionId {
        self.id
    }

    async fn in_progress(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ack(mut self: Box<Self>) -> Result<(), StoreError> {
        self.queue = None;
        Ok(())
    }

    async fn retry(mut self: Box<Self>, delay: Duration) -> Result<(), StoreError> {
        if let Some(queue) = self.queue.take() {
            queue.push_later(self.id, Instant::now() + delay);
        }
        Ok(())
    }
}

impl Drop for LocalDelivery {
    fn drop(&mut self) {
        match self.queue.take() {
            Some(queue) if thread::panicking() => queue.push_later(self.id, Instant::now() + PAUSE_AFTER_PANIC),
            Some(queue) => queue.push(&[self.id]),
            None => {}
        }
    }
}

#[async_trait]
impl Nudges for Local {
    fn nudge(&self) {
        self.shared.nudged.send_replace(());
    }

    async fn listen(&self) -> Result<Box<dyn NudgeListener>, StoreError> {
        Ok(Box::new(LocalListener(self.shared.nudged.subscribe())))
    }
}

#[derive(Debug)]
struct LocalListener(watch::Receiver<()>);

#[async_trait]
impl NudgeListener for LocalListener {
    async fn nudged(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::jobs_suite!(conformance, async { (Local::default(), ()) });

    async fn ids(queue: &Local, max: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for delivery in queue.lease(max).await.expect("a local queue never fails") {
            ids.push(delivery.rendition().0);
            delivery.ack().await.expect("a local queue never fails");
        }
        ids
    }

    #[tokio::test]
    async fn hints_come_in_order_and_once() {
        let queue = Local::default();
        queue.publish(&[3, 1, 2, 1, 3].map(RenditionId)).await.expect("a local queue never fails");
        assert_eq!(ids(&queue, 10).await, [3, 1, 2]);
    }

    #[tokio::test]
    async fn hints_beyond_the_bound_are_dropped() {
        let queue = Local::default();
        let many: Vec<_> = (0..MAX_WAITING as i64 + 10).map(RenditionId).collect();
        queue.publish(&many).await.expect("a local queue never fails");
        assert_eq!(ids(&queue, usize::MAX).await.len(), MAX_WAITING);
        queue.publish(&many[MAX_WAITING..]).await.expect("a local queue never fails");
        assert_eq!(ids(&queue, usize::MAX).await.len(), 10, "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_whose_follower_panicked_comes_after_a_pause() {
        let queue = Local::default();
        queue.publish(&[RenditionId(1)]).await.expect("a local queue never fails");
        let start = Instant::now();
        let deliveries = queue.lease(1).await.expect("a local queue never fails");
        let follower = tokio::spawn(async move {
            let _unanswered = deliveries;
            panic!("a defect");
        });
        assert!(follower.await.expect_err("it panicked").is_panic());
        let again = loop {
            let ids = ids(&queue, 1).await;
            if !ids.is_empty() {
                break ids;
            }
        };
        assert_eq!((again, start.elapsed()), (vec![1], PAUSE_AFTER_PANIC));
    }

    #[tokio::test(start_paused = true)]
    async fn a_retried_hint_comes_when_its_time_has_come() {
        let queue = Local::default();
        queue.publish(&[RenditionId(1)]).await.expect("a local queue never fails");
        let start = Instant::now();
        for delivery in queue.lease(1).await.expect("a local queue never fails") {
            delivery.retry(Duration::from_secs(3)).await.expect("a local queue never fails");
        }
        assert_eq!(ids(&queue, 1).await, [1]);
        assert!((Duration::from_secs(3)..Duration::from_millis(3100)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_lease_ends_empty() {
        let start = Instant::now();
        assert_eq!(ids(&Local::default(), 1).await, [0; 0]);
        assert!((LEASE_WAIT..LEASE_WAIT + Duration::from_millis(100)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_publish_wakes_as_many_as_there_are_hints() {
        let queue = Local::default();
        let start = Instant::now();
        let publish = async {
            tokio::task::yield_now().await;
            queue.publish(&[1, 2, 3].map(RenditionId)).await
        };
        let (a, b, c, published) = tokio::join!(ids(&queue, 1), ids(&queue, 1), ids(&queue, 1), publish);
        published.expect("a local queue never fails");
        let mut all = [a, b, c].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        assert!(start.elapsed() < Duration::from_millis(100), "nobody waited: {:?}", start.elapsed());
    }
}
