use std::time::Duration;

use super::{
    support::{BEGIN, Fresh, LEASE, PICTURE, at_once, claim, create, output, owned, png, second, user},
    usage::{set_quota, step},
};
use crate::{
    BlobKey, Commit, FailedRendition, Failure, FailureFilter, FailureReason, Format, Image, NewImage, OpenWrite, RenditionId,
    RenditionState, Retry, Timestamp, Totals, UserChange, UserId, UserWrite, catalog::Catalog,
};

/// The size of every blob of the cases.
const SIZE_BYTES: u64 = 600_000;

async fn totals(catalog: &dyn Catalog) -> Totals {
    catalog.totals().await.expect("totals")
}

async fn fail(catalog: &dyn Catalog, id: RenditionId, reason: FailureReason, now: Timestamp) {
    let job = claim(catalog, id, now).await;
    let failure = Failure { reason, message: format!("because of {}", reason.name()) };
    assert_eq!(catalog.fail(&job, &failure, now).await.expect("a commit"), Commit::Done);
}

pub(super) async fn an_empty_catalog_has_totals_of_zero(fresh: Fresh) {
    assert_eq!(totals(&*fresh.catalog).await, Totals::default());
}

pub(super) async fn totals_tell_what_is_there(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let shut_out = UserChange { disabled: Some(true), ..UserChange::default() };
    catalog.update_user(bob, &shut_out).await.expect("an answer");
    let four = vec![Format::Jpeg, Format::WebP, Format::Gif, Format::Bmp];
    let ids: Vec<_> = create(&*catalog, NewImage { renditions: four, ..png(ada) }, BEGIN).await.renditions.iter().map(|it| it.id).collect();
    let later = create(&*catalog, png(bob), second(5)).await;
    let seen = totals(&*catalog).await;
    assert_eq!((seen.pending_count, seen.pending_since), (6, Some(BEGIN)));

    let job = claim(&*catalog, ids[0], second(10)).await;
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, second(11)).await.expect("a commit"), Commit::Done);
    fail(&*catalog, ids[1], FailureReason::DecoderTimeout, second(12)).await;
    fail(&*catalog, ids[2], FailureReason::CorruptInput, second(13)).await;
    claim(&*catalog, ids[3], second(20)).await;
    claim(&*catalog, later.renditions[0].id, second(15)).await;
    fail(&*catalog, later.renditions[1].id, FailureReason::CorruptInput, second(16)).await;
    assert!(matches!(catalog.retry(None, ids[2], second(30)).await.expect("an answer"), Retry::Pending(_)));
    let doomed = create(&*catalog, png(ada), second(40)).await;
    assert!(catalog.delete_image(doomed.id, second(41)).await.expect("an answer"));
    for at in [51, 50] {
        let write = OpenWrite { key: BlobKey::original(ada, Format::Png), multipart_id: None };
        catalog.note_write(&write, second(at)).await.expect("noted");
    }
    let expected = Totals {
        user_count: 2,
        disabled_user_count: 1,
        image_count: 2,
        original_bytes: 2 * SIZE_BYTES,
        rendition_bytes: SIZE_BYTES,
        unfinished_bytes: 0,
        ready_count: 1,
        pending_count: 1,
        pending_since: Some(second(30)),
        running_count: 2,
        first_lease_until: Some(second(15).plus(LEASE)),
        failed_counts: vec![(FailureReason::CorruptInput, 1), (FailureReason::DecoderTimeout, 1)],
        images_of_deleted_users: 0,
        doomed_blob_count: 1,
        doomed_since: Some(second(41)),
        open_write_count: 2,
        open_write_since: Some(second(50)),
    };
    let seen = totals(&*catalog).await;
    assert_eq!(seen, expected);
    assert_eq!(seen.failed_count(), 2);
}

pub(super) async fn images_of_deleted_users_are_told_apart(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let (kept, gone) = (create(&*catalog, png(ada), BEGIN).await, create(&*catalog, png(bob), BEGIN).await);
    for image in [&kept, &gone] {
        fail(&*catalog, image.renditions[0].id, FailureReason::CorruptInput, second(1)).await;
    }
    assert!(matches!(catalog.delete_user(bob, second(2)).await.expect("an answer"), UserWrite::Done(_)));
    let seen = totals(&*catalog).await;
    assert_eq!((seen.user_count, seen.image_count, seen.images_of_deleted_users), (1, 1, 1));
    assert_eq!(seen.original_bytes, SIZE_BYTES, "what the users use");
    let listed = catalog.list_failures(&FailureFilter::default(), None, 10).await.expect("a page");
    assert_eq!(listed.iter().map(|failure| failure.owner).collect::<Vec<_>>(), [ada]);
    assert!(catalog.delete_image(gone.id, second(3)).await.expect("an answer"));
    assert_eq!(totals(&*catalog).await.images_of_deleted_users, 0);
}

pub(super) async fn totals_are_the_sums_of_what_is_there_after_anything(fresh: Fresh) {
    const STEPS: usize = 60;
    let catalog = fresh.catalog;
    let owners = [user(&*catalog, "ada").await, user(&*catalog, "bob").await];
    for owner in owners {
        set_quota(&*catalog, owner, 30_000).await;
    }
    at_once(6, |index| {
        let catalog = catalog.clone();
        async move {
            let mut state = 7_000 + index as u64;
            for _ in 0..STEPS {
                step(&*catalog, owners[index % 2], &mut state).await;
            }
        }
    })
    .await;
    let mut all: Vec<Image> = Vec::new();
    for owner in owners {
        all.extend(owned(&*catalog, owner).await);
    }
    let used: u64 = catalog.list_users(None, 10).await.expect("users").iter().map(|user| user.used_bytes).sum();
    let in_state = |state| {
        let renditions = all.iter().flat_map(|image| &image.renditions);
        renditions.filter(|rendition| rendition.state == state).count() as u64
    };
    let seen = totals(&*catalog).await;
    assert!(seen.image_count > 0 && seen.ready_count > 0, "something happened");
    assert_eq!(seen.image_count, all.len() as u64);
    assert_eq!(seen.original_bytes, all.iter().map(|image| image.size_bytes).sum::<u64>());
    assert_eq!(seen.original_bytes + seen.rendition_bytes, used);
    assert_eq!(seen.pending_count, in_state(RenditionState::Pending));
    assert_eq!(seen.running_count, in_state(RenditionState::Running));
    assert_eq!(seen.ready_count, in_state(RenditionState::Ready));
    assert_eq!(seen.failed_count(), in_state(RenditionState::Failed));
}

/// Twelve failures of two users, two at a time, each two seconds after the ones before, for each reason in turn.
async fn failures(catalog: &dyn Catalog, owners: [UserId; 2]) {
    for index in 0..12_usize {
        let new = NewImage { file_name: format!("{index}.png"), renditions: vec![Format::Jpeg], ..png(owners[index % 2]) };
        let image = create(catalog, new, BEGIN).await;
        let reason = FailureReason::ALL[index % FailureReason::ALL.len()];
        fail(catalog, image.renditions[0].id, reason, second(index as u64 / 2 * 2)).await;
    }
}

/// All failures, `limit` at a time.
async fn pages(catalog: &dyn Catalog, filter: &FailureFilter, limit: u32) -> Vec<FailedRendition> {
    let mut all: Vec<FailedRendition> = Vec::new();
    loop {
        let before = all.last().map(FailedRendition::position);
        let page = catalog.list_failures(filter, before, limit).await.expect("a page");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub(super) async fn failures_are_listed_latest_first_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owners = [user(&*catalog, "ada").await, user(&*catalog, "bob").await];
    failures(&*catalog, owners).await;
    let all = pages(&*catalog, &FailureFilter::default(), 1_000).await;
    let names: Vec<_> = all.iter().map(|failure| failure.file_name.as_str()).collect();
    assert_eq!(names, ["11.png", "10.png", "9.png", "8.png", "7.png", "6.png", "5.png", "4.png", "3.png", "2.png", "1.png", "0.png"]);
    for limit in [1, 5, 11, 12, 13] {
        assert_eq!(pages(&*catalog, &FailureFilter::default(), limit).await, all, "pages of {limit}");
    }
    let FailedRendition { rendition, failed_at, owner, owner_name, .. } = &all[1];
    assert_eq!((*failed_at, *owner, owner_name.as_str()), (second(10), owners[0], "ada"));
    assert_eq!((rendition.state, rendition.format, rendition.attempt), (RenditionState::Failed, Format::Jpeg, 1));
    assert_eq!(Some(rendition.clone()), catalog.rendition(rendition.id).await.expect("an answer"));
    let reason = FailureReason::ALL[10 % FailureReason::ALL.len()];
    assert_eq!(rendition.failure, Some(Failure { reason, message: format!("because of {}", reason.name()) }));
}

pub(super) async fn failure_filters_show_exactly_what_matches(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owners = [user(&*catalog, "ada").await, user(&*catalog, "bob").await];
    failures(&*catalog, owners).await;
    let all = pages(&*catalog, &FailureFilter::default(), 1_000).await;
    let reason_choices = [vec![], vec![FailureReason::CorruptInput], vec![FailureReason::UnsupportedInput, FailureReason::OriginalDamaged]];
    let times = [None, Some(second(0)), Some(second(4)), Some(second(5)), Some(second(10)), Some(second(11))];
    for reasons in &reason_choices {
        for (failed_from, failed_before) in times.iter().flat_map(|from| times.iter().map(move |before| (*from, *before))) {
            let filter = FailureFilter { reasons: reasons.clone(), failed_from, failed_before };
            let matches = |failure: &&FailedRendition| {
                let reason = failure.rendition.failure.as_ref().expect("a reason").reason;
                (reasons.is_empty() || reasons.contains(&reason))
                    && failed_from.is_none_or(|from| failure.failed_at >= from)
                    && failed_before.is_none_or(|before| failure.failed_at < before)
            };
            let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
            assert_eq!(pages(&*catalog, &filter, 2).await, expected, "{filter:?}");
        }
    }
}

pub(super) async fn what_is_retried_or_deleted_is_no_failure_any_more(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let (first, second_image) = (create(&*catalog, png(ada), BEGIN).await, create(&*catalog, png(ada), BEGIN).await);
    let id = first.renditions[0].id;
    fail(&*catalog, id, FailureReason::DecoderCrash, second(1)).await;
    fail(&*catalog, second_image.renditions[0].id, FailureReason::DecoderCrash, second(2)).await;
    assert!(matches!(catalog.retry(None, id, second(3)).await.expect("an answer"), Retry::Pending(_)));
    assert!(catalog.delete_image(second_image.id, second(3)).await.expect("an answer"));
    assert_eq!(pages(&*catalog, &FailureFilter::default(), 10).await, []);
    fail(&*catalog, id, FailureReason::CorruptInput, second(3).plus(Duration::from_secs(1))).await;
    let listed = pages(&*catalog, &FailureFilter::default(), 10).await;
    assert_eq!(listed.iter().map(|failure| (failure.rendition.id, failure.failed_at)).collect::<Vec<_>>(), [(id, second(4))]);
}
