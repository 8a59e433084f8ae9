use std::{error::Error, future::ready, mem, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::{
    ObjectStoreExt, PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use tokio::{runtime::Handle, task::JoinHandle};
use tracing::debug;

use super::{PART_BYTES, Shared, partial::Place};
use crate::{
    BlobKey, Kind, OpenWrite, StoreError, Timestamp,
    blobs::{BlobWriter, Persisting},
};

/// Writes a blob: up to a part as one object, more as a multipart upload. A part is sent while the next one is filled.
pub(super) struct S3Writer {
    shared: Arc<Shared>,
    key: BlobKey,
    path: Path,
    size_bytes: u64,
    /// What was written and not sent yet. Full, it waits until more comes or the blob is published: a blob of exactly one part is small.
    part: BytesMut,
    upload: Upload,
}

/// The multipart upload, if there is one.
#[derive(Default)]
struct Upload {
    /// There may be something to clean up.
    begun: bool,
    id: Option<String>,
    parts: Vec<PartId>,
    in_flight: Option<JoinHandle<Result<Sent, StoreError>>>,
    /// Of the part that arrived last.
    spare: Bytes,
    /// What arrived outlives the writer.
    kept: bool,
}

/// What became of a part. The id is known in any case, for what was begun has to be ended.
struct Sent {
    id: String,
    part: Result<PartId, StoreError>,
    /// Its memory, for the part after the next.
    bytes: Bytes,
}

impl S3Writer {
    pub(super) fn new(shared: Arc<Shared>, key: BlobKey, path: Path) -> Self {
        Self { shared, key, path, size_bytes: 0, part: BytesMut::new(), upload: Upload::default() }
    }

    /// Sends the part at hand as soon as the one before it has arrived, and does not wait for its arrival.
    async fn send_part(&mut self) -> Result<(), StoreError> {
        self.upload.landed().await?;
        let mut next = mem::take(&mut self.upload.spare).try_into_mut().unwrap_or_default();
        next.clear();
        next.reserve(PART_BYTES);
        let bytes = mem::replace(&mut self.part, next).freeze();
        let (shared, key, path) = (Arc::clone(&self.shared), self.key.clone(), self.path.clone());
        let (id, index) = (self.upload.id.clone(), self.upload.parts.len());
        self.upload.begun = true;
        // A task: what has begun is not cut off in the middle when the writer is dropped, or nobody would know its id.
        self.upload.in_flight = Some(tokio::spawn(async move {
            let id = match id {
                Some(id) => id,
                None => shared.begin(&key, &path).await?,
            };
            let part = shared.send(&key, &path, &id, index, bytes.clone()).await;
            Ok(Sent { id, part, bytes })
        }));
        Ok(())
    }
}

impl Upload {
    /// Returns when no part is on its way.
    async fn landed(&mut self) -> Result<(), StoreError> {
        let Some(task) = &mut self.in_flight else { return Ok(()) };
        let sent = task.await;
        self.in_flight = None;
        let sent = sent.map_err(|error| StoreError::caused_by(Kind::Internal, "a part was not sent to its end", error))??;
        self.id = Some(sent.id);
        self.spare = sent.bytes;
        self.parts.push(sent.part?);
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for S3Writer {
    fn persist_every_bytes(&self) -> u64 {
        PART_BYTES as u64
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
            let now = bytes.split_to(bytes.len().min(PART_BYTES - self.part.len()));
            // A copy, so that a writer holds its own parts and not whatever larger buffers the pieces are from.
            self.part.extend_from_slice(&now);
        }
        Ok(())
    }

    async fn persist(&mut self) -> Result<Persisting, StoreError> {
        if self.upload.in_flight.as_ref().is_some_and(JoinHandle::is_finished) {
            self.upload.landed().await?;
        }
        Ok(Box::pin(ready(Ok((self.upload.parts.len() * PART_BYTES) as u64))))
    }

    async fn keep(&mut self, size_bytes: u64) -> Result<String, StoreError> {
        let id = self.upload.id.as_deref().unwrap_or_default();
        let parts = self.upload.parts.iter().take(size_bytes as usize / PART_BYTES);
        let place = Place { multipart_id: id.to_owned(), parts: parts.map(|part| part.content_id.clone()).collect() };
        self.upload.kept = true;
        Ok(place.to_string())
    }

    async fn publish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.upload.landed().await?;
        if self.upload.id.is_none() {
            let bytes = mem::take(&mut self.part).freeze();
            return self.shared.put(&self.key, &self.path, bytes).await;
        }
        self.send_part().await?;
        self.upload.landed().await?;
        let Upload { id: Some(id), parts, .. } = &mut self.upload else {
            return Err(StoreError::new(Kind::Internal, "an upload with parts has an id"));
        };
        self.shared.complete(&self.key, &self.path, id, mem::take(parts), self.size_bytes).await?;
        self.upload = Upload::default();
        Ok(())
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let upload = mem::take(&mut self.upload);
        if !upload.begun || upload.kept {
            return;
        }
        // Without a runtime the program is at its end, and the sweeper of the next one finds the record.
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let cleanup = async move {
            let sent = match upload.in_flight {
                Some(task) => task.await.ok().and_then(Result::ok),
                None => None,
            };
            // Without an id whatever there is of the upload is looked for.
            let multipart_id = upload.id.or(sent.map(|sent| sent.id));
            if let Err(error) = shared.give_up(&OpenWrite { key, multipart_id }).await {
                debug!(error = &error as &dyn Error, "an upload that was given up is left to the sweeper");
            }
        };
        self.shared.cleanups.spawn_on(cleanup, &runtime);
    }
}

impl Shared {
    /// Writes a blob of one part.
    async fn put(&self, key: &BlobKey, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let put = match self.bucket.transfer(bytes.len() as u64, self.bucket.create(path, bytes.clone())).await {
            // The answer to an earlier try got lost, and the client's next one found its own object.
            Err(error) if self.bucket.is_taken_by(path, &bytes, &error).await => Ok(()),
            put => put,
        };
        put.map_err(|error| self.bucket.failed(format_args!("write blob {key} to"), error))
    }

    /// Begins an upload and returns its id. The upload is recorded before it is begun and its id before anything is sent: wherever this ends, the
    /// sweeper finds what is open.
    async fn begin(&self, key: &BlobKey, path: &Path) -> Result<String, StoreError> {
        let mut write = OpenWrite { key: key.clone(), multipart_id: None };
        self.writes.note_write(&write, Timestamp::now()).await?;
        let begun = self.bucket.soon(self.bucket.client.create_multipart(path)).await;
        let id = begun.map_err(|error| self.bucket.failed(format_args!("begin blob {key} in"), error))?;
        write.multipart_id = Some(id.clone());
        self.writes.note_write(&write, Timestamp::now()).await?;
        Ok(id)
    }

    async fn send(&self, key: &BlobKey, path: &Path, id: &str, index: usize, bytes: Bytes) -> Result<PartId, StoreError> {
        let (id, size_bytes, payload) = (id.to_owned(), bytes.len() as u64, PutPayload::from_bytes(bytes));
        let sent = self.bucket.transfer(size_bytes, self.bucket.client.put_part(path, &id, index, payload)).await;
        sent.map_err(|error| self.bucket.failed(format_args!("write part {} of blob {key} to", index + 1), error))
    }

    /// Makes a blob of the parts and compares its size. Every part was checked by its SHA-256 when it arrived.
    async fn complete(&self, key: &BlobKey, path: &Path, id: &str, parts: Vec<PartId>, size_bytes: u64) -> Result<(), StoreError> {
        let (bucket, id) = (&self.bucket, id.to_owned());
        let completed = bucket.rearrange(size_bytes, bucket.client.complete_multipart(path, &id, parts)).await;
        completed.map_err(|error| bucket.failed(format_args!("put the parts of blob {key} together in"), error))?;
        let found = bucket.soon(bucket.client.head(path)).await;
        let found = found.map_err(|error| bucket.failed(format_args!("find blob {key} in"), error))?;
        if found.size != size_bytes {
            let message = format!("blob {key} has {} bytes after {size_bytes} were written", found.size);
            return Err(StoreError::new(Kind::Corrupt, message));
        }
        if let Err(error) = self.writes.forget_write(key).await {
            debug!(error = &error as &dyn Error, "the record of a finished upload is left to the sweeper");
        }
        Ok(())
    }
}
