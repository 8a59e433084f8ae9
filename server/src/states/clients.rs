use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tintype_proto::v1::{CancelUploadRequest, ErrorReason, UploadChunk, UploadStart};
use tintype_store::{ImageId, RenditionId, RenditionState, Timestamp, UserId, catalog::Images, sweep};
use tokio::time::sleep;

use super::{
    catalog::at_once,
    faults::Random,
    world::{Server, World},
};
use crate::{
    rpc::{
        incoming::{Begun, Incoming},
        unfinished,
        upload::hint,
    },
    status::Refusal,
};

const ATTEMPTS: u32 = 6;

/// A file of a client's own, told by its name from all others.
#[derive(Debug)]
pub(super) struct File {
    pub(super) owner: UserId,
    pub(super) name: String,
    pub(super) bytes: Bytes,
    /// Its pixels end too early.
    pub(super) broken: bool,
    pub(super) naming: Naming,
}

/// What the client calls its upload; by the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    Nameless,
    Request,
    Upload,
}

/// What was told to clients, against which the stores are held.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) files: BTreeMap<String, Arc<File>>,
    /// Images of which a `done` told, by the file's name.
    pub(super) done: BTreeMap<String, BTreeSet<ImageId>>,
    /// Images whose deletion was asked for.
    pub(super) doomed: BTreeSet<ImageId>,
    /// Images that are deleted, as the client was told.
    pub(super) deleted: BTreeSet<ImageId>,
    /// Renditions that were asked for again.
    pub(super) retried: BTreeSet<RenditionId>,
}

impl File {
    /// A PPM of random pixels.
    fn new(owner: UserId, index: u64, random: &mut Random) -> Self {
        // Of the largest something becomes durable on the way.
        let side = if random.one_in(16) { 300 + random.below(80) } else { [2, 8 + random.below(60)][usize::from(!random.one_in(4))] };
        let mut bytes = format!("P6 {side} {side} 255\n").into_bytes();
        let pixels = side * side * 3;
        let broken = random.one_in(6);
        bytes.extend((0..if broken { pixels - pixels / 3 } else { pixels }).map(|_| random.below(256) as u8));
        let naming = [Naming::Nameless, Naming::Request, Naming::Upload, Naming::Upload][random.below(4) as usize];
        Self { owner, name: format!("{owner}-{index}.ppm"), bytes: bytes.into(), broken, naming }
    }

    fn start(&self, random: &mut Random) -> UploadStart {
        // Users may well choose the same names.
        let id = |naming| if self.naming == naming { self.name.trim_start_matches(|c| c != '-').to_owned() } else { String::new() };
        UploadStart {
            file_name: self.name.clone(),
            size_bytes: if random.one_in(2) { self.bytes.len() as i64 } else { 0 },
            sha256: if random.one_in(2) { Bytes::copy_from_slice(&Sha256::digest(&self.bytes)) } else { Bytes::new() },
            request_id: id(Naming::Request),
            upload_id: id(Naming::Upload),
            ..UploadStart::default()
        }
    }

    pub(super) fn upload_id(&self) -> Option<&str> {
        (self.naming == Naming::Upload).then(|| self.name.trim_start_matches(|c| c != '-'))
    }
}

enum Outcome {
    Done,
    /// Trying again may help.
    Failed,
    /// Nothing more comes of it.
    Refused,
}

/// A user's program: uploads, tries again, looks after it and throws away.
pub(super) async fn use_it(world: &Arc<World>, owner: UserId, first: u64, operations: u64) {
    let mut random = world.random();
    for index in first..first + operations {
        match random.below(10) {
            0 => delete(world, owner, &mut random).await,
            1 => retry(world, owner, &mut random).await,
            2 => cancel(world, owner, &mut random).await,
            _ => {
                let file = Arc::new(File::new(owner, index, &mut random));
                world.ledger().files.insert(file.name.clone(), Arc::clone(&file));
                upload(world, file, &mut random).await;
            }
        }
        sleep(random.millis(5_000)).await;
    }
}

async fn upload(world: &Arc<World>, file: Arc<File>, random: &mut Random) {
    let attempts = if file.naming == Naming::Nameless { 1 } else { ATTEMPTS };
    for _ in 0..attempts {
        let server = world.server(random);
        let (tell, told) = tokio::sync::oneshot::channel();
        // Goes on at the server when the client has gone away.
        world.spawn({
            let (world, server, file, random) = (Arc::clone(world), Arc::clone(&server), Arc::clone(&file), random.fork());
            async move { drop(tell.send(attempt(&world, &server, &file, random).await)) }
        });
        let patience_millis = if random.one_in(3) { 1_500 } else { 150_000 };
        let patience = random.millis(patience_millis);
        let outcome = tokio::select! {
            outcome = told => outcome.expect("an attempt comes to its end"),
            () = server.faults.life.over() => Outcome::Failed,
            () = sleep(patience) => Outcome::Failed,
        };
        match outcome {
            Outcome::Done | Outcome::Refused => return,
            Outcome::Failed => sleep(random.millis(10_000)).await,
        }
    }
}

/// One stream with one file, as `rpc/upload.rs` serves it.
async fn attempt(world: &World, server: &Server, file: &File, mut random: Random) -> Outcome {
    let core = &server.core;
    let mut incoming = match Incoming::begin(core, file.owner, file.start(&mut random)).await {
        Ok(Begun::Receiving(incoming)) => *incoming,
        Ok(Begun::Repeated(image)) => return done(world, file, image.id),
        Err(refusal) => return refused(world, file, &refusal),
    };
    // Where the connection breaks, and how.
    let breaks = if random.one_in(3) { random.millis(8_000) } else { Duration::MAX / 2 };
    let mut cut = Box::pin(sleep(breaks));
    let mut next = incoming.received_bytes() as usize;
    assert!(next <= file.bytes.len(), "no more is durable of {} than was sent", file.name);
    while next < file.bytes.len() {
        let end = (next + 1 + random.below(5_000.max(file.bytes.len() as u64 / 4)) as usize).min(file.bytes.len());
        let chunk = UploadChunk { data: file.bytes.slice(next..end), offset_bytes: Some(next as i64), ..UploadChunk::default() };
        let written = tokio::select! {
            biased;
            () = &mut cut => None,
            written = receive(&mut incoming, chunk) => Some(written),
        };
        match written {
            Some(Ok(())) => next = end,
            Some(Err(refusal)) => {
                incoming.suspend().await;
                return refused(world, file, &refusal);
            }
            None => {
                if random.one_in(2) {
                    incoming.suspend().await;
                }
                return Outcome::Failed;
            }
        }
    }
    let finished = tokio::select! {
        biased;
        () = &mut cut => return Outcome::Failed,
        finished = incoming.finish() => finished,
    };
    match finished {
        Ok(finished) => done(world, file, finished.image.id),
        Err(refusal) => refused(world, file, &refusal),
    }
}

fn done(world: &World, file: &File, image: ImageId) -> Outcome {
    let mut ledger = world.ledger();
    let images = ledger.done.entry(file.name.clone()).or_default();
    images.insert(image);
    assert_eq!(images.len(), 1, "{} has become one image", file.name);
    let deleted = ledger.doomed.contains(&image);
    drop(ledger);
    let there = at_once(world.catalog.image(image)).expect("SQLite answers").is_some();
    assert!(there || deleted, "{} is done, and is there", file.name);
    Outcome::Done
}

/// A chunk, and a record of what became durable meanwhile.
async fn receive(incoming: &mut Incoming, chunk: UploadChunk) -> Result<(), Refusal> {
    incoming.chunk(chunk).await?;
    if let Some(persisted) = incoming.more_persisted().now_or_never() {
        incoming.record_persisted(persisted).await?;
    }
    Ok(())
}

fn refused(world: &World, file: &File, refusal: &Refusal) -> Outcome {
    match refusal.reason() {
        ErrorReason::StoreUnavailable | ErrorReason::UploadTakenOver => Outcome::Failed,
        ErrorReason::QuotaExceeded => Outcome::Refused,
        ErrorReason::ImageNotFound if !world.ledger().doomed.is_empty() => Outcome::Refused,
        reason => panic!("{} was refused: {reason:?} {refusal:?}", file.name),
    }
}

fn some_image(world: &World, owner: UserId, random: &mut Random) -> Option<ImageId> {
    let ledger = world.ledger();
    let own = ledger.done.iter().filter(|(name, _)| ledger.files[*name].owner == owner).flat_map(|(_, images)| images);
    let images: Vec<ImageId> = own.copied().collect();
    (!images.is_empty()).then(|| images[random.below(images.len() as u64) as usize])
}

async fn delete(world: &Arc<World>, owner: UserId, random: &mut Random) {
    let Some(image) = some_image(world, owner, random) else { return };
    world.ledger().doomed.insert(image);
    let server = world.server(random);
    let (world, stores) = (Arc::clone(world), server.core.stores.clone());
    let deleting = async move {
        if stores.catalog.delete_image(image, Timestamp::now()).await.is_ok() {
            world.ledger().deleted.insert(image);
            // What is left is the sweeper's.
            let _ = sweep::remove_doomed(&stores, Timestamp::now()).await;
        }
    };
    tokio::select! {
        () = deleting => {}
        () = server.faults.life.over() => {}
    }
}

async fn retry(world: &World, owner: UserId, random: &mut Random) {
    let Some(image) = some_image(world, owner, random) else { return };
    let Some(image) = at_once(world.catalog.image(image)).expect("SQLite answers") else { return };
    let Some(failed) = image.renditions.iter().find(|rendition| rendition.state == RenditionState::Failed) else { return };
    world.ledger().retried.insert(failed.id);
    let server = world.server(random);
    let retrying = async {
        if server.core.stores.catalog.retry(Some(owner), failed.id, Timestamp::now()).await.is_ok() {
            hint(server.core.stores.clone(), vec![failed.id]).await;
        }
    };
    tokio::select! {
        () = retrying => {}
        () = server.faults.life.over() => {}
    }
}

async fn cancel(world: &World, owner: UserId, random: &mut Random) {
    let uploads: Vec<String> = {
        let ledger = world.ledger();
        let own = ledger.files.values().filter(|file| file.owner == owner);
        own.filter_map(|file| file.upload_id().map(str::to_owned)).collect()
    };
    if uploads.is_empty() {
        return;
    }
    let upload_id = uploads[random.below(uploads.len() as u64) as usize].clone();
    let server = world.server(random);
    tokio::select! {
        cancelled = unfinished::cancel(&server.core, owner, CancelUploadRequest { upload_id }) => {
            let reason = cancelled.err().map(|refusal| refusal.reason());
            let expected =
                [None, Some(ErrorReason::UploadNotFound), Some(ErrorReason::UploadTakenOver), Some(ErrorReason::StoreUnavailable)];
            assert!(expected.contains(&reason), "{reason:?}");
        }
        () = server.faults.life.over() => {}
    }
}
