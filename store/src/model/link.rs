use std::{fmt, time::Duration};

use super::{BlobKey, Labels, Timestamp, UserId, random_hex};

/// A file that is to come by a signed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLink {
    /// By which its URL names it: 32 random hexadecimal digits.
    pub id: String,
    /// Whose it is.
    pub owner: UserId,
    /// By which its owner names it, unique among the owner's open links and request ids.
    pub upload_id: String,
    /// What is to come.
    pub file: AnnouncedFile,
    /// Whether the URL leads to the blob store itself.
    pub direct: bool,
    /// Where the bytes are: of a direct one where they are to come, of any other where they are once all of them came.
    pub key: Option<BlobKey>,
    /// When the URL ends.
    pub expires_at: Timestamp,
}

impl UploadLink {
    /// How long after the end of its URL what came by it can still be made an image of.
    pub const GRACE: Duration = Duration::from_mins(15);
}

/// What is told of a file before it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedFile {
    /// Its name.
    pub file_name: String,
    /// Labels of the image that it becomes.
    pub labels: Labels,
    /// The `Content-Type` with which it is sent; says nothing about what it is.
    pub content_type: String,
    /// Size in bytes, from 1.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What became of a new [`UploadLink`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkCreated {
    /// It is recorded, or was before: this is the one that counts.
    Done(UploadLink),
    /// Nothing was written: with this file the owner would store more than the quota.
    OverQuota {
        /// What the owner may store.
        quota_bytes: u64,
        /// What the owner stores without it.
        used_bytes: u64,
    },
    /// Nothing was written: the owner was deleted meanwhile.
    OwnerMissing,
}

/// A key by which servers know their own links again.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey {
    /// The day, from 1970, on which it signs.
    pub id: i64,
    /// The key itself.
    pub secret: [u8; 32],
    /// When no link that it signed is good any more.
    pub expires_at: Timestamp,
}

/// Never shows the secret.
impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkKey").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl BlobKey {
    /// A fresh key for bytes that come by a signed URL and are no image yet.
    pub fn arriving(owner: UserId) -> Self {
        Self(format!("user_{owner}/{}/arriving", random_hex()))
    }
}
