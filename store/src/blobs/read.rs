use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};

use super::{Blobs, CHECKSUM_BLOCK_BYTES};
use crate::{Kind, StoreError, StoredBlob};

const BLOCK: u64 = CHECKSUM_BLOCK_BYTES as u64;

/// Streams the bytes of `range`, in pieces of up to [`CHECKSUM_BLOCK_BYTES`]. Every block is compared with its checksum before a byte of
/// it is given out: damage is `Kind::Corrupt`, never wrong bytes. A range past the end ends with the blob.
pub async fn read_checked(
    blobs: &dyn Blobs,
    blob: &StoredBlob,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
    let size = blob.digest.size_bytes;
    let wanted = range.start.min(size)..range.end.min(size);
    if wanted.is_empty() {
        return Ok(futures_util::stream::empty().boxed());
    }
    let first_block = wanted.start / BLOCK;
    let aligned = first_block * BLOCK..wanted.end.next_multiple_of(BLOCK).min(size);
    let checksums = blob.digest.block_crc32c.clone();
    let key = blob.key.clone();
    let blocks = blobs.read(&blob.key, aligned).await?;
    let checked = blocks.enumerate().map(move |(index, block)| {
        let index = first_block + index as u64;
        let block = block?;
        if checksums.get(index as usize) != Some(&crc32c::crc32c(&block)) {
            return Err(StoreError::new(Kind::Corrupt, format!("block {index} of blob {key} does not match its checksum")));
        }
        let begin = index * BLOCK;
        let from = wanted.start.saturating_sub(begin).min(block.len() as u64);
        let to = (wanted.end - begin).min(block.len() as u64);
        Ok(block.slice(from as usize..to as usize))
    });
    Ok(checked.boxed())
}
