//! What repeats within 32 KiB.
//!
//! Filtered rows of photos are mostly noise, with calm places in between where a few small values follow each other. What repeats there cannot be
//! foreseen, so two earlier places are compared with hardly any branches, nothing shorter than five bytes counts, and noise is passed over faster
//! the longer it lasts.

use std::ops::Range;

/// Bytes that have to be equal at least.
const LEAST: usize = 5;
pub(super) const MAX_LENGTH: usize = 258;
const WINDOW: usize = 1 << 15;
/// Rows of two earlier places that have the same hash.
const ROWS: usize = 1 << 14;

/// Bytes that are compared at once. The last ones of a block are not looked at.
const WIDE: usize = 16;
const FAR_FROM_THE_END: &str = "the last places are not looked at";

/// So many places without a match in a row, as a power of two, make each step a byte longer.
const PATIENCE: u32 = 6;

/// Bytes as they are, and behind them what repeats earlier ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: usize,
    /// 3 to [`MAX_LENGTH`].
    pub(super) length: usize,
    /// 1 to 32768.
    pub(super) distance: usize,
}

/// How hard is looked: how many places of a match may be the source of a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Search {
    Quick,
    Thorough,
}

/// Working space.
pub(super) struct Finder {
    search: Search,
    /// Where something was seen, by its hash, the latest first.
    seen: Box<[[u32; 2]; ROWS]>,
}

impl Finder {
    pub(super) fn new(search: Search) -> Self {
        Self { search, seen: vec![[0; 2]; ROWS].into_boxed_slice().try_into().expect("it has this length") }
    }

    /// Forgets what was seen. The start of the data counts as seen for every hash: it is compared before it is believed.
    pub(super) fn begin(&mut self) {
        self.seen.fill([0; 2]);
    }

    /// The matches of a block, one behind the other. What came before the block since [`begin`](Self::begin) may be repeated.
    pub(super) fn find(&mut self, data: &[u8], block: Range<usize>, found: &mut Vec<Sequence>) {
        match self.search {
            Search::Quick => self.compare::<5>(data, block, found),
            Search::Thorough => self.compare::<MAX_LENGTH>(data, block, found),
        }
    }

    fn compare<const SEEN: usize>(&mut self, data: &[u8], block: Range<usize>, found: &mut Vec<Sequence>) {
        let Range { start: mut at, end } = block;
        let mut literals_from = at;
        let mut misses = 0_u32;
        let last = end.saturating_sub(WIDE);
        while at < last {
            let (length, distance) = self.longest(data, at, end);
            if length == 0 {
                misses += 1;
                at += 1 + (misses >> PATIENCE) as usize;
                continue;
            }
            misses = 0;
            // It may have begun where nobody looked.
            let before = (literals_from..at).rev().take(MAX_LENGTH - length);
            let before = before.take_while(|before| *before >= distance && data[*before] == data[*before - distance]).count();
            found.push(Sequence { literals: at - before - literals_from, length: length + before, distance });
            for seen in at + 1..(at + length).min(at + SEEN).min(last) {
                self.see(seen, read(data, seen));
            }
            at += length;
            literals_from = at;
        }
    }

    /// Length and distance; 0 without a match.
    #[inline]
    fn longest(&mut self, data: &[u8], at: usize, end: usize) -> (usize, usize) {
        let here = read(data, at);
        let candidates = self.see(at, here).map(|candidate| candidate as usize);
        let are_matches = candidates.map(|candidate| {
            let begins_equal = (here ^ read(data, candidate)) << (64 - 8 * LEAST) == 0;
            begins_equal & (1..=WINDOW).contains(&(at - candidate))
        });
        if !(are_matches[0] | are_matches[1]) {
            return (0, 0);
        }
        let here = read_wide(data, at);
        let lengths = [0, 1].map(|it| (here ^ read_wide(data, candidates[it])).trailing_zeros() / 8 * u32::from(are_matches[it]));
        let first = usize::from(lengths[1] > lengths[0]);
        let (length, candidate) = (lengths[first] as usize, candidates[first]);
        if length < WIDE {
            return (length, at - candidate);
        }
        let length = common(data, candidate, at, end);
        let other = candidates[1 - first];
        if lengths[1 - first] as usize == WIDE {
            let other_length = common(data, other, at, end);
            if other_length > length {
                return (other_length, at - other);
            }
        }
        (length, at - candidate)
    }

    /// Remembers a place and returns where something like it was before, the latest first.
    #[inline]
    fn see(&mut self, at: usize, here: u64) -> [u32; 2] {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash = (here << (64 - 8 * LEAST)).wrapping_mul(SPREAD) >> (64 - ROWS.ilog2());
        let row = &mut self.seen[hash as usize];
        let before = *row;
        *row = [at as u32, before[0]];
        before
    }
}

#[inline]
fn read(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*data[at..].first_chunk().expect(FAR_FROM_THE_END))
}

#[inline]
fn read_wide(data: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(*data[at..].first_chunk().expect(FAR_FROM_THE_END))
}

/// How many bytes are the same, up to the longest match and the end.
#[inline]
fn common(data: &[u8], earlier: usize, at: usize, end: usize) -> usize {
    let most = (end - at).min(MAX_LENGTH);
    let (earlier, here) = (&data[earlier..][..most], &data[at..][..most]);
    let words = earlier.as_chunks::<8>().0.iter().zip(here.as_chunks::<8>().0);
    for (index, (one, other)) in words.enumerate() {
        let different = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return index * 8 + different.trailing_zeros() as usize / 8;
        }
    }
    let rest = most / 8 * 8;
    rest + earlier[rest..].iter().zip(&here[rest..]).take_while(|(one, other)| one == other).count()
}
