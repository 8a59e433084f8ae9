//! From planes to pixels: chroma is made as large as luma, and YCbCr becomes RGB (JFIF 1.02, page 3).
//!
//! Chroma is taken to lie in the middle of its luma: between two samples three parts of the nearer one count and one of the other, as in most
//! decoders, with the same rounding.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

/// Pixels that are made at once.
const AT_ONCE: usize = 16;

/// A row of one chroma, as wide as luma.
///
/// `other` is the row of chroma that is next nearest, above or below, where chroma is half as high. Behind `to` may be up to two samples more than
/// there are columns.
#[inline(always)]
pub(super) fn enlarge(nearest: &[u8], other: Option<(&[u8], bool)>, is_half_as_wide: bool, sums: &mut Vec<u16>, to: &mut [u8]) {
    // The first and the last stand for what would be beyond them.
    sums.clear();
    sums.push(0);
    match other {
        Some((other, _)) => sums.extend(nearest.iter().zip(other).map(|(near, far)| u16::from(*near) * 3 + u16::from(*far))),
        None => sums.extend(nearest.iter().map(|near| u16::from(*near))),
    }
    sums.push(sums[nearest.len()]);
    sums[0] = sums[1];
    // Halves are rounded up and down by turns.
    if is_half_as_wide {
        let (bits, even, odd) = if other.is_some() { (4, 8, 7) } else { (2, 1, 2) };
        let (left, here, right) = (&sums[..], &sums[1..], &sums[2..]);
        for (((to, left), here), right) in to.as_chunks_mut::<2>().0.iter_mut().zip(left).zip(here).zip(right) {
            *to = [((here * 3 + left + even) >> bits) as u8, ((here * 3 + right + odd) >> bits) as u8];
        }
        return;
    }
    let (bits, more) = match other {
        Some((_, is_above)) => (2, if is_above { 1 } else { 2 }),
        None => (0, 0),
    };
    for (to, sum) in to.iter_mut().zip(&sums[1..]) {
        *to = ((sum + more) >> bits) as u8;
    }
}

/// A row of RGB.
#[inline(always)]
pub(super) fn convert(luma: &[u8], blue: &[u8], red: &[u8], to: &mut [u8]) {
    let whole = luma.len() / AT_ONCE * AT_ONCE;
    let (ahead, rest) = to.split_at_mut(whole * 3);
    let chunks = luma.as_chunks().0.iter().zip(blue.as_chunks().0).zip(red.as_chunks().0);
    for (((luma, blue), red), to) in chunks.zip(ahead.as_chunks_mut().0) {
        pixels(luma, blue, red, to);
    }
    let mut last = [[0; AT_ONCE]; 3];
    let count = luma.len() - whole;
    for (last, plane) in last.iter_mut().zip([luma, blue, red]) {
        last[..count].copy_from_slice(&plane[whole..luma.len()]);
    }
    let mut made = [0; AT_ONCE * 3];
    pixels(&last[0], &last[1], &last[2], &mut made);
    rest.copy_from_slice(&made[..count * 3]);
}

/// In numbers of 16 bits behind the point.
#[inline(always)]
fn pixels(luma: &[u8; AT_ONCE], blue: &[u8; AT_ONCE], red: &[u8; AT_ONCE], to: &mut [u8; AT_ONCE * 3]) {
    const HALF: i32 = 1 << 15;
    let mut planes = [[0_u8; AT_ONCE]; 3];
    for at in 0..AT_ONCE {
        let [y, cb, cr] = [luma[at], blue[at], red[at]].map(i32::from);
        let (cb, cr) = (cb - 128, cr - 128);
        planes[0][at] = (y + ((91_881 * cr + HALF) >> 16)).clamp(0, 255) as u8;
        planes[1][at] = (y + ((HALF - 22_554 * cb - 46_802 * cr) >> 16)).clamp(0, 255) as u8;
        planes[2][at] = (y + ((116_130 * cb + HALF) >> 16)).clamp(0, 255) as u8;
    }
    *to = std::array::from_fn(|at| planes[at % 3][at / 3]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_that_of_the_standard_up_to_rounding() {
        for (luma, chroma) in (0..=255_u8).step_by(3).flat_map(|luma| (0..=255_u8).map(move |chroma| (luma, chroma))) {
            let other = chroma.wrapping_mul(37).wrapping_add(luma);
            let mut made = [0; 3];
            convert(&[luma], &[chroma], &[other], &mut made);
            let (y, cb, cr) = (f64::from(luma), f64::from(chroma) - 128.0, f64::from(other) - 128.0);
            let exact = [y + 1.402 * cr, y - 0.344_136_286 * cb - 0.714_136_286 * cr, y + 1.772 * cb];
            for (made, exact) in made.into_iter().zip(exact) {
                assert!((f64::from(made) - exact.clamp(0.0, 255.0)).abs() < 0.51, "{luma} {chroma} {other}: {made} is not {exact}");
            }
        }
    }

    #[test]
    fn rows_of_every_length_are_converted_to_their_end() {
        for width in 1..50 {
            let plane: Vec<u8> = (0..width).map(|at| (at * 5) as u8).collect();
            let mut made = vec![1; width * 3];
            convert(&plane, &vec![128; width], &vec![128; width], &mut made);
            assert_eq!(made, plane.iter().flat_map(|grey| [*grey; 3]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn between_two_samples_three_parts_of_the_nearer_one_count() {
        let enlarged = |other, wide| {
            let mut to = [0; 6];
            enlarge(&[0, 100, 200], other, wide, &mut Vec::new(), &mut to);
            to
        };
        assert_eq!(enlarged(None, true), [0, 25, 75, 125, 175, 200]);
        assert_eq!(enlarged(Some((&[100, 200, 200], true)), true), [25, 50, 100, 144, 181, 200]);
        assert_eq!(enlarged(Some((&[2, 102, 202], true)), false)[..3], [0, 100, 200]);
        assert_eq!(enlarged(Some((&[2, 102, 202], false)), false)[..3], [1, 101, 201]);
    }
}
