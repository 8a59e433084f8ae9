use super::support::{BEGIN, Fresh, LEASE, PICTURE, claim, create, output, pending, png, second, user};
use crate::{Claim, Commit, Failure, FailureReason, RenditionId, RenditionState, catalog::Catalog};

const MAX_ATTEMPTS: u32 = 3;
const MANY: u32 = 100;

async fn state(catalog: &dyn Catalog, id: RenditionId) -> RenditionState {
    catalog.rendition(id).await.expect("an answer").expect("a rendition").state
}

pub(super) async fn a_late_result_changes_nothing(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    let late = claim(&*catalog, id, BEGIN).await;
    assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(61)).await.expect("a count"), 1);
    let current = claim(&*catalog, id, second(61)).await;
    assert!(current.lease > late.lease);
    let before = catalog.rendition(id).await.expect("an answer");
    let position = catalog.last_position().await.expect("a position");

    let blob = output(&late);
    let failure = Failure { reason: FailureReason::DecoderTimeout, message: "late".to_owned() };
    assert_eq!(catalog.complete(&late, &blob, &PICTURE, second(62)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.fail(&late, &failure, second(62)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.release(&late, second(62), true, second(62)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.renew(&late, second(1000)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.rendition(id).await.expect("an answer"), before);
    assert_eq!(catalog.blob(&blob.key).await.expect("an answer"), None);
    assert_eq!(catalog.last_position().await.expect("a position"), position);

    assert_eq!(catalog.complete(&current, &output(&current), &PICTURE, second(63)).await.expect("a commit"), Commit::Done);
}

pub(super) async fn times_of_a_clock_that_was_ahead_are_pulled_back(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    let job = claim(&*catalog, id, BEGIN).await;
    assert_eq!(catalog.release(&job, second(9_000), true, second(9_000)).await.expect("a commit"), Commit::Done);
    assert_eq!(catalog.untold(second(585), MANY, second(600)).await.expect("an answer"), []);
    assert_eq!(catalog.pull_back_times(second(9_000), second(600)).await.expect("a count"), 0, "not after it");
    assert_eq!(catalog.pull_back_times(second(720), second(600)).await.expect("a count"), 1);
    assert_eq!(catalog.pull_back_times(second(720), second(600)).await.expect("a count"), 0);
    assert_eq!(catalog.untold(second(585), MANY, second(600)).await.expect("an answer"), [id]);

    let job = claim(&*catalog, id, second(600)).await;
    assert_eq!(catalog.pull_back_times(second(720), second(600)).await.expect("a count"), 0, "a lease of now is none of these");
    assert_eq!(catalog.renew(&job, second(9_000)).await.expect("a commit"), Commit::Done);
    assert_eq!(catalog.pull_back_times(second(720), second(600)).await.expect("a count"), 1);
    assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(720)).await.expect("a count"), 0);
    assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(721)).await.expect("a count"), 1);
}

pub(super) async fn a_right_to_publish_far_ahead_is_pulled_back(fresh: Fresh) {
    let catalog = fresh.catalog;
    assert_eq!(catalog.hold_publisher("ahead", second(9_006), second(9_000)).await.expect("an answer"), Some(0));
    assert_eq!(catalog.hold_publisher("right", second(606), second(600)).await.expect("an answer"), None);
    assert_eq!(catalog.pull_back_times(second(720), second(600)).await.expect("a count"), 0, "it is no rendition");
    assert_eq!(catalog.hold_publisher("right", second(725), second(719)).await.expect("an answer"), None, "its holder may still be there");
    assert_eq!(catalog.hold_publisher("right", second(726), second(720)).await.expect("an answer"), Some(0));
    assert_eq!(catalog.pull_back_times(second(840), second(720)).await.expect("a count"), 0);
    assert_eq!(catalog.hold_publisher("ahead", second(727), second(721)).await.expect("an answer"), None, "one of now is left as it is");
}

pub(super) async fn a_renewed_lease_does_not_run_out(fresh: Fresh) {
    let catalog = fresh.catalog;
    let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    assert_eq!(catalog.renew(&job, second(100)).await.expect("a commit"), Commit::Done);
    for now in [61, 100] {
        assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(now)).await.expect("a count"), 0, "at second {now}");
    }
    assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(101)).await.expect("a count"), 1);
    assert_eq!(catalog.renew(&job, second(200)).await.expect("an answer"), Commit::LeaseLost);
}

pub(super) async fn leases_that_ran_out_begin_again_until_attempts_are_exhausted(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    for attempt in 1..=MAX_ATTEMPTS {
        let now = second(u64::from(attempt) * 100);
        let job = claim(&*catalog, id, now).await;
        assert_eq!(job.attempt, attempt);
        assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, now).await.expect("a count"), 0);
        assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(u64::from(attempt) * 100 + 61)).await.expect("a count"), 1);
        assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(u64::from(attempt) * 100 + 61)).await.expect("a count"), 0);
        let expected = if attempt < MAX_ATTEMPTS { RenditionState::Pending } else { RenditionState::Failed };
        assert_eq!(state(&*catalog, id).await, expected);
    }
    let rendition = catalog.rendition(id).await.expect("an answer").expect("a rendition");
    assert_eq!((rendition.attempt, rendition.finished_at), (MAX_ATTEMPTS, Some(second(361))));
    let failure = rendition.failure.expect("a failure");
    assert_eq!((failure.reason, failure.message.as_str()), (FailureReason::AttemptsExhausted, "begun 3 times without a result"));
}

pub(super) async fn leases_end_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    for _ in 0..5 {
        let id = pending(&*catalog).await;
        claim(&*catalog, id, BEGIN).await;
    }
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(catalog.expire_leases(MAX_ATTEMPTS, 2, second(61)).await.expect("a count"));
    }
    assert_eq!(ended, [2, 2, 1, 0]);
}

pub(super) async fn void_leases_run_out_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let fresh_lease = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    let last_attempt = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    assert_eq!(catalog.release(&last_attempt, BEGIN, false, BEGIN).await.expect("a commit"), Commit::Done);
    let last_attempt = claim(&*catalog, last_attempt.rendition, BEGIN).await;
    let untouched = pending(&*catalog).await;
    assert_eq!(catalog.expire_leases(2, MANY, second(1)).await.expect("a count"), 0);

    assert_eq!(catalog.void_leases(second(1)).await.expect("a count"), 2);
    assert_eq!(catalog.expire_leases(2, MANY, second(1)).await.expect("a count"), 2);
    assert_eq!(state(&*catalog, fresh_lease.rendition).await, RenditionState::Pending);
    assert_eq!(state(&*catalog, last_attempt.rendition).await, RenditionState::Failed, "what ends its process is not begun for ever");
    assert_eq!(state(&*catalog, untouched).await, RenditionState::Pending);
    assert_eq!(catalog.void_leases(second(1)).await.expect("a count"), 0);
}

pub(super) async fn untold_renditions_are_told_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(owner), BEGIN).await;
    let ids: Vec<_> = image.renditions.iter().map(|rendition| rendition.id).collect();
    let untold = async |told_before: u64, now: u64| catalog.untold(second(told_before), MANY, second(now)).await.expect("renditions");

    assert_eq!(untold(0, 20).await, [], "the queue was told at second 0");
    assert_eq!(untold(1, 20).await, ids);
    assert_eq!(untold(20, 30).await, [], "the queue was told at second 20");

    // One is running: nobody needs to hear of it. Then it is released, and its time has not come.
    let job = claim(&*catalog, ids[0], second(40)).await;
    assert_eq!(untold(21, 41).await, [ids[1]]);
    assert_eq!(catalog.release(&job, second(60), false, second(50)).await.expect("a commit"), Commit::Done);
    assert_eq!(untold(51, 59).await, [ids[1]]);
    assert_eq!(untold(50, 60).await, [], "the queue was told at second 50");
    assert_eq!(untold(51, 60).await, [ids[0]]);

    // A lease that ran out: the queue was never told that it is pending again.
    claim(&*catalog, ids[0], second(70)).await;
    assert_eq!(catalog.expire_leases(MAX_ATTEMPTS, MANY, second(131)).await.expect("a count"), 1);
    assert_eq!(untold(1, 131).await, [ids[0]]);
    assert_eq!(untold(131, 132).await, [ids[1]]);

    let ready = claim(&*catalog, ids[1], second(140)).await;
    assert_eq!(catalog.complete(&ready, &output(&ready), &PICTURE, second(141)).await.expect("a commit"), Commit::Done);
    assert_eq!(untold(1_000_000, 1_000_000).await, [ids[0]], "nobody needs to hear of what is ready");
}

pub(super) async fn what_waits_longest_is_told_first(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let mut waiting = Vec::new();
    for created in [30, 10, 20] {
        waiting.push((created, create(&*catalog, png(owner), second(created)).await.renditions[0].id));
    }
    for (created, id) in &waiting {
        // The other rendition of each image is out of the way.
        let other = RenditionId(id.0 + 1);
        assert!(matches!(catalog.claim(other, "worker", LEASE, second(*created)).await.expect("an answer"), Claim::Granted(_)));
    }
    waiting.sort_unstable();
    let mut told = Vec::new();
    for now in [100, 101, 102, 103] {
        told.extend(catalog.untold(second(now), 1, second(now)).await.expect("renditions"));
    }
    let mut expected: Vec<_> = waiting.into_iter().map(|(_, id)| id).collect();
    expected.push(expected[0]);
    assert_eq!(told, expected);
}
