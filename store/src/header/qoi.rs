//! QOI: "The Quite OK Image Format Specification", version 1.0.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, big_endian},
};

const SIGNATURE_BYTES: u64 = 4;
/// Width, height, channels, colour space.
const HEADER_BYTES: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Qoi;

impl Parser for Qoi {
    fn first(&self) -> Step {
        Step::skip_and_read(SIGNATURE_BYTES, HEADER_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        if !matches!(bytes[8..10], [3 | 4, 0 | 1]) {
            return Err(found.corrupt("its channels or colour space are unknown"));
        }
        found.set_size(big_endian(&bytes[..4]) as u32, big_endian(&bytes[4..8]) as u32)?;
        Ok(Step::Done)
    }
}
