use super::support::{BEGIN, Fresh, at_once, create, png, second, user};
use crate::{
    BlobKey, Created, FinishedUpload, Format, Hold, NewImage, NewUser, OpenUpload, PartialBlob, Recorded, Role, Timestamp, UserId,
    UserWrite, catalog::Catalog,
};

fn upload(owner: UserId, hold: i64, size_bytes: u64) -> OpenUpload {
    let key = BlobKey::original(owner, Format::Png);
    let partial = PartialBlob { key, place: "somewhere\nelse".to_owned(), size_bytes, block_crc32c: vec![0, u32::MAX, 7] };
    OpenUpload { owner, upload_id: "upload 1".to_owned(), hold: Hold(hold), partial, updated_at: second(1) }
}

async fn record(catalog: &dyn Catalog, upload: &OpenUpload) -> Recorded {
    catalog.record_upload(upload, true).await.expect("an answer")
}

async fn unfinished_bytes(catalog: &dyn Catalog, owner: UserId) -> u64 {
    catalog.user(owner).await.expect("an answer").expect("a user").unfinished_bytes
}

/// The first record of an upload, or one that adds to the same blob.
const NEW: Recorded = Recorded::Done { replaced: None };

/// Finishes an upload, and tells what became of the image.
async fn finish(catalog: &dyn Catalog, new: NewImage, hold: Hold, first: bool) -> Option<Created> {
    catalog.finish_upload(new, hold, first, BEGIN).await.expect("an answer").map(|finished| finished.created)
}

/// An image of what `upload` became.
fn finished(upload: &OpenUpload) -> NewImage {
    NewImage { request_id: Some(upload.upload_id.clone()), ..png(upload.owner) }
}

pub(super) async fn an_upload_reads_back_as_recorded_and_counts(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let (ada, bob) = (user(catalog, "ada").await, user(catalog, "bob").await);
    assert_eq!(catalog.open_upload(ada, "upload 1").await.expect("an answer"), None);
    let first = upload(ada, 5, 100);
    assert_eq!(record(catalog, &first).await, NEW);
    assert_eq!(catalog.open_upload(ada, "upload 1").await.expect("an answer"), Some(first.clone()));
    assert_eq!(catalog.open_upload(bob, "upload 1").await.expect("an answer"), None, "an id is its owner's own");
    let more = OpenUpload { updated_at: second(2), ..upload(ada, 5, 250) };
    assert_eq!(record(catalog, &more).await, Recorded::Done { replaced: Some(first.partial) }, "it has another key");
    for _ in 0..2 {
        assert_eq!(record(catalog, &more).await, NEW);
        assert_eq!(unfinished_bytes(catalog, ada).await, 250, "once, however often it is recorded");
    }
    assert_eq!(catalog.open_upload(ada, "upload 1").await.expect("an answer"), Some(more));
    assert_eq!((unfinished_bytes(catalog, bob).await, catalog.totals().await.expect("totals").unfinished_bytes), (0, 250));
}

pub(super) async fn whoever_takes_an_upload_shuts_out_the_one_before(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    assert_eq!(catalog.take_upload(owner, "upload 1", BEGIN).await.expect("an answer"), None);
    let first = upload(owner, BEGIN.0, 100);
    assert_eq!(record(catalog, &first).await, NEW);
    // Also by a clock that is behind.
    let taken = catalog.take_upload(owner, "upload 1", Timestamp(BEGIN.0 - 7)).await.expect("an answer").expect("it is there");
    assert!(taken.hold > first.hold);
    assert_eq!(taken.partial, first.partial);
    assert_eq!(record(catalog, &OpenUpload { partial: upload(owner, 0, 200).partial, ..first.clone() }).await, Recorded::TakenOver);
    assert_eq!(finish(catalog, finished(&first), first.hold, false).await, None);
    assert!(!catalog.drop_upload(owner, "upload 1", first.hold).await.expect("an answer"));
    assert_eq!(catalog.open_upload(owner, "upload 1").await.expect("an answer").expect("it is there").partial, first.partial);
    let later = OpenUpload { partial: upload(owner, 0, 200).partial, ..taken };
    assert_eq!(record(catalog, &later).await, Recorded::Done { replaced: Some(first.partial) });
    assert_eq!(unfinished_bytes(catalog, owner).await, 200);
}

pub(super) async fn of_holders_at_once_the_latest_is_left(fresh: Fresh) {
    let owner = user(&*fresh.catalog, "ada").await;
    for round in 0..5 {
        let upload_id = format!("upload {round}");
        let recorded = at_once(8, |index| {
            let (catalog, upload_id) = (fresh.catalog.clone(), upload_id.clone());
            async move { catalog.record_upload(&OpenUpload { upload_id, ..upload(owner, index as i64, 100 + index as u64) }, true).await }
        });
        let recorded = recorded.await;
        assert!(matches!(recorded[7].as_ref().expect("an answer"), Recorded::Done { .. }), "{recorded:?}");
        let left = fresh.catalog.open_upload(owner, &upload_id).await.expect("an answer").expect("one of them");
        assert_eq!((left.hold, left.partial.size_bytes), (Hold(7), 107));
    }
    assert_eq!(unfinished_bytes(&*fresh.catalog, owner).await, 5 * 107);
}

pub(super) async fn a_finished_upload_is_an_image_and_no_more_an_upload(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let open = upload(owner, 5, 100);
    assert_eq!(record(catalog, &open).await, NEW);
    let Some(Created::New(image)) = finish(catalog, finished(&open), open.hold, false).await else { panic!("it was not finished") };
    assert_eq!(catalog.open_upload(owner, "upload 1").await.expect("an answer"), None);
    let used = catalog.user(owner).await.expect("an answer").expect("a user");
    assert_eq!((used.used_bytes, used.unfinished_bytes), (image.size_bytes, 0));
    let again = finish(catalog, finished(&open), open.hold, false).await;
    assert_eq!(again, Some(Created::Repeated(Some(image))), "whoever finishes it again gets the image");
}

pub(super) async fn what_comes_late_of_an_earlier_stream_counts_for_nothing(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let nothing_left = async |upload_id: &str| {
        assert_eq!(catalog.open_upload(owner, upload_id).await.expect("an answer"), None);
        assert_eq!(unfinished_bytes(catalog, owner).await, 0);
    };
    // Behind the end of a later one, of which nothing was ever recorded.
    let (late, later) = (upload(owner, 5, 100), Hold(6));
    let done = finish(catalog, finished(&late), later, true).await;
    assert!(matches!(done, Some(Created::New(_))), "{done:?}");
    assert_eq!(record(catalog, &late).await, Recorded::TakenOver);
    nothing_left("upload 1").await;
    // Before its end.
    let late = OpenUpload { upload_id: "upload 2".to_owned(), ..late };
    assert_eq!(record(catalog, &late).await, NEW);
    let done = finish(catalog, finished(&late), later, true).await;
    assert!(matches!(done, Some(Created::New(_))), "{done:?}");
    nothing_left("upload 2").await;
    // The other way round it is shut out.
    let open = OpenUpload { upload_id: "upload 3".to_owned(), hold: later, ..late };
    assert_eq!(record(catalog, &open).await, NEW);
    assert_eq!(finish(catalog, finished(&open), Hold(5), true).await, None);
    assert_eq!(unfinished_bytes(catalog, owner).await, 100);
}

pub(super) async fn who_finishes_an_upload_learns_what_is_left_of_it(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let replaced = async |new, hold, first| {
        let finished = catalog.finish_upload(new, hold, first, BEGIN).await.expect("an answer").expect("it is not held");
        assert!(matches!(finished.created, Created::New(_)), "{finished:?}");
        finished.replaced
    };
    let open = upload(owner, 5, 100);
    assert_eq!(record(catalog, &open).await, NEW);
    assert_eq!(replaced(finished(&open), Hold(6), true).await, Some(open.partial), "of an earlier hold, which came late");
    let open = OpenUpload { upload_id: "upload 2".to_owned(), ..upload(owner, 5, 100) };
    assert_eq!(record(catalog, &open).await, NEW);
    let mut whole = finished(&open);
    whole.original.key = open.partial.key.clone();
    assert_eq!(replaced(whole, open.hold, false).await, None, "it has become the original");
    let new = NewImage { request_id: Some("upload 3".to_owned()), ..png(owner) };
    assert_eq!(replaced(new.clone(), Hold(5), true).await, None, "there is nothing");
    let again = catalog.finish_upload(new, Hold(5), true, BEGIN).await.expect("an answer").expect("it is not held");
    assert!(matches!(again, FinishedUpload { created: Created::Repeated(Some(_)), replaced: None }), "{again:?}");
}

pub(super) async fn unfinished_uploads_count_toward_the_quota(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let quota_bytes = 2 * png(UserId(1)).original.digest.size_bytes;
    let new = NewUser { name: "ada".to_owned(), role: Role::User, password_hash: "x".to_owned(), quota_bytes };
    let owner = catalog.create_user(new, BEGIN).await.expect("a user").id;
    let open = upload(owner, 5, quota_bytes / 2);
    assert_eq!(record(catalog, &open).await, NEW);
    create(catalog, png(owner), BEGIN).await;
    let refused = Created::OverQuota { quota_bytes, used_bytes: quota_bytes };
    assert_eq!(catalog.create_image(png(owner), BEGIN).await.expect("an answer"), refused, "the upload has the rest");
    let too_large = |size_bytes| {
        let mut new = finished(&open);
        new.original.digest.size_bytes = size_bytes;
        new
    };
    let refused = Some(Created::OverQuota { quota_bytes, used_bytes: quota_bytes / 2 });
    assert_eq!(finish(catalog, too_large(quota_bytes / 2 + 1), open.hold, false).await, refused);
    assert_eq!(unfinished_bytes(catalog, owner).await, quota_bytes / 2, "a refusal writes nothing");
    let finished = finish(catalog, too_large(quota_bytes / 2), open.hold, false).await;
    assert!(matches!(finished, Some(Created::New(_))), "{finished:?}");
}

pub(super) async fn a_dropped_upload_is_gone_and_counts_no_more(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let open = upload(owner, 5, 100);
    assert_eq!(record(catalog, &open).await, NEW);
    assert!(catalog.drop_upload(owner, "upload 1", open.hold).await.expect("an answer"));
    assert!(!catalog.drop_upload(owner, "upload 1", open.hold).await.expect("an answer"));
    assert_eq!((catalog.open_upload(owner, "upload 1").await.expect("an answer"), unfinished_bytes(catalog, owner).await), (None, 0));
    assert_eq!(finish(catalog, finished(&open), open.hold, false).await, None);
    assert_eq!(catalog.record_upload(&open, false).await.expect("an answer"), Recorded::TakenOver, "whoever recorded it learns of it");
    assert_eq!((catalog.open_upload(owner, "upload 1").await.expect("an answer"), unfinished_bytes(catalog, owner).await), (None, 0));
    assert_eq!(record(catalog, &open).await, NEW, "somebody may begin it anew");
    assert_eq!(catalog.record_upload(&open, false).await.expect("an answer"), NEW);
}

pub(super) async fn stale_uploads_are_the_old_ones_and_those_of_deleted_users(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let (ada, bob) = (user(catalog, "ada").await, user(catalog, "bob").await);
    let (old, young, orphan) = (upload(ada, 5, 1), OpenUpload { upload_id: "young".into(), ..upload(ada, 5, 2) }, upload(bob, 5, 3));
    for (upload, at) in [(&old, 1), (&young, 9), (&orphan, 9)] {
        assert_eq!(record(catalog, &OpenUpload { updated_at: second(at), ..upload.clone() }).await, NEW);
    }
    assert_eq!(catalog.stale_uploads(second(1), 10).await.expect("an answer"), []);
    assert_eq!(catalog.stale_uploads(second(2), 10).await.expect("an answer"), std::slice::from_ref(&old));
    assert!(matches!(catalog.delete_user(bob, BEGIN).await.expect("an answer"), UserWrite::Done(_)));
    let stale = catalog.stale_uploads(second(1), 10).await.expect("an answer");
    assert_eq!(stale.iter().map(|upload| upload.owner).collect::<Vec<_>>(), [bob]);
    assert_eq!(record(catalog, &orphan).await, Recorded::TakenOver, "nothing is recorded for a user who is deleted");
    assert_eq!(catalog.forget_deleted_users().await.expect("an answer"), 0, "the upload is still there");
    assert!(catalog.drop_upload(bob, "upload 1", orphan.hold).await.expect("an answer"));
    assert_eq!(catalog.forget_deleted_users().await.expect("an answer"), 1);
    assert_eq!(catalog.stale_uploads(second(100), 1).await.expect("an answer").len(), 1, "a few at a time");
}

pub(super) async fn what_an_upload_began_is_not_unrecorded(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let open = upload(owner, 5, 100);
    assert_eq!(record(catalog, &open).await, NEW);
    let keys = std::slice::from_ref(&open.partial.key);
    assert_eq!(catalog.unrecorded(keys).await.expect("an answer"), []);
    assert!(catalog.drop_upload(owner, "upload 1", open.hold).await.expect("an answer"));
    assert_eq!(catalog.unrecorded(keys).await.expect("an answer"), keys);
}
