use std::collections::BTreeSet;

use super::support::{BEGIN, Fresh, LEASE, PICTURE, claim, create, output, pending, png, second, user};
use crate::{Claim, Commit, Denied, Failure, FailureReason, Retry, catalog::Catalog};

async fn doomed(catalog: &dyn Catalog) -> BTreeSet<String> {
    catalog.doomed_blobs(1000).await.expect("doomed blobs").into_iter().map(|key| key.0).collect()
}

pub(super) async fn deletion_dooms_every_blob_until_it_is_forgotten(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(owner), BEGIN).await;
    let job = claim(&*catalog, image.renditions[0].id, BEGIN).await;
    let output = output(&job);
    assert_eq!(catalog.complete(&job, &output, &PICTURE, BEGIN).await.expect("a commit"), Commit::Done);
    assert!(doomed(&*catalog).await.is_empty());

    assert!(catalog.delete_image(image.id, second(1)).await.expect("an answer"));
    assert!(!catalog.delete_image(image.id, second(1)).await.expect("an answer"), "it is deleted once");
    assert_eq!(catalog.image(image.id).await.expect("an answer"), None);
    for rendition in &image.renditions {
        assert_eq!(catalog.rendition(rendition.id).await.expect("an answer"), None);
    }
    for key in [&image.blob, &output.key] {
        assert_eq!(catalog.blob(key).await.expect("an answer"), None);
    }
    assert_eq!(doomed(&*catalog).await, BTreeSet::from([image.blob.0.clone(), output.key.0.clone()]));
    assert_eq!(catalog.doomed_blobs(1).await.expect("doomed blobs").len(), 1);

    catalog.forget_blobs(std::slice::from_ref(&image.blob)).await.expect("forgotten");
    assert_eq!(doomed(&*catalog).await, BTreeSet::from([output.key.0.clone()]));
    catalog.forget_blobs(&[image.blob, output.key]).await.expect("forgotten, one of them again");
    catalog.forget_blobs(&[]).await.expect("nothing to forget");
    assert!(doomed(&*catalog).await.is_empty());
}

pub(super) async fn a_postponed_blob_has_its_turn_after_the_others(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let mut keys = Vec::new();
    for at in 1..=3 {
        let image = create(&*catalog, png(owner), BEGIN).await;
        assert!(catalog.delete_image(image.id, second(at)).await.expect("an answer"));
        keys.push(image.blob);
    }
    let kept = create(&*catalog, png(owner), BEGIN).await.blob;
    let doomed = async || catalog.doomed_blobs(1000).await.expect("doomed blobs");
    assert_eq!(doomed().await, keys);
    catalog.postpone_blobs(&[keys[0].clone(), kept.clone()], second(4)).await.expect("postponed");
    catalog.postpone_blobs(&[], second(4)).await.expect("nothing to postpone");
    keys.rotate_left(1);
    assert_eq!(doomed().await, keys);
    assert_eq!(catalog.doomed_blobs(1).await.expect("doomed blobs"), keys[..1]);
    assert!(catalog.blob(&kept).await.expect("an answer").is_some(), "what is in use is not doomed by it");
}

pub(super) async fn a_blob_in_use_is_not_forgotten(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(owner), BEGIN).await;
    catalog.forget_blobs(std::slice::from_ref(&image.blob)).await.expect("nothing is forgotten");
    assert!(catalog.blob(&image.blob).await.expect("an answer").is_some());
}

pub(super) async fn deletion_while_running_loses_the_lease(fresh: Fresh) {
    let catalog = fresh.catalog;
    let id = pending(&*catalog).await;
    let job = claim(&*catalog, id, BEGIN).await;
    assert!(catalog.delete_image(job.image, BEGIN).await.expect("an answer"));

    let late = output(&job);
    let failure = Failure { reason: FailureReason::DecoderCrash, message: "late".to_owned() };
    assert_eq!(catalog.renew(&job, second(99)).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.complete(&job, &late, &PICTURE, BEGIN).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.fail(&job, &failure, BEGIN).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.release(&job, BEGIN, false, BEGIN).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.claim(id, "worker", LEASE, BEGIN).await.expect("an answer"), Claim::Nothing);
    assert_eq!(catalog.retry(None, id, BEGIN).await.expect("an answer"), Retry::Denied(Denied::Missing));
    assert_eq!(catalog.blob(&late.key).await.expect("an answer"), None);
    assert_eq!(doomed(&*catalog).await, BTreeSet::from([job.original.key.0]), "the late blob is its worker's to remove");
}

pub(super) async fn deletion_and_completion_at_once_leave_nothing_behind(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let mut expected = BTreeSet::new();
    for round in 0..40 {
        let image = create(&*catalog, png(owner), BEGIN).await;
        let mut completions = Vec::new();
        for rendition in &image.renditions {
            let job = claim(&*catalog, rendition.id, BEGIN).await;
            let (catalog, output) = (catalog.clone(), output(&job));
            completions.push(tokio::spawn(async move {
                (output.key.0.clone(), catalog.complete(&job, &output, &PICTURE, BEGIN).await.expect("a commit"))
            }));
        }
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
        expected.insert(image.blob.0);
        for completion in completions {
            let (key, commit) = completion.await.expect("no panic");
            if commit == Commit::Done {
                expected.insert(key);
            }
        }
        for rendition in &image.renditions {
            assert_eq!(catalog.rendition(rendition.id).await.expect("an answer"), None);
        }
    }
    assert_eq!(doomed(&*catalog).await, expected);
}
