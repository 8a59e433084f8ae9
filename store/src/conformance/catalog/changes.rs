use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use super::support::{BEGIN, Fresh, LEASE, PICTURE, at_once, claim, create, output, pending, png, second, user};
use crate::{
    Change, ChangeKind, ChangedRendition, Commit, Failure, FailureReason, Format, ImageId, NewImage, RenditionState, Retry,
    catalog::Catalog,
};

const ALL: u32 = 1_000_000;

pub(super) async fn every_transition_is_logged(fresh: Fresh) {
    use RenditionState::{Failed, Pending, Ready, Running};

    let catalog = fresh.catalog;
    assert_eq!(catalog.last_position().await.expect("a position"), 0);
    assert_eq!(catalog.changes_after(0, ALL).await.expect("changes"), []);

    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, NewImage { renditions: vec![Format::Jpeg], ..png(owner) }, second(1)).await;
    let id = image.renditions[0].id;
    let job = claim(&*catalog, id, second(2)).await;
    assert_eq!(catalog.release(&job, second(3), false, second(3)).await.expect("a commit"), Commit::Done);
    let job = claim(&*catalog, id, second(4)).await;
    let failure = Failure { reason: FailureReason::CorruptInput, message: "broken".to_owned() };
    assert_eq!(catalog.fail(&job, &failure, second(5)).await.expect("a commit"), Commit::Done);
    assert!(matches!(catalog.retry(None, id, second(6)).await.expect("an answer"), Retry::Pending(_)));
    claim(&*catalog, id, second(7)).await;
    assert_eq!(catalog.expire_leases(3, 10, second(100)).await.expect("a count"), 1);
    let job = claim(&*catalog, id, second(101)).await;
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, second(102)).await.expect("a commit"), Commit::Done);
    assert!(catalog.delete_image(image.id, second(103)).await.expect("an answer"));

    let changes = catalog.changes_after(0, ALL).await.expect("changes");
    let times: Vec<_> = changes.iter().map(|change| (change.kind, change.at)).collect();
    let mut expected = vec![(ChangeKind::Created, second(1))];
    expected.extend([2, 3, 4, 5, 6, 7, 100, 101, 102].map(|at| (ChangeKind::RenditionChanged, second(at))));
    expected.push((ChangeKind::Deleted, second(103)));
    assert_eq!(times, expected);
    assert!(changes.iter().all(|change| (change.image, change.owner) == (image.id, owner)));
    let states = [Running, Pending, Running, Failed, Pending, Running, Pending, Running, Ready];
    let mut renditions = vec![None];
    renditions.extend(states.map(|state| Some(ChangedRendition { id, format: Format::Jpeg, state })));
    renditions.push(None);
    assert_eq!(changes.iter().map(|change| change.rendition).collect::<Vec<_>>(), renditions);
    assert!(changes[0].position >= 1 && changes.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(catalog.last_position().await.expect("a position"), changes[10].position);

    assert_eq!(catalog.changes_after(changes[3].position, 2).await.expect("changes"), changes[4..6]);
    assert_eq!(catalog.changes_after(changes[10].position, ALL).await.expect("changes"), []);
}

pub(super) async fn what_changes_nothing_is_not_logged(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    let job = claim(&*catalog, id, BEGIN).await;
    let position = catalog.last_position().await.expect("a position");
    assert_eq!(catalog.renew(&job, second(50)).await.expect("a commit"), Commit::Done);
    catalog.claim(id, "worker", LEASE, BEGIN).await.expect("an answer");
    catalog.retry(None, id, BEGIN).await.expect("an answer");
    catalog.expire_leases(3, 10, BEGIN).await.expect("a count");
    catalog.untold(second(100), 10, second(100)).await.expect("renditions");
    catalog.delete_image(ImageId(i64::MAX), BEGIN).await.expect("an answer");
    assert_eq!(catalog.last_position().await.expect("a position"), position);
}

/// Writes one image's whole life: created, claimed, completed, deleted.
async fn live(catalog: &dyn Catalog, owner: crate::UserId) -> ImageId {
    let image = create(catalog, NewImage { renditions: vec![Format::Jpeg], ..png(owner) }, BEGIN).await;
    let job = claim(catalog, image.renditions[0].id, BEGIN).await;
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, BEGIN).await.expect("a commit"), Commit::Done);
    assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
    image.id
}

/// Reads changes as they come, in pages of `limit`, up to the last position once that is known.
async fn follow(catalog: Arc<dyn Catalog>, last: Arc<OnceLock<i64>>, limit: u32) -> Vec<Change> {
    let mut seen: Vec<Change> = Vec::new();
    loop {
        let position = seen.last().map_or(0, |change| change.position);
        if last.get().is_some_and(|last| position >= *last) {
            return seen;
        }
        seen.extend(catalog.changes_after(position, limit).await.expect("changes"));
        tokio::task::yield_now().await;
    }
}

pub(super) async fn a_follower_sees_every_change_once_and_in_order(fresh: Fresh) {
    const WRITERS: usize = 8;
    const LIVES: usize = 25;
    const CHANGES_OF_A_LIFE: usize = 4;
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let wanted = WRITERS * LIVES * CHANGES_OF_A_LIFE;
    let last = Arc::new(OnceLock::new());
    let followers = [1, 7, 1000].map(|limit| tokio::spawn(follow(catalog.clone(), last.clone(), limit)));
    let lives = at_once(WRITERS, |_| {
        let catalog = catalog.clone();
        async move {
            let mut ids = Vec::new();
            for _ in 0..LIVES {
                ids.push(live(&*catalog, owner).await);
            }
            ids
        }
    })
    .await;

    // While a follower is about to give positions, the newest changes may be out of sight.
    let log = loop {
        let log = catalog.changes_after(0, ALL).await.expect("changes");
        if log.len() >= wanted {
            break log;
        }
    };
    assert_eq!(log.len(), wanted);
    last.set(log[wanted - 1].position).expect("set once");
    assert!(log.is_sorted_by(|a, b| a.position < b.position));
    let mut kinds: BTreeMap<ImageId, Vec<ChangeKind>> = BTreeMap::new();
    for change in &log {
        kinds.entry(change.image).or_default().push(change.kind);
    }
    let life = [ChangeKind::Created, ChangeKind::RenditionChanged, ChangeKind::RenditionChanged, ChangeKind::Deleted];
    assert_eq!(kinds.len(), WRITERS * LIVES);
    assert!(lives.iter().flatten().all(|id| kinds[id] == life));
    for follower in followers {
        assert_eq!(follower.await.expect("no panic"), log, "what a follower saw while it was written");
    }
}

pub(super) async fn an_owners_changes_are_those_of_the_log(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    for owner in [ada, bob, ada, bob] {
        live(&*catalog, owner).await;
    }
    let log = catalog.changes_after(0, ALL).await.expect("changes");
    for owner in [ada, bob] {
        let own: Vec<_> = log.iter().copied().filter(|change| change.owner == owner).collect();
        assert_eq!(own.len(), 8);
        assert_eq!(catalog.changes_of(owner, 0, ALL).await.expect("changes").as_deref(), Some(&own[..]));
        assert_eq!(catalog.changes_of(owner, own[2].position, 3).await.expect("changes").as_deref(), Some(&own[3..6]));
        assert_eq!(catalog.changes_of(owner, own[7].position, ALL).await.expect("changes").as_deref(), Some(&[][..]));
    }
}

pub(super) async fn changes_after_what_was_pruned_are_not_told(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    for at in 1..=4 {
        create(&*catalog, NewImage { renditions: Vec::new(), ..png(owner) }, second(at)).await;
    }
    let log = catalog.changes_after(0, ALL).await.expect("changes");
    catalog.prune(second(3), 100).await.expect("pruned");
    for position in [0, log[0].position] {
        assert_eq!(catalog.changes_of(owner, position, ALL).await.expect("an answer"), None);
    }
    assert_eq!(catalog.changes_of(owner, log[1].position, ALL).await.expect("an answer").as_deref(), Some(&log[2..]));
    // What others no longer have does not come back when there is nothing left to prune.
    catalog.prune(second(3), 100).await.expect("pruned");
    assert_eq!(catalog.changes_of(owner, log[0].position, ALL).await.expect("an answer"), None);
    assert_eq!(catalog.changes_of(owner, log[3].position, ALL).await.expect("an answer").as_deref(), Some(&[][..]));
}
