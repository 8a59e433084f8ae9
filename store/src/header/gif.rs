//! GIF: "Graphics Interchange Format, Version 89a", sections 15 to 27.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, little_endian},
};

/// Signature, version, logical screen descriptor.
const SCREEN_BYTES: usize = 13;
/// Position, size and flags; the byte that introduces it is read before.
const IMAGE_DESCRIPTOR_BYTES: usize = 9;
const LZW_CODE_SIZE_BYTES: u64 = 1;
const EXTENSION_LABEL_BYTES: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Gif {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Screen,
    Block,
    ImageDescriptor,
    SubBlock,
}

impl Parser for Gif {
    fn first(&self) -> Step {
        Step::read(SCREEN_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        let (state, step) = match self.state {
            State::Screen => {
                found.set_size(little_endian(&bytes[6..8]) as u32, little_endian(&bytes[8..10]) as u32)?;
                (State::Block, Step::skip_and_read(colour_table_bytes(bytes[10]), 1))
            }
            State::Block => match bytes[0] {
                b',' => (State::ImageDescriptor, Step::read(IMAGE_DESCRIPTOR_BYTES)),
                b'!' => (State::SubBlock, Step::skip_and_read(EXTENSION_LABEL_BYTES, 1)),
                // The trailer, or something that decoders do not get past either.
                _ => return Ok(Step::Done),
            },
            State::ImageDescriptor => {
                found.add_frame();
                (State::SubBlock, Step::skip_and_read(colour_table_bytes(bytes[8]) + LZW_CODE_SIZE_BYTES, 1))
            }
            State::SubBlock => match bytes[0] {
                0 => (State::Block, Step::read(1)),
                size => (State::SubBlock, Step::skip_and_read(size.into(), 1)),
            },
        };
        self.state = state;
        Ok(step)
    }
}

/// The highest bit says that there is a table, the lowest three how long it is.
fn colour_table_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}
