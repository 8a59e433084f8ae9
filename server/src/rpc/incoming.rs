//! One file of an upload: checked while its bytes stream past, never gathered in memory, visible only when all of it is durable.

use std::{future::pending, mem};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use tintype_proto::v1::{ErrorReason, UploadChunk, UploadStart};
use tintype_store::{
    BlobKey, Created, FinishedUpload, Format, Hold, Image, ImageHeader, Labels, NewImage, RenditionState, StoreError, StoredBlob,
    Timestamp, UploadLink, UserId,
    blobs::{BlobSink, read_partial_checked},
    header::HeaderScanner,
};

use super::{
    unfinished::{Unfinished, discard},
    upload::{check_chunk, hint},
};
use crate::{
    core::SharedCore,
    status::{Chain, Refusal},
    usage::Arriving,
    wire, wire_edits,
};

/// What a `start` led to.
pub(crate) enum Begun {
    /// The file is expected.
    Receiving(Box<Incoming>),
    /// The same request was finished before.
    Repeated(Box<Image>),
}

/// What a `finish` led to.
pub(crate) struct Finished {
    pub(crate) image: Image,
    /// Another stream finished the same request meanwhile.
    pub(crate) repeated: bool,
}

/// A file on its way in. Dropping it removes what was received, but for what is recorded of an upload that can go on later.
pub(crate) struct Incoming {
    core: SharedCore,
    owner: UserId,
    file_name: String,
    labels: Labels,
    announced_size_bytes: Option<u64>,
    announced_sha256: Option<[u8; 32]>,
    request_id: Option<String>,
    arriving: Arriving,
    received: Received,
    /// How many bytes are durable as far as the client was told.
    told_bytes: u64,
    /// `None` when the client gave the upload no name.
    unfinished: Option<Unfinished>,
    /// By which it came.
    link: Option<UploadLink>,
}

impl Incoming {
    /// Checks everything that the `start` tells, and takes up what is durable of the upload already.
    pub(crate) async fn begin(core: &SharedCore, owner: UserId, start: UploadStart) -> Result<Begun, Refusal> {
        let file_name = wire::file_name("file_name", &start.file_name)?;
        let labels = wire_edits::labels("labels", start.labels)?;
        let size_bytes = wire::size("size_bytes", start.size_bytes)?;
        core.limits.conversion.image.check_size(size_bytes)?;
        let sha256 = wire::sha256("sha256", &start.sha256)?;
        let request_id = wire::request_id("request_id", start.request_id)?;
        let upload_id = wire::request_id("upload_id", start.upload_id)?;
        if request_id.is_some() && upload_id.is_some() {
            return Err(Refusal::field("request_id", "must be empty beside an upload_id, which serves as one"));
        }
        let request_id = request_id.or_else(|| upload_id.clone());
        if let Some(request_id) = &request_id
            && let Some(earlier) = core.stores.catalog.image_by_request(owner, request_id).await?
        {
            return repeated(earlier, request_id).map(|image| Begun::Repeated(Box::new(image)));
        }
        let unfinished = match upload_id {
            Some(upload_id) => Some(Unfinished::take(core, owner, upload_id).await?),
            None => None,
        };
        let counted_bytes = unfinished.as_ref().map_or(0, Unfinished::persisted_bytes);
        let arriving = core.usage.begin(owner, size_bytes.saturating_sub(counted_bytes)).await?;
        let mut incoming = Box::new(Self {
            core: core.clone(),
            owner,
            file_name,
            labels,
            announced_size_bytes: (size_bytes > 0).then_some(size_bytes),
            announced_sha256: sha256,
            request_id,
            arriving,
            received: Received::default(),
            told_bytes: 0,
            unfinished,
            link: None,
        });
        incoming.take_up().await?;
        Ok(Begun::Receiving(incoming))
    }

    /// Takes what came by a link, which the catalog counts already.
    pub(crate) fn by_link(core: &SharedCore, link: &UploadLink) -> Self {
        let file = &link.file;
        Self {
            core: core.clone(),
            owner: link.owner,
            file_name: file.file_name.clone(),
            labels: file.labels.clone(),
            announced_size_bytes: Some(file.size_bytes),
            announced_sha256: Some(file.sha256),
            request_id: Some(link.upload_id.clone()),
            arriving: core.usage.counted(link.owner, file.size_bytes),
            received: Received::default(),
            told_bytes: 0,
            unfinished: None,
            link: Some(link.clone()),
        }
    }

    /// How many bytes came, those of earlier streams included.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received.size_bytes
    }

    /// The name by which another stream can go on; empty when there is none.
    pub(crate) fn upload_id(&self) -> &str {
        self.unfinished.as_ref().map_or("", Unfinished::upload_id)
    }

    /// The next chunk: what of it arrived before is passed over. After a refusal that is final nothing of the upload is left.
    pub(crate) async fn chunk(&mut self, chunk: UploadChunk) -> Result<(), Refusal> {
        check_chunk(chunk.data.len())?;
        let seen = chunk.crc32c.map(|_| crc32c::crc32c(&chunk.data));
        if let (Some(announced), Some(seen)) = (chunk.crc32c, seen)
            && announced != seen
        {
            let refusal = Refusal::new(ErrorReason::ChunkDigestMismatch, "crc32c of the chunk does not match its bytes");
            return Err(refusal.with("announced", format_args!("{announced:08x}")).with("seen", format_args!("{seen:08x}")));
        }
        let next = self.received.size_bytes;
        let offset = match chunk.offset_bytes {
            Some(offset) => wire::size("offset_bytes", offset)?,
            None => next,
        };
        if offset > next {
            let message = format!("the chunk begins at byte {offset}, but the next one is {next}");
            return Err(Refusal::new(ErrorReason::UploadGap, message).with("offset_bytes", next).with("seen", offset));
        }
        let known = usize::try_from(next - offset).unwrap_or(usize::MAX).min(chunk.data.len());
        if known > 0 && known == chunk.data.len() {
            return Ok(());
        }
        self.write(chunk.data.slice(known..)).await
    }

    /// The next bytes. After a refusal that is final nothing of the upload is left.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), Refusal> {
        let written = self.write_checked(data).await;
        self.unless_refused(written).await
    }

    /// Returns how many bytes are durable as soon as these are more than [`record_persisted`](Self::record_persisted) was told last. May be cut off.
    pub(crate) async fn more_persisted(&mut self) -> Result<u64, StoreError> {
        match &mut self.received.sink {
            Some(sink) => sink.persisted(self.told_bytes).await,
            None => pending().await,
        }
    }

    /// Records what [`more_persisted`](Self::more_persisted) said, so that another stream can go on from there. Returns how many bytes that is.
    /// After a refusal that is final nothing of the upload is left.
    pub(crate) async fn record_persisted(&mut self, persisted: Result<u64, StoreError>) -> Result<u64, Refusal> {
        let recorded = self.record(persisted).await;
        self.unless_refused(recorded).await
    }

    /// Makes the image durable and visible. After a refusal that is final nothing of the upload is left.
    pub(crate) async fn finish(mut self) -> Result<Finished, Refusal> {
        let finished = self.publish().await;
        let finished = self.unless_refused(finished).await?;
        if let Some(mut unfinished) = self.unfinished.take().filter(|_| finished.repeated) {
            unfinished.give_up().await;
        }
        let pending = finished.image.renditions.iter().filter(|rendition| rendition.state == RenditionState::Pending);
        let pending = pending.map(|rendition| rendition.id).collect();
        self.core.shutdown.spawn(hint(self.core.stores.clone(), pending));
        Ok(finished)
    }

    /// Makes what was received as durable as it can be, so that another stream goes on from there. Without an upload id it is removed.
    pub(crate) async fn suspend(mut self) {
        if let (Some(unfinished), Some(sink)) = (&mut self.unfinished, &mut self.received.sink) {
            let recorded = match sink.persist().await {
                Ok(_) => unfinished.record(sink, &mut self.arriving).await,
                Err(error) => Err(error.into()),
            };
            match recorded {
                Ok(persisted) => tracing::debug!(upload.id = unfinished.upload_id(), persisted, "an upload was interrupted"),
                Err(refusal) => tracing::debug!(upload.id = unfinished.upload_id(), ?refusal, "an interrupted upload stays as it was"),
            }
        }
    }

    /// Reads what is durable as if it came in now: digest, checksums and header go on from there. Bytes that are gone or damaged are given up, and
    /// the upload begins anew.
    async fn take_up(&mut self) -> Result<(), Refusal> {
        let Some(partial) = self.unfinished.as_ref().and_then(Unfinished::recorded).cloned() else { return Ok(()) };
        let read = async {
            let mut blocks = read_partial_checked(&*self.core.stores.blobs, &partial).await?;
            let mut received = Received::default();
            while let Some(block) = blocks.try_next().await? {
                received.push(&self.core, self.owner, block).await?;
            }
            Ok(received)
        };
        let read: Result<Received, Refusal> = read.await;
        match read {
            Ok(received) => {
                self.told_bytes = received.size_bytes;
                self.received = received;
                Ok(())
            }
            Err(refusal) if refusal.reason() == ErrorReason::StoredBytesCorrupt || refusal.is_final() => {
                tracing::warn!(blob.key = %partial.key, "what was received of an upload is damaged or gone; it begins anew");
                if let Some(unfinished) = &mut self.unfinished {
                    unfinished.give_up().await;
                }
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn unless_refused<T>(&mut self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        // What the store says when the bytes were put together for another stream to read.
        let result = result.map_err(|refusal| match &self.unfinished {
            Some(unfinished) if refusal.reason() == ErrorReason::ChangedMeanwhile => Refusal::upload_taken_over(unfinished.upload_id()),
            _ => refusal,
        });
        if let Err(refusal) = &result
            && (refusal.is_final() || refusal.reason() == ErrorReason::UploadTakenOver)
            && let Some(mut unfinished) = self.unfinished.take()
        {
            // Nothing happens to an upload that another stream has.
            unfinished.give_up().await;
        }
        result
    }

    async fn write_checked(&mut self, data: Bytes) -> Result<(), Refusal> {
        check_chunk(data.len())?;
        let size_bytes = self.received.size_bytes + data.len() as u64;
        self.core.limits.conversion.image.check_size(size_bytes)?;
        if let Some(announced) = self.announced_size_bytes.filter(|announced| size_bytes > *announced) {
            return Err(size_mismatch(announced, size_bytes));
        }
        self.arriving.add(data.len() as u64).await?;
        self.received.push(&self.core, self.owner, data).await
    }

    async fn record(&mut self, persisted: Result<u64, StoreError>) -> Result<u64, Refusal> {
        self.told_bytes = persisted?;
        match (&mut self.unfinished, &mut self.received.sink) {
            (Some(unfinished), Some(sink)) => unfinished.record(sink, &mut self.arriving).await,
            _ => Ok(self.told_bytes),
        }
    }

    async fn publish(&mut self) -> Result<Finished, Refusal> {
        let received = mem::take(&mut self.received);
        if let Some(announced) = self.announced_size_bytes.filter(|announced| received.size_bytes != *announced) {
            return Err(size_mismatch(announced, received.size_bytes));
        }
        let header = received.scanner.finish()?;
        self.core.limits.conversion.image.check(&header)?;
        let mut sink = if let Some(sink) = received.sink {
            sink
        } else {
            // A file so small that its end told its format.
            let mut sink = create_sink(&self.core, self.owner, header.format).await?;
            sink.write(received.head.freeze()).await?;
            sink
        };
        let seen = sink.sha256().await?;
        if let Some(announced) = self.announced_sha256.filter(|announced| *announced != seen) {
            return Err(digest_mismatch(&announced, &seen));
        }
        let original = sink.publish().await?;
        let renditions = self.core.auto_formats.iter().copied().filter(|format| *format != header.format).collect();
        // From here on the catalog counts it, and never both do.
        self.arriving.hand_over(u64::MAX);
        let (owner, file_name, labels) = (self.owner, mem::take(&mut self.file_name), mem::take(&mut self.labels));
        let new = NewImage { owner, file_name, labels, header, original, renditions, request_id: self.request_id.clone() };
        record(&self.core, new, self.unfinished.as_ref().map(Unfinished::hold), self.link.as_ref()).await
    }
}

/// The bytes of a file so far, on their way to where they will be kept.
#[derive(Default)]
struct Received {
    size_bytes: u64,
    scanner: HeaderScanner,
    /// The first bytes, until the format is known and with it the blob's key.
    head: BytesMut,
    sink: Option<BlobSink>,
}

impl Received {
    /// Takes the bytes wherever it is cut off.
    async fn push(&mut self, core: &SharedCore, owner: UserId, data: Bytes) -> Result<(), Refusal> {
        self.size_bytes += data.len() as u64;
        self.scanner.push(&data)?;
        if let Some(header) = self.scanner.so_far() {
            core.limits.conversion.image.check(&header)?;
        }
        if let Some(sink) = &mut self.sink {
            return Ok(sink.write(data).await?);
        }
        self.head.extend_from_slice(&data);
        if let Some(format) = self.scanner.format() {
            let sink = create_sink(core, owner, format).await?;
            let head = mem::take(&mut self.head).freeze();
            self.sink.insert(sink).write(head).await?;
        }
        Ok(())
    }
}

async fn create_sink(core: &SharedCore, owner: UserId, format: Format) -> Result<BlobSink, Refusal> {
    Ok(BlobSink::create(&*core.stores.blobs, BlobKey::original(owner, format)).await?)
}

/// Writes the row of a durable blob. When the catalog's answer is lost, the row may be there: the blob then stays, and an orphan is a
/// smaller harm than an image without its bytes.
async fn record(core: &SharedCore, new: NewImage, hold: Option<(Hold, bool)>, link: Option<&UploadLink>) -> Result<Finished, Refusal> {
    let StoredBlob { key, digest } = new.original.clone();
    let ImageHeader { format, width, height, .. } = new.header;
    let owner = new.owner;
    let request_id = new.request_id.clone().unwrap_or_default();
    let (catalog, now) = (&core.stores.catalog, Timestamp::now());
    let created = match (hold, link) {
        (Some((hold, first)), _) => match catalog.finish_upload(new, hold, first, now).await? {
            Some(FinishedUpload { created, replaced }) => {
                // Of this stream, of an earlier one, or of one that began earlier and recorded something only after this one had begun.
                if let Some(replaced) = replaced {
                    discard(core, &replaced).await;
                }
                Some(created)
            }
            None => None,
        },
        (None, Some(link)) => catalog.finish_upload_link(new, link, now).await?,
        (None, None) => Some(catalog.create_image(new, now).await?),
    };
    let Some(created) = created else {
        unused(core, &key).await;
        let gone = link.is_some();
        return Err(if gone { Refusal::upload_not_found(&request_id) } else { Refusal::upload_taken_over(&request_id) });
    };
    match created {
        Created::New(image) => {
            core.stores.nudges.nudge();
            let size_bytes = digest.size_bytes;
            tracing::info!(image.id = %image.id, user.id = %image.owner, size_bytes, %format, width, height, "stored image {}", image.id);
            Ok(Finished { image, repeated: false })
        }
        Created::Repeated(earlier) => {
            unused(core, &key).await;
            Ok(Finished { image: repeated(earlier, &request_id)?, repeated: true })
        }
        Created::OverQuota { quota_bytes, used_bytes } => {
            unused(core, &key).await;
            Err(Refusal::quota_exceeded(owner, quota_bytes, used_bytes.saturating_add(digest.size_bytes)))
        }
        Created::OwnerMissing => {
            unused(core, &key).await;
            Err(Refusal::token_invalid())
        }
    }
}

/// Removes bytes that are no image's.
pub(crate) async fn unused(core: &SharedCore, key: &BlobKey) {
    if let Err(error) = core.stores.blobs.delete(key).await {
        tracing::warn!(blob.key = %key, error = %Chain(&error), "a blob that nothing refers to is left");
    }
}

/// What a request that was finished before made.
pub(super) fn repeated(earlier: Option<Image>, request_id: &str) -> Result<Image, Refusal> {
    earlier.ok_or_else(|| {
        let message = format!("the image that request {request_id:?} made was deleted");
        Refusal::new(ErrorReason::ImageNotFound, message)
    })
}

pub(crate) fn size_mismatch(announced: u64, seen: u64) -> Refusal {
    let message = format!("{announced} bytes were announced, {seen} arrived");
    Refusal::new(ErrorReason::SizeMismatch, message).with("announced", announced).with("seen", seen)
}

pub(crate) fn digest_mismatch(announced: &[u8; 32], seen: &[u8; 32]) -> Refusal {
    let refusal = Refusal::new(ErrorReason::DigestMismatch, "sha256 of the file does not match the announced one");
    refusal.with("announced", HEXLOWER.encode(announced)).with("seen", HEXLOWER.encode(seen))
}
