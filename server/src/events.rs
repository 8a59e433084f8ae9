//! Tells other services what happens to images. `docs/events.md` is the contract.
//!
//! One server at a time reads the change log and publishes it; another one takes over seconds after it is gone. How far it is stands in the
//! catalog and moves on after the messages are durable, so every change is told at least once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tintype_store::{
    Change, ChangeKind, Commit, RenditionState, StoreError, Timestamp,
    events::{EventMessage, EventStream},
    random_hex,
};
use tokio::time::sleep;

use crate::{changes::Listener, core::SharedCore, status::Chain, wire};

/// A publisher that has not been heard of for this long is gone.
const LEASE: Duration = Duration::from_secs(6);
/// How often the right to publish is renewed, or asked for.
const INTERVAL: Duration = Duration::from_secs(2);
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Changes gather this long, so that a busy service writes down how far it is a few times a second and not after each.
const GATHER: Duration = Duration::from_millis(100);
const PAGE: u32 = 500;
/// Of the payload. Fields may be added within a version.
const VERSION: u32 = 1;

/// Publishes until the server drains, if there is a place to publish to.
pub(crate) fn start(core: &SharedCore) {
    let Some(events) = core.stores.events.clone() else { return };
    let publisher = Publisher { core: core.clone(), events, holder: random_hex() };
    let stop = core.shutdown.clone();
    core.shutdown.spawn(async move {
        tokio::select! {
            () = publisher.run() => {}
            () = stop.draining() => {}
        }
        publisher.give_up().await;
    });
}

struct Publisher {
    core: SharedCore,
    events: Arc<dyn EventStream>,
    /// The name of this server's start.
    holder: String,
}

/// What a round brought.
enum Round {
    Published,
    NothingNew,
    /// Another server publishes.
    NotMine,
}

impl Publisher {
    async fn run(&self) {
        let mut listener: Option<Listener> = None;
        let mut away = false;
        loop {
            // Only who publishes listens: it makes this server follow the log closely.
            let listening = listener.get_or_insert_with(|| self.core.changes.listen());
            match self.round().await {
                Ok(round) => {
                    if away {
                        tracing::info!("events are published again");
                        away = false;
                    }
                    match round {
                        Round::Published => sleep(GATHER).await,
                        Round::NothingNew => {
                            tokio::select! {
                                () = listening.anything_changed() => {}
                                () = sleep(INTERVAL) => {}
                            }
                        }
                        Round::NotMine => {
                            listener = None;
                            sleep(INTERVAL).await;
                        }
                    }
                }
                Err(error) => {
                    if !away {
                        tracing::warn!(error = %Chain(&error), "events cannot be published now; they are later");
                        away = true;
                    }
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    async fn round(&self) -> Result<Round, StoreError> {
        let catalog = &self.core.stores.catalog;
        let now = Timestamp::now();
        let Some(position) = catalog.hold_publisher(&self.holder, now.plus(LEASE), now).await? else { return Ok(Round::NotMine) };
        let page = catalog.changes_after(position, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Round::NothingNew) };
        let messages: Vec<_> = page.iter().filter_map(message).collect();
        if !messages.is_empty() {
            self.events.publish_events(&messages).await?;
        }
        Ok(match catalog.published(&self.holder, last.position).await? {
            Commit::Done => Round::Published,
            Commit::LeaseLost => Round::NotMine,
        })
    }

    /// Lets another server take over at once.
    async fn give_up(&self) {
        let now = Timestamp::now();
        if let Err(error) = self.core.stores.catalog.hold_publisher(&self.holder, now, now).await {
            tracing::debug!(error = %Chain(&error), "another server publishes events a little later");
        }
    }
}

/// `None` for changes that nobody is told of: a rendition that is not final yet, and copies for those with whom an image is shared.
fn message(change: &Change) -> Option<EventMessage> {
    if change.viewer.is_some() {
        return None;
    }
    let (topic, name) = match (change.kind, change.rendition.map(|rendition| rendition.state)) {
        (ChangeKind::Created, _) => ("image.created", "created"),
        (ChangeKind::Updated, _) => ("image.updated", "updated"),
        (ChangeKind::Deleted, _) => ("image.deleted", "deleted"),
        (ChangeKind::RenditionChanged, Some(RenditionState::Ready)) => ("image.rendition_ready", "rendition_ready"),
        (ChangeKind::RenditionChanged, Some(RenditionState::Failed)) => ("image.rendition_failed", "rendition_failed"),
        (ChangeKind::RenditionChanged, Some(RenditionState::Pending | RenditionState::Running | RenditionState::Unknown) | None) => {
            return None;
        }
    };
    let mut payload = json!({
        "version": VERSION,
        "event": name,
        "position": change.position.to_string(),
        "time": wire::proto_time(change.at).to_string(),
        "owner_id": change.owner.to_string(),
        "image_id": change.image.to_string(),
    });
    if let (Value::Object(fields), Some(rendition)) = (&mut payload, change.rendition) {
        let told = json!({ "id": rendition.id.to_string(), "format": rendition.format.name(), "state": rendition.state.name() });
        fields.insert("rendition".to_owned(), told);
    }
    Some(EventMessage { position: change.position, topic, payload: Bytes::from(payload.to_string()) })
}

#[cfg(test)]
mod tests {
    use tintype_store::{ChangedRendition, Format, ImageId, RenditionId, UserId};

    use super::*;

    fn change(kind: ChangeKind, state: Option<RenditionState>) -> Change {
        let rendition = state.map(|state| ChangedRendition { id: RenditionId(77), format: Format::Jpeg, state });
        Change { position: 123, image: ImageId(40), owner: UserId(1), viewer: None, kind, rendition, at: Timestamp(1_795_392_000_123_456) }
    }

    fn payload(message: &EventMessage) -> Value {
        serde_json::from_slice(&message.payload).expect("it is JSON")
    }

    #[test]
    fn an_event_has_the_documented_payload() {
        let created = message(&change(ChangeKind::Created, None)).expect("it is told");
        assert_eq!((created.topic, created.position), ("image.created", 123));
        let common = json!({
            "version": 1, "event": "created", "position": "123", "time": "2026-11-23T00:00:00.123456Z", "owner_id": "1", "image_id": "40",
        });
        assert_eq!(payload(&created), common);
        let failed = message(&change(ChangeKind::RenditionChanged, Some(RenditionState::Failed))).expect("it is told");
        assert_eq!(failed.topic, "image.rendition_failed");
        assert_eq!(payload(&failed)["event"], "rendition_failed");
        assert_eq!(payload(&failed)["rendition"], json!({ "id": "77", "format": "jpeg", "state": "failed" }));
        let updated = message(&change(ChangeKind::Updated, None)).expect("it is told");
        assert_eq!((updated.topic, &payload(&updated)["event"]), ("image.updated", &json!("updated")));
        assert_eq!(message(&change(ChangeKind::Deleted, None)).expect("it is told").topic, "image.deleted");
    }

    #[test]
    fn what_is_not_final_is_not_told() {
        for state in [Some(RenditionState::Pending), Some(RenditionState::Running), None] {
            assert_eq!(message(&change(ChangeKind::RenditionChanged, state)), None);
        }
        assert_eq!(message(&Change { viewer: Some(UserId(2)), ..change(ChangeKind::Created, None) }), None);
    }
}
