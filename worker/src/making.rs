//! From the stored original to the bytes of the rendition, all but visible.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tintype_store::{
    BlobKey, FailureReason, Job, Picture,
    blobs::{BlobSink, read_checked},
};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};
use tracing::warn;

use crate::{
    convert::{ConvertError, Converted},
    job::{JobError, Workplace},
};

/// A result that is written, as far as its store can before it has a name. Dropped, it is gone.
pub(crate) struct Made {
    pub(crate) key: BlobKey,
    pub(crate) sink: BlobSink,
    pub(crate) picture: Picture,
}

impl Workplace {
    /// Reads, converts, writes. May be dropped at any time and leaves nothing behind then, but for a conversion that runs to its end.
    pub(crate) async fn make(&self, job: &Job, slot: Arc<OwnedSemaphorePermit>) -> Result<Made, JobError> {
        let input = self.read_original(job).await?;
        let Converted { bytes, picture } = self.convert(job, input, slot).await?;
        let key = BlobKey::rendition(job.owner, job.spec.format);
        let mut sink = BlobSink::create(&*self.stores.blobs, key.clone()).await?;
        sink.write(Bytes::from(bytes)).await?;
        sink.persist().await?;
        Ok(Made { key, sink, picture })
    }

    async fn read_original(&self, job: &Job) -> Result<Vec<u8>, JobError> {
        let size_bytes = job.original.digest.size_bytes;
        self.config.limits.image.check_size(size_bytes).map_err(ConvertError::from)?;
        let mut blocks = read_checked(&*self.stores.blobs, &job.original, 0..size_bytes).await?;
        let mut input = Vec::with_capacity(size_bytes as usize);
        while let Some(block) = blocks.try_next().await? {
            input.extend_from_slice(&block);
        }
        Ok(input)
    }

    /// Runs the engine on a thread of its own. A thread cannot be ended from outside: after a timeout it goes on and keeps its slot until
    /// it ends, so that there are never more conversions in memory than slots.
    async fn convert(&self, job: &Job, input: Vec<u8>, slot: Arc<OwnedSemaphorePermit>) -> Result<Converted, JobError> {
        let (engine, limits) = (Arc::clone(&self.engine), self.config.limits.clone());
        let (header, spec) = (job.header, job.spec);
        let limit = limits.timeout;
        let conversion = spawn_blocking(move || {
            let _occupied = slot;
            engine(&input, &header, &spec, &limits)
        });
        match timeout(limit, conversion).await {
            Ok(Ok(converted)) => Ok(converted?),
            Ok(Err(ended)) => {
                let cause = ended.try_into_panic().map_or_else(|ended| ended.to_string(), |panic| panic_message(&*panic));
                warn!("the converter crashed: {cause}");
                Err(JobError::failed(FailureReason::DecoderCrash, "the converter crashed"))
            }
            Err(_) => {
                let message = format!("the conversion took longer than {} s", limit.as_secs_f64());
                Err(JobError::failed(FailureReason::DecoderTimeout, message))
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked without a message").to_owned()
}
