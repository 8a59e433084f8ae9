//! Events as messages of a stream of their own, which the server keeps for a time whether anybody reads them or not.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use async_nats::jetstream::{
    context::{PublishError, PublishErrorKind},
    message::PublishMessage,
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use async_trait::async_trait;

use super::{JetStream, PUBLISH_BATCH};
use crate::{
    StoreError,
    events::{EventMessage, EventStream},
};

/// How long and how much the stream keeps; an operator may change it.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);
const MAX_BYTES: i64 = 1 << 30;
/// Within this time a message that comes again is kept once: longer than it takes another server to publish where one left off.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(10);

impl JetStream {
    async fn prepare_events(&self) -> Result<(), StoreError> {
        self.check_connected()?;
        if self.events_prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        let config = stream::Config {
            name: self.settings.events_stream.clone(),
            description: Some("What happens to Tintype's images".into()),
            subjects: vec![format!("{}.>", self.settings.events)],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_age: MAX_AGE,
            max_bytes: MAX_BYTES,
            duplicate_window: DUPLICATE_WINDOW,
            metadata: HashMap::from([("made-by".into(), concat!("tintype ", env!("CARGO_PKG_VERSION")).into())]),
            ..Default::default()
        };
        let fits = |found: &stream::Config| found.retention == RetentionPolicy::Limits && found.subjects == config.subjects;
        self.prepare_stream(&config, fits, "event stream").await?;
        self.events_prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// Sends everything, then awaits all acknowledgements.
    async fn send_events(&self, messages: &[EventMessage]) -> Result<(), PublishError> {
        for batch in messages.chunks(PUBLISH_BATCH) {
            let mut acks = Vec::with_capacity(batch.len());
            for EventMessage { position, topic, payload } in batch {
                let message = PublishMessage::build().message_id(position.to_string()).payload(payload.clone());
                let subject = format!("{}.{topic}", self.settings.events);
                acks.push(self.context.send_publish(subject, message).await?);
            }
            for ack in acks {
                ack.await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl EventStream for JetStream {
    async fn publish_events(&self, messages: &[EventMessage]) -> Result<(), StoreError> {
        self.prepare_events().await?;
        let sent = self.send_events(messages).await;
        if matches!(&sent, Err(error) if error.kind() == PublishErrorKind::StreamNotFound) {
            self.events_prepared.store(false, Ordering::Release);
        }
        sent.map_err(|error| self.publish_failed(error))
    }
}
