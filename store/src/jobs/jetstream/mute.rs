//! A stream that is there and keeps nothing.
//!
//! A nats-server that cannot write a stream's files, because somebody removed them or because the stream was made while another one of that name
//! was still being deleted, tells of the stream as if all were well and leaves every publish without an answer, until it is restarted. Nothing
//! is lost with such a stream, because hints are told again. Only a publish shows it, so now and then one is made for that alone.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::jetstream::stream::Info;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::JetStream;
use crate::{Kind, RenditionId, StoreError};

/// The hint of a rendition that never is: whoever takes it forgets it.
pub(super) const PROBE: RenditionId = RenditionId(0);
/// When no publish was answered for so long, one is made to see whether it is.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// What became of the last publishes.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    answered_at: Option<Instant>,
    unanswered: Option<Unanswered>,
}

/// Publishes that nobody answered, none that was answered between them.
#[derive(Debug, Default)]
struct Unanswered {
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
    /// A publish was answered: the stream kept it.
    pub(super) fn heard(&self) {
        *self.publishes() = Publishes { answered_at: Some(Instant::now()), unanswered: None };
    }

    /// A publish was refused, or failed in a way that says nothing about the stream. So it is not mute, but the next ping asks whether it keeps
    /// anything.
    pub(super) fn refused(&self) {
        *self.publishes() = Publishes::default();
    }

    /// A publish was not answered in time.
    pub(super) fn not_heard(&self) {
        self.publishes().unanswered.get_or_insert_default();
    }

    /// Fails while publishes are refused or not answered, by `deadline` at the latest. Asks by a publish of its own, which also brings about what
    /// mends it.
    pub(super) async fn check_not_mute(&self, deadline: Instant) -> Result<(), StoreError> {
        let is_known = {
            let publishes = self.publishes();
            publishes.unanswered.is_none() && publishes.answered_at.is_some_and(|at| at.elapsed() < PROBE_INTERVAL)
        };
        if is_known {
            return Ok(());
        }
        match timeout_at(deadline, self.publish_prepared(&[PROBE])).await {
            Ok(published) => published,
            Err(late) => {
                self.not_heard();
                let message = format!("the stream {} at {} keeps nothing of what it is told", self.settings.stream, self.servers);
                Err(StoreError::caused_by(Kind::Unavailable, message, late))
            }
        }
    }

    /// Makes the stream anew if it has kept nothing since an earlier look, although hints were published since then that nobody answered. A
    /// server that is only slow, or away, keeps what it has.
    pub(super) async fn replace_if_mute(&self) -> Result<(), StoreError> {
        if self.publishes().unanswered.is_none() {
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
        let unanswered = &mut self.publishes().unanswered;
        let is_mute = unanswered.as_ref().is_some_and(|silence| silence.seen == Some(kept));
        if is_mute {
            *unanswered = None;
        } else if let Some(silence) = unanswered.as_mut() {
            silence.seen = Some(kept);
        }
        is_mute
    }

    fn publishes(&self) -> MutexGuard<'_, Publishes> {
        self.publishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
