use super::support::{BEGIN, Fresh, LEASE, PICTURE, claim, create, original, output, png, second, user};
use crate::{BlobKey, Commit, Format, Hold, OpenUpload, OpenWrite, PartialBlob, UserId};

fn write(multipart_id: &str) -> OpenWrite {
    OpenWrite { key: BlobKey::original(UserId(1), Format::Png), multipart_id: Some(multipart_id.to_owned()) }
}

pub(super) async fn a_noted_write_is_stale_after_its_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let write = write("exampleId_1.~/+=");
    catalog.note_write(&write, second(5)).await.expect("noted");
    assert_eq!(catalog.stale_writes(second(5), 10).await.expect("an answer"), []);
    assert_eq!(catalog.stale_writes(second(6), 10).await.expect("an answer"), [write]);
}

pub(super) async fn a_write_noted_again_is_the_latest(fresh: Fresh) {
    let catalog = fresh.catalog;
    let again = write("again");
    let first = OpenWrite { multipart_id: None, ..again.clone() };
    catalog.note_write(&first, second(1)).await.expect("noted");
    assert_eq!(catalog.stale_writes(second(2), 10).await.expect("an answer"), std::slice::from_ref(&first));
    catalog.note_write(&again, second(5)).await.expect("noted again");
    assert_eq!(catalog.stale_writes(second(5), 10).await.expect("an answer"), []);
    assert_eq!(catalog.stale_writes(second(6), 10).await.expect("an answer"), [again]);
}

pub(super) async fn a_write_that_an_upload_names_is_stale_only_after_it(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let (named, other) = (write("named"), write("other"));
    for (write, at) in [(&named, 1), (&other, 2)] {
        catalog.note_write(write, second(at)).await.expect("noted");
    }
    let partial = PartialBlob { key: named.key.clone(), place: "named".into(), size_bytes: 5, block_crc32c: vec![7] };
    let upload = OpenUpload { owner, upload_id: "upload".into(), hold: Hold(1), partial, updated_at: second(1) };
    catalog.record_upload(&upload, true).await.expect("recorded");
    assert_eq!(catalog.stale_writes(second(9), 1).await.expect("an answer"), std::slice::from_ref(&other), "and it takes nobody's place");
    assert!(catalog.drop_upload(owner, "upload", Hold(1)).await.expect("an answer"));
    assert_eq!(catalog.stale_writes(second(9), 10).await.expect("an answer"), [named, other]);
}

pub(super) async fn a_forgotten_write_is_gone(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (gone, kept) = (write("gone"), write("kept"));
    for write in [&gone, &kept] {
        catalog.note_write(write, BEGIN).await.expect("noted");
    }
    catalog.forget_write(&gone.key).await.expect("forgotten");
    catalog.forget_write(&gone.key).await.expect("forgotten again");
    assert_eq!(catalog.stale_writes(second(1), 10).await.expect("an answer"), [kept]);
}

pub(super) async fn stale_writes_come_oldest_first_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let writes: Vec<_> = (0..4).map(|index| write(&format!("id {index}"))).collect();
    for index in [2, 0, 3, 1] {
        catalog.note_write(&writes[index], second(index as u64)).await.expect("noted");
    }
    assert_eq!(catalog.stale_writes(second(9), 3).await.expect("an answer"), writes[..3]);
}

pub(super) async fn unrecorded_are_the_keys_without_a_row(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let (kept, deleted) = (create(&*catalog, png(owner), BEGIN).await, create(&*catalog, png(owner), BEGIN).await);
    let job = claim(&*catalog, kept.renditions[0].id, BEGIN).await;
    let made = output(&job);
    assert_eq!(catalog.complete(&job, &made, &PICTURE, BEGIN.plus(LEASE / 2)).await.expect("a commit"), Commit::Done);
    assert!(catalog.delete_image(deleted.id, second(1)).await.expect("an answer"));
    let unknown = original(owner, Format::Png).key;
    // What is doomed has a row until its bytes are gone.
    let keys = [kept.blob, unknown.clone(), made.key, deleted.blob.clone()];
    assert_eq!(catalog.unrecorded(&keys).await.expect("an answer"), std::slice::from_ref(&unknown));
    catalog.forget_blobs(std::slice::from_ref(&deleted.blob)).await.expect("forgotten");
    let mut unrecorded = catalog.unrecorded(&keys).await.expect("an answer");
    unrecorded.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected = [unknown, deleted.blob];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(unrecorded, expected);
    assert_eq!(catalog.unrecorded(&[]).await.expect("an answer"), []);
}
