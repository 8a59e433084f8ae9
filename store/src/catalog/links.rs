use async_trait::async_trait;

use crate::{BlobKey, Created, LinkCreated, LinkKey, NewImage, StoreError, Timestamp, UploadLink, UserId};

/// Links that were signed for people without an account: files that are to come by them, and the keys that sign.
#[async_trait]
pub trait Links {
    /// Records a file that is to come and counts its size toward the owner's quota, unless that goes beyond it.
    ///
    /// Idempotent on the owner's `upload_id` while the link recorded first is open and has not expired at `now`: that one is returned, whatever it
    /// announces, and nothing is written. One that has expired is closed, and the new one takes its place.
    async fn create_upload_link(&self, new: UploadLink, now: Timestamp) -> Result<LinkCreated, StoreError>;

    /// The open link of this name, expired or not.
    async fn open_upload_link(&self, owner: UserId, upload_id: &str) -> Result<Option<UploadLink>, StoreError>;

    /// The link that a URL names, expired or not; `None` when it is closed or its owner is disabled or deleted.
    async fn upload_link(&self, id: &str) -> Result<Option<UploadLink>, StoreError>;

    /// Notes where the bytes are that came by a link, all of them durable. `false`, and nothing is written, when others came before, or when
    /// the link is closed or its owner disabled or deleted: of any number at once one is told `true`.
    async fn receive_upload(&self, id: &str, key: &BlobKey) -> Result<bool, StoreError>;

    /// Makes an image of what came by a link like [`create_image`](super::Images::create_image), which closes the link in the same transaction. Its
    /// `request_id` is the link's `upload_id`.
    ///
    /// `None`, and nothing is written, when the link is closed or gone.
    async fn finish_upload_link(&self, new: NewImage, link: &UploadLink, now: Timestamp) -> Result<Option<Created>, StoreError>;

    /// Closes a link of which nothing will come, and counts it no more. `false` when it was not open.
    async fn close_upload_link(&self, link: &UploadLink) -> Result<bool, StoreError>;

    /// Forgets a link, open or closed, whose bytes are gone; also fine when it is gone.
    async fn forget_upload_link(&self, link: &UploadLink) -> Result<(), StoreError>;

    /// Up to `limit` links, open or closed, that expired before `before`, or whose owner is deleted.
    async fn stale_upload_links(&self, before: Timestamp, limit: u32) -> Result<Vec<UploadLink>, StoreError>;

    /// Records a key and returns it, or the one of the same id that is there already: of any number at once the first one is everybody's.
    async fn make_link_key(&self, key: &LinkKey) -> Result<LinkKey, StoreError>;

    /// The key of this id; `None` when there never was one or it was pruned.
    async fn link_key(&self, id: i64) -> Result<Option<LinkKey>, StoreError>;
}
