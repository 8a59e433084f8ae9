//! One file of an upload: checked while its bytes stream past, never gathered in memory, visible only when all of it is durable.

use std::mem;

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use tintype_proto::v1::{ErrorReason, UploadStart};
use tintype_store::{
    BlobKey, Created, Format, Image, ImageHeader, Labels, NewImage, StoredBlob, Timestamp, UserId, blobs::BlobSink, header::HeaderScanner,
};

use super::upload::check_chunk;
use crate::{
    core::SharedCore,
    status::{Chain, Refusal},
    usage::Arriving,
    wire, wire_edits,
};

/// How many bytes may be received before they are made durable and the client is told.
const PROGRESS_BYTES: u64 = 8 << 20;

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

/// A file on its way in. Dropping it removes what was received.
pub(crate) struct Incoming {
    core: SharedCore,
    owner: UserId,
    file_name: String,
    labels: Labels,
    announced_size_bytes: Option<u64>,
    announced_sha256: Option<[u8; 32]>,
    request_id: Option<String>,
    arriving: Arriving,
    scanner: HeaderScanner,
    received_bytes: u64,
    persisted_bytes: u64,
    /// The first bytes, until the format is known and with it the blob's key.
    head: BytesMut,
    sink: Option<BlobSink>,
}

impl Incoming {
    /// Checks everything that the `start` tells.
    pub(crate) async fn begin(core: &SharedCore, owner: UserId, start: UploadStart) -> Result<Begun, Refusal> {
        let file_name = wire::file_name("file_name", &start.file_name)?;
        let labels = wire_edits::labels("labels", start.labels)?;
        let size_bytes = wire::size("size_bytes", start.size_bytes)?;
        core.limits.conversion.image.check_size(size_bytes)?;
        let sha256 = wire::sha256("sha256", &start.sha256)?;
        let request_id = wire::request_id(start.request_id)?;
        if let Some(request_id) = &request_id
            && let Some(earlier) = core.stores.catalog.image_by_request(owner, request_id).await?
        {
            return repeated(earlier, request_id).map(|image| Begun::Repeated(Box::new(image)));
        }
        let arriving = core.usage.begin(owner, size_bytes).await?;
        Ok(Begun::Receiving(Box::new(Self {
            core: core.clone(),
            owner,
            file_name,
            labels,
            announced_size_bytes: (size_bytes > 0).then_some(size_bytes),
            announced_sha256: sha256,
            request_id,
            arriving,
            scanner: HeaderScanner::new(),
            received_bytes: 0,
            persisted_bytes: 0,
            head: BytesMut::new(),
            sink: None,
        })))
    }

    /// The next bytes. Returns how many are durable when that is worth telling.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<Option<u64>, Refusal> {
        check_chunk(data.len())?;
        self.received_bytes += data.len() as u64;
        self.core.limits.conversion.image.check_size(self.received_bytes)?;
        if let Some(announced) = self.announced_size_bytes.filter(|announced| self.received_bytes > *announced) {
            return Err(size_mismatch(announced, self.received_bytes));
        }
        self.arriving.add(data.len() as u64).await?;
        self.scanner.push(&data)?;
        if let Some(header) = self.scanner.so_far() {
            self.core.limits.conversion.image.check(&header)?;
        }
        self.store(data).await?;

        let Some(sink) = self.sink.as_mut().filter(|_| self.received_bytes - self.persisted_bytes >= PROGRESS_BYTES) else {
            return Ok(None);
        };
        let persisted = sink.persist().await?;
        // A store that makes durable in larger steps is asked again with the next bytes.
        Ok((persisted > mem::replace(&mut self.persisted_bytes, persisted)).then_some(persisted))
    }

    /// Makes the image durable and visible.
    pub(crate) async fn finish(self) -> Result<Finished, Refusal> {
        if let Some(announced) = self.announced_size_bytes.filter(|announced| self.received_bytes != *announced) {
            return Err(size_mismatch(announced, self.received_bytes));
        }
        let header = self.scanner.finish()?;
        self.core.limits.conversion.image.check(&header)?;
        let sink = match self.sink {
            Some(sink) => sink,
            // A file so small that its end told its format.
            None => open_sink(&self.core, self.owner, header.format, self.head).await?,
        };
        let seen = sink.sha256();
        if let Some(announced) = self.announced_sha256.filter(|announced| *announced != seen) {
            let refusal = Refusal::new(ErrorReason::DigestMismatch, "sha256 of the file does not match the announced one");
            return Err(refusal.with("announced", HEXLOWER.encode(&announced)).with("seen", HEXLOWER.encode(&seen)));
        }
        let original = sink.publish().await?;
        let renditions = self.core.auto_formats.iter().copied().filter(|format| *format != header.format).collect();
        // From here on the catalog counts it, and never both do.
        drop(self.arriving);
        let (owner, file_name, labels) = (self.owner, self.file_name, self.labels);
        let new = NewImage { owner, file_name, labels, header, original, renditions, request_id: self.request_id };
        record(&self.core, new).await
    }

    async fn store(&mut self, data: Bytes) -> Result<(), Refusal> {
        if let Some(sink) = &mut self.sink {
            return Ok(sink.write(data).await?);
        }
        self.head.extend_from_slice(&data);
        if let Some(format) = self.scanner.format() {
            let head = mem::take(&mut self.head);
            self.sink = Some(open_sink(&self.core, self.owner, format, head).await?);
        }
        Ok(())
    }
}

async fn open_sink(core: &SharedCore, owner: UserId, format: Format, head: BytesMut) -> Result<BlobSink, Refusal> {
    let mut sink = BlobSink::create(&*core.stores.blobs, BlobKey::original(owner, format)).await?;
    sink.write(head.freeze()).await?;
    Ok(sink)
}

/// Writes the row of a durable blob. When the catalog's answer is lost, the row may be there: the blob then stays, and an orphan is a
/// smaller harm than an image without its bytes.
async fn record(core: &SharedCore, new: NewImage) -> Result<Finished, Refusal> {
    let StoredBlob { key, digest } = new.original.clone();
    let ImageHeader { format, width, height, .. } = new.header;
    let owner = new.owner;
    let request_id = new.request_id.clone().unwrap_or_default();
    match core.stores.catalog.create_image(new, Timestamp::now()).await? {
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

/// Removes the bytes of an image that was not recorded.
async fn unused(core: &SharedCore, key: &BlobKey) {
    if let Err(error) = core.stores.blobs.delete(key).await {
        tracing::warn!(blob.key = %key, error = %Chain(&error), "a blob that nothing refers to is left");
    }
}

fn repeated(earlier: Option<Image>, request_id: &str) -> Result<Image, Refusal> {
    earlier.ok_or_else(|| {
        let message = format!("the image that request {request_id:?} made was deleted");
        Refusal::new(ErrorReason::ImageNotFound, message)
    })
}

fn size_mismatch(announced: u64, seen: u64) -> Refusal {
    let message = format!("{announced} bytes were announced, {seen} arrived");
    Refusal::new(ErrorReason::SizeMismatch, message).with("announced", announced).with("seen", seen)
}
