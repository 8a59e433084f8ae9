//! A zlib stream in parts that know nothing of each other (RFC 1950 and 1951), so that several can be made at once and the bytes do not depend
//! on who makes them.

use libdeflater::adler32;

pub(super) use super::matches::Search;
use super::{
    huffman::{canonical_codes, code_lengths},
    matches::{Finder, MAX_LENGTH, Sequence},
};

/// Bytes that share their codes: enough to pay for these, few enough to follow the picture.
const BLOCK_BYTES: usize = 1 << 17;

/// Four codes of this length and a few bits more fit into a word. Deflate itself allows 15.
const MAX_CODE_BITS: usize = 12;
const SYMBOLS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;

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
    sequences: Vec<Sequence>,
    bits: Bits,
}

impl Deflater {
    pub(super) fn new(search: Search) -> Self {
        Self { finder: Finder::new(search), sequences: Vec::new(), bits: Bits::default() }
    }

    /// The same data gives the same part, whatever was made before.
    pub(super) fn part(&mut self, data: &[u8]) -> Part {
        let bits = &mut self.bits;
        bits.make_room(data.len());
        self.finder.begin();
        let mut start = 0;
        while start < data.len() {
            let end = (start + BLOCK_BYTES).min(data.len());
            self.sequences.clear();
            self.finder.find(data, start..end, &mut self.sequences);
            write_block(bits, &data[start..end], &self.sequences);
            start = end;
        }
        // A stored block without bytes ends on a whole one.
        bits.put(0, 3);
        let mut bytes = bits.finish();
        bytes.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
        Part { bytes, checksum: adler32(data), data_bytes: data.len() }
    }
}

/// Literals of each sequence, and its match; and the literals behind the last one.
fn for_each<'a>(block: &'a [u8], sequences: &'a [Sequence]) -> impl Iterator<Item = (&'a [u8], Option<&'a Sequence>)> {
    let mut rest = block;
    let mut sequences = sequences.iter();
    let mut is_over = false;
    std::iter::from_fn(move || {
        if let Some(sequence) = sequences.next() {
            let (literals, after) = rest.split_at(sequence.literals);
            rest = &after[sequence.length..];
            return Some((literals, Some(sequence)));
        }
        (!std::mem::replace(&mut is_over, true)).then_some((rest, None))
    })
}

fn count(block: &[u8], sequences: &[Sequence]) -> ([u32; SYMBOLS], [u32; DISTANCES]) {
    // Equal bytes in a row would wait for each other's count, so there are four of each.
    let mut parts = [[0_u32; 256]; 4];
    let (mut counts, mut distances) = ([0_u32; SYMBOLS], [0_u32; DISTANCES]);
    for (literals, sequence) in for_each(block, sequences) {
        for (at, literal) in literals.iter().enumerate() {
            parts[at % 4][usize::from(*literal)] += 1;
        }
        if let Some(sequence) = sequence {
            counts[length_symbol(sequence.length).0] += 1;
            distances[distance_symbol(sequence.distance).0] += 1;
        }
    }
    for (literal, count) in counts.iter_mut().enumerate().take(256) {
        *count = parts.iter().map(|part| part[literal]).sum();
    }
    counts[END_OF_BLOCK] = 1;
    (counts, distances)
}

/// How many bits a block takes with codes of its own, but for these.
pub(super) fn data_bits(block: &[u8], sequences: &[Sequence]) -> u64 {
    let (counts, distance_counts) = count(block, sequences);
    let more = sequences.iter().map(|it| u64::from(length_symbol(it.length).2 + distance_symbol(it.distance).2));
    coded_bits(&counts) + coded_bits(&distance_counts) + more.sum::<u64>()
}

fn coded_bits<const N: usize>(counts: &[u32; N]) -> u64 {
    let lengths = code_lengths(counts, MAX_CODE_BITS);
    counts.iter().zip(lengths).map(|(count, length)| u64::from(*count) * u64::from(length)).sum()
}

/// Symbol, further bits and how many of these tell a length of 3 to 258 bytes (RFC 1951, section 3.2.5).
fn length_symbol(length: usize) -> (usize, u64, u32) {
    if length == MAX_LENGTH {
        return (285, 0, 0);
    }
    let (symbol, more, more_bits) = grouped(length - 3, 4);
    (257 + symbol, more, more_bits)
}

/// The same for a distance of 1 to 32768 bytes.
fn distance_symbol(distance: usize) -> (usize, u64, u32) {
    grouped(distance - 1, 2)
}

/// Symbols for numbers from 0: so many of each size share their number of further bits, beginning with two sizes without any.
fn grouped(number: usize, of_each_size: usize) -> (usize, u64, u32) {
    if number < of_each_size * 2 {
        return (number, 0, 0);
    }
    let more_bits = (number / of_each_size).ilog2();
    (of_each_size * more_bits as usize + (number >> more_bits), (number & ((1 << more_bits) - 1)) as u64, more_bits)
}

fn write_block(bits: &mut Bits, block: &[u8], sequences: &[Sequence]) {
    let (counts, distance_counts) = count(block, sequences);
    let lengths = code_lengths(&counts, MAX_CODE_BITS);
    let distance_lengths = code_lengths(&distance_counts, MAX_CODE_BITS);
    write_header(bits, &lengths, &distance_lengths);
    let codes = canonical_codes(&lengths);
    let distance_codes = canonical_codes(&distance_lengths);
    for (literals, sequence) in for_each(block, sequences) {
        for four in literals.chunks(4) {
            for literal in four {
                let (code, length) = codes[usize::from(*literal)];
                bits.add(u64::from(code), u32::from(length));
            }
            bits.flush();
        }
        if let Some(sequence) = sequence {
            let (symbol, more, more_bits) = length_symbol(sequence.length);
            let (code, code_bits) = codes[symbol];
            bits.add(u64::from(code), u32::from(code_bits));
            bits.add(more, more_bits);
            let (symbol, more, more_bits) = distance_symbol(sequence.distance);
            let (code, code_bits) = distance_codes[symbol];
            bits.add(u64::from(code), u32::from(code_bits));
            bits.add(more, more_bits);
            bits.flush();
        }
    }
    let (code, length) = codes[END_OF_BLOCK];
    bits.put(u64::from(code), u32::from(length));
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

    fn noise(count: u32) -> Vec<u8> {
        (0..count).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
    }

    fn inflated(stream: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        flate2::read::ZlibDecoder::new(stream).read_to_end(&mut data).expect("it is a zlib stream");
        data
    }

    fn compress(data: &[u8], search: Search, part_bytes: usize) -> Vec<u8> {
        let mut deflater = Deflater::new(search);
        let mut stream = Stream::new();
        data.chunks(part_bytes).for_each(|part| stream.append(&deflater.part(part)));
        stream.finish()
    }

    #[test]
    fn every_kind_of_data_comes_back() {
        let skewed: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 16).leading_zeros() as u8).collect();
        let mixed: Vec<u8> = (0..3_000).flat_map(|at| [vec![0; at % 700], noise(at as u32 % 23)].concat()).collect();
        let far = [noise(32_768), noise(40_000), vec![1; 7], noise(32_761), noise(9)].concat();
        for data in [vec![], vec![7], vec![0; 9], vec![0; 1_000_000], vec![5; 100_000], noise(400_000), skewed, mixed, far] {
            for (search, part_bytes) in
                [(Search::Quick, 1 << 20), (Search::Thorough, 1 << 20), (Search::Quick, 1000), (Search::Thorough, 77_777)]
            {
                let stream = compress(&data, search, part_bytes);
                assert!(inflated(&stream) == data, "{} bytes, {search:?}, in parts of {part_bytes}", data.len());
            }
        }
    }

    #[test]
    fn runs_of_every_length_come_back() {
        for zeros in (1..300).chain([1000, 5000]) {
            let data = [&[1][..], &vec![0; zeros], &noise(zeros as u32), &[2], &vec![0; zeros]].concat();
            for search in [Search::Quick, Search::Thorough] {
                assert!(inflated(&compress(&data, search, 1 << 20)) == data, "{zeros} zeros, {search:?}");
            }
        }
    }

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_standard() {
        let lengths = [3, 10, 11, 12, 257, 258].map(length_symbol);
        assert_eq!(lengths, [(257, 0, 0), (264, 0, 0), (265, 0, 1), (265, 1, 1), (284, 30, 5), (285, 0, 0)]);
        let distances = [1, 4, 5, 6, 7, 24_577, 32_768].map(distance_symbol);
        assert_eq!(distances, [(0, 0, 0), (3, 0, 0), (4, 0, 1), (4, 1, 1), (5, 0, 1), (29, 0, 13), (29, 8191, 13)]);
    }

    #[test]
    fn what_was_made_before_changes_no_part() {
        let data = [noise(5000), vec![3; 5000], noise(5000)].concat();
        for search in [Search::Quick, Search::Thorough] {
            let fresh = Deflater::new(search).part(&data).bytes;
            let mut used = Deflater::new(search);
            used.part(&noise(200_000));
            assert!(used.part(&data).bytes == fresh, "{search:?}");
        }
    }

    #[test]
    fn a_thorough_search_finds_more_and_both_find_what_repeats() {
        let rows: Vec<u8> = (0..200_000_u32).map(|at| ((at % 1000).wrapping_mul(at.wrapping_mul(2_654_435_761)) >> 30) as u8).collect();
        let [quick, thorough] = [Search::Quick, Search::Thorough].map(|search| compress(&rows, search, 1 << 20).len());
        assert!(thorough < quick, "{thorough} and {quick}");
        assert!(compress(&noise(20_000).repeat(10), Search::Quick, 1 << 20).len() < 24_000);
    }
}
