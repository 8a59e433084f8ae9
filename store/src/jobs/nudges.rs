use std::fmt::Debug;

use async_trait::async_trait;

use crate::StoreError;

/// Tells readers of the change log, in any process, that it has grown. Best effort: a reader looks by itself too, only later.
#[async_trait]
pub trait Nudges: Debug + Send + Sync + 'static {
    /// Tells everybody who listens. To be called after a change is committed. Never waits and never fails; a nudge may be lost.
    fn nudge(&self);

    /// Begins to listen: what is told from now on is heard, unless it is lost.
    async fn listen(&self) -> Result<Box<dyn NudgeListener>, StoreError>;
}

/// Hears nudges.
#[async_trait]
pub trait NudgeListener: Debug + Send {
    /// Returns when there was a nudge since the last time; many of them may be one. Never returns when no nudge can come any more.
    /// Cancel safe.
    async fn nudged(&mut self);
}
