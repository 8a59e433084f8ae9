//! A zlib stream without looking for repetitions (RFC 1950 and 1951): each block gets Huffman codes of its own, and runs of zeros are told as
//! such. Of filtered photos there is nothing else to find, and it is several times as fast.

/// Bytes that share their codes: enough to pay for these, few enough to follow the picture.
const BLOCK_BYTES: usize = 1 << 17;

/// Four codes of this length and a few bits more fit into a word. Deflate itself allows 15.
const MAX_CODE_BITS: usize = 12;
const SYMBOLS: usize = 286;
const END_OF_BLOCK: usize = 256;
const MAX_RUN: usize = 258;
const GROUP: usize = 8;

/// Writes one stream, block by block.
pub(super) struct Deflater {
    bits: Bits,
    checksum: libdeflater::Adler32,
}

impl Deflater {
    /// `expected_bytes` of the stream are reserved.
    pub(super) fn new(expected_bytes: usize) -> Self {
        let mut out = Vec::with_capacity(expected_bytes);
        // Window of 32 KiB, quickest level.
        out.extend_from_slice(&[0x78, 0x01]);
        Self { bits: Bits { out, buffer: 0, held: 0 }, checksum: libdeflater::Adler32::new() }
    }

    /// The next bytes: whole blocks, and what is left of them as a smaller one.
    pub(super) fn write(&mut self, data: &[u8]) {
        self.checksum.update(data);
        for block in data.chunks(BLOCK_BYTES) {
            write_block(&mut self.bits, block, false);
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        write_block(&mut self.bits, &[], true);
        let mut out = self.bits.finish();
        out.extend_from_slice(&self.checksum.sum().to_be_bytes());
        out
    }
}

/// How many bytes a block would take, about.
pub(super) fn estimate_bytes(block: &[u8]) -> usize {
    let counts = count(block);
    let lengths = code_lengths(&counts, MAX_CODE_BITS);
    let bits: u64 = counts.iter().zip(&lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum();
    bits as usize / 8
}

/// What a block consists of. Groups of eight bytes are looked at together: one of zeros is part of a run.
fn for_each_token(block: &[u8], mut literals: impl FnMut(&[u8]), mut run: impl FnMut(usize)) {
    let groups = block.as_chunks::<GROUP>();
    let mut zeros = 0;
    let mut end_run = |zeros: &mut usize, literals: &mut dyn FnMut(&[u8])| {
        if *zeros == 0 {
            return;
        }
        // A run repeats the byte before it.
        literals(&[0]);
        let mut left = *zeros * GROUP - 1;
        while left > 0 {
            // No rest may be shorter than the shortest run.
            let length = if left > MAX_RUN && left < MAX_RUN + 3 { MAX_RUN - 3 } else { left.min(MAX_RUN) };
            run(length);
            left -= length;
        }
        *zeros = 0;
    };
    for group in groups.0 {
        if u64::from_ne_bytes(*group) == 0 {
            zeros += 1;
        } else {
            end_run(&mut zeros, &mut literals);
            literals(group);
        }
    }
    end_run(&mut zeros, &mut literals);
    literals(groups.1);
}

fn count(block: &[u8]) -> [u32; SYMBOLS] {
    // Equal bytes in a row would wait for each other's count, so there are four of each.
    let mut parts = [[0_u32; 256]; 4];
    let mut counts = [0_u32; SYMBOLS];
    for_each_token(
        block,
        |literals| {
            for (at, literal) in literals.iter().enumerate() {
                parts[at % 4][usize::from(*literal)] += 1;
            }
        },
        |length| counts[run_symbol(length).0] += 1,
    );
    for (literal, count) in counts.iter_mut().enumerate().take(256) {
        *count = parts.iter().map(|part| part[literal]).sum();
    }
    counts[END_OF_BLOCK] = 1;
    counts
}

/// Symbol, further bits and how many of these tell a run of 3 to 258 bytes (RFC 1951, section 3.2.5).
fn run_symbol(length: usize) -> (usize, u64, u32) {
    if length == MAX_RUN {
        return (285, 0, 0);
    }
    let over = length - 3;
    if over < 8 {
        return (257 + over, 0, 0);
    }
    let extra = over.ilog2() - 2;
    (257 + 4 * extra as usize + (over >> extra), (over & ((1 << extra) - 1)) as u64, extra)
}

fn write_block(bits: &mut Bits, block: &[u8], is_last: bool) {
    let lengths = code_lengths(&count(block), MAX_CODE_BITS);
    write_header(bits, &lengths, is_last);
    let codes = canonical_codes(&lengths);
    // Both kinds of tokens write, but never at the same time.
    let bits = std::cell::RefCell::new(bits);
    for_each_token(
        block,
        |literals| {
            let mut bits = bits.borrow_mut();
            for four in literals.chunks(4) {
                for literal in four {
                    let (code, length) = codes[usize::from(*literal)];
                    bits.add(u64::from(code), u32::from(length));
                }
                bits.flush();
            }
        },
        |length| {
            let mut bits = bits.borrow_mut();
            let (symbol, more, more_bits) = run_symbol(length);
            let (code, code_bits) = codes[symbol];
            bits.add(u64::from(code), u32::from(code_bits));
            bits.add(more, more_bits);
            // The only distance is 1, and its code one bit long.
            bits.add(0, 1);
            bits.flush();
        },
    );
    let (code, length) = codes[END_OF_BLOCK];
    bits.into_inner().put(u64::from(code), u32::from(length));
}

/// RFC 1951, section 3.2.7.
fn write_header(bits: &mut Bits, lengths: &[u8; SYMBOLS], is_last: bool) {
    const DYNAMIC: u64 = 2;
    /// In which order the lengths of the lengths' codes come.
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    const DISTANCE_CODE_BITS: u8 = 1;
    bits.put(u64::from(is_last), 1);
    bits.put(DYNAMIC, 2);
    bits.put(SYMBOLS as u64 - 257, 5);
    bits.put(0, 5);
    bits.put(ORDER.len() as u64 - 4, 4);
    let all = || lengths.iter().chain(&[DISTANCE_CODE_BITS]);
    let mut counts = [0_u32; 19];
    all().for_each(|length| counts[usize::from(*length)] += 1);
    let of_lengths = code_lengths(&counts, 7);
    for symbol in ORDER {
        bits.put(u64::from(of_lengths[symbol]), 3);
    }
    let codes = canonical_codes(&of_lengths);
    for length in all() {
        let (code, code_bits) = codes[usize::from(*length)];
        bits.put(u64::from(code), u32::from(code_bits));
    }
}

/// Huffman's lengths, none longer than `max_bits`; 0 for what never occurs. At least two symbols get one.
fn code_lengths<const N: usize>(counts: &[u32; N], max_bits: usize) -> [u8; N] {
    let mut used: Vec<(u32, usize)> = (0..N).map(|symbol| (counts[symbol], symbol)).filter(|(count, _)| *count > 0).collect();
    let unused = (0..N).filter(|symbol| counts[*symbol] == 0).map(|symbol| (1, symbol));
    used.extend(unused.take(2_usize.saturating_sub(used.len())));
    used.sort_unstable();
    // Leaves in order, then the nodes as they are made, which are in order as well.
    let mut weights: Vec<u64> = used.iter().map(|(count, _)| u64::from(*count)).collect();
    let leaves = weights.len();
    let mut parents = vec![0; 2 * leaves - 1];
    let (mut leaf, mut node) = (0, leaves);
    for made in leaves..2 * leaves - 1 {
        let mut take = || {
            let takes_leaf = leaf < leaves && (node >= made || weights[leaf] <= weights[node]);
            let next = if takes_leaf { &mut leaf } else { &mut node };
            *next += 1;
            *next - 1
        };
        let (one, other) = (take(), take());
        (parents[one], parents[other]) = (made, made);
        weights.push(weights[one] + weights[other]);
    }
    let mut depths = vec![0_usize; 2 * leaves - 1];
    for at in (0..2 * leaves - 2).rev() {
        depths[at] = depths[parents[at]] + 1;
    }
    // Where codes are cut to the limit, others have to grow until all have room (Kraft's inequality), the rarest first.
    let mut bits: Vec<usize> = depths[..leaves].iter().map(|depth| (*depth).min(max_bits)).collect();
    let mut room = (1_i64 << max_bits) - bits.iter().map(|bits| 1_i64 << (max_bits - bits)).sum::<i64>();
    while room < 0 {
        let grows = (0..leaves).filter(|at| bits[*at] < max_bits).max_by_key(|at| (bits[*at], leaves - at));
        let grows = grows.expect("with all codes at the limit there is room for more symbols than there are");
        room += 1 << (max_bits - bits[grows] - 1);
        bits[grows] += 1;
    }
    // Decoders want no room left: the most frequent ones take it. What is left always fits the longest codes at least.
    while room > 0 {
        let shrinks = (0..leaves).rev().find(|at| bits[*at] > 1 && 1 << (max_bits - bits[*at]) <= room);
        let shrinks = shrinks.expect("the room is a multiple of what the longest code takes");
        room -= 1 << (max_bits - bits[shrinks]);
        bits[shrinks] -= 1;
    }
    let mut lengths = [0; N];
    for ((_, symbol), bits) in used.iter().zip(bits) {
        lengths[*symbol] = bits as u8;
    }
    lengths
}

/// RFC 1951, section 3.2.2, with the first bit lowest.
fn canonical_codes<const N: usize>(lengths: &[u8; N]) -> [(u16, u8); N] {
    let mut codes = [(0, 0); N];
    let mut code = 0_u16;
    for length in 1..=15_u8 {
        for symbol in (0..N).filter(|symbol| lengths[*symbol] == length) {
            codes[symbol] = (code.reverse_bits() >> (16 - length), length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// The stream and the bits that do not fill a byte yet, the first one lowest.
struct Bits {
    out: Vec<u8>,
    buffer: u64,
    held: u32,
}

impl Bits {
    /// At most 56 bits may be added between two flushes.
    #[inline]
    fn add(&mut self, bits: u64, count: u32) {
        self.buffer |= bits << self.held;
        self.held += count;
    }

    #[inline]
    fn flush(&mut self) {
        let bytes = self.held / 8;
        self.out.extend_from_slice(&self.buffer.to_le_bytes());
        self.out.truncate(self.out.len() - 8 + bytes as usize);
        self.buffer = self.buffer.checked_shr(bytes * 8).unwrap_or(0);
        self.held %= 8;
    }

    fn put(&mut self, bits: u64, count: u32) {
        self.add(bits, count);
        self.flush();
    }

    fn finish(mut self) -> Vec<u8> {
        self.held = self.held.next_multiple_of(8);
        self.flush();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn inflated(stream: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        flate2::read::ZlibDecoder::new(stream).read_to_end(&mut data).expect("it is a zlib stream");
        data
    }

    fn compress(data: &[u8]) -> Vec<u8> {
        let mut deflater = Deflater::new(0);
        deflater.write(data);
        deflater.finish()
    }

    #[test]
    fn every_kind_of_data_comes_back() {
        let noise = |count: u32| (0..count).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect::<Vec<_>>();
        let skewed: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 16).leading_zeros() as u8).collect();
        let mixed: Vec<u8> = (0..3_000).flat_map(|at| [vec![0; at % 700], noise(at as u32 % 23)].concat()).collect();
        for data in [vec![], vec![7], vec![0; 9], vec![0; 1_000_000], vec![5; 100_000], noise(400_000), skewed, mixed] {
            let stream = compress(&data);
            assert!(inflated(&stream) == data, "{} bytes", data.len());
        }
    }

    #[test]
    fn runs_of_every_length_come_back() {
        for groups in 1..200 {
            let data = [&[1][..], &vec![0; groups * GROUP + groups % 8], &[2]].concat();
            assert!(inflated(&compress(&data)) == data, "{groups} groups");
        }
        assert_eq!(
            [3, 10, 11, 12, 257, 258].map(run_symbol),
            [(257, 0, 0), (264, 0, 0), (265, 0, 1), (265, 1, 1), (284, 30, 5), (285, 0, 0)]
        );
    }

    #[test]
    fn no_code_is_longer_than_the_limit_and_together_they_leave_no_room() {
        let mut counts = [0_u32; SYMBOLS];
        let (mut one, mut two) = (1_u32, 1_u32);
        for count in counts.iter_mut().take(40) {
            *count = one;
            (one, two) = (two, one + two);
        }
        let lengths = code_lengths(&counts, MAX_CODE_BITS);
        let used = lengths.iter().filter(|length| **length > 0);
        assert!(used.clone().all(|length| usize::from(*length) <= MAX_CODE_BITS));
        assert_eq!(used.map(|length| 1 << (MAX_CODE_BITS - usize::from(*length))).sum::<u32>(), 1 << MAX_CODE_BITS);
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        let data: Vec<u8> = (0..BLOCK_BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 20).leading_zeros() as u8).collect();
        let (estimate, truth) = (estimate_bytes(&data), compress(&data).len());
        assert!(estimate <= truth && truth < estimate + 1000, "{estimate} for {truth}");
    }
}
