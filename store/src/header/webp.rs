//! WebP: RFC 9649, section 2 (container) and 3.4 (lossless header); RFC 6386, section 9.1 (lossy header).

use super::{
    HeaderError,
    parser::{Found, Parser, Step, little_endian},
};

const RIFF_BYTES: u64 = 4;
/// File size, `WEBP`, and the head of the first chunk.
const FILE_HEAD_BYTES: usize = 16;
/// Type and size, with which a chunk begins.
const CHUNK_HEAD_BYTES: usize = 8;
/// Flags, three reserved bytes, width and height of the canvas.
const EXTENDED_BYTES: usize = 10;
/// Three bytes of flags and sizes, the start code, width and height.
const LOSSY_BYTES: usize = 10;
/// The signature, then width, height, a flag and the version in 32 bits.
const LOSSLESS_BYTES: usize = 5;
const ANIMATION_FLAG: u8 = 0b10;

#[derive(Debug, Default)]
pub(super) struct WebP {
    state: State,
    /// What the file says is left of it after the current chunk.
    left_bytes: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    FileHead,
    Extended {
        chunk_bytes: u64,
    },
    Lossy,
    Lossless,
    Chunk,
}

impl Parser for WebP {
    fn first(&self) -> Step {
        Step::skip_and_read(RIFF_BYTES, FILE_HEAD_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        match self.state {
            State::FileHead => self.file_head(bytes, found),
            State::Extended { chunk_bytes } => {
                found.set_size(little_endian(&bytes[4..7]) as u32 + 1, little_endian(&bytes[7..10]) as u32 + 1)?;
                let animated = bytes[0] & ANIMATION_FLAG != 0;
                Ok(if animated { self.chunk_after(chunk_bytes - EXTENDED_BYTES as u64) } else { Step::Done })
            }
            State::Lossy => {
                let is_key_frame = bytes[0] & 1 == 0;
                if !is_key_frame || bytes[3..6] != [0x9d, 0x01, 0x2a] {
                    return Err(found.corrupt("it does not begin with a key frame"));
                }
                // The two highest bits of each number are a hint for scaling on display.
                found.set_size(little_endian(&bytes[6..8]) as u32 & 0x3fff, little_endian(&bytes[8..10]) as u32 & 0x3fff)?;
                Ok(Step::Done)
            }
            State::Lossless => {
                let bits = little_endian(&bytes[1..5]) as u32;
                let version = bits >> 29;
                if bytes[0] != 0x2f || version != 0 {
                    return Err(found.corrupt("its lossless data has an unknown signature or version"));
                }
                found.set_size((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)?;
                Ok(Step::Done)
            }
            State::Chunk => {
                let kind = &bytes[..4];
                if kind == b"ANMF" {
                    found.add_frame();
                }
                // What is no chunk cannot be walked through.
                let is_chunk = kind.iter().all(|byte| matches!(byte, b' '..=b'~'));
                let chunk_bytes = padded(little_endian(&bytes[4..8]));
                self.left_bytes = self.left_bytes.saturating_sub(CHUNK_HEAD_BYTES as u64 + chunk_bytes);
                Ok(if is_chunk { self.chunk_after(chunk_bytes) } else { Step::Done })
            }
        }
    }
}

impl WebP {
    fn file_head(&mut self, bytes: &[u8], found: &Found) -> Result<Step, HeaderError> {
        let file_bytes = little_endian(&bytes[..4]);
        let chunk_bytes = little_endian(&bytes[12..16]);
        self.left_bytes = file_bytes.saturating_sub(4 + CHUNK_HEAD_BYTES as u64 + padded(chunk_bytes));
        let (state, read) = match &bytes[8..12] {
            b"VP8X" => (State::Extended { chunk_bytes: padded(chunk_bytes) }, EXTENDED_BYTES),
            b"VP8 " => (State::Lossy, LOSSY_BYTES),
            b"VP8L" => (State::Lossless, LOSSLESS_BYTES),
            _ => return Err(found.corrupt("its first chunk is none of VP8, VP8L and VP8X")),
        };
        if chunk_bytes < read as u64 {
            return Err(found.corrupt("its first chunk is too short"));
        }
        self.state = state;
        Ok(Step::read(read))
    }

    /// The head of the next chunk, if the file says that there is one.
    fn chunk_after(&mut self, skip: u64) -> Step {
        self.state = State::Chunk;
        if self.left_bytes < CHUNK_HEAD_BYTES as u64 { Step::Done } else { Step::skip_and_read(skip, CHUNK_HEAD_BYTES) }
    }
}

/// Chunks of an odd size are followed by one byte.
fn padded(chunk_bytes: u64) -> u64 {
    chunk_bytes.next_multiple_of(2)
}
