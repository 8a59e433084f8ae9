//! GIFs as decoders read them: without what says nothing of the picture and is more than they know.

use std::borrow::Cow;

/// Signature, version, logical screen descriptor.
const SCREEN_BYTES: usize = 13;
const EXTENSION: u8 = b'!';
const IMAGE: u8 = b',';
const TRAILER: u8 = b';';
const GRAPHIC_CONTROL: u8 = 0xf9;

/// The file without extensions of unknown labels, without graphic controls of another length than theirs, and up to the first block that is
/// none, as browsers read it. A file that is cut inside a block stays cut.
pub(in super::super) fn with_known_blocks(input: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = input.get(10).map(|flags| SCREEN_BYTES + colour_table_bytes(*flags)) else { return Cow::Borrowed(input) };
    let mut kept = Cow::Borrowed(input);
    // How far the input has been looked through and copied; as long as all is well nothing is copied.
    let mut copied = 0;
    while let Some(kind) = input.get(at) {
        let (end, known) = match *kind {
            IMAGE => (input.get(at + 9).and_then(|flags| end_of_data(input, at + 10 + colour_table_bytes(*flags) + 1)), true),
            EXTENSION => (end_of_data(input, at + 2), is_known(&input[at..])),
            TRAILER => break,
            _ => {
                append(&mut kept, &input[copied..at], copied);
                kept.to_mut().push(TRAILER);
                return kept;
            }
        };
        let Some(end) = end else { break };
        if !known {
            append(&mut kept, &input[copied..at], copied);
            copied = end;
        }
        at = end;
    }
    if copied > 0 {
        append(&mut kept, &input[copied..], copied);
    }
    kept
}

/// Begins a copy with the first piece.
fn append(kept: &mut Cow<'_, [u8]>, piece: &[u8], copied: usize) {
    if copied == 0 {
        *kept = Cow::Owned(piece.to_vec());
    } else {
        kept.to_mut().extend_from_slice(piece);
    }
}

/// Plain text, graphic control, comment, application.
fn is_known(extension: &[u8]) -> bool {
    match extension.get(1) {
        Some(&GRAPHIC_CONTROL) => extension.get(2) == Some(&4) && extension.get(7) == Some(&0),
        label => matches!(label, Some(0x01 | 0xfe | 0xff)),
    }
}

/// Where sub-blocks that begin at `at` end: behind the empty one.
fn end_of_data(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let size = usize::from(*input.get(at)?);
        at += 1 + size;
        if size == 0 {
            return Some(at);
        }
    }
}

/// The highest bit says that there is a table, the lowest three how long it is.
fn colour_table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: &[u8] = b"GIF89a\x02\0\x01\0\x80\0\0\x01\x02\x03\x04\x05\x06";
    const CONTROL: &[u8] = b"!\xf9\x04\0\x0a\0\0\0";
    const PICTURE: &[u8] = b",\0\0\0\0\x02\0\x01\0\0\x02\x02\x44\x0a\0";

    #[test]
    fn what_decoders_know_stays_as_it_is() {
        for input in
            [&[SCREEN, CONTROL, PICTURE, b"!\xfe\x03abc\0", PICTURE, b";rest"].concat(), &SCREEN[..7], &[SCREEN, b"!\xce\x05ab"].concat()]
        {
            assert!(matches!(with_known_blocks(input), Cow::Borrowed(same) if same == input), "{input:?}");
        }
    }

    #[test]
    fn what_they_do_not_know_is_passed_over() {
        let expected = [SCREEN, CONTROL, PICTURE, PICTURE, b";"].concat();
        for odd in [&b"!\xce\x02ab\x01c\0"[..], b"!\0\0", b"!\xf9\x03\0\x0a\0\0", b"!\xf9\x04\0\x0a\0\0\x01x\0", b"!\xf9\0"] {
            let input = [SCREEN, odd, CONTROL, PICTURE, odd, odd, PICTURE, odd, b";"].concat();
            assert_eq!(with_known_blocks(&input), expected, "{odd:?}");
        }
        assert_eq!(with_known_blocks(&[SCREEN, CONTROL, PICTURE, PICTURE, b"\0\0garbage"].concat()), expected);
    }
}
