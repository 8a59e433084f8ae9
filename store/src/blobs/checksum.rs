use sha2::{Digest, Sha256};

use super::CHECKSUM_BLOCK_BYTES;
use crate::ContentDigest;

/// Measures bytes as they stream past, in pieces of any size.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    size_bytes: u64,
    sha256: Sha256,
    block_crc32c: Vec<u32>,
}

impl ContentHasher {
    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.sha256.update(bytes);
        while !bytes.is_empty() {
            let in_block = (self.size_bytes % CHECKSUM_BLOCK_BYTES as u64) as usize;
            if in_block == 0 {
                self.block_crc32c.push(0);
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHECKSUM_BLOCK_BYTES - in_block));
            if let Some(crc) = self.block_crc32c.last_mut() {
                *crc = crc32c::crc32c_append(*crc, now);
            }
            self.size_bytes += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes streamed past.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The checksums of the blocks so far, the last one perhaps of the beginning of a block.
    pub fn block_crc32c(&self) -> &[u32] {
        &self.block_crc32c
    }

    /// What they were.
    pub fn finish(self) -> ContentDigest {
        ContentDigest { size_bytes: self.size_bytes, sha256: self.sha256.finalize().into(), block_crc32c: self.block_crc32c }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_measure_alike() {
        let bytes: Vec<u8> = (0..CHECKSUM_BLOCK_BYTES * 2 + 777).map(|i| (i % 251) as u8).collect();
        let mut whole = ContentHasher::default();
        whole.update(&bytes);
        let whole = whole.finish();
        assert_eq!(whole.block_crc32c, bytes.chunks(CHECKSUM_BLOCK_BYTES).map(crc32c::crc32c).collect::<Vec<_>>());
        for piece in [1, 1000, CHECKSUM_BLOCK_BYTES - 1, CHECKSUM_BLOCK_BYTES, CHECKSUM_BLOCK_BYTES + 1] {
            let mut pieces = ContentHasher::default();
            bytes.chunks(piece).for_each(|bytes| pieces.update(bytes));
            assert_eq!(pieces.finish(), whole, "pieces of {piece} bytes");
        }
    }
}
