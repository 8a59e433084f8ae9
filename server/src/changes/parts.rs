use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tintype_store::{StoreError, UserId};

use super::Event;

/// Changes that are read from the catalog at once.
pub(super) const PAGE: u32 = 256;
/// Pages that are kept, of all owners together: with [`PAGE`] it bounds the memory.
const KEPT_PAGES: usize = 32;
/// How long a page is given to others: those who were cut off together come back within this time.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Owners who share one of these wait for each other.
const LANES: usize = 16;

/// What was read from the catalog lately, for the others who come for the same: when a server is gone, all watches of a user come back at
/// once, each with a position of its own. The first one reads a page, the others take what is left of it after their position.
///
/// A page may be old, and still nothing is lost or told twice: it holds all changes between two positions, and what came later lies
/// after it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The oldest first.
    pages: Mutex<VecDeque<Page>>,
    /// Held while a page is read, so that nobody reads it a second time.
    lanes: [tokio::sync::Mutex<()>; LANES],
}

/// All changes of an owner between two positions.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) owner: UserId,
    /// It begins after this position.
    pub(super) after: i64,
    /// It ends with this position.
    pub(super) through: i64,
    /// In the order of their positions.
    pub(super) events: Vec<Arc<Event>>,
    /// When it was read.
    pub(super) read_at: Instant,
}

/// What comes next for a watch.
#[derive(Debug)]
pub(crate) struct Part {
    /// In the order of their positions.
    pub(crate) events: Vec<Arc<Event>>,
    /// These are all through this position.
    pub(crate) through: i64,
}

impl Page {
    fn holds_next_of(&self, owner: UserId, position: i64) -> bool {
        self.owner == owner && self.after <= position && position < self.through
    }

    /// Up to `limit` of what comes after a position.
    fn part(&self, position: i64, limit: usize) -> Part {
        let rest = &self.events[self.events.partition_point(|event| event.change.position <= position)..];
        let events = rest[..limit.min(rest.len())].to_vec();
        let through = if events.len() < rest.len() { events.last().map_or(position, |last| last.change.position) } else { self.through };
        Part { events, through }
    }
}

impl Parts {
    /// Up to `limit` of the owner's changes after `position`: of a page that is kept, else of the one that `read` brings, which begins after
    /// `position`. `None` when `read` says so.
    pub(super) async fn after(
        &self,
        owner: UserId,
        position: i64,
        limit: usize,
        read: impl Future<Output = Result<Option<Page>, StoreError>>,
    ) -> Result<Option<Part>, StoreError> {
        let _reading = self.lanes[owner.0.unsigned_abs() as usize % LANES].lock().await;
        if let Some(part) = self.kept(owner, position, limit, Instant::now()) {
            return Ok(Some(part));
        }
        let Some(page) = read.await? else { return Ok(None) };
        let part = page.part(position, limit);
        self.keep(page);
        Ok(Some(part))
    }

    /// Lets go of what is old.
    pub(super) fn forget(&self, now: Instant) {
        let mut pages = self.lock();
        while pages.front().is_some_and(|page| now.saturating_duration_since(page.read_at) >= KEPT_FOR) {
            pages.pop_front();
        }
    }

    fn kept(&self, owner: UserId, position: i64, limit: usize, now: Instant) -> Option<Part> {
        self.forget(now);
        self.lock().iter().find(|page| page.holds_next_of(owner, position)).map(|page| page.part(position, limit))
    }

    fn keep(&self, page: Page) {
        let mut pages = self.lock();
        pages.push_back(page);
        if pages.len() > KEPT_PAGES {
            pages.pop_front();
        }
    }

    /// Between any two of their changes the pages are whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{ops::RangeInclusive, sync::atomic::AtomicUsize, sync::atomic::Ordering::Relaxed};

    use futures_util::future::{Ready, join_all, lazy, ready};
    use tintype_store::{Change, ChangeKind, ImageId, Timestamp};

    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    /// A page with a change at every other position of the range.
    fn page(owner: UserId, range: RangeInclusive<i64>) -> Page {
        let change = |position| Change {
            position,
            image: ImageId(position),
            owner,
            viewer: None,
            kind: ChangeKind::Deleted,
            rendition: None,
            at: Timestamp(0),
        };
        let events = range.clone().step_by(2).map(|position| Arc::new(Event { change: change(position), image: None }));
        Page { owner, after: range.start() - 1, through: *range.end(), events: events.collect(), read_at: Instant::now() }
    }

    fn read(page: Page) -> Ready<Result<Option<Page>, StoreError>> {
        ready(Ok(Some(page)))
    }

    fn nothing_to_read() -> impl Future<Output = Result<Option<Page>, StoreError>> {
        lazy(|_| panic!("it is kept"))
    }

    fn told(part: &Part) -> (Vec<i64>, i64) {
        (part.events.iter().map(|event| event.change.position).collect(), part.through)
    }

    #[tokio::test]
    async fn a_page_that_is_kept_goes_on_after_any_position_in_it() {
        let parts = Parts::default();
        let first = parts.after(ADA, 10, 2, read(page(ADA, 11..=16))).await.expect("it is read").expect("nothing is pruned");
        assert_eq!(told(&first), (vec![11, 13], 13));
        for (position, limit, expected) in
            [(10, 9, (vec![11, 13, 15], 16)), (11, 1, (vec![13], 13)), (13, 1, (vec![15], 16)), (15, 9, (vec![], 16))]
        {
            let part = parts.after(ADA, position, limit, nothing_to_read()).await.expect("it is kept").expect("nothing is pruned");
            assert_eq!(told(&part), expected, "after {position}");
        }
    }

    #[tokio::test]
    async fn what_is_before_or_after_a_page_or_of_somebody_else_is_read() {
        let parts = Parts::default();
        parts.after(ADA, 10, 9, read(page(ADA, 11..=16))).await.expect("it is read");
        for other in [page(ADA, 10..=11), page(ADA, 17..=17), page(BOB, 11..=12)] {
            let part = parts.after(other.owner, other.after, 9, read(other.clone())).await.expect("it is read").expect("nothing is pruned");
            assert_eq!(told(&part), told(&other.part(other.after, 9)));
        }
        assert!(parts.after(BOB, 12, 9, async { Ok(None) }).await.expect("it is asked").is_none(), "what is pruned is not made up");
    }

    #[tokio::test]
    async fn of_many_who_come_at_once_one_reads() {
        let (parts, reads) = (Parts::default(), AtomicUsize::new(0));
        let watches = (0..100).map(|number| {
            let read = async {
                reads.fetch_add(1, Relaxed);
                // The others get as far as they can.
                tokio::task::yield_now().await;
                read(page(ADA, 1..=40)).await
            };
            parts.after(ADA, number % 30, 99, read)
        });
        for (number, part) in join_all(watches).await.into_iter().enumerate() {
            let part = part.expect("it is read").expect("nothing is pruned");
            let position = number as i64 % 30;
            assert_eq!((part.events[0].change.position, part.through), (position + 1 + position % 2, 40));
        }
        assert_eq!(reads.into_inner(), 1);
    }

    #[test]
    fn pages_go_when_there_are_many_or_they_are_old() {
        let parts = Parts::default();
        for number in 0..KEPT_PAGES as i64 + 5 {
            parts.keep(page(ADA, number * 10 + 1..=number * 10 + 10));
        }
        let now = Instant::now();
        assert_eq!(parts.lock().len(), KEPT_PAGES);
        assert!(parts.kept(ADA, 49, 1, now).is_none(), "it went first");
        assert!(parts.kept(ADA, 50, 1, now).is_some());
        assert!(parts.kept(ADA, 50, 1, now + KEPT_FOR).is_none());
        assert!(parts.lock().is_empty());
    }
}
