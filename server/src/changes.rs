use std::{sync::Arc, time::Duration};

use tintype_process::Shutdown;
use tintype_store::{Change, ImageId, StoreError, catalog::Catalog};
use tokio::{
    sync::{Notify, broadcast},
    time::{sleep, timeout},
};

use crate::status::Chain;

/// How often the log is read while somebody listens, and while nobody does.
const LISTENED: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(1);
const AFTER_ERROR: Duration = Duration::from_secs(1);
const PAGE: u32 = 1000;
/// Changes that a slow listener may be behind; one that falls further behind looks at the catalog instead.
const BACKLOG: usize = 1024;

/// What changes, told to everyone in this process who waits for it: one reader of the change log, however many listen.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    sender: broadcast::Sender<Change>,
    listened: Arc<Notify>,
}

impl Changes {
    /// Starts to follow the log, from its end.
    pub(crate) async fn follow(catalog: Arc<dyn Catalog>, shutdown: &Shutdown) -> Result<Self, StoreError> {
        // Read before anybody can listen, so that no one can have listened before it.
        let mut position = catalog.last_position().await?;
        let changes = Self { sender: broadcast::channel(BACKLOG).0, listened: Arc::default() };
        let follower = changes.clone();
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = follower.run(&*catalog, &mut position) => {}
                () = stop.draining() => {}
            }
        });
        Ok(changes)
    }

    /// Everything that is committed after this call will be heard.
    pub(crate) fn listen(&self) -> Listener {
        let receiver = self.sender.subscribe();
        self.listened.notify_one();
        Listener { receiver }
    }

    async fn run(&self, catalog: &dyn Catalog, position: &mut i64) {
        loop {
            match catalog.changes_after(*position, PAGE).await {
                Ok(page) => {
                    for change in &page {
                        *position = change.position;
                        // Nobody listens: nobody misses it.
                        let _ = self.sender.send(*change);
                    }
                    if page.len() == PAGE as usize {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "cannot read the change log");
                    sleep(AFTER_ERROR).await;
                }
            }
            let pause = if self.sender.receiver_count() > 0 { LISTENED } else { IDLE };
            // Elapsed, or told that somebody listens: either way it is time to read.
            let _ = timeout(pause, self.listened.notified()).await;
        }
    }
}

/// Hears changes.
#[derive(Debug)]
pub(crate) struct Listener {
    receiver: broadcast::Receiver<Change>,
}

impl Listener {
    /// Returns when this image changed, or when it may have.
    pub(crate) async fn changed(&mut self, image: ImageId) {
        loop {
            match self.receiver.recv().await {
                Ok(change) if change.image != image => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The follower ended: this process is stopping, and whoever waits hears that elsewhere.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
