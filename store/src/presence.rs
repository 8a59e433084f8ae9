use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{Kind, StoreError, catalog::Catalog};

/// Whether the catalog answers. A server that was stopped or cut off says nothing at all, and a statement that it was sent before would wait
/// until the connection breaks; so it is asked something small beside them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Presence(watch::Receiver<bool>);

impl Presence {
    /// How often it is asked.
    pub const INTERVAL: Duration = Duration::from_millis(250);

    /// A catalog in this process: it answers as long as anything does.
    pub fn always() -> Self {
        Self(watch::channel(true).1)
    }

    /// Asks from now on, to the end of the process: calls that are let finish need it, too.
    pub fn of(catalog: Arc<dyn Catalog>) -> Self {
        let (sender, receiver) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let answers = catalog.ping().await.err().is_none_or(|error| error.kind() != Kind::Unavailable);
                let changed = sender.send_if_modified(|before| std::mem::replace(before, answers) != answers);
                if changed && !answers {
                    tracing::warn!("the catalog does not answer; whoever waits for it is told");
                }
                sleep(Self::INTERVAL).await;
            }
        });
        Self(receiver)
    }

    /// Returns as soon as it does not answer.
    pub async fn away(&mut self) {
        if self.0.wait_for(|answers| !answers).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The answer of a call to the catalog; `Kind::Unavailable` as soon as it does not answer: what the call does is done or not then, or is still
    /// to be done.
    pub async fn unless_away<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut presence = self.clone();
        tokio::select! {
            biased;
            answer = call => answer,
            () = presence.away() => Err(StoreError::new(Kind::Unavailable, "the catalog does not answer")),
        }
    }
}
