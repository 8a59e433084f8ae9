//! Which filter rows get.

use std::ops::Range;

use super::{
    filter::{ALL, Filter, Layout, apply_to_rows},
    trial::Trial,
};

/// Rows that are looked at together.
pub(super) const BAND_ROWS: usize = 32;

/// Rows so far from each other share a filter. Most photos were JPEGs, and their rows differ by where they lie in blocks of 8 rows, or 16 with
/// halved colours: what is above tells most of a row, but little of a block's first one.
const PERIOD: usize = 16;

/// Which rows tell whether something is a photo.
const SAMPLED_EVERY: usize = 8;

/// Pixels from one to the next that is looked at in a row of a photo.
const PIXELS_APART: usize = 6;

/// Of drawings some rows are tried with each filter, behind others that they may repeat.
const TRIED_ROWS: usize = 4;
const ROWS_BEFORE: usize = 4;

/// Filters of a band of rows, by the place of a row modulo [`PERIOD`].
pub(super) struct Filters([Filter; PERIOD]);

impl Filters {
    pub(super) fn of_row(&self, row: usize) -> Filter {
        self.0[row % PERIOD]
    }
}

/// Working space.
pub(super) struct Chooser {
    layout: Layout,
    trial: Trial,
    beginnings: Beginnings,
    filtered: Vec<u8>,
}

impl Chooser {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, trial: Trial::new(layout), beginnings: Beginnings::default(), filtered: Vec::new() }
    }

    /// The filters that leave least of a band, as far as some of the rows tell. `above` is the row before the first one.
    pub(super) fn choose(&mut self, band: &[u8], above: &[u8]) -> Filters {
        let band = Band { rows: band, above, layout: self.layout };
        if self.is_photo(band) { self.for_photo(band) } else { self.for_drawing(band) }
    }

    /// Of a photo no filter leaves mostly zeros.
    fn is_photo(&mut self, band: Band<'_>) -> bool {
        let count = band.count();
        let sampled = (count.min(SAMPLED_EVERY) / 2..count).step_by(SAMPLED_EVERY);
        let mut zeros_left_by = |filter| {
            let zeros = sampled.clone().map(|row| zeros(band.filter(row..row + 1, filter, &mut self.filtered)));
            zeros.sum::<usize>()
        };
        let most_zeros = ALL.into_iter().map(&mut zeros_left_by).max();
        most_zeros < Some(sampled.len() * band.layout.row_bytes / 2)
    }

    /// What is left of photos is about as far from zero with every filter. What tells these apart is how much of it repeats.
    fn for_photo(&mut self, band: Band<'_>) -> Filters {
        /// Photos are never best as they are, though flat noise looks so.
        const CANDIDATES: [Filter; 4] = [Filter::Sub, Filter::Up, Filter::Average, Filter::Paeth];
        let count = band.count();
        let mut filters = [Filter::Paeth; PERIOD];
        for (place, filter) in filters.iter_mut().enumerate().take(count) {
            // In the middle of a band, where there is one.
            let row = if place + PERIOD < count { place + PERIOD } else { place };
            let different = CANDIDATES.map(|filter| {
                let filtered = band.filter(row..row + 1, filter, &mut self.filtered);
                (self.beginnings.different(filtered, PIXELS_APART * band.layout.bytes_per_pixel), filter)
            });
            (_, *filter) = different.into_iter().min().expect("there are four");
        }
        Filters(filters)
    }

    /// Of drawings and pictures of screens nothing tells as much as trying.
    fn for_drawing(&mut self, band: Band<'_>) -> Filters {
        let count = band.count();
        let end = (count + TRIED_ROWS + ROWS_BEFORE).div_ceil(2).min(count);
        let start = end.saturating_sub(TRIED_ROWS + ROWS_BEFORE);
        let from = start.max(end.saturating_sub(TRIED_ROWS)) - start;
        let bits = ALL.map(|filter| {
            let filtered = band.filter(start..end, filter, &mut self.filtered);
            (self.trial.bits(filtered, from * (band.layout.row_bytes + 1)), filter)
        });
        let (_, least) = bits.into_iter().min().expect("there are five");
        Filters([least; PERIOD])
    }
}

/// Whole rows and the one above them.
#[derive(Clone, Copy)]
struct Band<'a> {
    rows: &'a [u8],
    above: &'a [u8],
    layout: Layout,
}

impl Band<'_> {
    fn count(self) -> usize {
        self.rows.len() / self.layout.row_bytes
    }

    fn filter(self, rows: Range<usize>, filter: Filter, filtered: &mut Vec<u8>) -> &[u8] {
        let row_bytes = self.layout.row_bytes;
        let above = if rows.start == 0 { self.above } else { &self.rows[(rows.start - 1) * row_bytes..][..row_bytes] };
        filtered.clear();
        apply_to_rows(filter, &self.rows[rows.start * row_bytes..rows.end * row_bytes], above, self.layout.bytes_per_pixel, filtered);
        filtered
    }
}

fn zeros(filtered: &[u8]) -> usize {
    // Few enough at once that narrow sums do.
    filtered.chunks(255).map(|chunk| usize::from(chunk.iter().map(|byte| u8::from(*byte == 0)).sum::<u8>())).sum()
}

/// Which repetitions could begin in a row, a bit for each hash of four bytes.
struct Beginnings([u64; Self::WORDS]);

impl Default for Beginnings {
    fn default() -> Self {
        Self([0; Self::WORDS])
    }
}

impl Beginnings {
    const WORDS: usize = 256;

    /// How many different ones there are, of those that are so many bytes from each other.
    fn different(&mut self, filtered: &[u8], bytes_apart: usize) -> u32 {
        const SPREAD: u32 = 0x9E37_79B1;
        self.0.fill(0);
        for four in filtered.windows(4).skip(1).step_by(bytes_apart) {
            let hash =
                u32::from_le_bytes([four[0], four[1], four[2], four[3]]).wrapping_mul(SPREAD) >> (u32::BITS - 6 - Self::WORDS.ilog2());
            self.0[(hash >> 6) as usize] |= 1 << (hash & 63);
        }
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By column and row.
    type Sample = fn(u32, u32) -> u8;

    fn noise(at: u32) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 13) as u8
    }

    fn band(row_bytes: usize, sample: Sample) -> Vec<u8> {
        (0..BAND_ROWS as u32).flat_map(|y| (0..row_bytes as u32).map(move |x| sample(x, y))).collect()
    }

    #[test]
    fn each_band_gets_the_filter_that_leaves_least() {
        const ROW_BYTES: usize = 300;
        // What is above and something, and what is to the left and something.
        let bands: [(Sample, Filter); 2] =
            [(|x, y| noise(x).wrapping_add((y * 7) as u8), Filter::Up), (|x, y| noise(y).wrapping_mul(x as u8), Filter::Sub)];
        for (sample, expected) in bands {
            let chosen =
                Chooser::new(Layout { row_bytes: ROW_BYTES, bytes_per_pixel: 1 }).choose(&band(ROW_BYTES, sample), &[0; ROW_BYTES]);
            assert_eq!(chosen.of_row(5), expected);
            assert_eq!(chosen.of_row(31), expected);
        }
    }

    #[test]
    fn the_first_row_of_a_block_may_have_another_filter_than_the_others() {
        const ROW_BYTES: usize = 900;
        // Blocks have calm first rows that have nothing to do with each other; from row to row of a block the same is added.
        let sample: Sample = |x, y| noise(x / 30 * (y / 8 + 3)).wrapping_add(noise(x % 6 + 1000).wrapping_mul((y % 8) as u8));
        let chosen = Chooser::new(Layout { row_bytes: ROW_BYTES, bytes_per_pixel: 3 }).choose(&band(ROW_BYTES, sample), &[0; ROW_BYTES]);
        assert_eq!([9, 10, 15].map(|row| chosen.of_row(row)), [Filter::Up; 3]);
        assert_eq!(chosen.of_row(8), Filter::Sub);
    }

    #[test]
    fn of_a_drawing_the_chosen_filter_is_nearly_the_best_one() {
        // Letters of two colours on a ground of a third, on which columns and rows have lines.
        let letter = |x: u32, y: u32| noise(x / 8 * 31 + y / 12 * 7) % 9;
        let sample = |x: u32, y: u32| match (x % 100, y % 40, noise(u32::from(letter(x, y)) * 96 + x % 8 * 12 + y % 12) % 3) {
            (0, _, _) | (_, 0, _) => 90,
            (_, 1..15, 0) => 20,
            _ => 240,
        };
        let samples: Vec<u8> = (0..32).flat_map(|y| (0..900).map(move |x| sample(x, y))).collect();
        let layout = Layout { row_bytes: 900, bytes_per_pixel: 1 };
        let chosen = Chooser::new(layout).choose(&samples, &[0; 900]);
        let mut trial = Trial::new(layout);
        let mut bits = |filter| {
            let mut filtered = Vec::new();
            apply_to_rows(filter, &samples, &[0; 900], 1, &mut filtered);
            trial.bits(&filtered, 0)
        };
        let (chosen, best) = (bits(chosen.of_row(0)), ALL.map(&mut bits).into_iter().min().expect("there are five"));
        assert!(chosen * 10 <= best * 11, "{chosen} bits, where the best filter has {best}");
    }
}
