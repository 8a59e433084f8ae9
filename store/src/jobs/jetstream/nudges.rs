//! Nudges as plain NATS messages, which nobody stores. They come back to the process that sent them, too.

use async_nats::Subscriber;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::JetStream;
use crate::{
    Kind, StoreError,
    jobs::{NudgeListener, Nudges},
};

#[async_trait]
impl Nudges for JetStream {
    fn nudge(&self) {
        // Without a connection it would only wait in the client. With one, sending is done at once unless the client's buffer is full,
        // and then there are nudges enough on their way.
        if let Ok(client) = self.check_connected() {
            let _ = client.publish(self.settings.nudges.clone(), Bytes::new()).now_or_never();
        }
    }

    async fn listen(&self) -> Result<Box<dyn NudgeListener>, StoreError> {
        // Needs no connection: the client subscribes as soon as there is one, and again after it was lost.
        let subscribed = self.context.client().subscribe(self.settings.nudges.clone()).await;
        let messages = subscribed
            .map_err(|error| StoreError::caused_by(Kind::Unavailable, format!("cannot listen to nudges at {}", self.servers), error))?;
        Ok(Box::new(NatsListener(messages)))
    }
}

#[derive(Debug)]
struct NatsListener(Subscriber);

#[async_trait]
impl NudgeListener for NatsListener {
    async fn nudged(&mut self) {
        if self.0.next().await.is_none() {
            std::future::pending::<()>().await;
        }
        while let Some(Some(_)) = self.0.next().now_or_never() {}
    }
}
