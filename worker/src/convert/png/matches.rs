//! What repeats within 32 KiB.
//!
//! Filtered rows of photos are mostly noise, with calm places in between where a few small values follow each other. So whether something is a
//! repetition is one question with one answer that is easy to foresee, nothing shorter than five bytes counts, and noise is passed over
//! faster the longer it lasts.

use std::ops::Range;

/// Bytes that have to be equal at least.
const LEAST: usize = 5;
pub(super) const MAX_LENGTH: usize = 258;
const WINDOW: usize = 1 << 15;
const HASH_BITS: u32 = 15;

/// So many places without a match in a row, as a power of two, make each step a byte longer.
const PATIENCE: u32 = 5;

/// A match that is good enough to look no further.
const LONG: usize = 64;

/// Bytes as they are, and behind them what repeats earlier ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: usize,
    /// 3 to [`MAX_LENGTH`].
    pub(super) length: usize,
    /// 1 to 32768.
    pub(super) distance: usize,
}

/// How hard is looked: how many earlier places are compared, and how many places of a match may be the source of a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Search {
    Quick,
    Thorough,
}

/// Working space.
pub(super) struct Finder {
    search: Search,
    /// Where each hash was seen last.
    last: Box<[u32; 1 << HASH_BITS]>,
    /// Where the hash of a place was seen before.
    before: Box<[u32; WINDOW]>,
}

impl Finder {
    pub(super) fn new(search: Search) -> Self {
        const SAME: &str = "it has this length";
        let zeros = |length| vec![0; length].into_boxed_slice();
        Self { search, last: zeros(1 << HASH_BITS).try_into().expect(SAME), before: zeros(WINDOW).try_into().expect(SAME) }
    }

    /// Forgets what was seen. The start of the data counts as seen for every hash: it is compared before it is believed.
    pub(super) fn begin(&mut self) {
        self.last.fill(0);
    }

    /// The matches of a block, one behind the other. What came before the block since [`begin`](Self::begin) may be repeated.
    pub(super) fn find(&mut self, data: &[u8], block: Range<usize>, found: &mut Vec<Sequence>) {
        match self.search {
            Search::Quick => self.compare::<1, 4>(data, block, found),
            Search::Thorough => self.compare::<4, MAX_LENGTH>(data, block, found),
        }
    }

    fn compare<const CANDIDATES: usize, const SEEN: usize>(&mut self, data: &[u8], block: Range<usize>, found: &mut Vec<Sequence>) {
        let Range { start: mut at, end } = block;
        let mut literals_from = at;
        let mut misses = 0_u32;
        // Eight bytes are read at once.
        let last = end.saturating_sub(8);
        while at < last {
            let (length, distance) = self.longest::<CANDIDATES>(data, at, end);
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
                self.see::<CANDIDATES>(seen, read(data, seen));
            }
            at += length;
            literals_from = at;
        }
    }

    /// Length and distance; 0 without a match.
    #[inline]
    fn longest<const CANDIDATES: usize>(&mut self, data: &[u8], at: usize, end: usize) -> (usize, usize) {
        let here = read(data, at);
        let mut candidate = self.see::<CANDIDATES>(at, here);
        let mut longest = (0, 0);
        for _ in 0..CANDIDATES {
            let distance = at - candidate;
            let begins_equal = (here ^ read(data, candidate)) << (64 - 8 * LEAST) == 0;
            if CANDIDATES == 1 {
                // One question instead of two that are hard to foresee.
                if begins_equal & (1..=WINDOW).contains(&distance) {
                    return (common(data, candidate, at, end), distance);
                }
                return (0, 0);
            }
            // What is further away was overwritten.
            if !(1..WINDOW).contains(&distance) {
                break;
            }
            if begins_equal {
                let length = common(data, candidate, at, end);
                if length > longest.0 {
                    longest = (length, distance);
                    if length >= LONG {
                        break;
                    }
                }
            }
            let earlier = self.before[candidate % WINDOW] as usize;
            if earlier >= candidate {
                break;
            }
            candidate = earlier;
        }
        longest
    }

    /// Remembers a place and returns where something like it was before.
    #[inline]
    fn see<const CANDIDATES: usize>(&mut self, at: usize, here: u64) -> usize {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash = (here << (64 - 8 * LEAST)).wrapping_mul(SPREAD) >> (64 - HASH_BITS);
        let before = std::mem::replace(&mut self.last[hash as usize], at as u32);
        if CANDIDATES > 1 {
            self.before[at % WINDOW] = before;
        }
        before as usize
    }
}

#[inline]
fn read(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*data[at..].first_chunk().expect("the last places are not looked at"))
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
