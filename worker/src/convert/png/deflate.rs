//! A zlib stream in parts that know nothing of each other (RFC 1950 and 1951), so that several can be made at once and the bytes do not depend
//! on who makes them.

use std::array;

use libdeflater::adler32;

pub(super) use super::matches::Search;
use super::{
    filter::Layout,
    huffman::{canonical_codes, code_lengths},
    matches::Finder,
    tokens::{DISTANCES, END_OF_BLOCK, SYMBOLS, Token, Tokens},
};

/// Bytes that share their codes: enough to pay for these, few enough to follow the picture.
const BLOCK_BYTES: usize = 1 << 17;

/// Two codes of this length with the further bits of a distance and a few more fit into a word. Deflate itself allows 15.
const MAX_CODE_BITS: usize = 12;

/// Every symbol that a token can have.
const ALL_SYMBOLS: usize = 1 << 9;

/// Puts parts together.
pub(super) struct Stream {
    out: Vec<u8>,
    checksum: u32,
}

/// Some blocks of a stream, up to a whole byte, none of them the last.
pub(super) struct Part {
    bytes: Vec<u8>,
    checksum: u32,
    data_bytes: usize,
}

impl Stream {
    pub(super) fn new() -> Self {
        // Window of 32 KiB, quick; and the checksum of nothing.
        Self { out: vec![0x78, 0x01], checksum: 1 }
    }

    pub(super) fn append(&mut self, part: &Part) {
        self.out.extend_from_slice(&part.bytes);
        self.checksum = joined(self.checksum, part.checksum, part.data_bytes);
    }

    /// What was appended since this was called before.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        // An empty last block with fixed codes.
        self.out.extend_from_slice(&[0x03, 0x00]);
        self.out.extend_from_slice(&self.checksum.to_be_bytes());
        self.out
    }
}

/// The checksum of what two checksums are of, one behind the other (RFC 1950, section 8.2): two sums, the second one of the first's values.
fn joined(first: u32, second: u32, second_bytes: usize) -> u32 {
    const MODULUS: u64 = 65_521;
    let [(low, high), (more_low, more_high)] = [first, second].map(|sums| (u64::from(sums & 0xFFFF), u64::from(sums >> 16)));
    // Both began with one.
    let low_before = low + MODULUS - 1;
    let high = high + more_high + second_bytes as u64 % MODULUS * low_before;
    (((high % MODULUS) << 16) | ((low_before + more_low) % MODULUS)) as u32
}

/// Makes parts.
pub(super) struct Deflater {
    finder: Finder,
    tokens: Tokens,
    bits: Bits,
}

impl Deflater {
    pub(super) fn new(search: Search, layout: Layout) -> Self {
        Self { finder: Finder::new(search, layout), tokens: Tokens::default(), bits: Bits::default() }
    }

    /// Of whole filtered rows. The same data gives the same part, whatever was made before.
    pub(super) fn part(&mut self, data: &[u8]) -> Part {
        let bits = &mut self.bits;
        bits.make_room(data.len());
        self.finder.begin();
        let mut start = 0;
        while start < data.len() {
            let end = (start + BLOCK_BYTES).min(data.len());
            self.tokens.clear();
            self.finder.find(data, start..end, &mut self.tokens);
            write_block(bits, self.tokens.all());
            start = end;
        }
        // A stored block without bytes ends on a whole one.
        bits.put(0, 3);
        let mut bytes = bits.finish();
        bytes.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
        Part { bytes, checksum: adler32(data), data_bytes: data.len() }
    }
}

/// How often each symbol occurs, and each of distances.
fn count(tokens: &[Token]) -> ([u32; SYMBOLS], [u32; DISTANCES]) {
    // Equal tokens in a row would wait for each other's count, so there are four of each.
    let mut parts = [[0_u32; ALL_SYMBOLS]; 4];
    for four in tokens.chunks(4) {
        for (part, token) in parts.iter_mut().zip(four) {
            part[token.symbol()] += 1;
        }
    }
    let sum = |symbol: usize| parts.iter().map(|part| part[symbol]).sum();
    let mut counts: [u32; SYMBOLS] = array::from_fn(sum);
    counts[END_OF_BLOCK] = 1;
    (counts, array::from_fn(|distance| sum(SYMBOLS + distance)))
}

/// How many bits a block takes with codes of its own, but for these.
pub(super) fn data_bits(tokens: &[Token]) -> u64 {
    let (counts, distance_counts) = count(tokens);
    coded_bits(&counts) + coded_bits(&distance_counts) + tokens.iter().map(|token| u64::from(token.more_bits())).sum::<u64>()
}

fn coded_bits<const N: usize>(counts: &[u32; N]) -> u64 {
    let lengths = code_lengths(counts, MAX_CODE_BITS);
    counts.iter().zip(lengths).map(|(count, length)| u64::from(*count) * u64::from(length)).sum()
}

fn write_block(bits: &mut Bits, tokens: &[Token]) {
    let (counts, distance_counts) = count(tokens);
    let lengths = code_lengths(&counts, MAX_CODE_BITS);
    let distance_lengths = code_lengths(&distance_counts, MAX_CODE_BITS);
    write_header(bits, &lengths, &distance_lengths);
    let mut codes = [(0, 0); ALL_SYMBOLS];
    codes[..SYMBOLS].copy_from_slice(&canonical_codes(&lengths));
    codes[SYMBOLS..][..DISTANCES].copy_from_slice(&canonical_codes(&distance_lengths));
    let add = |bits: &mut Bits, token: &Token| {
        let (code, code_bits) = codes[token.symbol()];
        bits.add(u64::from(code) | token.more() << code_bits, u32::from(code_bits) + token.more_bits());
    };
    let (pairs, rest) = tokens.as_chunks();
    for [one, other] in pairs {
        add(bits, one);
        add(bits, other);
        bits.flush();
    }
    for token in rest {
        add(bits, token);
        bits.flush();
    }
    let (code, code_bits) = codes[END_OF_BLOCK];
    bits.put(u64::from(code), u32::from(code_bits));
}

/// RFC 1951, section 3.2.7.
fn write_header(bits: &mut Bits, lengths: &[u8; SYMBOLS], distance_lengths: &[u8; DISTANCES]) {
    const NOT_LAST_AND_DYNAMIC: u64 = 0b100;
    /// In which order the lengths of the lengths' codes come.
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    bits.put(NOT_LAST_AND_DYNAMIC, 3);
    bits.put(SYMBOLS as u64 - 257, 5);
    bits.put(DISTANCES as u64 - 1, 5);
    bits.put(ORDER.len() as u64 - 4, 4);
    let all: Vec<u8> = lengths.iter().chain(distance_lengths).copied().collect();
    // Symbol, further bits and how many of these.
    let mut told: Vec<(u8, u64, u32)> = Vec::new();
    for run in all.chunk_by(|one, other| *one == 0 && *other == 0) {
        let mut left = run.len();
        while left >= 3 && run[0] == 0 {
            let zeros = left.min(138);
            told.push(if zeros < 11 { (17, zeros as u64 - 3, 3) } else { (18, zeros as u64 - 11, 7) });
            left -= zeros;
        }
        told.extend(run[run.len() - left..].iter().map(|length| (*length, 0, 0)));
    }
    let mut counts = [0_u32; 19];
    for (symbol, _, _) in &told {
        counts[usize::from(*symbol)] += 1;
    }
    let of_lengths = code_lengths(&counts, 7);
    for symbol in ORDER {
        bits.put(u64::from(of_lengths[symbol]), 3);
    }
    let codes = canonical_codes(&of_lengths);
    for (symbol, more, more_bits) in told {
        let (code, code_bits) = codes[usize::from(symbol)];
        bits.put(u64::from(code), u32::from(code_bits));
        bits.put(more, more_bits);
    }
}

/// What was written and the bits that do not fill a byte yet, the first one lowest.
#[derive(Default)]
struct Bits {
    /// Longer than what was written, so that whole words can be.
    out: Vec<u8>,
    written: usize,
    buffer: u64,
    held: u32,
}

impl Bits {
    /// For blocks of so many bytes.
    fn make_room(&mut self, data_bytes: usize) {
        const WORD: usize = 8;
        /// Every code of a block's header at its longest.
        const HEADER_BYTES: usize = 1 << 10;
        let blocks = data_bytes / BLOCK_BYTES + 1;
        let most = (data_bytes * MAX_CODE_BITS).div_ceil(8) + blocks * HEADER_BYTES + WORD;
        self.out.resize(most.max(self.out.len()), 0);
    }

    /// At most 56 bits may be added between two flushes.
    #[inline]
    fn add(&mut self, bits: u64, count: u32) {
        self.buffer |= bits << self.held;
        self.held += count;
    }

    #[inline]
    fn flush(&mut self) {
        let bytes = self.held / 8;
        self.out[self.written..][..8].copy_from_slice(&self.buffer.to_le_bytes());
        self.written += bytes as usize;
        self.buffer = self.buffer.checked_shr(bytes * 8).unwrap_or(0);
        self.held %= 8;
    }

    fn put(&mut self, bits: u64, count: u32) {
        self.add(bits, count);
        self.flush();
    }

    /// All that was written, up to a whole byte. What comes is written from the start.
    fn finish(&mut self) -> Vec<u8> {
        self.held = self.held.next_multiple_of(8);
        self.flush();
        self.out[..std::mem::take(&mut self.written)].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Bytes of whole pixels.
    const PIXELS: [usize; 6] = [1, 2, 3, 4, 6, 8];

    fn noise(count: u32) -> Vec<u8> {
        (0..count).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
    }

    fn inflated(stream: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        flate2::read::ZlibDecoder::new(stream).read_to_end(&mut data).expect("it is a zlib stream");
        data
    }

    fn layout(bytes_per_pixel: usize) -> Layout {
        Layout { row_bytes: 700 * bytes_per_pixel, bytes_per_pixel }
    }

    fn compress(data: &[u8], search: Search, layout: Layout, part_rows: usize) -> Vec<u8> {
        let mut deflater = Deflater::new(search, layout);
        let mut stream = Stream::new();
        data.chunks(part_rows * (1 + layout.row_bytes)).for_each(|part| stream.append(&deflater.part(part)));
        stream.finish()
    }

    #[test]
    fn every_kind_of_data_comes_back() {
        let skewed: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 16).leading_zeros() as u8).collect();
        let mixed: Vec<u8> = (0..3_000).flat_map(|at| [vec![0; at % 700], noise(at as u32 % 23)].concat()).collect();
        let far = [noise(32_768), noise(40_000), vec![1; 7], noise(32_761), noise(9)].concat();
        for data in [vec![], vec![7], vec![0; 9], vec![0; 1_000_000], vec![5; 100_000], noise(400_000), skewed, mixed, far] {
            for (search, bytes_per_pixel) in [Search::Quick, Search::Thorough].into_iter().flat_map(|search| PIXELS.map(|it| (search, it)))
            {
                let narrow = Layout { row_bytes: bytes_per_pixel, bytes_per_pixel };
                for (layout, part_rows) in [(layout(bytes_per_pixel), 1_000), (layout(bytes_per_pixel), 3), (narrow, 10_000)] {
                    let stream = compress(&data, search, layout, part_rows);
                    assert!(inflated(&stream) == data, "{} bytes, {search:?}, {layout:?}, in parts of {part_rows} rows", data.len());
                }
            }
        }
    }

    #[test]
    fn runs_of_every_length_come_back() {
        for (zeros, bytes_per_pixel) in (1..300).chain([1000, 5000]).flat_map(|zeros| PIXELS.map(|it| (zeros, it))) {
            let data = [&[1][..], &vec![0; zeros], &noise(zeros as u32), &[2], &vec![0; zeros]].concat();
            for search in [Search::Quick, Search::Thorough] {
                let stream = compress(&data, search, layout(bytes_per_pixel), 1000);
                assert!(inflated(&stream) == data, "{zeros} zeros, {search:?}, {bytes_per_pixel} bytes each");
            }
        }
    }

    #[test]
    fn what_was_made_before_changes_no_part() {
        let data = [noise(5000), vec![3; 5000], noise(5000)].concat();
        for search in [Search::Quick, Search::Thorough] {
            let fresh = Deflater::new(search, layout(3)).part(&data).bytes;
            let mut used = Deflater::new(search, layout(3));
            used.part(&noise(200_000));
            assert!(used.part(&data).bytes == fresh, "{search:?}");
        }
    }

    #[test]
    fn a_thorough_search_finds_more_and_both_find_what_repeats() {
        for bytes_per_pixel in PIXELS {
            let layout = layout(bytes_per_pixel);
            let pixel = |at: u32| (at % 1000).wrapping_mul(at.wrapping_mul(2_654_435_761)) >> 30;
            let rows: Vec<u8> = (0..100_000).flat_map(|at| vec![pixel(at) as u8; bytes_per_pixel]).collect();
            let [quick, thorough] = [Search::Quick, Search::Thorough].map(|search| compress(&rows, search, layout, 1000).len());
            assert!(thorough < quick, "{thorough} and {quick} with {bytes_per_pixel} bytes each");
            let repeated = noise(3 * (1 + layout.row_bytes) as u32).repeat(10);
            assert!(compress(&repeated, Search::Quick, layout, 1000).len() < repeated.len() / 8, "{bytes_per_pixel} bytes each");
        }
    }
}
