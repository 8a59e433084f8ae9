use std::{future::Future, io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

/// Stopping in two steps. *Soft*: begin nothing new, finish what is under way. *Hard*: let go of it, what is unfinished is
/// recovered elsewhere. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Not stopping yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops softly at the first SIGTERM or SIGINT and hard at the second.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            for step in ["draining; a second signal stops at once", "stopping at once"] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                warn!("{step}");
                if shutdown.soft.is_cancelled() {
                    shutdown.hard.cancel();
                }
                shutdown.soft.cancel();
            }
        });
        Ok(())
    }

    /// Begins to stop softly.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Whether stopping has begun.
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Returns when stopping begins.
    pub async fn draining(&self) {
        self.soft.cancelled().await;
    }

    /// Returns when even what is under way must end.
    pub async fn stopping_at_once(&self) {
        self.hard.cancelled().await;
    }

    /// Starts a task that the end of the process waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits until draining began and then every task has ended; after `grace` or at a second signal the rest is told to let go.
    pub async fn drained(&self, grace: Duration) {
        self.soft.cancelled().await;
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {
                info!("drained");
                return;
            }
            () = tokio::time::sleep(grace) => warn!(tasks = self.tasks.len(), "not drained after {} s", grace.as_secs()),
            () = self.hard.cancelled() => {}
        }
        self.hard.cancel();
        // Letting go takes moments; whoever does not is ended with the process.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}
