use std::{sync::Arc, time::Duration};

use tintype_store::{Kind, catalog::Catalog};
use tokio::{sync::watch, time::sleep};

/// Whether the catalog answers. A server that was stopped or cut off says nothing at all, and a statement that it was sent before would wait
/// until the connection breaks; so it is asked something small beside them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Presence(watch::Receiver<bool>);

impl Presence {
    /// How often it is asked.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

    /// A catalog in this process: it answers as long as anything does.
    pub(crate) fn always() -> Self {
        Self(watch::channel(true).1)
    }

    /// Asks from now on, to the end of the process: calls that are let finish need it, too.
    pub(crate) fn of(catalog: Arc<dyn Catalog>) -> Self {
        let (sender, receiver) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let answers = catalog.ping().await.err().is_none_or(|error| error.kind() != Kind::Unavailable);
                let changed = sender.send_if_modified(|before| std::mem::replace(before, answers) != answers);
                if changed && !answers {
                    tracing::warn!("the catalog does not answer; calls that wait for it are refused");
                }
                sleep(Self::INTERVAL).await;
            }
        });
        Self(receiver)
    }

    /// Returns as soon as it does not answer.
    pub(super) async fn away(&mut self) {
        if self.0.wait_for(|answers| !answers).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
