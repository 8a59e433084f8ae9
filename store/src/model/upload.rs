use super::{BlobKey, Created, Timestamp, UserId};

/// The beginning of a blob that is not published, as far as it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialBlob {
    /// Where the blob was going to be.
    pub key: BlobKey,
    /// By which the blob store finds it again; nobody else understands it.
    pub place: String,
    /// How many bytes are durable.
    pub size_bytes: u64,
    /// CRC-32C of each block of [`CHECKSUM_BLOCK_BYTES`](crate::blobs::CHECKSUM_BLOCK_BYTES) of them, the last one shorter.
    pub block_crc32c: Vec<u32>,
}

/// Who writes an upload: of two holds the later one counts, and the earlier one cannot change or finish it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold(pub i64);

/// What became of the record of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Written and durable.
    Done {
        /// What was recorded before and has another key: nothing names it any more, so it is to be discarded.
        replaced: Option<PartialBlob>,
    },
    /// Nothing was written: somebody has a later hold or dropped the upload, or the owner is deleted.
    TakenOver,
}

/// What became of an upload that was to be finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// Of the image.
    pub created: Created,
    /// What was recorded of the upload and is no part of the image: nothing names it any more, so it is to be discarded.
    pub replaced: Option<PartialBlob>,
}

/// An upload that is not finished and of which something is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Whose it is.
    pub owner: UserId,
    /// Chosen by the client, unique among the owner's uploads and request ids.
    pub upload_id: String,
    /// Who writes it.
    pub hold: Hold,
    /// What there is of it.
    pub partial: PartialBlob,
    /// When something of it was recorded last.
    pub updated_at: Timestamp,
}

impl Recorded {
    /// `upload` is in the place of `before`.
    pub(crate) fn done(upload: &OpenUpload, before: Option<OpenUpload>) -> Self {
        Self::Done { replaced: before.map(|before| before.partial).filter(|before| before.key != upload.partial.key) }
    }
}

impl FinishedUpload {
    /// An image with its original under `original` is in the place of `before`, if it was made.
    pub(crate) fn of(created: Created, before: Option<PartialBlob>, original: &BlobKey) -> Self {
        let replaced = before.filter(|before| matches!(created, Created::New(_)) && before.key != *original);
        Self { created, replaced }
    }

    /// Nothing was written: somebody finished it before.
    pub(crate) fn repeated(created: Created) -> Self {
        Self { created, replaced: None }
    }
}
