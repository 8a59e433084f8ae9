//! What changes, told to everyone in this process who waits for it: one reader of the change log, however many listen.

mod pace;
mod parts;
mod recent;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use tintype_process::Shutdown;
use tintype_store::{
    Access, Change, ChangeKind, Image, ImageId, StoreError, UserId,
    catalog::Catalog,
    jobs::{NudgeListener, Nudges},
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, broadcast},
    time::sleep,
};

use self::{
    pace::Pace,
    parts::{Page, Parts},
    recent::Recent,
};
pub(crate) use self::{
    parts::Part,
    recent::{Event, Found, Subscription},
};
use crate::{status::Chain, wire};

const PAGE: u32 = 500;
/// Changes that a slow listener may be behind; one that falls further behind looks at the catalog instead.
const BACKLOG: usize = 1024;
/// Watchers that read from the catalog at once: the others wait here, and every other call finds a connection.
const READERS: usize = 3;

/// Follows the change log for everyone. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    catalog: Arc<dyn Catalog>,
    sender: broadcast::Sender<Change>,
    recent: Arc<Recent>,
    parts: Arc<Parts>,
    listened: Arc<Notify>,
    readers: Arc<Semaphore>,
}

impl Changes {
    /// Starts to follow the log, from its end.
    pub(crate) async fn follow(catalog: Arc<dyn Catalog>, nudges: &dyn Nudges, shutdown: &Shutdown) -> Result<Self, StoreError> {
        let nudges = nudges.listen().await?;
        // Read before anybody can listen, so that no one can have listened before it.
        let position = catalog.last_position().await?;
        let changes = Self {
            catalog,
            sender: broadcast::channel(BACKLOG).0,
            recent: Arc::new(Recent::new(position)),
            parts: Arc::default(),
            listened: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        };
        let follower = changes.clone();
        let stop = shutdown.clone();
        // Not one of the tasks that a drain waits for: downloads that are let finish must hear of the end of a share.
        tokio::spawn(async move {
            tokio::select! {
                () = follower.run(nudges, position) => {}
                () = stop.stopping_at_once() => {}
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

    /// From now on this user's part of the log is kept at hand, with the images, as long as the subscription is.
    pub(crate) fn subscribe(&self, owner: UserId) -> Subscription {
        let subscription = self.recent.subscribe(owner);
        self.listened.notify_one();
        subscription
    }

    /// Up to `limit` changes after `position` in these users' parts of the log, if they are at hand.
    pub(crate) fn recent(&self, owners: &[UserId], position: i64, limit: usize) -> Found {
        self.recent.after(owners, position, limit)
    }

    /// Everything through here was read.
    pub(crate) fn position(&self) -> i64 {
        self.recent.position()
    }

    /// Whether the log can be read at all.
    pub(crate) fn is_current(&self) -> bool {
        self.recent.is_current()
    }

    /// Up to `limit` of this owner's changes after `position` from the catalog, with the images as they were when the first of those who come
    /// for them read them, a moment ago at most; `None` when some were pruned. Gets ahead as long as the log is ahead of `position`.
    pub(crate) async fn read_again(&self, owner: UserId, position: i64, limit: usize) -> Result<Option<Part>, StoreError> {
        self.parts.after(owner, position, limit, self.page_of(owner, position)).await
    }

    async fn page_of(&self, owner: UserId, position: i64) -> Result<Option<Page>, StoreError> {
        let _turn = self.turn().await;
        // Before it is read: the catalog knows all changes through here, and maybe more.
        let (known, read_at) = (self.position(), Instant::now());
        let Some(page) = self.catalog.changes_of(owner, position, parts::PAGE).await? else { return Ok(None) };
        let images = self.images_of(page.iter()).await?;
        let last = page.last().map_or(position, |change| change.position);
        let through = if page.len() < parts::PAGE as usize { last.max(known) } else { last };
        let events = page.into_iter().map(|change| Event::new(change, &images)).collect();
        Ok(Some(Page { owner, after: position, through, events, read_at }))
    }

    /// A turn at reading much from the catalog. Whoever holds it does nothing else meanwhile.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.readers.acquire().await.expect("nobody closes the semaphore")
    }

    async fn run(&self, mut nudges: Box<dyn NudgeListener>, mut position: i64) {
        let mut pace = Pace::default();
        loop {
            self.parts.forget(Instant::now());
            match self.read(&mut position).await {
                Ok(read) => {
                    self.recent.set_current(true);
                    pace.found(read);
                    if read == PAGE as usize {
                        continue;
                    }
                }
                Err(error) => {
                    self.recent.set_current(false);
                    tracing::warn!(error = %Chain(&error), "cannot read the change log");
                    sleep(pace::AFTER_ERROR).await;
                }
            }
            let is_listened = self.sender.receiver_count() > 0 || !self.recent.owners().is_empty();
            tokio::select! {
                () = sleep(pace.pause(is_listened)) => pace.polled(),
                () = self.listened.notified() => {}
                () = nudges.nudged(), if is_listened => {
                    pace.nudged();
                    sleep(pace::GATHER).await;
                }
            }
        }
    }

    /// Reads a page and tells it. A page that cannot be told whole is read again the next time.
    async fn read(&self, position: &mut i64) -> Result<usize, StoreError> {
        let page = self.catalog.changes_after(*position, PAGE).await?;
        let Some(last) = page.last() else { return Ok(0) };
        *position = {
            let owners = self.recent.owners();
            let images = self.images_of(page.iter().filter(|change| owners.contains(&change.audience()))).await?;
            self.recent.push(&page, &owners, &images);
            last.position
        };
        // Those with whom an image is shared are told the same as its owner, but for the end of a share.
        for change in page.iter().filter(|change| change.viewer.is_none() || change.kind == ChangeKind::Deleted) {
            // Nobody listens: nobody misses it.
            let _ = self.sender.send(*change);
        }
        Ok(page.len())
    }

    /// The images that are told with these changes, as far as they still exist: one query, however many.
    async fn images_of(&self, changes: impl Iterator<Item = &Change>) -> Result<Images, StoreError> {
        let ids: BTreeSet<ImageId> = changes.filter(|change| change.kind != ChangeKind::Deleted).map(|change| change.image).collect();
        if ids.is_empty() {
            return Ok(Images::new());
        }
        let images = self.catalog.images(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(images.into_iter().map(|image: Image| (image.id, Arc::new(wire::proto_image(image, Access::Owner)))).collect())
    }
}

/// Images by their ids, in the form in which they are sent.
type Images = HashMap<ImageId, Arc<tintype_proto::v1::Image>>;

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

    /// Returns when anything changed.
    pub(crate) async fn anything_changed(&mut self) {
        if let Err(broadcast::error::RecvError::Closed) = self.receiver.recv().await {
            std::future::pending::<()>().await;
        }
        // One look at the catalog answers for all that has come by now.
        self.receiver = self.receiver.resubscribe();
    }
}
