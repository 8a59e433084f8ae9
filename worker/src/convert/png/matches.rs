//! What repeats within 32 KiB.
//!
//! Filtered rows of photos are mostly noise, with calm places in between where a few small values follow each other. What repeats there are
//! mostly whole pixels, so where these have three bytes, only places are looked at where one begins. Which of them repeat cannot be foreseen,
//! so the earlier places are compared with hardly any branches, nothing shorter than five bytes counts, and noise is passed over faster the
//! longer it lasts.

use std::ops::Range;

use super::{
    filter::Layout,
    tokens::{MAX_LENGTH, Tokens},
};

const WINDOW: usize = 1 << 15;

/// Rows of earlier places that have the same hash.
const ROWS: usize = 1 << 14;
const MAX_PLACES: usize = 2;

/// Bytes that are compared at once. The last ones of a block are not looked at.
const WIDE: usize = 16;
const FAR_FROM_THE_END: &str = "the last places are not looked at";

/// So many places without a match in a row, as a power of two, make each step longer.
const PATIENCE: u32 = 6;

/// How hard is looked: how many earlier places, and how many places of a match may be the source of a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Search {
    Quick,
    Thorough,
}

/// Working space.
pub(super) struct Finder {
    search: Search,
    layout: Layout,
    /// Where the least that counts as a match was seen.
    short: Places,
    /// Where a longer one was: it would be lost behind many short ones.
    long: Places,
}

impl Finder {
    pub(super) fn new(search: Search, layout: Layout) -> Self {
        Self { search, layout, short: Places::new(), long: Places::new() }
    }

    /// Forgets what was seen.
    pub(super) fn begin(&mut self) {
        self.short.forget();
        self.long.forget();
    }

    /// Appends what a block of filtered rows consists of. `data` begins with a row; of it, what came before the block since
    /// [`begin`](Self::begin) may be repeated.
    pub(super) fn find(&mut self, data: &[u8], block: Range<usize>, found: &mut Tokens) {
        match self.layout.bytes_per_pixel {
            3 => self.in_steps::<3, 5, 12, 2>(data, block, found),
            // Two bytes are a sample of 16 bit, or one of 8 bit and its alpha.
            2 | 6 | 8 => self.in_steps::<2, 6, 12, 2>(data, block, found),
            // Whole pixels of four bytes repeat less often than what is around their alpha.
            _ => self.in_steps::<1, 5, 10, 1>(data, block, found),
        }
    }

    fn in_steps<const STEP: usize, const LEAST: usize, const LONG: usize, const MOST_PLACES: usize>(
        &mut self,
        data: &[u8],
        block: Range<usize>,
        found: &mut Tokens,
    ) {
        match self.search {
            Search::Quick => self.compare::<STEP, LEAST, LONG, 1>(data, block, found, 4 / STEP),
            Search::Thorough => self.compare::<STEP, LEAST, LONG, MOST_PLACES>(data, block, found, MAX_LENGTH),
        }
    }

    /// Looks every `STEP` bytes of a row for the latest `PLACES` that begin with the same `LEAST` bytes, and for as many with the same `LONG`
    /// ones. `remembered` is how many further places of a match may be the source of a later one.
    fn compare<const STEP: usize, const LEAST: usize, const LONG: usize, const PLACES: usize>(
        &mut self,
        data: &[u8],
        block: Range<usize>,
        found: &mut Tokens,
        remembered: usize,
    ) {
        let stride = 1 + self.layout.row_bytes;
        let Range { start: mut at, end } = block;
        let mut row_end = at / stride * stride;
        let mut literals_from = at;
        let mut misses = 0_u32;
        let last = end.saturating_sub(WIDE);
        loop {
            while at >= row_end {
                let first = row_end + 1;
                at = first + at.saturating_sub(first).next_multiple_of(STEP);
                row_end += stride;
            }
            if at >= last {
                break;
            }
            let (length, distance) = self.longest::<LEAST, LONG, PLACES>(data, at, end);
            if length == 0 {
                misses += 1;
                at += (1 + (misses >> PATIENCE) as usize) * STEP;
                continue;
            }
            misses = 0;
            // It may have begun where nobody looked.
            let before = (literals_from..at).rev().take(MAX_LENGTH - length);
            let before = before.take_while(|before| *before >= distance && data[*before] == data[*before - distance]).count();
            found.append_literals(data, literals_from..at - before);
            found.append_match(length + before, distance);
            literals_from = at + length;
            for seen in (at..literals_from.min(last)).step_by(STEP).skip(1).take(remembered) {
                self.see::<LEAST, LONG, PLACES>(seen, read(data, seen));
            }
            at += length.next_multiple_of(STEP);
        }
        found.append_literals(data, literals_from..end);
    }

    /// Length and distance; 0 without a match.
    #[inline]
    fn longest<const LEAST: usize, const LONG: usize, const PLACES: usize>(
        &mut self,
        data: &[u8],
        at: usize,
        end: usize,
    ) -> (usize, usize) {
        let here = read(data, at);
        let candidates = self.see::<LEAST, LONG, PLACES>(at, here).map(|places| places.map(|place| place as usize));
        let is_match = |place: usize| {
            let begins_equal = lowest::<LEAST>(here ^ read(data, place)) == 0;
            begins_equal & (1..=WINDOW).contains(&(at - place))
        };
        let are_matches = candidates.map(|places| places.map(is_match));
        if !are_matches.as_flattened().iter().fold(false, |any, is_match| any | is_match) {
            return (0, 0);
        }
        let matches = candidates.as_flattened().iter().zip(are_matches.as_flattened());
        let mut longest = (0, 0);
        for (place, is_match) in matches.clone() {
            let length = (here ^ read(data, *place)).trailing_zeros() / 8 * u32::from(*is_match);
            if length > longest.0 {
                longest = (length, *place);
            }
        }
        if (longest.0 as usize) < WIDE {
            return (longest.0 as usize, at - longest.1);
        }
        let mut longest = (0, 0);
        for (place, _) in matches.filter(|(_, is_match)| **is_match) {
            let length = common(data, *place, at, end);
            if length > longest.0 {
                longest = (length, at - place);
            }
        }
        longest
    }

    /// Remembers a place and returns where something like it was before: the short ones, then the long ones.
    #[inline]
    fn see<const LEAST: usize, const LONG: usize, const PLACES: usize>(&mut self, at: usize, here: u128) -> [[u32; PLACES]; 2] {
        let (low, high) = (here as u64, (lowest::<LONG>(here) >> 64) as u64);
        [self.short.replace(lowest::<LEAST>(here) as u64, at), self.long.replace(low ^ high.rotate_left(29), at)]
    }
}

/// Places by the hash of what is there, the latest first.
struct Places(Box<[u32; ROWS * MAX_PLACES]>);

impl Places {
    fn new() -> Self {
        Self(vec![0; ROWS * MAX_PLACES].into_boxed_slice().try_into().expect("it has this length"))
    }

    /// The start of the data counts as seen for every hash: it is compared before it is believed.
    fn forget(&mut self) {
        self.0.fill(0);
    }

    /// Remembers a place instead of the oldest one, and returns those before.
    #[inline]
    fn replace<const PLACES: usize>(&mut self, what: u64, at: usize) -> [u32; PLACES] {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash = what.wrapping_mul(SPREAD) >> (u64::BITS - ROWS.ilog2());
        let row = &mut self.0.as_chunks_mut::<PLACES>().0[hash as usize];
        let before = *row;
        row[0] = at as u32;
        row[1..].copy_from_slice(&before[..PLACES - 1]);
        before
    }
}

/// The first bytes, the others as zeros.
#[inline]
fn lowest<const BYTES: usize>(bytes: u128) -> u128 {
    bytes & (u128::MAX >> (u128::BITS as usize - 8 * BYTES))
}

#[inline]
fn read(data: &[u8], at: usize) -> u128 {
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
