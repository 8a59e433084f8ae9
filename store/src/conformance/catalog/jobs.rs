use super::support::{BEGIN, Fresh, LEASE, PICTURE, at_once, claim, create, output, owned, pending, png, second, user};
use crate::{
    Claim, Commit, Denied, Drawn, Failure, FailureReason, Format, NewImage, Output, RenditionId, RenditionState, Requested, Retry, Spec,
    Thumbhash,
};

fn failure() -> Failure {
    Failure { reason: FailureReason::CorruptInput, message: "the file ends too soon".to_owned() }
}

pub(super) async fn of_concurrent_claims_one_is_granted(fresh: Fresh) {
    let catalog = fresh.catalog;
    for _ in 0..5 {
        let id = pending(&*catalog).await;
        let claims = at_once(16, |index| {
            let catalog = catalog.clone();
            async move { catalog.claim(id, &format!("worker {index}"), LEASE, BEGIN).await.expect("an answer") }
        })
        .await;
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Granted(_))).count(), 1);
        assert_eq!(claims.iter().filter(|claim| **claim == Claim::Nothing).count(), 15);
        assert_eq!(catalog.rendition(id).await.expect("an answer").expect("a rendition").attempt, 1);
    }
}

pub(super) async fn a_granted_claim_has_all_that_is_needed(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let new = png(owner);
    let image = create(&*catalog, new.clone(), BEGIN).await;
    let rendition = &image.renditions[1];
    let job = claim(&*catalog, rendition.id, BEGIN).await;
    assert_eq!((job.rendition, job.image, job.owner), (rendition.id, image.id, owner));
    assert_eq!((job.spec, job.header, job.attempt), (Spec::new(rendition.format), new.header, 1));
    assert_eq!(job.original, new.original);

    let now = catalog.rendition(rendition.id).await.expect("an answer").expect("a rendition");
    assert_eq!((now.state, now.attempt, now.finished_at), (RenditionState::Running, 1, None));
    let other = catalog.rendition(image.renditions[0].id).await.expect("an answer").expect("a rendition");
    assert_eq!(other.state, RenditionState::Pending);
}

pub(super) async fn only_what_is_pending_can_be_claimed(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let new = NewImage { renditions: vec![Format::Jpeg, Format::WebP, Format::Gif], ..png(owner) };
    let image = create(&*catalog, new, BEGIN).await;
    let [running, ready, failed] = [0, 1, 2].map(|index| image.renditions[index].id);
    claim(&*catalog, running, BEGIN).await;
    let job = claim(&*catalog, ready, BEGIN).await;
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, BEGIN).await.expect("a commit"), Commit::Done);
    let job = claim(&*catalog, failed, BEGIN).await;
    assert_eq!(catalog.fail(&job, &failure(), BEGIN).await.expect("a commit"), Commit::Done);
    for id in [running, ready, failed, RenditionId(i64::MAX)] {
        // A running one not even long after its lease ran out.
        let claimed = catalog.claim(id, "worker", LEASE, second(1_000_000)).await.expect("an answer");
        assert_eq!(claimed, Claim::Nothing, "{id}");
    }
}

pub(super) async fn a_completed_rendition_is_ready(fresh: Fresh) {
    let catalog = fresh.catalog;
    let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    let blob = output(&job);
    assert_eq!(catalog.complete(&job, &blob, &PICTURE, second(5)).await.expect("a commit"), Commit::Done);

    let rendition = catalog.rendition(job.rendition).await.expect("an answer").expect("a rendition");
    assert_eq!((rendition.state, rendition.attempt, rendition.finished_at), (RenditionState::Ready, 1, Some(second(5))));
    let digest = blob.digest.clone();
    let expected = Output {
        blob: blob.key.clone(),
        size_bytes: digest.size_bytes,
        sha256: digest.sha256,
        picture: PICTURE.picture,
        colours: PICTURE.colours,
    };
    assert_eq!((&rendition.output, &rendition.failure), (&Some(expected), &None));
    assert_eq!(catalog.blob(&blob.key).await.expect("an answer"), Some(blob));
    let image = catalog.image(job.image).await.expect("an answer").expect("an image");
    assert_eq!(image.renditions, [rendition]);
}

pub(super) async fn the_first_thumbhash_of_an_image_is_kept_also_of_those_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let hash = |byte: u8| Thumbhash::new(&[byte; 24]).expect("it has a thumbhash's length");
    for _ in 0..5 {
        let image = create(&*catalog, png(owner), BEGIN).await;
        assert_eq!(image.thumbhash, None);
        let mut jobs = Vec::new();
        for rendition in &image.renditions {
            jobs.push(claim(&*catalog, rendition.id, BEGIN).await);
        }
        at_once(jobs.len(), |index| {
            let (catalog, job) = (catalog.clone(), jobs[index].clone());
            let drawn = Drawn { thumbhash: Some(hash(index as u8)), ..PICTURE };
            async move { assert_eq!(catalog.complete(&job, &output(&job), &drawn, BEGIN).await.expect("a commit"), Commit::Done) }
        })
        .await;
        let kept = catalog.image(image.id).await.expect("an answer").expect("an image").thumbhash;
        assert!(kept == Some(hash(0)) || kept == Some(hash(1)), "{kept:?}");

        let Requested::New(later) =
            catalog.create_rendition(image.owner, image.id, &Spec::new(Format::Gif), 100, BEGIN).await.expect("an answer")
        else {
            panic!("it has no GIF yet")
        };
        let job = claim(&*catalog, later.id, BEGIN).await;
        let drawn = Drawn { thumbhash: Some(hash(9)), ..PICTURE };
        assert_eq!(catalog.complete(&job, &output(&job), &drawn, BEGIN).await.expect("a commit"), Commit::Done);
        assert_eq!(catalog.image(image.id).await.expect("an answer").expect("an image").thumbhash, kept);
        let listed = owned(&*catalog, owner).await;
        assert_eq!(listed[0].thumbhash, kept, "a list tells it, too");
    }
}

pub(super) async fn a_repeated_complete_is_done_and_writes_nothing(fresh: Fresh) {
    let catalog = fresh.catalog;
    let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    let blob = output(&job);
    assert_eq!(catalog.complete(&job, &blob, &PICTURE, second(5)).await.expect("a commit"), Commit::Done);
    let before = catalog.rendition(job.rendition).await.expect("an answer");
    let position = catalog.last_position().await.expect("a position");

    assert_eq!(catalog.complete(&job, &blob, &PICTURE, second(6)).await.expect("a commit"), Commit::Done);
    let another = output(&job);
    assert_eq!(catalog.complete(&job, &another, &PICTURE, second(6)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.blob(&another.key).await.expect("an answer"), None);
    assert_eq!(catalog.rendition(job.rendition).await.expect("an answer"), before);
    assert_eq!(catalog.last_position().await.expect("a position"), position);
}

pub(super) async fn a_failed_rendition_says_why(fresh: Fresh) {
    let catalog = fresh.catalog;
    for reason in FailureReason::ALL {
        let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
        let failure = Failure { reason, message: format!("because of {reason:?}") };
        assert_eq!(catalog.fail(&job, &failure, second(5)).await.expect("a commit"), Commit::Done);
        let rendition = catalog.rendition(job.rendition).await.expect("an answer").expect("a rendition");
        assert_eq!((rendition.state, rendition.attempt, rendition.finished_at), (RenditionState::Failed, 1, Some(second(5))));
        assert_eq!((rendition.failure, rendition.output), (Some(failure), None));
    }
}

pub(super) async fn a_released_rendition_waits_for_its_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    assert_eq!(catalog.release(&job, second(10), false, second(5)).await.expect("a commit"), Commit::Done);
    let rendition = catalog.rendition(job.rendition).await.expect("an answer").expect("a rendition");
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Pending, 1));

    let early = catalog.claim(job.rendition, "worker", LEASE, second(9)).await.expect("an answer");
    assert_eq!(early, Claim::NotBefore(second(10)));
    let again = claim(&*catalog, job.rendition, second(10)).await;
    assert_eq!(again.attempt, 2);
    assert!(again.lease > job.lease);
}

pub(super) async fn an_uncounted_release_takes_the_attempt_back(fresh: Fresh) {
    let catalog = fresh.catalog;
    let job = claim(&*catalog, pending(&*catalog).await, BEGIN).await;
    assert_eq!(catalog.release(&job, BEGIN, true, BEGIN).await.expect("a commit"), Commit::Done);
    let again = claim(&*catalog, job.rendition, BEGIN).await;
    assert_eq!(again.attempt, 1);
    assert!(again.lease > job.lease, "the old lease is worth nothing");
    assert_eq!(catalog.renew(&job, second(99)).await.expect("an answer"), Commit::LeaseLost);
}

pub(super) async fn only_a_failed_rendition_can_be_retried(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    let not_failed = async |state| {
        assert_eq!(catalog.retry(None, id, second(1)).await.expect("an answer"), Retry::NotFailed(state));
    };
    assert_eq!(catalog.retry(None, RenditionId(i64::MAX), second(1)).await.expect("an answer"), Retry::Denied(Denied::Missing));
    not_failed(RenditionState::Pending).await;
    let job = claim(&*catalog, id, BEGIN).await;
    not_failed(RenditionState::Running).await;
    assert_eq!(catalog.fail(&job, &failure(), BEGIN).await.expect("a commit"), Commit::Done);

    let Retry::Pending(rendition) = catalog.retry(None, id, second(2)).await.expect("an answer") else {
        panic!("a failed rendition can be retried");
    };
    assert_eq!((rendition.state, rendition.attempt, rendition.finished_at), (RenditionState::Pending, 0, None));
    assert_eq!((&rendition.failure, &rendition.output), (&None, &None));
    assert_eq!(catalog.rendition(id).await.expect("an answer"), Some(rendition));
    not_failed(RenditionState::Pending).await;

    let again = claim(&*catalog, id, second(2)).await;
    assert_eq!(again.attempt, 1);
    assert!(again.lease > job.lease);
    assert_eq!(catalog.complete(&again, &output(&again), &PICTURE, second(3)).await.expect("a commit"), Commit::Done);
    not_failed(RenditionState::Ready).await;
}
