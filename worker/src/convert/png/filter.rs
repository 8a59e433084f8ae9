//! Row filters (PNG specification, third edition, section 9): what is left of a row when its neighbours are known.
//!
//! Compiled twice, for every processor and for those with AVX2.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use super::choice::{BAND_ROWS, Chooser};

/// The numbers are those in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Filter {
    None = 0,
    Sub = 1,
    Up = 2,
    Average = 3,
    Paeth = 4,
}

pub(super) const ALL: [Filter; 5] = [Filter::None, Filter::Sub, Filter::Up, Filter::Average, Filter::Paeth];

/// How filtered rows lie: each behind one byte, the number of its filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Without that byte, from 1.
    pub(super) row_bytes: usize,
    /// Those of whole pixels, from 1.
    pub(super) bytes_per_pixel: usize,
}

/// Whole rows, each behind the number of its filter. `above` is the row before the first one, zeros for the first of a picture.
pub(super) fn filtered<'a>(rows: &'a [u8], mut above: &'a [u8], layout: Layout, chooser: &mut Chooser) -> Vec<u8> {
    let Layout { row_bytes, bytes_per_pixel } = layout;
    let mut filtered = Vec::with_capacity(rows.len() / row_bytes * (row_bytes + 1));
    for band in rows.chunks(row_bytes * BAND_ROWS) {
        let filters = chooser.choose(band, above);
        for (index, row) in band.chunks(row_bytes).enumerate() {
            apply_to_rows(filters.of_row(index), row, above, bytes_per_pixel, &mut filtered);
            above = row;
        }
    }
    filtered
}

/// Appends whole rows, each behind the number of the filter.
pub(super) fn apply_to_rows(filter: Filter, rows: &[u8], above: &[u8], bytes_per_pixel: usize, filtered: &mut Vec<u8>) {
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
