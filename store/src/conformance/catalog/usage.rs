use std::sync::Arc;

use super::support::{BEGIN, Fresh, PICTURE, at_once, claim, create, output, owned, png, second, user};
use crate::{
    Claim, Created, Failure, FailureReason, Format, Image, Job, NewImage, RenditionId, Spec, StoredBlob, UserChange, UserId,
    catalog::Catalog,
};

/// The size of every blob unless a case says otherwise.
const SIZE_BYTES: u64 = 600_000;

fn sized(mut new: NewImage, size_bytes: u64) -> NewImage {
    new.original.digest.size_bytes = size_bytes;
    new
}

fn sized_output(job: &Job, size_bytes: u64) -> StoredBlob {
    let mut output = output(job);
    output.digest.size_bytes = size_bytes;
    output
}

async fn used(catalog: &dyn Catalog, user: UserId) -> u64 {
    catalog.user(user).await.expect("an answer").expect("the user is there").used_bytes
}

pub(super) async fn set_quota(catalog: &dyn Catalog, user: UserId, quota_bytes: u64) {
    let change = UserChange { quota_bytes: Some(quota_bytes), ..UserChange::default() };
    catalog.update_user(user, &change).await.expect("an answer");
}

/// Originals and ready renditions, added up by hand.
async fn sum(catalog: &dyn Catalog, user: UserId) -> u64 {
    let size = |image: &Image| {
        let outputs = image.renditions.iter().filter_map(|rendition| rendition.output.as_ref());
        image.size_bytes + outputs.map(|output| output.size_bytes).sum::<u64>()
    };
    owned(catalog, user).await.iter().map(size).sum()
}

pub(super) async fn an_image_beyond_the_quota_is_not_recorded(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    set_quota(&*catalog, ada, SIZE_BYTES + 10).await;
    let first = create(&*catalog, png(ada), BEGIN).await;
    let refused = Created::OverQuota { quota_bytes: SIZE_BYTES + 10, used_bytes: SIZE_BYTES };
    for request_id in [None, Some("once".to_owned())] {
        let new = NewImage { request_id, ..sized(png(ada), 11) };
        assert_eq!(catalog.create_image(new.clone(), BEGIN).await.expect("an answer"), refused);
        assert_eq!(catalog.blob(&new.original.key).await.expect("an answer"), None);
    }
    assert_eq!(owned(&*catalog, ada).await, std::slice::from_ref(&first));
    assert_eq!(used(&*catalog, ada).await, SIZE_BYTES);
    let exactly = NewImage { request_id: Some("once".to_owned()), ..sized(png(ada), 10) };
    create(&*catalog, exactly, BEGIN).await;
    assert!(catalog.delete_image(first.id, BEGIN).await.expect("an answer"));
    assert_eq!(used(&*catalog, ada).await, 10);
    create(&*catalog, png(ada), BEGIN).await;
}

pub(super) async fn a_repeated_request_is_answered_whatever_the_quota(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let new = || NewImage { request_id: Some("once".to_owned()), ..png(ada) };
    let first = create(&*catalog, new(), BEGIN).await;
    set_quota(&*catalog, ada, 1).await;
    assert_eq!(catalog.create_image(new(), BEGIN).await.expect("an answer"), Created::Repeated(Some(first)));
    assert_eq!(used(&*catalog, ada).await, SIZE_BYTES, "counted once");
}

pub(super) async fn renditions_are_counted_and_never_refused(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    set_quota(&*catalog, ada, SIZE_BYTES).await;
    let image = create(&*catalog, png(ada), BEGIN).await;
    let job = claim(&*catalog, image.renditions[0].id, BEGIN).await;
    let output = output(&job);
    for _ in 0..2 {
        let commit = catalog.complete(&job, &output, &PICTURE, BEGIN).await.expect("a commit");
        assert_eq!(commit, crate::Commit::Done);
        assert_eq!(used(&*catalog, ada).await, 2 * SIZE_BYTES, "a repeat is counted once");
    }
    assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
    assert_eq!(used(&*catalog, ada).await, 0);
}

pub(super) async fn of_images_at_once_those_are_recorded_that_fit(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    set_quota(&*catalog, ada, 5 * SIZE_BYTES + 1).await;
    let outcomes = at_once(16, |index| {
        let catalog = catalog.clone();
        let request_id = (index % 2 == 0).then(|| format!("request {}", index / 4));
        async move { catalog.create_image(NewImage { request_id, ..png(ada) }, BEGIN).await.expect("an answer") }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Created::New(_))).count(), 5, "{outcomes:?}");
    assert_eq!(used(&*catalog, ada).await, 5 * SIZE_BYTES);
    assert_eq!(sum(&*catalog, ada).await, 5 * SIZE_BYTES);
}

/// The next of a fixed row of numbers below `bound` without much of a pattern (Knuth's MMIX generator).
fn next(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

/// One of everything that can happen to images, chosen at random. Others do the same at the same time, so anything may have happened before.
pub(super) async fn step(catalog: &dyn Catalog, owner: UserId, state: &mut u64) {
    let all = owned(catalog, owner).await;
    let image = if all.is_empty() { None } else { Some(&all[next(state, all.len() as u64) as usize]) };
    let rendition: Option<RenditionId> = image.map(|image| image.renditions[next(state, image.renditions.len() as u64) as usize].id);
    let request_id = (next(state, 2) == 0).then(|| format!("request {}", next(state, 40)));
    let size_bytes = next(state, 1_000);
    match (next(state, 9), image, rendition) {
        (0..2, _, _) | (_, None, _) | (_, _, None) => {
            catalog.create_image(NewImage { request_id, ..sized(png(owner), size_bytes) }, BEGIN).await.expect("an answer");
        }
        (2, Some(image), _) => {
            catalog.delete_image(image.id, BEGIN).await.expect("an answer");
        }
        (3, _, Some(id)) => {
            catalog.retry(None, id, BEGIN).await.expect("an answer");
        }
        (4, Some(image), _) => {
            let spec = Spec { quality: Some(next(state, 5) as u8 + 1), ..Spec::new(Format::Jpeg) };
            catalog.create_rendition(image.owner, image.id, &spec, 4, BEGIN).await.expect("an answer");
        }
        (kind, _, Some(id)) => {
            let Claim::Granted(job) = catalog.claim(id, "worker", super::support::LEASE, BEGIN).await.expect("an answer") else { return };
            let output = sized_output(&job, size_bytes);
            let failure = Failure { reason: FailureReason::CorruptInput, message: "broken".to_owned() };
            let _ = match kind {
                5 => catalog.fail(&job, &failure, second(1)).await.expect("an answer"),
                6 => catalog.release(&job, BEGIN, true, second(1)).await.expect("an answer"),
                _ => {
                    for _ in 0..2 {
                        let _ = catalog.complete(&job, &output, &PICTURE, second(1)).await.expect("an answer");
                    }
                    catalog.fail(&job, &failure, second(1)).await.expect("an answer")
                }
            };
        }
    }
}

pub(super) async fn usage_is_the_sum_of_what_is_there_after_anything(fresh: Fresh) {
    const STEPS: usize = 60;
    let catalog = fresh.catalog;
    let owners = [user(&*catalog, "ada").await, user(&*catalog, "bob").await];
    for owner in owners {
        set_quota(&*catalog, owner, 30_000).await;
    }
    for round in 0..3 {
        at_once(6, |index| {
            let catalog: Arc<dyn Catalog> = catalog.clone();
            let mut state = round * 100 + index as u64;
            async move {
                for _ in 0..STEPS {
                    step(&*catalog, owners[index % 2], &mut state).await;
                }
            }
        })
        .await;
        for owner in owners {
            assert_eq!(used(&*catalog, owner).await, sum(&*catalog, owner).await, "round {round}");
            assert!(!owned(&*catalog, owner).await.is_empty(), "something happened");
        }
    }
}
