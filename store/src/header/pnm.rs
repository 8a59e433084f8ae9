//! PNM: the Netpbm project's "pbm", "pgm", "ppm" and "pam" format specifications. Headers are text: numbers between white space and
//! comments in P1 to P6, lines of a keyword and a value in P7 (PAM).

use super::{
    HeaderError,
    parser::{Found, Parser, Step},
};

/// `P` and a digit.
const MAGIC_BYTES: usize = 2;
/// Comments may be long, but not without end.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// As much of a word as it takes to know it: longer than any keyword or number that counts.
const WORD_BYTES: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Pnm {
    state: State,
    is_pam: bool,
    header_bytes: u32,
    word: Word,
    /// The keyword with which the current line of a PAM began.
    keyword: Option<Keyword>,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Magic,
    /// The byte after the magic.
    Separator,
    Words,
    Comment,
}

#[derive(Debug, Default, Clone, Copy)]
enum Keyword {
    Width,
    Height,
    #[default]
    Other,
}

impl Parser for Pnm {
    fn first(&self) -> Step {
        Step::read(MAGIC_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        self.header_bytes += 1;
        if self.header_bytes > MAX_HEADER_BYTES {
            return Err(found.corrupt("its header does not end"));
        }
        match (&self.state, bytes[0]) {
            (State::Magic, _) => {
                self.is_pam = bytes[1] == b'7';
                self.state = State::Separator;
            }
            // Two letters alone are too little to call something a broken PNM.
            (State::Separator, byte) if !is_space(byte) && byte != b'#' => {
                return Err(HeaderError::NotAnImage("it begins like a PNM but has none of its headers"));
            }
            (State::Comment, byte) if byte != b'\n' && byte != b'\r' => {}
            (_, byte) if is_space(byte) || byte == b'#' => {
                self.end_word(found)?;
                if byte == b'\n' {
                    self.keyword = None;
                }
                self.state = if byte == b'#' { State::Comment } else { State::Words };
            }
            (_, byte) => self.word.push(byte),
        }
        match (self.width, self.height) {
            (Some(width), Some(height)) => found.set_size(width, height).map(|()| Step::Done),
            _ => Ok(Step::read(1)),
        }
    }
}

impl Pnm {
    fn end_word(&mut self, found: &Found) -> Result<(), HeaderError> {
        let word = std::mem::take(&mut self.word);
        let target = match (self.is_pam, self.keyword, word.text()) {
            (_, _, b"") => return Ok(()),
            (true, None, b"ENDHDR") => return Err(found.corrupt("its header has no width or no height")),
            (true, None, text) => {
                self.keyword = Some(match text {
                    b"WIDTH" => Keyword::Width,
                    b"HEIGHT" => Keyword::Height,
                    _ => Keyword::Other,
                });
                return Ok(());
            }
            (true, Some(Keyword::Other), _) => return Ok(()),
            (true, Some(Keyword::Width), _) => &mut self.width,
            (true, Some(Keyword::Height), _) => &mut self.height,
            (false, _, _) if self.width.is_none() => &mut self.width,
            (false, _, _) => &mut self.height,
        };
        *target = Some(word.number().ok_or_else(|| found.corrupt("its width or height is not a number"))?);
        Ok(())
    }
}

/// The beginning of a word.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD_BYTES],
    filled: usize,
}

impl Word {
    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.filled) {
            *free = byte;
            self.filled += 1;
        }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Too large a number becomes the largest one.
    fn number(&self) -> Option<u32> {
        self.text()
            .iter()
            .try_fold(0u32, |number, byte| byte.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u32::from(byte - b'0'))))
    }
}

/// White space as Netpbm has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}
