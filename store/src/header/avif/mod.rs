//! AVIF: AV1 Image File Format, version 1.1; its boxes are those of ISO/IEC 14496-12 and 23008-12 (HEIF).

mod boxes;
mod items;
mod meta;

use super::{
    HeaderError,
    parser::{Found, Parser, Step, big_endian},
};
pub use items::AvifItem;
pub use meta::{AvifMeta, Cicp};

/// Size and type, with which a box begins.
const BOX_HEAD_BYTES: usize = 8;
const LARGE_SIZE_BYTES: usize = 8;
/// The most that a `meta` box may have; usual ones have a few hundred bytes, and what an ICC profile needs.
const MAX_META_BYTES: u64 = 256 << 10;
const WINDOW_BYTES: usize = super::WINDOW_BYTES;

/// Collects the `meta` box, in which everything refers to everything else, and passes over all others.
#[derive(Debug, Default)]
pub(super) struct Avif {
    state: State,
    meta: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    BoxHead,
    LargeSize {
        kind: [u8; 4],
    },
    Meta {
        left_bytes: usize,
    },
}

impl Parser for Avif {
    fn first(&self) -> Step {
        Step::read(BOX_HEAD_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        match self.state {
            State::BoxHead => {
                let kind = [bytes[4], bytes[5], bytes[6], bytes[7]];
                match big_endian(&bytes[..4]) {
                    0 => Err(found.corrupt("it has no meta box")),
                    1 => {
                        self.state = State::LargeSize { kind };
                        Ok(Step::read(LARGE_SIZE_BYTES))
                    }
                    size_bytes => self.body(kind, size_bytes.checked_sub(BOX_HEAD_BYTES as u64), found),
                }
            }
            State::LargeSize { kind } => self.body(kind, big_endian(bytes).checked_sub((BOX_HEAD_BYTES + LARGE_SIZE_BYTES) as u64), found),
            State::Meta { left_bytes } => {
                self.meta.extend_from_slice(bytes);
                let left_bytes = left_bytes - bytes.len();
                if left_bytes > 0 {
                    return Ok(self.more_meta(left_bytes));
                }
                let meta = AvifMeta::read(&std::mem::take(&mut self.meta))?;
                let (width, height) = meta.upright_size();
                found.set_size(width, height)?;
                Ok(Step::Done)
            }
        }
    }
}

impl Avif {
    /// What follows the head of a box. `None` is a box that is shorter than its own head.
    fn body(&mut self, kind: [u8; 4], body_bytes: Option<u64>, found: &Found) -> Result<Step, HeaderError> {
        let body_bytes = body_bytes.ok_or_else(|| found.corrupt(boxes::TOO_SHORT))?;
        if kind != *b"meta" {
            self.state = State::BoxHead;
            return Ok(Step::skip_and_read(body_bytes, BOX_HEAD_BYTES));
        }
        match body_bytes {
            0 => Err(found.corrupt("its meta box is empty")),
            1..=MAX_META_BYTES => Ok(self.more_meta(body_bytes as usize)),
            _ => Err(HeaderError::Unsupported("AVIF with a meta box of more than 256 KiB")),
        }
    }

    fn more_meta(&mut self, left_bytes: usize) -> Step {
        self.state = State::Meta { left_bytes };
        Step::read(left_bytes.min(WINDOW_BYTES))
    }
}
