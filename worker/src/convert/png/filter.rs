//! Row filters (PNG specification, third edition, section 9): what is left of a row when its neighbours are known.

/// The numbers are those in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    None = 0,
    Sub = 1,
    Up = 2,
    Average = 3,
    Paeth = 4,
}

const ALL: [Filter; 5] = [Filter::None, Filter::Sub, Filter::Up, Filter::Average, Filter::Paeth];

/// Rows that share a filter. Looking at one in [`SAMPLED_EVERY`] of them is enough to choose it.
const BAND_ROWS: usize = 32;
const SAMPLED_EVERY: usize = 8;

/// The rows of a picture and how they are divided.
pub(super) struct Rows<'a> {
    samples: &'a [u8],
    row_bytes: usize,
    bytes_per_pixel: usize,
    nothing: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// `bytes_per_pixel` is that of whole pixels, from 1.
    pub(super) fn new(samples: &'a [u8], row_bytes: usize, bytes_per_pixel: usize) -> Self {
        Self { samples, row_bytes, bytes_per_pixel, nothing: vec![0; row_bytes] }
    }

    pub(super) fn bands(&self) -> usize {
        self.count().div_ceil(BAND_ROWS)
    }

    /// Of all bands together.
    pub(super) fn filtered_bytes(&self) -> usize {
        self.count() * (self.row_bytes + 1)
    }

    /// Appends a band: every row behind the number of its filter.
    pub(super) fn filter_band(&self, band: usize, filtered: &mut Vec<u8>) {
        let rows = band * BAND_ROWS..((band + 1) * BAND_ROWS).min(self.count());
        let mut scratch = vec![0; self.row_bytes];
        let best = cheapest(|filter| {
            let first = rows.start + rows.len().min(SAMPLED_EVERY) / 2;
            (first..rows.end)
                .step_by(SAMPLED_EVERY)
                .map(|index| {
                    apply(*filter, self.row(index), self.above(index), self.bytes_per_pixel, &mut scratch);
                    distance_from_zero(&scratch)
                })
                .sum()
        });
        for index in rows {
            filtered.push(best as u8);
            let start = filtered.len();
            filtered.resize(start + self.row_bytes, 0);
            apply(best, self.row(index), self.above(index), self.bytes_per_pixel, &mut filtered[start..]);
        }
    }

    fn count(&self) -> usize {
        self.samples.len() / self.row_bytes
    }

    fn row(&self, index: usize) -> &[u8] {
        &self.samples[index * self.row_bytes..][..self.row_bytes]
    }

    fn above(&self, index: usize) -> &[u8] {
        if index == 0 { &self.nothing } else { self.row(index - 1) }
    }
}

fn cheapest(mut cost: impl FnMut(&Filter) -> u64) -> Filter {
    let mut best = (u64::MAX, Filter::None);
    for filter in ALL {
        let costs = cost(&filter);
        if costs < best.0 {
            best = (costs, filter);
        }
    }
    best.1
}

/// The sum of all differences from zero, taken as signed.
fn distance_from_zero(filtered: &[u8]) -> u64 {
    filtered.chunks(256).map(|chunk| u64::from(chunk.iter().map(|byte| u32::from((*byte as i8).unsigned_abs())).sum::<u32>())).sum()
}

fn apply(filter: Filter, row: &[u8], above: &[u8], bytes_per_pixel: usize, out: &mut [u8]) {
    let first = bytes_per_pixel.min(row.len());
    // Of the first pixel nothing is to the left.
    for ((out, here), up) in out.iter_mut().zip(row).zip(above).take(first) {
        *out = here.wrapping_sub(match filter {
            Filter::None | Filter::Sub => 0,
            Filter::Up | Filter::Paeth => *up,
            Filter::Average => *up / 2,
        });
    }
    let (out, here, left) = (&mut out[first..], &row[first..], &row[..row.len() - first]);
    let (up, up_left) = (&above[first..], &above[..row.len() - first]);
    let pixels = out.iter_mut().zip(here).zip(left).zip(up).zip(up_left);
    match filter {
        Filter::None => pixels.for_each(|((((out, here), _), _), _)| *out = *here),
        Filter::Sub => pixels.for_each(|((((out, here), left), _), _)| *out = here.wrapping_sub(*left)),
        Filter::Up => pixels.for_each(|((((out, here), _), up), _)| *out = here.wrapping_sub(*up)),
        Filter::Average => pixels.for_each(|((((out, here), left), up), _)| {
            *out = here.wrapping_sub(u8::midpoint(*left, *up));
        }),
        Filter::Paeth => pixels.for_each(|((((out, here), left), up), up_left)| *out = here.wrapping_sub(paeth(*left, *up, *up_left))),
    }
}

/// The neighbour that is nearest to left + up - up left; without branches, so that many are found at once.
fn paeth(left: u8, up: u8, up_left: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(up_left));
    let (from_left, from_up, from_up_left) = ((b - c).abs(), (a - c).abs(), (a + b - c - c).abs());
    let up_or_corner = if from_up <= from_up_left { up } else { up_left };
    if from_left <= from_up && from_left <= from_up_left { left } else { up_or_corner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filtered_can_be_found_again() {
        let (row_bytes, rows) = (37 * 3, 70);
        let samples: Vec<u8> = (0..row_bytes * rows).map(|at| (at * at / 7 + at / row_bytes * 31) as u8).collect();
        for filter in ALL {
            let mut above = vec![0; row_bytes];
            for row in samples.chunks_exact(row_bytes) {
                let mut filtered = vec![0; row_bytes];
                apply(filter, row, &above, 3, &mut filtered);
                let mut found: Vec<u8> = Vec::with_capacity(row_bytes);
                for at in 0..row_bytes {
                    let (left, up_left) = if at < 3 { (0, 0) } else { (found[at - 3], above[at - 3]) };
                    let expected = match filter {
                        Filter::None => 0,
                        Filter::Sub => left,
                        Filter::Up => above[at],
                        Filter::Average => u8::midpoint(left, above[at]),
                        Filter::Paeth => paeth(left, above[at], up_left),
                    };
                    found.push(filtered[at].wrapping_add(expected));
                }
                assert_eq!(found, row, "{filter:?}");
                above.clone_from(&found);
            }
        }
    }

    #[test]
    fn the_paeth_predictor_is_that_of_the_specification() {
        for (left, up, up_left) in (0..=255)
            .step_by(5)
            .flat_map(|left| (0..=255).step_by(3).flat_map(move |up| (0..=255).step_by(7).map(move |up_left| (left, up, up_left))))
        {
            let estimate = i32::from(left) + i32::from(up) - i32::from(up_left);
            let nearest = [left, up, up_left].into_iter().min_by_key(|it| (i32::from(*it) - estimate).abs());
            assert_eq!(Some(paeth(left, up, up_left)), nearest, "{left} {up} {up_left}");
        }
    }

    #[test]
    fn each_band_gets_the_filter_that_leaves_least() {
        // Rows that repeat, then columns that repeat.
        let samples: Vec<u8> =
            (0..64_u32).flat_map(|y| (0..64_u32).map(move |x| if y < 32 { (x * 91) as u8 } else { (y * 91) as u8 })).collect();
        let rows = Rows::new(&samples, 64, 1);
        let mut filtered = Vec::new();
        (0..rows.bands()).for_each(|band| rows.filter_band(band, &mut filtered));
        assert_eq!((filtered.len(), filtered[0], filtered[65 * 40]), (65 * 64, Filter::Up as u8, Filter::Sub as u8));
    }
}
