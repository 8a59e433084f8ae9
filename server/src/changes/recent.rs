use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tintype_proto::v1;
use tintype_store::{Change, UserId};
use tokio::sync::watch;

use super::Images;

/// Changes kept at hand, of all watched owners together: bounds the memory, whatever watchers do.
const KEPT: usize = 8192;

/// A change with its image.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    /// As it was when the change was read; `None` when it was deleted by then.
    pub(crate) image: Option<Arc<v1::Image>>,
}

impl Event {
    pub(super) fn new(change: Change, images: &Images) -> Arc<Self> {
        Arc::new(Self { image: images.get(&change.image).cloned(), change })
    }
}

/// The latest changes in the part of the log of every user who watches. Watchers share them and keep nothing but their position: one that falls behind what is
/// kept here reads from the catalog.
#[derive(Debug)]
pub(super) struct Recent(RwLock<State>);

#[derive(Debug)]
struct State {
    /// Everything through here was read.
    position: i64,
    /// The latest reading succeeded.
    current: bool,
    /// In the order of their positions.
    events: VecDeque<Arc<Event>>,
    /// Everything through here was dropped.
    dropped: i64,
    owners: HashMap<UserId, Owner>,
}

#[derive(Debug)]
struct Owner {
    /// Every change of this owner after this position was kept.
    since: i64,
    told: watch::Sender<()>,
}

/// What is at hand after a position.
#[derive(Debug)]
pub(crate) enum Found {
    /// These come next.
    Events(Vec<Arc<Event>>),
    /// There is none through this position.
    NoneThrough(i64),
    /// It is not known here, but to the catalog.
    Unknown,
}

/// Keeps an owner's changes at hand.
#[derive(Debug)]
pub(crate) struct Subscription(watch::Receiver<()>);

impl Subscription {
    /// What is told from now on ends the next [`told`](Self::told).
    pub(crate) fn expect(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns when something was told since [`expect`](Self::expect).
    pub(crate) async fn told(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Recent {
    pub(super) fn new(position: i64) -> Self {
        let state = State { position, current: true, events: VecDeque::new(), dropped: position, owners: HashMap::new() };
        Self(RwLock::new(state))
    }

    pub(super) fn subscribe(&self, owner: UserId) -> Subscription {
        let mut state = self.write();
        let since = state.position;
        Subscription(state.owners.entry(owner).or_insert_with(|| Owner { since, told: watch::Sender::new(()) }).told.subscribe())
    }

    /// Who is watched. Those who are no longer are forgotten.
    pub(super) fn owners(&self) -> HashSet<UserId> {
        let mut state = self.write();
        state.owners.retain(|_, owner| owner.told.receiver_count() > 0);
        state.owners.keys().copied().collect()
    }

    pub(super) fn position(&self) -> i64 {
        self.read().position
    }

    pub(super) fn is_current(&self) -> bool {
        self.read().current
    }

    pub(super) fn set_current(&self, current: bool) {
        // Asked first, so that nobody waits when nothing is new.
        if self.is_current() != current {
            self.write().current = current;
        }
    }

    /// Keeps a page of the log. `images` are those of the changes of `owners`.
    pub(super) fn push(&self, page: &[Change], owners: &HashSet<UserId>, images: &Images) {
        let Some(last) = page.last() else { return };
        let mut state = self.write();
        state.position = last.position;
        // Whoever began to be watched while the images were read begins after this page.
        for (_, owner) in state.owners.iter_mut().filter(|(id, _)| !owners.contains(id)) {
            owner.since = last.position;
        }
        let kept = page.iter().filter(|change| owners.contains(&change.audience()));
        state.events.extend(kept.map(|change| Event::new(*change, images)));
        while state.events.len() > KEPT {
            let dropped = state.events.pop_front();
            state.dropped = dropped.map_or(state.dropped, |event| event.change.position);
        }
        let told: HashSet<UserId> = page.iter().map(Change::audience).collect();
        for owner in told.iter().filter_map(|id| state.owners.get(id)) {
            owner.told.send_replace(());
        }
    }

    pub(super) fn after(&self, owners: &[UserId], position: i64, limit: usize) -> Found {
        let state = self.read();
        let known = |owner| state.owners.get(owner).is_some_and(|owner: &Owner| position >= owner.since.max(state.dropped));
        if !owners.iter().all(known) {
            return Found::Unknown;
        }
        let begin = state.events.partition_point(|event| event.change.position <= position);
        let found: Vec<_> =
            state.events.range(begin..).filter(|event| owners.contains(&event.change.audience())).take(limit).cloned().collect();
        if found.is_empty() { Found::NoneThrough(state.position) } else { Found::Events(found) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tintype_store::{ChangeKind, ImageId, Timestamp};

    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn page(positions: std::ops::RangeInclusive<i64>, owner: UserId) -> Vec<Change> {
        let change = |position| Change {
            position,
            image: ImageId(position),
            owner,
            viewer: None,
            kind: ChangeKind::Created,
            rendition: None,
            at: Timestamp(0),
        };
        positions.map(change).collect()
    }

    fn push(recent: &Recent, page: &[Change]) {
        recent.push(page, &recent.owners(), &Images::new());
    }

    fn positions(found: Found) -> Vec<i64> {
        match found {
            Found::Events(events) => events.iter().map(|event| event.change.position).collect(),
            other => panic!("no events: {other:?}"),
        }
    }

    #[test]
    fn a_watcher_finds_its_owners_changes_after_its_position() {
        let recent = Recent::new(10);
        let _subscription = recent.subscribe(ADA);
        push(&recent, &[page(11..=12, ADA), page(13..=13, BOB), page(14..=15, ADA)].concat());
        assert_eq!(positions(recent.after(&[ADA], 10, 3)), [11, 12, 14]);
        assert_eq!(positions(recent.after(&[ADA], 12, 9)), [14, 15]);
        assert!(matches!(recent.after(&[ADA], 15, 9), Found::NoneThrough(15)));
        let _other = recent.subscribe(BOB);
        push(&recent, &[Change { viewer: Some(BOB), ..page(16..=16, ADA)[0] }, page(17..=17, ADA)[0]]);
        assert_eq!(positions(recent.after(&[ADA], 15, 9)), [17], "a copy is for its viewer alone");
        assert_eq!(positions(recent.after(&[BOB], 15, 9)), [16]);
        assert_eq!(positions(recent.after(&[ADA, BOB], 15, 9)), [16, 17]);
        assert!(matches!(recent.after(&[ADA], 9, 9), Found::Unknown), "it was not watched then");
        assert!(matches!(recent.after(&[ADA, BOB], 14, 9), Found::Unknown), "one of them did not watch then");
    }

    #[test]
    fn who_comes_while_a_page_is_read_is_not_told_a_part_of_it() {
        let recent = Recent::new(0);
        let before = recent.owners();
        let _subscription = recent.subscribe(ADA);
        recent.push(&page(1..=3, ADA), &before, &Images::new());
        assert!(matches!(recent.after(&[ADA], 0, 9), Found::Unknown));
        assert!(matches!(recent.after(&[ADA], 3, 9), Found::NoneThrough(3)));
        push(&recent, &page(4..=4, ADA));
        assert_eq!(positions(recent.after(&[ADA], 3, 9)), [4]);
    }

    #[test]
    fn what_is_dropped_is_not_passed_by() {
        let recent = Recent::new(0);
        let _subscription = recent.subscribe(ADA);
        let many = KEPT as i64 + 5;
        push(&recent, &page(1..=many, ADA));
        assert!(matches!(recent.after(&[ADA], 4, 9), Found::Unknown));
        assert_eq!(positions(recent.after(&[ADA], 5, 2)), [6, 7]);
    }

    #[test]
    fn who_is_watched_no_more_is_forgotten() {
        let recent = Recent::new(0);
        drop((recent.subscribe(ADA), recent.subscribe(ADA)));
        assert!(recent.owners().is_empty());
        push(&recent, &page(1..=2, ADA));
        let _again = recent.subscribe(ADA);
        assert!(matches!(recent.after(&[ADA], 0, 9), Found::Unknown));
    }

    #[tokio::test]
    async fn what_is_told_between_looking_and_waiting_ends_the_wait() {
        let recent = Recent::new(0);
        let mut subscription = recent.subscribe(ADA);
        subscription.expect();
        assert!(matches!(recent.after(&[ADA], 0, 9), Found::NoneThrough(0)));
        push(&recent, &page(1..=1, ADA));
        subscription.told().await;
        assert_eq!(positions(recent.after(&[ADA], 0, 9)), [1]);
    }
}
