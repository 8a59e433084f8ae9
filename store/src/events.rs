//! The port to whoever else wants to know what happens: an ordered stream of messages. Adapter: [`JetStream`](crate::jobs::jetstream::JetStream).

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::StoreError;

/// A message for other services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    /// Where in the change log it comes from.
    pub position: i64,
    /// What it is about, in words with dots between them: `image.created`.
    pub topic: &'static str,
    /// What is told.
    pub payload: Bytes,
}

/// Takes messages for other services and keeps them for a time.
#[async_trait]
pub trait EventStream: Debug + Send + Sync + 'static {
    /// Publishes all messages, in this order as long as nothing fails. Durable when it returns. After an error some of them may be
    /// published: publish all of them again.
    ///
    /// Idempotent on the position within some minutes: a message that comes again is kept once.
    async fn publish_events(&self, messages: &[EventMessage]) -> Result<(), StoreError>;
}
