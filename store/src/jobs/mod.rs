//! The port to the queue. A message carries only an id and is a hint: "look at rendition N". It may be lost, late, or delivered many
//! times; the catalog decides, and the sweeper sends again. Adapters: [`Local`](local::Local), [`JetStream`](jetstream::JetStream).

pub mod jetstream;
pub mod local;
mod nudges;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{RenditionId, StoreError};

pub use nudges::{NudgeListener, Nudges};

/// How long [`JobQueue::lease`] waits for a first hint.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// A queue of hints.
#[async_trait]
pub trait JobQueue: Debug + Send + Sync + 'static {
    /// Tells workers to look at these renditions. Not durable in every adapter, and never needed to be.
    async fn publish(&self, ids: &[RenditionId]) -> Result<(), StoreError>;

    /// Takes up to `max` hints; waits for the first one up to a few seconds, then returns none. Callers ask for as many as they can
    /// begin at once. Cancel safe: a hint taken by a dropped call is delivered again.
    async fn lease(&self, max: usize) -> Result<Vec<Box<dyn Delivery>>, StoreError>;

    /// How long a delivery may be silent before it is delivered again; `None` when it never is.
    fn ack_wait(&self) -> Option<Duration>;

    /// Answers when hints can be sent.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A hint that was taken. Dropped without an answer it is delivered again, at once or after [`JobQueue::ack_wait`].
#[async_trait]
pub trait Delivery: Debug + Send + Sync {
    /// Where to look.
    fn rendition(&self) -> RenditionId;

    /// Says that the work goes on, which starts [`JobQueue::ack_wait`] anew.
    async fn in_progress(&self) -> Result<(), StoreError>;

    /// Ends the delivery; when it returns, the queue has forgotten it.
    async fn ack(self: Box<Self>) -> Result<(), StoreError>;

    /// Asks for another delivery after `delay`.
    async fn retry(self: Box<Self>, delay: Duration) -> Result<(), StoreError>;
}
