//! A stream that is there and keeps nothing.
//!
//! A nats-server that cannot write a stream's files, because somebody removed them or because the stream was made while another one of that name
//! was still being deleted, tells of the stream as if all were well and leaves every publish without an answer, until it is restarted. Nothing
//! is lost with such a stream, because hints are told again.

use std::sync::{MutexGuard, PoisonError};

use async_nats::jetstream::stream::Info;
use tracing::warn;

use super::JetStream;
use crate::StoreError;

/// Publishes that nobody answered, none that was answered between them.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// What the stream had kept when this was last looked at.
    seen: Option<Kept>,
}

/// How far a stream is: equal ones are the same stream that has kept nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    made_at_nanos: i128,
    last_sequence: u64,
}

impl From<&Info> for Kept {
    fn from(info: &Info) -> Self {
        Self { made_at_nanos: info.created.unix_timestamp_nanos(), last_sequence: info.state.last_sequence }
    }
}

impl JetStream {
    /// A publish was answered, or failed in a way that says nothing about the stream.
    pub(super) fn heard(&self) {
        self.unanswered().take();
    }

    /// A publish was not answered in time.
    pub(super) fn not_heard(&self) {
        self.unanswered().get_or_insert_default();
    }

    /// Makes the stream anew if it has kept nothing since an earlier look, although hints were published since then that nobody answered. A
    /// server that is only slow, or away, keeps what it has.
    pub(super) async fn replace_if_mute(&self) -> Result<(), StoreError> {
        if self.unanswered().is_none() {
            return Ok(());
        }
        // One that is gone, or whose server is away, is found by whoever publishes next.
        let Ok(stream) = self.context.get_stream(&self.settings.stream).await else { return Ok(()) };
        if !self.has_kept_nothing_new(Kept::from(stream.cached_info())) {
            return Ok(());
        }
        warn!(
            queue.stream = self.settings.stream,
            "the queue keeps nothing of what it is told; it is made anew, and told of everything again"
        );
        let deleted = self.context.delete_stream(&self.settings.stream).await;
        deleted.map_err(|error| self.failed("replace the stream", None, error))?;
        self.forget_prepared().await;
        self.prepared().await.map(drop)
    }

    /// Compares with what was seen before. True once: whoever is told so is the one who replaces the stream.
    fn has_kept_nothing_new(&self, kept: Kept) -> bool {
        let mut unanswered = self.unanswered();
        let is_mute = unanswered.as_ref().is_some_and(|silence| silence.seen == Some(kept));
        if is_mute {
            *unanswered = None;
        } else if let Some(silence) = unanswered.as_mut() {
            silence.seen = Some(kept);
        }
        is_mute
    }

    fn unanswered(&self) -> MutexGuard<'_, Option<Unanswered>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
