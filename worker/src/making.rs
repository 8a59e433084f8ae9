//! From the stored original to the bytes of the rendition, all but visible.

use std::{any::Any, io::Write, pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tintype_store::{
    BlobKey, Drawn, FailureReason, Job, Kind, QuotaUsedUp, StoreError,
    blobs::{BlobSink, read_checked},
    header::read_colours,
};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};
use tracing::warn;

#[cfg(target_os = "linux")]
use crate::pool::{self, NoResult, Pool, SealedMemory, SharedMemory, usual_time};
use crate::{
    convert::{ConvertError, Converted},
    converters::{Engine, How},
    job::{JobError, Workplace},
};

/// A result that is written, as far as its store can before it has a name. Dropped, it is gone.
pub(crate) struct Made {
    pub(crate) key: BlobKey,
    pub(crate) sink: BlobSink,
    pub(crate) drawn: Drawn,
    /// Its part of the memory, and its place among those that are written.
    _held: [OwnedSemaphorePermit; 2],
}

impl Workplace {
    /// Reads, converts, writes. May be dropped at any time and leaves nothing behind then, but for a conversion inside this process, which
    /// runs to its end.
    pub(crate) async fn make(&self, job: &Job, slot: OwnedSemaphorePermit) -> Result<Made, JobError> {
        if let Some(QuotaUsedUp { quota_bytes, used_bytes }) = job.over_quota {
            let message = format!("user {} stores {used_bytes} bytes, which uses up the quota of {quota_bytes} (quota_bytes)", job.owner);
            return Err(JobError::failed(FailureReason::QuotaExceeded, message));
        }
        self.config.limits.image.check_size(job.original.digest.size_bytes).map_err(ConvertError::from)?;
        let room = self.converters.room_for(job, &self.config.limits).await?;
        let (bytes, picture, thumbhash, room, place) = match &self.converters.how {
            How::Inside(engine) => {
                let (converted, room, slot) = self.convert_inside(engine, job, room, slot).await?;
                let Converted { bytes, picture, thumbhash } = converted;
                (Bytes::from(bytes), picture, thumbhash, room, slot)
            }
            #[cfg(target_os = "linux")]
            How::Pool(pool) => {
                let original = self.read_original(job, SharedMemory::create()?).await?.seal()?;
                let made = self.convert_in(pool, &original, job, slot).await;
                let (made, place) = made.map_err(|error| match error {
                    NoResult::Failed(failure) => JobError::Failed(failure),
                    NoResult::Interrupted(failure) => JobError::Interrupted(failure),
                    NoResult::Machine(error) => error.into(),
                })?;
                let pool::Made { bytes, picture, thumbhash } = made;
                (bytes, picture, thumbhash, room, place)
            }
        };
        let writing = Arc::clone(&self.writing).acquire_owned().await.expect("nobody closes the semaphore");
        drop(place);
        let drawn = Drawn { picture, colours: read_colours(&bytes), thumbhash: Some(thumbhash) };
        let key = BlobKey::rendition(job.owner, job.spec.format);
        let mut sink = BlobSink::create(&*self.stores.blobs, key.clone()).await?;
        sink.write(bytes).await?;
        sink.persist().await?;
        Ok(Made { key, sink, drawn, _held: [room, writing] })
    }

    /// Converts, and lends the slot to others when it takes longer than usual: a few pictures that hang hold up nobody else.
    #[cfg(target_os = "linux")]
    async fn convert_in(
        &self,
        pool: &Pool,
        original: &SealedMemory,
        job: &Job,
        slot: OwnedSemaphorePermit,
    ) -> Result<(pool::Made, OwnedSemaphorePermit), NoResult> {
        let mut conversion = pin!(pool.convert(original, job.header, job.spec));
        if let Ok(made) = timeout(usual_time(job.header, job.spec, self.config.limits.timeout), &mut conversion).await {
            return Ok((made?, slot));
        }
        // A place beside the slots, or the slot itself while all of them are taken.
        let place = Arc::clone(&self.aside).try_acquire_owned().unwrap_or(slot);
        Ok((conversion.await?, place))
    }

    async fn read_original<W: Write>(&self, job: &Job, mut memory: W) -> Result<W, JobError> {
        let all = 0..job.original.digest.size_bytes;
        let mut blocks = read_checked(&*self.stores.blobs, &job.original, all).await.map_err(unreadable)?;
        while let Some(block) = blocks.try_next().await.map_err(unreadable)? {
            memory.write_all(&block)?;
        }
        Ok(memory)
    }

    /// Runs the engine on a thread of its own. A thread cannot be ended from outside: after a timeout it goes on and keeps what it holds
    /// until it ends, so that there are never more conversions in memory than slots.
    async fn convert_inside(
        &self,
        engine: &Engine,
        job: &Job,
        room: OwnedSemaphorePermit,
        slot: OwnedSemaphorePermit,
    ) -> Result<(Converted, OwnedSemaphorePermit, OwnedSemaphorePermit), JobError> {
        let input = self.read_original(job, Vec::with_capacity(job.original.digest.size_bytes as usize)).await?;
        let (engine, limits) = (Arc::clone(engine), self.config.limits.clone());
        let (header, spec) = (job.header, job.spec);
        let limit = limits.timeout;
        let conversion = spawn_blocking(move || {
            let held = (room, slot);
            (engine(&input, &header, &spec, &limits), held)
        });
        match timeout(limit, conversion).await {
            Ok(Ok((converted, (room, slot)))) => Ok((converted?, room, slot)),
            Ok(Err(ended)) => {
                let cause = ended.try_into_panic().map_or_else(|ended| ended.to_string(), |panic| panic_message(&*panic));
                warn!("the converter crashed: {cause}");
                Err(JobError::interrupted(FailureReason::DecoderCrash, "the converter crashed"))
            }
            Err(_) => {
                let message = format!("the conversion took longer than {} s", limit.as_secs_f64());
                // Not tried again: that would take another slot, perhaps the last one.
                Err(JobError::failed(FailureReason::DecoderTimeout, message))
            }
        }
    }
}

/// An original that cannot be read.
fn unreadable(error: StoreError) -> JobError {
    match error.kind() {
        Kind::Corrupt => JobError::failed(FailureReason::OriginalDamaged, "the stored original is missing or damaged"),
        _ => error.into(),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked without a message").to_owned()
}
