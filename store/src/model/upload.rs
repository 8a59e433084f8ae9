use super::{BlobKey, Timestamp, UserId};

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
