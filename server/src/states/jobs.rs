use std::time::Duration;

use async_trait::async_trait;
use tintype_store::{
    RenditionId, StoreError,
    jobs::{Delivery, JobQueue, NudgeListener, Nudges, local::Local},
};
use tokio::time::sleep;

use super::faults::Faults;

/// The queue as one process has it, with its faults: hints get lost, come twice and come late.
#[derive(Debug)]
pub(super) struct FaultyJobs {
    pub(super) inner: Local,
    pub(super) faults: Faults,
}

#[async_trait]
impl JobQueue for FaultyJobs {
    async fn publish(&self, ids: &[RenditionId]) -> Result<(), StoreError> {
        self.faults.before().await?;
        for id in ids {
            let Some(delays) = self.faults.astray() else {
                self.inner.publish(&[*id]).await?;
                continue;
            };
            for delay in delays {
                let (queue, id) = (self.inner.clone(), *id);
                tokio::spawn(async move {
                    sleep(delay).await;
                    queue.publish(&[id]).await
                });
            }
        }
        self.faults.after(Ok(())).await
    }

    async fn lease(&self, max: usize) -> Result<Vec<Box<dyn Delivery>>, StoreError> {
        self.faults.before().await?;
        let leased = self.inner.lease(max).await?;
        let faulty = |inner| Box::new(FaultyDelivery { inner: Some(inner), faults: self.faults.clone() }) as Box<dyn Delivery>;
        let leased = leased.into_iter().map(faulty).collect();
        self.faults.after(Ok(leased)).await
    }

    fn ack_wait(&self) -> Option<Duration> {
        self.inner.ack_wait()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

#[derive(Debug)]
struct FaultyDelivery {
    /// `None` once it is answered.
    inner: Option<Box<dyn Delivery>>,
    faults: Faults,
}

impl FaultyDelivery {
    fn take(&mut self) -> Box<dyn Delivery> {
        self.inner.take().expect("it is answered once")
    }
}

#[async_trait]
impl Delivery for FaultyDelivery {
    fn rendition(&self) -> RenditionId {
        self.inner.as_ref().map_or(RenditionId(0), |inner| inner.rendition())
    }

    async fn in_progress(&self) -> Result<(), StoreError> {
        self.faults.before().await
    }

    async fn ack(mut self: Box<Self>) -> Result<(), StoreError> {
        self.faults.before().await?;
        let acked = self.take().ack().await;
        self.faults.after(acked).await
    }

    async fn retry(mut self: Box<Self>, delay: Duration) -> Result<(), StoreError> {
        self.faults.before().await?;
        let retried = self.take().retry(delay).await;
        self.faults.after(retried).await
    }
}

impl Drop for FaultyDelivery {
    fn drop(&mut self) {
        // What a dead process held is delivered again by nobody but the sweeper.
        if self.faults.life.is_over() {
            std::mem::forget(self.inner.take());
        }
    }
}

/// Nobody listens in these runs: what changes is found by looking.
#[derive(Debug)]
pub(super) struct NoNudges;

#[async_trait]
impl Nudges for NoNudges {
    fn nudge(&self) {}

    async fn listen(&self) -> Result<Box<dyn NudgeListener>, StoreError> {
        Ok(Box::new(Silence))
    }
}

#[derive(Debug)]
struct Silence;

#[async_trait]
impl NudgeListener for Silence {
    async fn nudged(&mut self) {
        std::future::pending::<()>().await;
    }
}
