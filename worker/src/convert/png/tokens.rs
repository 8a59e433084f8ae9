//! What a block consists of: bytes as they are, and what repeats earlier ones as a length and a distance.

use std::ops::Range;

/// Symbols of bytes, of the end of a block and of lengths.
pub(super) const SYMBOLS: usize = 286;
/// Symbols of distances. A [`Token`] has them behind the others.
pub(super) const DISTANCES: usize = 30;
pub(super) const END_OF_BLOCK: usize = 256;

pub(super) const MIN_LENGTH: usize = 3;
pub(super) const MAX_LENGTH: usize = 258;

/// A symbol and the further bits behind its code, packed: 9 bits of the symbol, 4 for how many bits follow it, and these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token(u32);

impl Token {
    const fn new(symbol: usize, more_bits: u32, more: usize) -> Self {
        Self(symbol as u32 | more_bits << 9 | (more as u32) << 13)
    }

    const fn literal(byte: u8) -> Self {
        Self(byte as u32)
    }

    /// Of [`MIN_LENGTH`] to [`MAX_LENGTH`] bytes.
    const fn length(length: usize) -> Self {
        if length == MAX_LENGTH {
            return Self::new(285, 0, 0);
        }
        Self::grouped(END_OF_BLOCK + 1, length - MIN_LENGTH, 4)
    }

    /// Of 1 to 32768 bytes.
    fn distance(distance: usize) -> Self {
        Self::grouped(SYMBOLS, distance - 1, 2)
    }

    /// Symbols for numbers from 0: so many of each size share their number of further bits, beginning with two sizes without any (RFC 1951,
    /// section 3.2.5).
    const fn grouped(first_symbol: usize, number: usize, of_each_size: usize) -> Self {
        if number < of_each_size * 2 {
            return Self::new(first_symbol + number, 0, 0);
        }
        let more_bits = (number / of_each_size).ilog2();
        let symbol = of_each_size * more_bits as usize + (number >> more_bits);
        Self::new(first_symbol + symbol, more_bits, number & ((1 << more_bits) - 1))
    }

    /// Distances come behind the [`SYMBOLS`] of everything else.
    #[inline]
    pub(super) fn symbol(self) -> usize {
        (self.0 & 0x1FF) as usize
    }

    #[inline]
    pub(super) fn more_bits(self) -> u32 {
        (self.0 >> 9) & 0xF
    }

    #[inline]
    pub(super) fn more(self) -> u64 {
        u64::from(self.0 >> 13)
    }
}

static LENGTHS: [Token; MAX_LENGTH + 1] = {
    let mut lengths = [Token(0); MAX_LENGTH + 1];
    let mut length = MIN_LENGTH;
    while length <= MAX_LENGTH {
        lengths[length] = Token::length(length);
        length += 1;
    }
    lengths
};

/// One behind the other.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> &[Token] {
        &self.0
    }

    /// Appends bytes of the data as they are.
    #[inline]
    pub(super) fn append_literals(&mut self, data: &[u8], wanted: Range<usize>) {
        let end = self.0.len() + wanted.len();
        // Some more than are wanted take less time than finding out how many.
        for from in wanted.step_by(8) {
            match data[from..].first_chunk::<8>() {
                Some(eight) => self.0.extend_from_slice(&eight.map(Token::literal)),
                None => self.0.extend(data[from..].iter().copied().map(Token::literal)),
            }
        }
        self.0.truncate(end);
    }

    /// Appends what repeats `length` bytes from `distance` bytes before.
    #[inline]
    pub(super) fn append_match(&mut self, length: usize, distance: usize) {
        self.0.extend_from_slice(&[LENGTHS[length], Token::distance(distance)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(token: Token) -> (usize, u64, u32) {
        (token.symbol(), token.more(), token.more_bits())
    }

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_standard() {
        let lengths = [3, 10, 11, 12, 257, 258].map(|length| parts(LENGTHS[length]));
        assert_eq!(lengths, [(257, 0, 0), (264, 0, 0), (265, 0, 1), (265, 1, 1), (284, 30, 5), (285, 0, 0)]);
        let distances = [1, 4, 5, 6, 7, 24_577, 32_768].map(|distance| parts(Token::distance(distance)));
        let expected = [(0, 0, 0), (3, 0, 0), (4, 0, 1), (4, 1, 1), (5, 0, 1), (29, 0, 13), (29, 8191, 13)];
        assert_eq!(distances, expected.map(|(symbol, more, more_bits)| (SYMBOLS + symbol, more, more_bits)));
    }

    #[test]
    fn exactly_the_bytes_that_are_wanted_are_appended() {
        let data: Vec<u8> = (0..40).collect();
        for (start, end) in (0..=40).flat_map(|start| (start..=40).map(move |end| (start, end))) {
            let mut tokens = Tokens::default();
            tokens.append_literals(&data, start..end);
            assert_eq!(tokens.all(), data[start..end].iter().copied().map(Token::literal).collect::<Vec<_>>());
        }
    }
}
