use std::fmt;

use super::{Format, Timestamp, UserId};

/// Where a blob's bytes are: `user_<user id>/<32 random hexadecimal digits>/<file>`. Every write goes to a fresh key, no key is written twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(pub String);

impl BlobKey {
    /// A fresh key for an uploaded file.
    pub fn original(owner: UserId, format: Format) -> Self {
        Self(format!("user_{owner}/{}/original.{format}", random_hex()))
    }

    /// A fresh key for a rendition.
    pub fn rendition(owner: UserId, format: Format) -> Self {
        Self(format!("user_{owner}/{}/{}", random_hex(), rendition_file_name(format)))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name under which people get a rendition.
pub fn rendition_file_name(format: Format) -> String {
    format!("converted_img.{format}")
}

/// 128 random bits as 32 hexadecimal digits.
pub fn random_hex() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    data_encoding::HEXLOWER.encode(&bytes)
}

/// What is known of a blob's content: enough to notice any damage before a byte of it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDigest {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// CRC-32C (RFC 3720, appendix B.4) of each block of [`CHECKSUM_BLOCK_BYTES`](crate::blobs::CHECKSUM_BLOCK_BYTES), the last one shorter.
    pub block_crc32c: Vec<u32>,
}

/// A blob that is durable in the blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// Where it is.
    pub key: BlobKey,
    /// What it holds.
    pub digest: ContentDigest,
}

/// A write to the blob store that leaves something there before it is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWrite {
    /// Where the blob is going to be.
    pub key: BlobKey,
    /// What the store calls the multipart upload; `None` until it has told.
    pub multipart_id: Option<String>,
}

/// A blob as the blob store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBlob {
    /// Where it is.
    pub key: BlobKey,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// When it was written, by the store's clock; some stores tell when the write began.
    pub written_at: Timestamp,
}
