//! One hint, from the claim to the answer.

use std::{error::Error, io, pin::pin, sync::Arc, time::Duration};

use metrics::{counter, histogram};
use tintype_process::Shutdown;
use tintype_store::{
    BlobKey, Claim, Commit, Failure, FailureReason, Job, Kind, Presence, StoreError, Timestamp, jobs::Delivery, open::Stores,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tracing::{Instrument, debug, info, info_span, warn};

use crate::{
    Converters, WorkerConfig,
    backoff::{Failures, delay_after},
    convert::ConvertError,
    making::Made,
};

/// Attempts when the converter was lost, which may have come from outside the image: memory or time that others took.
const ATTEMPTS_AFTER_A_CRASH: u32 = 2;

/// After it a hint that only newer workers can follow may reach one of them.
const NEWER_WORKER_DELAY: Duration = Duration::from_secs(10);

/// What all jobs of a worker share.
pub(crate) struct Workplace {
    pub(crate) worker_id: String,
    pub(crate) stores: Stores,
    /// Of the catalog: what is asked of it is given up when it says nothing.
    pub(crate) presence: Presence,
    pub(crate) config: WorkerConfig,
    pub(crate) converters: Converters,
    pub(crate) shutdown: Shutdown,
    pub(crate) outages: Failures,
    /// Places for conversions that take longer than usual and have lent their slots.
    pub(crate) aside: Arc<Semaphore>,
    /// Places for results that are being written, whose slots are for the next conversions.
    pub(crate) writing: Arc<Semaphore>,
}

/// Why there is no result.
pub(crate) enum JobError {
    /// It has nothing to do with the image, so the attempt does not count: a store is away, or this machine is at its limits.
    GiveBack(StoreError),
    /// The worker stops at once.
    Stopping,
    /// It lies with the image, its spec or their limits: another attempt would end in the same way.
    Failed(Failure),
    /// The attempt counts, but what ended it may have come from outside the image, so another one may follow.
    Interrupted(Failure),
    /// Somebody else holds the rendition, or the image is deleted: the result is nobody's.
    LeaseLost,
}

impl JobError {
    pub(crate) fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed(Failure { reason, message: message.into() })
    }

    pub(crate) fn interrupted(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Interrupted(Failure { reason, message: message.into() })
    }
}

impl From<ConvertError> for JobError {
    fn from(error: ConvertError) -> Self {
        Self::failed(error.reason, error.message)
    }
}

impl From<io::Error> for JobError {
    /// What this machine could not give.
    fn from(error: io::Error) -> Self {
        Self::GiveBack(StoreError::caused_by(Kind::Unavailable, "this machine has no room for a conversion", error))
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            Kind::Unavailable | Kind::Full | Kind::Conflict => Self::GiveBack(error),
            // Of a result: what is wrong with an original is told apart where it is read.
            Kind::Corrupt | Kind::Internal | Kind::Misconfigured | Kind::AlreadyExists => {
                warn!(error = &error as &dyn Error, "a store has a defect");
                Self::interrupted(FailureReason::AttemptsExhausted, "every attempt ended with an error of the service")
            }
        }
    }
}

/// What the queue is told.
enum Answer {
    Ack,
    Retry(Duration),
    /// Nothing, because the catalog could not be told either: the lease runs out, and the sweeper sends the hint again.
    Silence,
}

impl Workplace {
    /// Does what a hint asks for and answers it. The slot is free again when the conversion has ended and its result can be written.
    pub(crate) async fn follow(&self, delivery: Box<dyn Delivery>, slot: OwnedSemaphorePermit) {
        let id = delivery.rendition();
        let claim = self.stores.catalog.claim(id, &self.worker_id, self.config.lease, Timestamp::now());
        let claim = self.presence.unless_away(claim).await;
        let answer = match claim {
            Ok(Claim::Granted(job)) => {
                self.stores.nudges.nudge();
                let span = info_span!("job", rendition.id = %id, image.id = %job.image, job.attempt = job.attempt);
                self.perform(&job, &*delivery, slot).instrument(span).await
            }
            Ok(Claim::NotBefore(at)) => Answer::Retry(at.since(Timestamp::now())),
            Ok(Claim::Nothing) => Answer::Ack,
            Ok(Claim::TooNew) => {
                debug!(rendition.id = %id, "rendition {id} is left for a newer worker");
                Answer::Retry(NEWER_WORKER_DELAY)
            }
            Err(error) => {
                warn!(rendition.id = %id, error = &error as &dyn Error, "rendition {id} could not be claimed");
                Answer::Retry(self.outages.another())
            }
        };
        let heard = match answer {
            Answer::Ack => delivery.ack().await,
            Answer::Retry(delay) => delivery.retry(delay).await,
            Answer::Silence => Ok(()),
        };
        if let Err(error) = heard {
            // It is only a hint: what comes of a second one is decided by the catalog.
            debug!(rendition.id = %id, error = &error as &dyn Error, "the queue did not take an answer");
        }
    }

    async fn perform(&self, job: &Job, delivery: &dyn Delivery, slot: OwnedSemaphorePermit) -> Answer {
        let begun = Instant::now();
        let made = tokio::select! {
            made = self.make(job, slot) => made,
            () = self.until_lease_is_lost(job, delivery) => Err(JobError::LeaseLost),
            () = self.shutdown.stopping_at_once() => Err(JobError::Stopping),
        };
        // From here on nothing is cut off in the middle, or nobody would know what became of the blob.
        let key = made.as_ref().ok().map(|made| made.key.clone());
        let ended = match made {
            Ok(made) => self.commit(job, made, begun, delivery).await,
            Err(error) => Err(error),
        };
        let outcome = match &ended {
            Ok(()) => "made",
            Err(JobError::LeaseLost) => "lease_lost",
            Err(JobError::Stopping) => "stopped",
            Err(JobError::GiveBack(_)) => "given_back",
            Err(JobError::Failed(failure) | JobError::Interrupted(failure)) => failure.reason.name(),
        };
        counter!("tintype_conversions_total", "outcome" => outcome).increment(1);
        histogram!("tintype_conversion_seconds", "outcome" => outcome).record(begun.elapsed());
        let Err(error) = ended else {
            self.outages.none();
            return Answer::Ack;
        };
        let answer = self.end(job, error).await;
        // After silence the commit may still be on its way.
        if let Some(key) = key.filter(|_| !matches!(answer, Answer::Silence)) {
            self.discard_unless_recorded(&key).await;
        }
        answer
    }

    /// Makes the blob visible, then the row: in this order, so that no row is ever without its blob. Holds the lease meanwhile, for a store may
    /// take its time; what became of it when it was lost all the same, the catalog says.
    async fn commit(&self, job: &Job, made: Made, begun: Instant, delivery: &dyn Delivery) -> Result<(), JobError> {
        let mut committed = pin!(self.try_commit(job, made, begun));
        tokio::select! {
            committed = &mut committed => committed,
            () = self.until_lease_is_lost(job, delivery) => committed.await,
        }
    }

    async fn try_commit(&self, job: &Job, made: Made, begun: Instant) -> Result<(), JobError> {
        let Made { sink, drawn, .. } = made;
        let blob = sink.publish().await?;
        let complete = self.stores.catalog.complete(job, &blob, &drawn, Timestamp::now());
        match self.presence.unless_away(complete).await? {
            Commit::Done => {
                self.stores.nudges.nudge();
                let (size_bytes, duration_ms) = (blob.digest.size_bytes, begun.elapsed().as_millis());
                info!(size_bytes, duration_ms, "made rendition {} of image {} ({})", job.rendition, job.image, job.spec);
                Ok(())
            }
            Commit::LeaseLost => Err(JobError::LeaseLost),
        }
    }

    /// Tells the catalog that there is no result.
    async fn end(&self, job: &Job, error: JobError) -> Answer {
        match error {
            JobError::LeaseLost => {
                info!("rendition {} was given to somebody else or is deleted", job.rendition);
                Answer::Ack
            }
            JobError::Stopping => self.release(job, Duration::ZERO, true).await,
            JobError::GiveBack(error) => {
                let delay = self.outages.another();
                warn!(error = &error as &dyn Error, delay_ms = delay.as_millis(), "gave rendition {} back", job.rendition);
                self.release(job, delay, true).await
            }
            JobError::Interrupted(failure) if job.attempt < self.attempts_allowed(failure.reason) => {
                let Failure { reason, message } = failure;
                warn!(reason = reason.name(), "attempt {} at rendition {} failed: {message}", job.attempt, job.rendition);
                self.release(job, delay_after(job.attempt), false).await
            }
            JobError::Failed(failure) | JobError::Interrupted(failure) => {
                let Failure { reason, message } = &failure;
                info!(reason = reason.name(), "rendition {} of image {} cannot be made: {message}", job.rendition, job.image);
                self.told(self.stores.catalog.fail(job, &failure, Timestamp::now()), Answer::Ack).await
            }
        }
    }

    async fn release(&self, job: &Job, delay: Duration, uncounted: bool) -> Answer {
        let now = Timestamp::now();
        self.told(self.stores.catalog.release(job, now.plus(delay), uncounted, now), Answer::Retry(delay)).await
    }

    async fn told(&self, commit: impl Future<Output = Result<Commit, StoreError>>, done: Answer) -> Answer {
        match self.presence.unless_away(commit).await {
            Ok(Commit::Done) => {
                self.stores.nudges.nudge();
                done
            }
            Ok(Commit::LeaseLost) => Answer::Ack,
            Err(error) => {
                self.outages.another();
                warn!(error = &error as &dyn Error, "the catalog could not be told; its sweeper will find the rendition");
                Answer::Silence
            }
        }
    }

    /// Removes a blob of which the catalog knows nothing. It is asked, because an answer to a commit can get lost.
    async fn discard_unless_recorded(&self, key: &BlobKey) {
        let discarded = match self.presence.unless_away(self.stores.catalog.blob(key)).await {
            Ok(Some(_)) => return,
            Ok(None) => self.stores.blobs.delete(key).await,
            Err(error) => Err(error),
        };
        if let Err(error) = discarded {
            warn!(blob.key = %key, error = &error as &dyn Error, "blob {key} belongs to nothing and could not be removed");
        }
    }

    /// Renews the lease and tells the queue that the work goes on. Returns when the lease is lost.
    async fn until_lease_is_lost(&self, job: &Job, delivery: &dyn Delivery) {
        let shortest = self.stores.jobs.ack_wait().map_or(self.config.lease, |ack_wait| ack_wait.min(self.config.lease));
        let every = shortest / 3;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let until = Timestamp::now().plus(self.config.lease);
            match tokio::join!(self.presence.unless_away(self.stores.catalog.renew(job, until)), delivery.in_progress()) {
                (Ok(Commit::LeaseLost), _) => return,
                // Whether the lease outlived an outage is decided when the result is committed.
                (Err(error), _) => debug!(error = &error as &dyn Error, "the lease could not be renewed"),
                (Ok(Commit::Done), Err(error)) => debug!(error = &error as &dyn Error, "the queue could not be told of progress"),
                (Ok(Commit::Done), Ok(())) => {}
            }
        }
    }

    /// Attempts at what was interrupted for this reason.
    fn attempts_allowed(&self, reason: FailureReason) -> u32 {
        let max_attempts = self.config.limits.max_attempts;
        if reason == FailureReason::AttemptsExhausted { max_attempts } else { ATTEMPTS_AFTER_A_CRASH.min(max_attempts) }
    }
}
