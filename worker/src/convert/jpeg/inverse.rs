//! From frequencies back to pixels: the inverse cosine transform in integers.
//!
//! It is the one of Loeffler, Ligtenberg and Moschytz ("Practical fast 1-D DCT algorithms with 11 multiplications", 1989) with constants of 13
//! bits and two more bits between its passes, as the Independent JPEG Group has it, so that pixels are those that most programs show.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use std::num::Wrapping;

/// Frequencies of a block, in rows, multiplied by their steps.
pub(super) type Frequencies = [i32; 64];

/// Eight lanes of values that damaged files may make too large: wrong then anyway, and no reason to stop.
type Lanes = [[Wrapping<i32>; 8]; 8];

const CONSTANT_BITS: usize = 13;
const BETWEEN_BITS: usize = 2;

/// Writes 8 by 8 samples, the first one first, rows `stride` apart.
#[inline(always)]
pub(super) fn write(frequencies: &Frequencies, to: &mut [u8], stride: usize) {
    let lanes: Lanes = std::array::from_fn(|row| std::array::from_fn(|column| Wrapping(frequencies[row * 8 + column])));
    let half_way = transposed(&waves::<{ CONSTANT_BITS - BETWEEN_BITS }>(&lanes));
    // Each pass makes all values √8 times as large.
    let samples = transposed(&waves::<{ CONSTANT_BITS + BETWEEN_BITS + 3 }>(&half_way));
    for (row, samples) in samples.iter().enumerate() {
        let to: &mut [u8; 8] = to[row * stride..].first_chunk_mut().expect("a plane has whole blocks");
        *to = std::array::from_fn(|column| sample(samples[column].0));
    }
}

/// The same for a block of which only the mean is not zero.
#[inline(always)]
pub(super) fn write_mean(mean: i32, to: &mut [u8], stride: usize) {
    let mean = sample((mean + 4) >> 3);
    for row in 0..8 {
        to[row * stride..][..8].fill(mean);
    }
}

#[inline(always)]
fn sample(around_zero: i32) -> u8 {
    around_zero.wrapping_add(128).clamp(0, 255) as u8
}

#[inline(always)]
fn transposed(lanes: &Lanes) -> Lanes {
    std::array::from_fn(|row| std::array::from_fn(|column| lanes[column][row]))
}

/// One dimension, for eight lanes at once, rounded to `BITS` fewer.
#[inline(always)]
fn waves<const BITS: usize>(x: &Lanes) -> Lanes {
    let mut out = [[Wrapping(0); 8]; 8];
    let times = |value: Wrapping<i32>, constant: i32| value * Wrapping(constant);
    for lane in 0..8 {
        let at = |frequency: usize| x[frequency][lane];
        let shared = times(at(2) + at(6), 4433);
        let (inner, outer) = (shared - times(at(6), 15_137), shared + times(at(2), 6270));
        let (sum, difference) = ((at(0) + at(4)) << CONSTANT_BITS, (at(0) - at(4)) << CONSTANT_BITS);
        let even = [sum + outer, difference + inner, difference - inner, sum - outer];

        let shared = times(at(7) + at(3) + at(5) + at(1), 9633);
        let (far, near) = (times(at(7) + at(1), -7373), times(at(5) + at(3), -20_995));
        let (threes, fives) = (times(at(7) + at(3), -16_069) + shared, times(at(5) + at(1), -3196) + shared);
        let odd = [
            times(at(1), 12_299) + far + fives,
            times(at(3), 25_172) + near + threes,
            times(at(5), 16_819) + near + fives,
            times(at(7), 2446) + far + threes,
        ];
        for (row, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            let half = Wrapping(1 << (BITS - 1));
            out[row][lane] = (even + odd + half) >> BITS;
            out[7 - row][lane] = (even - odd + half) >> BITS;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ITU-T T.81, A.3.3, as it stands there.
    fn exact(frequencies: &Frequencies, x: usize, y: usize) -> f64 {
        let weight = |frequency: usize| if frequency == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let cosine = |at: usize, frequency: usize| ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos();
        let wave = |at: usize| {
            let (u, v) = (at % 8, at / 8);
            f64::from(frequencies[at]) * weight(u) * weight(v) * cosine(x, u) * cosine(y, v)
        };
        ((0..64).map(wave).sum::<f64>() / 4.0 + 128.0).clamp(0.0, 255.0)
    }

    #[test]
    fn pixels_are_those_of_the_standard_up_to_rounding() {
        for seed in 1..40_i32 {
            let frequencies = std::array::from_fn(|at| (at as i32 * seed * 7919 % 301 - 150) / (1 + at as i32 / 6));
            let mut samples = [0; 64];
            write(&frequencies, &mut samples, 8);
            for (at, sample) in samples.into_iter().enumerate() {
                let exact = exact(&frequencies, at % 8, at / 8);
                assert!((f64::from(sample) - exact).abs() < 0.6, "{seed}: {sample} is not {exact}");
            }
        }
    }

    #[test]
    fn a_mean_alone_gives_the_same_either_way() {
        for mean in -1100..1100 {
            let (mut one, mut other) = ([0; 64], [1; 64]);
            write(&std::array::from_fn(|at| if at == 0 { mean } else { 0 }), &mut one, 8);
            write_mean(mean, &mut other, 8);
            assert_eq!(one, other, "{mean}");
        }
    }

    #[test]
    fn values_of_damaged_files_are_no_reason_to_stop() {
        for value in [i32::MAX, i32::MIN, 1 << 27, -(1 << 27)] {
            write(&[value; 64], &mut [0; 64], 8);
        }
    }
}
