//! A watch: the state first, then what changes, in the order of the change log. It keeps a position and little else; it is asked for the next
//! message when the client has room for one, so a slow client costs no memory.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_proto::v1::{
    CaughtUp, ErrorReason, ImageCreated, ImageDeleted, ImageExisting, ImageUpdated, RenditionChanged, WatchImagesRequest,
    WatchImagesResponse, watch_images_response::Message,
};
use tintype_store::{ChangeKind, Image, ImageId, UserId};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::resume::{Binding, Cursor};
use crate::{
    auth::Caller,
    changes::{Event, Found, Subscription},
    core::SharedCore,
    status::Refusal,
    wire,
};

/// What a watch sends.
pub(crate) type Messages = BoxStream<'static, Result<WatchImagesResponse, Status>>;

/// Images or changes that are in hand at once: what a watch whose client does not read holds in memory.
const BATCH: usize = 64;

struct Watch {
    core: SharedCore,
    user: UserId,
    /// In order; all of the user's when it is empty.
    images: Vec<ImageId>,
    binding: Binding,
    subscription: Subscription,
    /// How far was read.
    cursor: Cursor,
    /// What was read and is not sent yet.
    ready: VecDeque<Ready>,
    /// When to say that there is nothing to say.
    heartbeat: Instant,
    /// Its place among all watches of this server.
    _place: OwnedSemaphorePermit,
}

enum Ready {
    Existing(Image),
    Changed(Arc<Event>),
    CaughtUp,
}

/// Begins a watch, or goes on with one.
pub(crate) async fn start(core: &SharedCore, caller: &Caller, request: WatchImagesRequest) -> Result<Messages, Refusal> {
    let place = Arc::clone(&core.watches).try_acquire_owned().map_err(|_| Refusal::busy("too many watches at once"))?;
    let user = caller.0.user.id;
    let images: Vec<ImageId> = wire::watched_images(&request.image_ids)?.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let binding = Binding::new(user, &images);
    let resumed = binding.decode(&request.resume_token)?;
    // Before the position is taken, and that before anything is looked at: what changes meanwhile is told as a change.
    let subscription = core.changes.subscribe(user);
    let cursor = if let Some(cursor) = resumed {
        check_kept(core, user, cursor.position).await?;
        cursor
    } else {
        let _turn = core.changes.turn().await;
        let position = core.stores.catalog.last_position().await?;
        core.authorizer.images(caller, &images).await?;
        Cursor { position, told: Some(ImageId(0)) }
    };
    let watch = Watch {
        core: core.clone(),
        user,
        images,
        binding,
        subscription,
        cursor,
        ready: VecDeque::new(),
        heartbeat: Instant::now(),
        _place: place,
    };
    let messages = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(message) => Some((Ok(message), Some(watch))),
            Err(refusal) => Some((Err(refusal.into()), None)),
        }
    });
    Ok(messages.boxed())
}

/// Refuses a position after which changes were pruned, or that the log never reached: the catalog was put back to an earlier state.
async fn check_kept(core: &SharedCore, user: UserId, position: i64) -> Result<(), Refusal> {
    if position > core.changes.position() && position > core.stores.catalog.last_position().await? {
        return Err(too_old());
    }
    if let Found::Unknown = core.changes.recent(user, position, 0) {
        // What is read for this is at hand when the watch goes on.
        core.changes.read_again(user, position, 0).await?.ok_or_else(too_old)?;
    }
    Ok(())
}

fn too_old() -> Refusal {
    Refusal::new(ErrorReason::ResumeTokenTooOld, "changes after this resume_token are not kept any more")
}

impl Watch {
    async fn next(&mut self) -> Result<WatchImagesResponse, Refusal> {
        loop {
            if self.core.shutdown.is_draining() {
                return Err(Refusal::draining());
            }
            if let Some(message) = self.ready.pop_front().and_then(|ready| self.message(ready)) {
                return Ok(message);
            }
            if !self.ready.is_empty() {
                continue;
            }
            if let Some(told) = self.cursor.told {
                self.read_state(told).await?;
                continue;
            }
            self.subscription.expect();
            match self.core.changes.recent(self.user, self.cursor.position, BATCH) {
                Found::Events(events) => self.take(events),
                Found::Unknown => self.read_again().await?,
                Found::NoneThrough(through) => {
                    self.cursor.position = self.cursor.position.max(through);
                    self.wait().await?;
                }
            }
        }
    }

    /// Returns when there may be something new.
    async fn wait(&mut self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.subscription.told() => {}
            () = self.core.shutdown.draining() => return Err(Refusal::draining()),
            () = sleep_until(self.heartbeat) => {
                self.heartbeat = Instant::now() + self.core.limits.watch_heartbeat;
                // While the log cannot be read, nobody knows whether everything was told.
                if self.core.changes.is_current() {
                    self.ready.push_back(Ready::CaughtUp);
                }
            }
        }
        Ok(())
    }

    /// Reads the next images of the state.
    async fn read_state(&mut self, told: ImageId) -> Result<(), Refusal> {
        let catalog = &self.core.stores.catalog;
        let _turn = self.core.changes.turn().await;
        let (images, last) = if self.images.is_empty() {
            let images = catalog.images_after(self.user, told, BATCH as u32).await?;
            let last = images.last().filter(|_| images.len() == BATCH).map(|image| image.id);
            (images, last)
        } else {
            let begin = self.images.partition_point(|image| *image <= told);
            let ids = &self.images[begin..self.images.len().min(begin + BATCH)];
            let mut images = catalog.images(ids).await?;
            images.retain(|image| image.owner == self.user);
            (images, ids.last().copied())
        };
        self.cursor.told = last;
        self.ready.extend(images.into_iter().map(Ready::Existing));
        if last.is_none() {
            self.heartbeat = Instant::now() + self.core.limits.watch_heartbeat;
            self.ready.push_back(Ready::CaughtUp);
        }
        Ok(())
    }

    /// Reads what is no longer at hand.
    async fn read_again(&mut self) -> Result<(), Refusal> {
        let part = self.core.changes.read_again(self.user, self.cursor.position, BATCH).await?.ok_or_else(too_old)?;
        self.take(part.events);
        self.cursor.position = part.through;
        Ok(())
    }

    fn take(&mut self, events: Vec<Arc<Event>>) {
        self.cursor.position = events.last().map_or(self.cursor.position, |event| event.change.position);
        let wanted = events.into_iter().filter(|event| self.images.is_empty() || self.images.binary_search(&event.change.image).is_ok());
        self.ready.extend(wanted.map(Ready::Changed));
    }

    /// `None` for a change of an image that is deleted by now: that is told when its turn comes.
    fn message(&self, ready: Ready) -> Option<WatchImagesResponse> {
        let (told, message) = match ready {
            Ready::Existing(image) => {
                let cursor = Cursor { position: self.cursor.position, told: Some(image.id) };
                (cursor, Message::Existing(ImageExisting { image: Some(wire::proto_image(image)) }))
            }
            Ready::CaughtUp => (self.cursor, Message::CaughtUp(CaughtUp {})),
            Ready::Changed(event) => return changed(&event, self.binding),
        };
        Some(WatchImagesResponse { resume_token: self.binding.encode(told), change_time: None, message: Some(message) })
    }
}

fn changed(event: &Event, binding: Binding) -> Option<WatchImagesResponse> {
    let change = event.change;
    let image = || event.image.as_deref().cloned();
    let message = match change.kind {
        ChangeKind::Created => Message::Created(ImageCreated { image: Some(image()?) }),
        ChangeKind::RenditionChanged => Message::RenditionChanged(RenditionChanged {
            image: Some(image()?),
            rendition_id: change.rendition.map_or(0, |rendition| rendition.id.0),
            state: change.rendition.map_or(0, |rendition| wire::proto_state(rendition.state).into()),
        }),
        ChangeKind::Updated => Message::Updated(ImageUpdated { image: Some(image()?) }),
        ChangeKind::Deleted => Message::Deleted(ImageDeleted { image_id: change.image.0 }),
    };
    let resume_token = binding.encode(Cursor { position: change.position, told: None });
    Some(WatchImagesResponse { resume_token, change_time: Some(wire::proto_time(change.at)), message: Some(message) })
}
