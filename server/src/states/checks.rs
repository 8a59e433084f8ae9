use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use tintype_store::{
    BlobKey, FailureReason, Image, ImageFilter, ImageId, Rendition, RenditionId, RenditionState, Timestamp,
    blobs::{Blobs, read_checked},
    catalog::{Images, Upkeep, Uploads, Users},
};

use super::{catalog::at_once, clients::Naming, world::World};

/// More than a run makes.
const ALL: u32 = 1000;

/// What was seen before, which must not change.
#[derive(Debug, Default)]
pub(super) struct Seen {
    images: BTreeMap<String, ImageId>,
    renditions: BTreeMap<RenditionId, Rendition>,
    /// Blobs that were read: bytes never change under a key.
    blobs: BTreeSet<String>,
}

impl Seen {
    fn is_new(&mut self, key: &BlobKey) -> bool {
        self.blobs.insert(key.0.clone())
    }
}

/// What holds at any moment, whatever goes wrong.
pub(super) fn look(world: &World, seen: &mut Seen) {
    let ledger = world.ledger();
    let images = images(world);
    for (name, images_done) in &ledger.done {
        for image in images_done.difference(&ledger.doomed) {
            assert!(images.contains_key(image), "P1: {name} is done, and image {image} is there");
        }
    }
    for image in &ledger.deleted {
        assert!(!images.contains_key(image), "image {image} was deleted and stays so");
    }
    for image in images.values() {
        let file = &ledger.files[&image.file_name];
        assert_eq!(image.owner, file.owner, "P9: {} is its owner's", file.name);
        let whole = Some(file.bytes.len() as u64);
        assert_eq!(at_once(world.blobs.size_bytes(&image.blob)).expect("a store in memory answers"), whole, "P1: {} is there", file.name);
        if seen.is_new(&image.blob) {
            assert_eq!(read(world, &image.blob), file.bytes, "P1, P2: image {} has the bytes of {}", image.id, file.name);
        }
        if file.naming != Naming::Nameless || ledger.done.contains_key(&file.name) {
            let first = *seen.images.entry(file.name.clone()).or_insert(image.id);
            assert_eq!(first, image.id, "P8: {} is one image", file.name);
        }
        for rendition in &image.renditions {
            if let Some(output) = &rendition.output {
                let size_bytes = at_once(world.blobs.size_bytes(&output.blob)).expect("a store in memory answers");
                assert_eq!(size_bytes, Some(output.size_bytes), "P2: rendition {} is whole", rendition.id);
                if seen.is_new(&output.blob) {
                    read(world, &output.blob);
                }
            }
            if let Some(before) = seen.renditions.insert(rendition.id, rendition.clone()) {
                check_step(&before, rendition, ledger.retried.contains(&rendition.id));
            }
        }
    }
    for user in &world.users {
        let own: Vec<&Image> = images.values().filter(|image| image.owner == *user).collect();
        let outputs = own.iter().flat_map(|image| &image.renditions).filter_map(|rendition| rendition.output.as_ref());
        let stored_bytes: u64 =
            own.iter().map(|image| image.size_bytes).sum::<u64>() + outputs.map(|output| output.size_bytes).sum::<u64>();
        let files = ledger.files.values().filter(|file| file.owner == *user).filter_map(|file| file.upload_id());
        let open = files.filter_map(|upload_id| at_once(world.catalog.open_upload(*user, upload_id)).expect("SQLite answers"));
        let unfinished_bytes: u64 = open.map(|upload| upload.partial.size_bytes).sum();
        let row = at_once(world.catalog.user(*user)).expect("SQLite answers").expect("nobody deletes users");
        assert_eq!((row.used_bytes, row.unfinished_bytes), (stored_bytes, unfinished_bytes), "P7: what user {user} stores is counted");
        let originals: u64 = own.iter().map(|image| image.size_bytes).sum();
        assert!(originals <= row.quota_bytes, "P7: user {user} stays within the quota");
    }
}

/// A terminal state stays, but for a failure that somebody asks to try again.
fn check_step(before: &Rendition, now: &Rendition, retried: bool) {
    let id = now.id;
    match before.state {
        RenditionState::Ready => {
            assert_eq!((&before.output, before.state), (&now.output, now.state), "P3, P4: rendition {id} was ready");
        }
        RenditionState::Failed if !retried => {
            assert_eq!((&before.failure, before.state), (&now.failure, now.state), "P3: rendition {id} had failed");
        }
        _ => {}
    }
}

/// Whether a rendition is still on its way.
pub(super) fn is_busy(world: &World) -> bool {
    let on_its_way = |rendition: &Rendition| matches!(rendition.state, RenditionState::Pending | RenditionState::Running);
    images(world).values().flat_map(|image| &image.renditions).any(on_its_way)
}

/// What holds when nothing goes wrong any more and every sweep was done.
pub(super) fn settled(world: &World) {
    let (ledger, images) = (world.ledger(), images(world));
    for image in images.values() {
        let broken = ledger.files[&image.file_name].broken;
        for Rendition { id, state, failure, .. } in &image.renditions {
            let reason = failure.as_ref().map(|failure| failure.reason);
            match (state, reason) {
                (RenditionState::Ready, None) => assert!(!broken, "P3: rendition {id} is made of a broken file"),
                (RenditionState::Failed, Some(FailureReason::AttemptsExhausted)) => {}
                (RenditionState::Failed, Some(FailureReason::CorruptInput)) => assert!(broken, "P3: rendition {id} is of a good file"),
                other => panic!("P3: rendition {id} is not decided: {other:?}"),
            }
        }
    }
    let outputs = images.values().flat_map(|image| &image.renditions).filter_map(|rendition| rendition.output.as_ref());
    let named: BTreeSet<&str> =
        outputs.map(|output| &output.blob).chain(images.values().map(|image| &image.blob)).map(|key| &*key.0).collect();
    let listed: Vec<_> = at_once(world.blobs.list().try_collect()).expect("a store in memory answers");
    let stored: BTreeSet<&str> = listed.iter().map(|blob| &*blob.key.0).collect();
    assert_eq!(stored, named, "P4, P6: every blob has a row, and every row its blob");
    assert_eq!(world.blobs.unpublished_count(), 0, "P6: nothing is left of what was never finished");
    assert_eq!(at_once(world.catalog.doomed_blobs(ALL)).expect("SQLite answers"), [], "P6: what was deleted is gone");
    assert_eq!(at_once(world.catalog.stale_uploads(Timestamp(i64::MAX), ALL)).expect("SQLite answers"), [], "P6: no upload is left");
    for server in world.servers().iter().filter(|server| !server.faults.life.is_over()) {
        assert_eq!(server.core.usage.all_arriving_bytes(), 0, "P7: nothing arrives any more");
    }
}

fn images(world: &World) -> BTreeMap<ImageId, Image> {
    let own = |user: &_| at_once(world.catalog.list_images(*user, &ImageFilter::default(), None, ALL)).expect("SQLite answers");
    world.users.iter().flat_map(own).map(|seen| (seen.image.id, seen.image)).collect()
}

fn read(world: &World, key: &BlobKey) -> Vec<u8> {
    let blob = at_once(world.catalog.blob(key)).expect("SQLite answers").expect("P6: what is named has a row");
    let whole = 0..blob.digest.size_bytes;
    let blocks = at_once(async { read_checked(&world.blobs, &blob, whole).await?.try_collect::<Vec<_>>().await });
    blocks.expect("P1: what is named is there and whole").concat()
}
