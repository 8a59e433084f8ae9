//! The header scanner: never a panic, and the same answer whatever the pieces in which a file comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_store::{
    ImageHeader,
    header::{HeaderError, HeaderScanner, read_colours, read_header},
};

fuzz_target!(|input: &[u8]| {
    let whole = read_header(input);
    read_colours(input);
    for piece_bytes in [1, 7, 64, 4096] {
        assert_eq!(in_pieces(input, piece_bytes), whole, "in pieces of {piece_bytes} bytes");
    }
});

fn in_pieces(input: &[u8], piece_bytes: usize) -> Result<ImageHeader, HeaderError> {
    let mut scanner = HeaderScanner::new();
    for piece in input.chunks(piece_bytes) {
        scanner.push(piece)?;
    }
    scanner.finish()
}
