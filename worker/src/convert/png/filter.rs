//! Row filters (PNG specification, third edition, section 9): what is left of a row when its neighbours are known.
//!
//! Compiled twice, for every processor and for those with AVX2.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use std::ops::Range;

use super::trial::Trial;

/// The numbers are those in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Filter {
    None = 0,
    Sub = 1,
    Up = 2,
    Average = 3,
    Paeth = 4,
}

const ALL: [Filter; 5] = [Filter::None, Filter::Sub, Filter::Up, Filter::Average, Filter::Paeth];

/// Rows that share a filter. Looking at one in [`SAMPLED_EVERY`] of them is enough to choose it for a photo.
pub(super) const BAND_ROWS: usize = 32;
const SAMPLED_EVERY: usize = 8;

/// What repeats to the right still does so when only what is above is taken away, so matches save more than the distance from zero tells.
const UP_COUNTS: (u64, u64) = (3, 4);

/// Of drawings and pictures of screens the distance from zero tells little. Some rows of them are tried with each filter, behind others that they
/// may repeat.
const TRIED_ROWS: usize = 4;
const ROWS_BEFORE: usize = 4;

/// Whole rows, each behind the number of its filter. `above` is the row before the first one, zeros for the first of a picture;
/// `bytes_per_pixel` is that of whole pixels, from 1.
pub(super) fn filtered<'a>(rows: &'a [u8], mut above: &'a [u8], bytes_per_pixel: usize, trial: &mut Trial) -> Vec<u8> {
    let row_bytes = above.len();
    let mut filtered = Vec::with_capacity(rows.len() / row_bytes * (row_bytes + 1));
    for band in rows.chunks(row_bytes * BAND_ROWS) {
        let filter = best(band, above, bytes_per_pixel, trial);
        apply_to_rows(filter, band, above, bytes_per_pixel, &mut filtered);
        above = &band[band.len() - row_bytes..];
    }
    filtered
}

/// The filter that leaves least, as far as some of the rows tell.
fn best(band: &[u8], above: &[u8], bytes_per_pixel: usize, trial: &mut Trial) -> Filter {
    let row_bytes = above.len();
    let count = band.len() / row_bytes;
    let filtered = |filter, rows: Range<usize>| {
        let above = if rows.start == 0 { above } else { &band[(rows.start - 1) * row_bytes..][..row_bytes] };
        let mut filtered = Vec::with_capacity(rows.len() * (row_bytes + 1));
        apply_to_rows(filter, &band[rows.start * row_bytes..rows.end * row_bytes], above, bytes_per_pixel, &mut filtered);
        filtered
    };
    let (mut least, mut most_zeros) = ((u64::MAX, Filter::None), 0);
    let sampled = (count.min(SAMPLED_EVERY) / 2..count).step_by(SAMPLED_EVERY);
    for filter in ALL {
        let (mut cost, mut zeros) = (0, 0);
        for row in sampled.clone() {
            let (more_cost, more_zeros) = measure(&filtered(filter, row..row + 1));
            (cost, zeros) = (cost + more_cost, zeros + more_zeros);
        }
        if filter == Filter::Up {
            cost = cost / UP_COUNTS.1 * UP_COUNTS.0;
        }
        least = least.min((cost, filter));
        most_zeros = most_zeros.max(zeros);
    }
    if most_zeros * 2 < (sampled.len() * row_bytes) as u64 {
        return least.1;
    }
    let end = (count + TRIED_ROWS + ROWS_BEFORE).div_ceil(2).min(count);
    let start = end.saturating_sub(TRIED_ROWS + ROWS_BEFORE);
    let from = start.max(end.saturating_sub(TRIED_ROWS)) - start;
    let tried = ALL.map(|filter| (trial.bits(&filtered(filter, start..end), from * (row_bytes + 1)), filter));
    tried.into_iter().min().map_or(Filter::None, |(_, filter)| filter)
}

fn apply_to_rows(filter: Filter, rows: &[u8], above: &[u8], bytes_per_pixel: usize, filtered: &mut Vec<u8>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the processor has the instructions that the function was compiled for")]
        // SAFETY: AVX2 was just detected.
        return unsafe { apply_with_avx2(filter, rows, above, bytes_per_pixel, filtered) };
    }
    apply_in_turn(filter, rows, above, bytes_per_pixel, filtered);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_with_avx2(filter: Filter, rows: &[u8], above: &[u8], bytes_per_pixel: usize, filtered: &mut Vec<u8>) {
    apply_in_turn(filter, rows, above, bytes_per_pixel, filtered);
}

#[inline(always)]
fn apply_in_turn<'a>(filter: Filter, rows: &'a [u8], mut above: &'a [u8], bytes_per_pixel: usize, filtered: &mut Vec<u8>) {
    for row in rows.chunks_exact(above.len()) {
        filtered.push(filter as u8);
        let start = filtered.len();
        filtered.resize(start + row.len(), 0);
        apply(filter, row, above, bytes_per_pixel, &mut filtered[start..]);
        above = row;
    }
}

/// The sum of all differences from zero, taken as signed, and how many are zero.
fn measure(filtered: &[u8]) -> (u64, u64) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the processor has the instructions that the function was compiled for")]
        // SAFETY: AVX2 was just detected.
        return unsafe { measure_with_avx2(filtered) };
    }
    measure_in_turn(filtered)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn measure_with_avx2(filtered: &[u8]) -> (u64, u64) {
    measure_in_turn(filtered)
}

#[inline(always)]
fn measure_in_turn(filtered: &[u8]) -> (u64, u64) {
    let (mut cost, mut zeros) = (0, 0);
    // Few enough at once that narrow sums do.
    for chunk in filtered.chunks(256) {
        cost += u64::from(chunk.iter().map(|byte| u32::from((*byte as i8).unsigned_abs())).sum::<u32>());
        zeros += u64::from(chunk.iter().map(|byte| u32::from(*byte == 0)).sum::<u32>());
    }
    (cost, zeros)
}

#[inline(always)]
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
#[inline(always)]
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
        // What is above and something, what is to the left and something, and a slope.
        let noise = |at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
        let sample = |x: u32, y: u32| match y / 64 {
            0 => noise(x).wrapping_add((y * 7) as u8),
            1 => noise(y).wrapping_add((x * 7) as u8),
            _ => (x * 2 + y * 3) as u8 ^ (noise(x * 977 + y) & 1),
        };
        let samples: Vec<u8> = (0..192).flat_map(|y| (0..300).map(move |x| sample(x, y))).collect();
        let filtered = filtered(&samples, &[0; 300], 1, &mut Trial::new());
        assert_eq!(filtered.len(), 301 * 192);
        let chosen = [0, 64, 128].map(|row| filtered[301 * row]);
        assert_eq!(chosen, [Filter::Up as u8, Filter::Sub as u8, Filter::Paeth as u8]);
    }

    #[test]
    fn of_a_drawing_the_chosen_filter_is_nearly_the_best_one() {
        // Letters of two colours on a ground of a third, on which columns and rows have lines.
        let noise = |at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
        let letter = |x: u32, y: u32| noise(x / 8 * 31 + y / 12 * 7) % 9;
        let sample = |x: u32, y: u32| match (x % 100, y % 40, noise(u32::from(letter(x, y)) * 96 + x % 8 * 12 + y % 12) % 3) {
            (0, _, _) | (_, 0, _) => 90,
            (_, 1..15, 0) => 20,
            _ => 240,
        };
        let samples: Vec<u8> = (0..64).flat_map(|y| (0..900).map(move |x| sample(x, y))).collect();
        let mut trial = Trial::new();
        let chosen = filtered(&samples, &[0; 900], 1, &mut trial);
        let chosen = trial.bits(&chosen, 0);
        let all = ALL.map(|filter| {
            let mut filtered = Vec::new();
            apply_to_rows(filter, &samples, &[0; 900], 1, &mut filtered);
            trial.bits(&filtered, 0)
        });
        let best = all.into_iter().min().expect("there are five");
        assert!(chosen * 10 <= best * 11, "{chosen} bits, where the best filter has {best}");
    }

    #[test]
    fn every_processor_filters_alike() {
        let samples: Vec<u8> = (0..67 * 3 * 50_usize).map(|at| (at * at / 7 + at / 201 * 31) as u8).collect();
        for (filter, bytes_per_pixel) in ALL.into_iter().flat_map(|filter| [(filter, 1), (filter, 3)]) {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            apply_to_rows(filter, &samples, &[9; 67 * 3], bytes_per_pixel, &mut one);
            apply_in_turn(filter, &samples, &[9; 67 * 3], bytes_per_pixel, &mut other);
            assert_eq!(one, other, "{filter:?}");
        }
    }
}
