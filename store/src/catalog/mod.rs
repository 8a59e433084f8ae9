//! The port to the truth: who, what, and in which state. Adapters: [`Sqlite`](sqlite::Sqlite), [`Postgres`](postgres::Postgres).
//!
//! Every write is atomic and durable when it returns, and every change of an image appends to the change log in the same transaction.

mod compatibility;
mod error;
mod links;
pub mod postgres;
mod rows;
pub mod sqlite;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{
    BlobKey, Change, Claim, Commit, Created, Drawn, FailedRendition, Failure, FailureFilter, FailurePosition, FinishedUpload, Hold, Image,
    ImageChange, ImageFilter, ImageId, ImageWrite, Job, NewImage, NewToken, NewUser, OpenUpload, OpenWrite, Party, Recorded, RecordedBlob,
    Rendition, RenditionId, Requested, Retry, SeenImage, Share, ShareRole, Sharing, SignedIn, Spec, StoreError, StoreId, StoredBlob,
    Timestamp, Token, TokenId, Totals, User, UserChange, UserId, UserWrite, Worker,
};

pub use links::Links;

/// Users and their sign-in tokens.
#[async_trait]
pub trait Users {
    /// Records a user. `Kind::AlreadyExists` when the name is taken.
    async fn create_user(&self, new: NewUser, now: Timestamp) -> Result<User, StoreError>;

    /// The user of this name, told apart by case.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError>;

    /// The user.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// Up to `limit` users with an id above `after` (all when `None`), the smallest id first.
    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Changes a user. With a new password it revokes all tokens of the user, those included that are being created.
    ///
    /// Of calls at once that would together leave no administrator, at least one is [`UserWrite::LastAdmin`].
    async fn update_user(&self, id: UserId, change: &UserChange) -> Result<UserWrite, StoreError>;

    /// Deletes a user and all tokens of the user. The name is free when it returns, and nothing can be created for the user any more.
    /// What the user stored stays for [`images_of_deleted_users`](Self::images_of_deleted_users).
    async fn delete_user(&self, id: UserId, now: Timestamp) -> Result<UserWrite, StoreError>;

    /// Up to `limit` images whose owner is deleted, for [`delete_image`](Images::delete_image).
    async fn images_of_deleted_users(&self, limit: u32) -> Result<Vec<ImageId>, StoreError>;

    /// Drops what is left of deleted users who have no images any more. Returns how many.
    async fn forget_deleted_users(&self) -> Result<u64, StoreError>;

    /// Whether there is any user at all.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// Records a token; `None` when its user is deleted, disabled or has another password by now.
    async fn create_token(&self, new: NewToken, now: Timestamp) -> Result<Option<Token>, StoreError>;

    /// Up to `limit` tokens of `user` that have not expired, with an id below `before` (all when `None`), the largest id first.
    async fn list_tokens(&self, user: UserId, before: Option<TokenId>, limit: u32, now: Timestamp) -> Result<Vec<Token>, StoreError>;

    /// Drops a token of `user`. `false` when there was no such token.
    async fn revoke_token(&self, user: UserId, id: TokenId) -> Result<bool, StoreError>;

    /// The token with this secret and its user; `None` when there is no such token, it has expired, or its user is disabled.
    async fn signed_in(&self, secret_sha256: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>, StoreError>;

    /// Those of the tokens that still sign their users in.
    async fn valid_tokens(&self, ids: &[TokenId], now: Timestamp) -> Result<Vec<TokenId>, StoreError>;
}

/// Images and what is made of them.
#[async_trait]
pub trait Images {
    /// Records an image whose blob is already durable, with its pending renditions, and counts the original as used, unless that would go
    /// beyond the owner's quota.
    ///
    /// Idempotent on the owner's `request_id`: a repeat writes nothing and returns the first result, also when both run at once.
    async fn create_image(&self, new: NewImage, now: Timestamp) -> Result<Created, StoreError>;

    /// What an earlier [`create_image`](Self::create_image) with this `request_id` made: the outer `None` when there was none, the inner
    /// one when its image was deleted since.
    async fn image_by_request(&self, owner: UserId, request_id: &str) -> Result<Option<Option<Image>>, StoreError>;

    /// The image with its renditions.
    async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError>;

    /// Those of these images that exist, with their renditions, the smallest id first. However many, it is one query.
    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, StoreError>;

    /// The rendition.
    async fn rendition(&self, id: RenditionId) -> Result<Option<Rendition>, StoreError>;

    /// Up to `limit` images that `user` sees with an id below `before` (all when `None`), the largest id first.
    ///
    /// The cost depends on `limit` and on how many images the filter passes over, which is cheap for those of other times, not on how deep
    /// `before` is. A list of others' images passes over those of the user's own that are shared with everyone.
    async fn list_images(
        &self,
        user: UserId,
        filter: &ImageFilter,
        before: Option<ImageId>,
        limit: u32,
    ) -> Result<Vec<SeenImage>, StoreError>;

    /// Removes an image and its renditions and dooms their blobs; whoever makes one of the renditions loses the lease.
    /// `false` when there was no such image.
    async fn delete_image(&self, id: ImageId, now: Timestamp) -> Result<bool, StoreError>;

    /// What the catalog knows of a blob that an image or a rendition refers to; `None` once that is deleted.
    async fn blob(&self, key: &BlobKey) -> Result<Option<StoredBlob>, StoreError>;
}

/// Uploads that are not finished and can be resumed. What is durable of them counts toward their owners' quotas.
#[async_trait]
pub trait Uploads {
    /// The upload; `None` when nothing of it is durable, or no more.
    async fn open_upload(&self, owner: UserId, upload_id: &str) -> Result<Option<OpenUpload>, StoreError>;

    /// Takes hold of an upload: whoever had it before can neither record nor finish it any more. `None`, and nothing is written, when there is
    /// no such upload.
    async fn take_upload(&self, owner: UserId, upload_id: &str, now: Timestamp) -> Result<Option<OpenUpload>, StoreError>;

    /// Records what is durable of an upload, in the place of what was recorded before, and counts it. Only with `first` may there be no record
    /// of it yet: whoever had one and finds none learns that the upload was dropped.
    ///
    /// [`Recorded::TakenOver`] when somebody has a later hold, dropped or finished it, or when the owner is deleted. A repeat writes the same
    /// again.
    async fn record_upload(&self, upload: &OpenUpload, first: bool) -> Result<Recorded, StoreError>;

    /// Makes an image of an upload like [`create_image`](Images::create_image), which drops the upload in the same transaction. Its
    /// `request_id` is the upload's id. Only with `first` may there be no record of it; one of an earlier hold, which came late, is dropped then
    /// and returned, like one that has another key than the image's original.
    ///
    /// `None`, and nothing is written, when somebody has a later hold or the upload was dropped.
    async fn finish_upload(&self, new: NewImage, hold: Hold, first: bool, now: Timestamp) -> Result<Option<FinishedUpload>, StoreError>;

    /// Drops an upload under this hold. `false` when there is none.
    async fn drop_upload(&self, owner: UserId, upload_id: &str, hold: Hold) -> Result<bool, StoreError>;

    /// Up to `limit` uploads of which nothing was recorded since `before`, or whose owner is deleted.
    async fn stale_uploads(&self, before: Timestamp, limit: u32) -> Result<Vec<OpenUpload>, StoreError>;
}

/// What is asked for images that are there. Whether the user may ask is decided by the write itself: once a call that withdraws a share has
/// returned, nothing is written for that user any more.
#[async_trait]
pub trait Edits {
    /// Records a pending rendition for a user who may edit the image, unless it has `max_renditions` already or its owner stores as much as
    /// the quota allows. It is asked once more when its turn comes: see [`Job::over_quota`](crate::Job::over_quota).
    ///
    /// Idempotent on the image and the text of the spec, also when many ask at once: the first makes it, and the others get that one, in
    /// whatever state it is and whatever limit or quota is reached by then.
    async fn create_rendition(
        &self,
        editor: UserId,
        id: ImageId,
        spec: &Spec,
        max_renditions: u32,
        now: Timestamp,
    ) -> Result<Requested, StoreError>;

    /// Changes an image's file name and labels for a user who may edit it. Of changes at once each is applied to what the one before it left. One that changes nothing
    /// writes nothing.
    async fn update_image(&self, editor: UserId, id: ImageId, change: &ImageChange, now: Timestamp) -> Result<ImageWrite, StoreError>;
}

/// Who sees an image besides its owner. An image of a deleted user is seen by nobody, also while it is still there.
#[async_trait]
pub trait Shares {
    /// Shares an image, or changes the role of a share with the same party. A share that is new to a user appends a
    /// [`Created`](crate::ChangeKind::Created) to the user's part of the change log, a new role an [`Updated`](crate::ChangeKind::Updated).
    ///
    /// A user who does not exist is shared with like one who does, and sees nothing of it even when created later. At most `max_shares`
    /// shares of an image, also of those at once.
    async fn share_image(
        &self,
        image: ImageId,
        party: &Party,
        role: ShareRole,
        max_shares: u32,
        now: Timestamp,
    ) -> Result<Sharing, StoreError>;

    /// Ends a share, and appends a [`Deleted`](crate::ChangeKind::Deleted) to the user's part of the change log. Also fine when there is none.
    async fn unshare_image(&self, image: ImageId, party: &Party, now: Timestamp) -> Result<(), StoreError>;

    /// With whom the image is shared: everyone first, then users by name.
    async fn shares(&self, image: ImageId) -> Result<Vec<Share>, StoreError>;

    /// Those of these images that the user sees, the smallest id first. However many, it is one query, which takes as long for an image that is
    /// not seen as for one that is missing.
    async fn seen_images(&self, user: UserId, ids: &[ImageId]) -> Result<Vec<SeenImage>, StoreError>;

    /// The image of this rendition, if the user sees it: one query, as for images.
    async fn seen_image_of(&self, user: UserId, rendition: RenditionId) -> Result<Option<SeenImage>, StoreError>;

    /// Up to `limit` images that the user owns or that are shared with the user by name, with an id above `after`, the smallest id first.
    /// The cost depends on `limit` alone.
    async fn watched_images(&self, user: UserId, after: ImageId, limit: u32) -> Result<Vec<SeenImage>, StoreError>;
}

/// Renditions on their way.
#[async_trait]
pub trait Jobs {
    /// Takes a pending rendition whose time has come: one conditional update (running, attempt + 1, a new lease token, leased until
    /// `now + lease`). Of any number of callers one is granted it. A running one is never taken: when its lease runs out,
    /// [`expire_leases`](Self::expire_leases) makes it pending again. One that this version cannot make is left as it is.
    async fn claim(&self, id: RenditionId, worker: &str, lease: Duration, now: Timestamp) -> Result<Claim, StoreError>;

    /// Holds a claimed rendition until `until`.
    async fn renew(&self, job: &Job, until: Timestamp) -> Result<Commit, StoreError>;

    /// Makes a claimed rendition ready and counts it as used, whatever the owner's quota. Its blob is already durable. Of the thumbhashes
    /// that workers tell of an image the first is kept.
    ///
    /// Idempotent on the output's key: a repeat, say because an answer got lost, is [`Commit::Done`] and writes nothing.
    async fn complete(&self, job: &Job, output: &StoredBlob, drawn: &Drawn, now: Timestamp) -> Result<Commit, StoreError>;

    /// Makes a claimed rendition failed.
    async fn fail(&self, job: &Job, failure: &Failure, now: Timestamp) -> Result<Commit, StoreError>;

    /// Gives a claimed rendition back, to be begun again at `retry_at` at the earliest. With `uncounted` the attempt is taken back:
    /// it ended for a reason that has nothing to do with the image.
    async fn release(&self, job: &Job, retry_at: Timestamp, uncounted: bool, now: Timestamp) -> Result<Commit, StoreError>;

    /// Makes a failed rendition pending again with all its attempts, for a user who may edit its image, decided as in [`Edits`]; with no user
    /// for an administrator, whosever it is.
    async fn retry(&self, editor: Option<UserId>, id: RenditionId, now: Timestamp) -> Result<Retry, StoreError>;

    /// Ends up to `limit` leases that ran out before `now`: pending again where an attempt of `max_attempts` is left, else failed with
    /// `ATTEMPTS_EXHAUSTED`. Returns how many.
    async fn expire_leases(&self, max_attempts: u32, limit: u32, now: Timestamp) -> Result<u64, StoreError>;

    /// Pulls back times after `farthest`, which a clock wrote that has been set back since: such leases, and such a right to publish, end at
    /// `farthest`, if nobody renews them, and renditions of which the queue was told then are due `now` and count as never told. Atomic. Returns
    /// how many renditions that were.
    async fn pull_back_times(&self, farthest: Timestamp, now: Timestamp) -> Result<u64, StoreError>;

    /// Lets every lease run out now, whatever time it has left, so that the next [`expire_leases`](Self::expire_leases) ends it. Only for a
    /// catalog that no other process can be using: at the start of an embedded service. Returns how many.
    async fn void_leases(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Up to `limit` pending renditions whose time has come and of which the queue was last told before `told_before`, the longest
    /// waiting first. Notes `now` as the time at which the queue was told. It also counts as told when a rendition is asked for, released or
    /// retried, and as never told since when a lease was ended.
    async fn untold(&self, told_before: Timestamp, limit: u32, now: Timestamp) -> Result<Vec<RenditionId>, StoreError>;
}

/// The change log.
#[async_trait]
pub trait Changes {
    /// Up to `limit` changes after `position`, in order. What is returned once is never preceded by something new.
    async fn changes_after(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError>;

    /// The position of the latest change; 0 when there is none.
    async fn last_position(&self) -> Result<i64, StoreError>;

    /// Up to `limit` changes after `position` of which `audience` is told, in order, as far as [`changes_after`](Self::changes_after) has
    /// returned them to anybody: those of the user's own images and of images shared with the user by name, or with
    /// [`Party::EVERYONE`](crate::Party::EVERYONE) those of images shared with everyone. `None` when any change after `position` was pruned: then
    /// nobody can tell whether one of these is missing.
    async fn changes_of(&self, audience: UserId, position: i64, limit: u32) -> Result<Option<Vec<Change>>, StoreError>;
}

/// Who publishes the change log as events: one process at a time, and how far it is.
#[async_trait]
pub trait Publisher {
    /// Takes or keeps the right to publish until `until`, and returns the position through which everything is published. `None` when
    /// somebody else has that right at `now`. The holder gives it up with an `until` of `now`.
    async fn hold_publisher(&self, holder: &str, until: Timestamp, now: Timestamp) -> Result<Option<i64>, StoreError>;

    /// Notes that everything through `position` is published. [`Commit::LeaseLost`] when somebody else took the right meanwhile, whose note
    /// then counts.
    async fn published(&self, holder: &str, position: i64) -> Result<Commit, StoreError>;
}

/// Upkeep: what servers, workers and the sweeper need of the catalog itself.
#[async_trait]
pub trait Upkeep {
    /// Answers when the catalog can be read, also while it is busy; `Kind::Unavailable` within 2.2 s when it says nothing, and for a
    /// call that waited for one of which nobody heard the answer.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Names the store. The first call on a new catalog decides, `wanted` if given, else random; later calls return what was decided.
    async fn store_id(&self, wanted: Option<&StoreId>) -> Result<StoreId, StoreError>;

    /// Records a worker's heartbeat, by its id.
    async fn heartbeat(&self, worker: &Worker) -> Result<(), StoreError>;

    /// Workers seen at or after `since`.
    async fn workers(&self, since: Timestamp) -> Result<Vec<Worker>, StoreError>;

    /// Up to `limit` blobs that nothing refers to any more, those that are so for the longest first.
    async fn doomed_blobs(&self, limit: u32) -> Result<Vec<BlobKey>, StoreError>;

    /// Drops doomed blobs whose bytes are gone.
    async fn forget_blobs(&self, keys: &[BlobKey]) -> Result<(), StoreError>;

    /// Has doomed blobs count as doomed since `now`, so that their turn comes after that of those that were doomed before. Atomic; does nothing
    /// to others.
    async fn postpone_blobs(&self, keys: &[BlobKey], now: Timestamp) -> Result<(), StoreError>;

    /// Drops request ids, changes, heartbeats, expired tokens and expired keys of links from before `before`, at most `limit` of each, and remembers how far
    /// changes were dropped.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<(), StoreError>;
}

/// What may be in the blob store without a row of its own.
#[async_trait]
pub trait Writes: Debug + Send + Sync {
    /// Records a write that may leave something in the blob store from now on, begun at `now`; once more for the same key replaces it.
    async fn note_write(&self, write: &OpenWrite, now: Timestamp) -> Result<(), StoreError>;

    /// Drops the record of a write of which nothing is left to remove; also fine when there is none.
    async fn forget_write(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// Up to `limit` recorded writes that were begun before `before`, the oldest first, but for those that unfinished uploads name: these are kept
    /// as long as their upload.
    async fn stale_writes(&self, before: Timestamp, limit: u32) -> Result<Vec<OpenWrite>, StoreError>;

    /// Those of `keys` of which the catalog knows nothing: no image or rendition refers to them, and they are not doomed, no unfinished upload began there,
    /// and nothing is to come there by a link.
    async fn unrecorded(&self, keys: &[BlobKey]) -> Result<Vec<BlobKey>, StoreError>;
}

/// Everything at once, for administrators.
#[async_trait]
pub trait Overview {
    /// Counts everything. The cost grows with the numbers of users and of renditions that are not ready, not with that of images.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Up to `limit` failed renditions of users who are not deleted, below `before` (all when `None`), the latest failure first, of those at
    /// the same time the one with the largest id.
    ///
    /// The cost depends on `limit` and on how rare the filter's reasons are, not on how deep `before` is.
    async fn list_failures(
        &self,
        filter: &FailureFilter,
        before: Option<FailurePosition>,
        limit: u32,
    ) -> Result<Vec<FailedRendition>, StoreError>;
}

/// What an integrity check goes through, and what it may put right.
#[async_trait]
pub trait Integrity {
    /// Up to `limit` originals of images after this one, in the order of the images' ids. The cost depends on `limit` alone.
    async fn originals_after(&self, after: ImageId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError>;

    /// Up to `limit` outputs of ready renditions after this one, in the order of the renditions' ids.
    async fn outputs_after(&self, after: RenditionId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError>;

    /// Makes a ready rendition pending again with all its attempts, dooms its output and counts that as used no more. `false`, and nothing is
    /// written, when it is gone or has not, or no more, this output: of any number of callers one is told `true`.
    async fn remake(&self, id: RenditionId, output: &BlobKey, now: Timestamp) -> Result<bool, StoreError>;
}

/// The whole catalog. A `dyn Catalog` is what servers and workers hold.
pub trait Catalog:
    Users
    + Images
    + Uploads
    + Links
    + Edits
    + Shares
    + Jobs
    + Changes
    + Publisher
    + Upkeep
    + Writes
    + Overview
    + Integrity
    + Debug
    + Send
    + Sync
    + 'static
{
}
