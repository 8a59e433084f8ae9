use super::{BlobKey, ImageId, RenditionId, StoredBlob};

/// A blob and the row that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBlob {
    /// The image that it belongs to.
    pub image: ImageId,
    /// The ready rendition whose output it is; `None`: it is the image's original.
    pub rendition: Option<RenditionId>,
    /// What the row says of it.
    pub blob: StoredBlob,
}

/// What is wrong with a blob that a row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// There is none.
    Missing,
    /// It is longer or shorter; its bytes were not read.
    Size {
        /// What it has.
        seen_bytes: u64,
    },
    /// Bytes of it are others.
    Content {
        /// The SHA-256 of what it holds.
        seen_sha256: [u8; 32],
        /// Numbers, from 0, of the blocks that do not match their checksums; empty when all of them do.
        blocks: Vec<u32>,
    },
}

/// Something that an integrity check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A row whose blob is not as it should be.
    Damaged {
        /// The row and what it says.
        recorded: RecordedBlob,
        /// What is there instead.
        damage: Damage,
        /// The rendition is pending again.
        repaired: bool,
    },
    /// A blob that no row names, and that is too old for one to come.
    Orphan {
        /// Where it is.
        key: BlobKey,
        /// Its size.
        size_bytes: u64,
        /// It is removed.
        repaired: bool,
    },
}

/// How far an integrity check is: everything before this was looked at. It goes through them in the order of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckPosition {
    /// Originals of images after this one.
    Originals(ImageId),
    /// Outputs of ready renditions after this one.
    Renditions(RenditionId),
    /// All blobs of the store, which have no order.
    Blobs,
    /// Nothing is left.
    End,
}

impl CheckPosition {
    /// Before everything.
    pub const BEGIN: Self = Self::Originals(ImageId(0));
}

/// How far an integrity check is, and what it has seen since it began or went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// Where to go on.
    pub position: CheckPosition,
    /// Rows whose blobs were looked at.
    pub checked_rows: u64,
    /// Bytes that were read of these.
    pub checked_bytes: u64,
    /// Blobs of the store that were looked for among the rows.
    pub checked_blobs: u64,
    /// What was found.
    pub findings: u64,
}
