use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};

use super::{Blobs, CHECKSUM_BLOCK_BYTES};
use crate::{BlobKey, Kind, PartialBlob, StoreError, StoredBlob};

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
    let blocks = blobs.read(&blob.key, aligned).await?;
    let trimmed = checked(blocks, &blob.key, first_block, &blob.digest.block_crc32c).map(move |block| {
        let (index, block) = block?;
        let begin = index * BLOCK;
        let from = wanted.start.saturating_sub(begin).min(block.len() as u64);
        let to = (wanted.end - begin).min(block.len() as u64);
        Ok(block.slice(from as usize..to as usize))
    });
    Ok(trimmed.boxed())
}

/// Streams all of a blob that was kept before it was published, compared like a published one.
pub async fn read_partial_checked(
    blobs: &dyn Blobs,
    partial: &PartialBlob,
) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
    let blocks = blobs.read_partial(partial).await?;
    Ok(checked(blocks, &partial.key, 0, &partial.block_crc32c).map_ok(|(_, block)| block).boxed())
}

/// Whole blocks from `first_block` on, each with its index and compared with its checksum.
fn checked(
    blocks: BoxStream<'static, Result<Bytes, StoreError>>,
    key: &BlobKey,
    first_block: u64,
    checksums: &[u32],
) -> impl Stream<Item = Result<(u64, Bytes), StoreError>> + Send + use<> {
    let (key, checksums) = (key.clone(), checksums.to_vec());
    blocks.enumerate().map(move |(index, block)| {
        let index = first_block + index as u64;
        let block = block?;
        if checksums.get(index as usize) != Some(&crc32c::crc32c(&block)) {
            return Err(StoreError::new(Kind::Corrupt, format!("block {index} of blob {key} does not match its checksum")));
        }
        Ok((index, block))
    })
}
