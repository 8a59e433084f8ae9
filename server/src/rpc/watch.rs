//! A watch: the state first, then what changes, in the order of the change log. It keeps a position and little else; it is asked for the next
//! message when the client has room for one, so a slow client costs no memory.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt, future::select_all, stream, stream::BoxStream};
use tintype_proto::v1::{
    self, CaughtUp, ErrorReason, ImageCreated, ImageDeleted, ImageExisting, ImageUpdated, RenditionChanged, WatchImagesRequest,
    WatchImagesResponse, watch_images_response::Message,
};
use tintype_store::{Access, ChangeKind, ImageId, Party, SeenImage, UserId};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::{
    resume::{Binding, Cursor},
    sight::Sight,
};
use crate::{
    auth::Caller,
    changes::{Event, Found, Subscription},
    core::SharedCore,
    limits::Limits,
    status::Refusal,
    wire,
    wire_shares::proto_access,
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
    /// Whose parts of the log it reads.
    audiences: Vec<UserId>,
    /// One for each of them.
    subscriptions: Vec<Subscription>,
    sight: Sight,
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
    Existing(Box<SeenImage>),
    Changed(Arc<Event>),
    CaughtUp,
}

/// Begins a watch, or goes on with one.
pub(crate) async fn start(core: &SharedCore, caller: &Caller, request: WatchImagesRequest) -> Result<Messages, Refusal> {
    let place = Arc::clone(&core.watches).try_acquire_owned().map_err(|_| Refusal::busy("watches", "max_watches", Limits::MAX_WATCHES))?;
    let user = caller.0.user.id;
    let images: Vec<ImageId> = wire::watched_images(&request.image_ids)?.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let binding = Binding::new(user, &images);
    let resumed = binding.decode(&request.resume_token)?;
    // Before the position is taken, and that before anything is looked at: what changes meanwhile is told as a change.
    let everyones = !images.is_empty();
    let audiences = if everyones { vec![user, Party::EVERYONE] } else { vec![user] };
    let subscriptions = audiences.iter().map(|audience| core.changes.subscribe(*audience)).collect();
    let cursor = if let Some(cursor) = resumed {
        check_kept(core, &audiences, cursor.position).await?;
        cursor
    } else {
        let _turn = core.changes.turn().await;
        let position = core.stores.catalog.last_position().await?;
        core.authorizer.images(caller, &images, Access::Viewer).await?;
        Cursor { position, told: Some(ImageId(0)) }
    };
    let watch = Watch {
        core: core.clone(),
        user,
        images,
        binding,
        audiences,
        subscriptions,
        sight: Sight::new(user, everyones),
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
async fn check_kept(core: &SharedCore, audiences: &[UserId], position: i64) -> Result<(), Refusal> {
    if position > core.changes.position() && position > core.stores.catalog.last_position().await? {
        return Err(too_old());
    }
    if let Found::Unknown = core.changes.recent(audiences, position, 0) {
        // What is read for this is at hand when the watch goes on.
        core.changes.read_again(audiences[0], position, 0).await?.ok_or_else(too_old)?;
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
            if self.ready.front().and_then(Ready::image).is_some_and(|(owner, _)| self.sight.is_needed(owner)) {
                self.look().await?;
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
            for subscription in &mut self.subscriptions {
                subscription.expect();
            }
            match self.core.changes.recent(&self.audiences, self.cursor.position, BATCH) {
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
        let told = select_all(self.subscriptions.iter_mut().map(|subscription| subscription.told().boxed()));
        tokio::select! {
            _ = told => {}
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
            let images = catalog.watched_images(self.user, told, BATCH as u32).await?;
            let last = images.last().filter(|_| images.len() == BATCH).map(|seen| seen.image.id);
            (images, last)
        } else {
            let begin = self.images.partition_point(|image| *image <= told);
            let ids = &self.images[begin..self.images.len().min(begin + BATCH)];
            (catalog.seen_images(self.user, ids).await?, ids.last().copied())
        };
        self.cursor.told = last;
        self.sight.forget();
        self.ready.extend(images.into_iter().map(|seen| Ready::Existing(Box::new(seen))));
        if last.is_none() {
            self.heartbeat = Instant::now() + self.core.limits.watch_heartbeat;
            self.ready.push_back(Ready::CaughtUp);
        }
        Ok(())
    }

    /// Reads what is no longer at hand.
    async fn read_again(&mut self) -> Result<(), Refusal> {
        let mut events = Vec::new();
        let mut through = i64::MAX;
        for audience in &self.audiences {
            let part = self.core.changes.read_again(*audience, self.cursor.position, BATCH).await?.ok_or_else(too_old)?;
            events.extend(part.events);
            through = through.min(part.through);
        }
        // What is read of one audience beyond the end of another one's part comes again with that.
        events.retain(|event| event.change.position <= through);
        events.sort_unstable_by_key(|event| event.change.position);
        self.take(events);
        self.cursor.position = through;
        Ok(())
    }

    /// Looks which of other people's images are still to be told of.
    async fn look(&mut self) -> Result<(), Refusal> {
        let images: BTreeSet<_> =
            self.ready.iter().filter_map(Ready::image).filter(|(owner, _)| *owner != self.user).map(|(_, image)| image).collect();
        let _turn = self.core.changes.turn().await;
        let now = Instant::now();
        let seen = self.core.stores.catalog.seen_images(self.user, &images.into_iter().collect::<Vec<_>>()).await?;
        self.sight.looked(now, seen);
        Ok(())
    }

    fn take(&mut self, events: Vec<Arc<Event>>) {
        self.cursor.position = events.last().map_or(self.cursor.position, |event| event.change.position);
        let wanted = events.into_iter().filter(|event| self.images.is_empty() || self.images.binary_search(&event.change.image).is_ok());
        self.ready.extend(wanted.map(Ready::Changed));
        self.sight.forget();
    }

    /// `None` for a change of an image that is deleted or not shared by now: that is told when its turn comes.
    fn message(&mut self, ready: Ready) -> Option<WatchImagesResponse> {
        let (told, message) = match ready {
            Ready::Existing(seen) => {
                let image = seen.image;
                let access = self.sight.access(image.owner, image.id)?;
                let cursor = Cursor { position: self.cursor.position, told: Some(image.id) };
                (cursor, Message::Existing(ImageExisting { image: Some(wire::proto_image(image, access)) }))
            }
            Ready::CaughtUp => (self.cursor, Message::CaughtUp(CaughtUp {})),
            Ready::Changed(event) => return self.changed(&event),
        };
        Some(WatchImagesResponse { resume_token: self.binding.encode(told), change_time: None, message: Some(message) })
    }

    fn changed(&mut self, event: &Event) -> Option<WatchImagesResponse> {
        let change = event.change;
        if !self.sight.tells(event) {
            return None;
        }
        let mut image = || {
            let access = self.sight.access(change.owner, change.image)?;
            let image = v1::Image::clone(event.image.as_deref()?);
            Some(v1::Image { access: proto_access(access).into(), ..image })
        };
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
        let resume_token = self.binding.encode(Cursor { position: change.position, told: None });
        Some(WatchImagesResponse { resume_token, change_time: Some(wire::proto_time(change.at)), message: Some(message) })
    }
}

impl Ready {
    /// The owner and the image that are told of.
    fn image(&self) -> Option<(UserId, ImageId)> {
        match self {
            Self::Existing(seen) => Some((seen.image.owner, seen.image.id)),
            Self::Changed(event) => Some((event.change.owner, event.change.image)),
            Self::CaughtUp => None,
        }
    }
}
