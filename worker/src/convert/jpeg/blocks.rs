//! From pixels to quantised frequencies, a band of sixteen rows at a time: colours, averaging of chroma, cosine transform, quantisation.
//!
//! Everything is done on whole rows or on eight columns at once, in plain arithmetic that the compiler turns into vector instructions. It is
//! compiled twice, for every processor and for those with AVX2; both give the same bits, because no step may be fused or reordered.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use super::tables::steps;

/// Rows of a band of RGB, and columns of its unit: four blocks of luma and one of each chroma.
pub(super) const UNIT_SIDE: usize = 16;
const BLOCK_SIDE: usize = 8;

/// Frequencies of 8 by 8 pixels, quantised. They lie in columns: horizontal frequency times eight plus vertical frequency.
pub(super) type Block = [i16; 64];

/// How the frequencies of one kind of component are scaled.
type Scales = [f32; 64];

/// Makes blocks out of bands of a picture.
pub(super) struct Blocks {
    width: usize,
    /// Up to whole units.
    padded_width: usize,
    has_colour: bool,
    luma_scales: Scales,
    chroma_scales: Scales,
    planes: Planes,
    made: Vec<Block>,
}

/// Working space of a band.
#[derive(Default)]
struct Planes {
    /// Two rows of each colour.
    colours: [[Vec<u8>; 3]; 2],
    luma: Vec<f32>,
    blue: Vec<f32>,
    red: Vec<f32>,
}

impl Blocks {
    /// For RGB, or grey without colour.
    pub(super) fn new(width: usize, has_colour: bool, quality: u8) -> Self {
        let padded_width = width.next_multiple_of(if has_colour { UNIT_SIDE } else { BLOCK_SIDE });
        let [luma, chroma] = steps(quality);
        let row = || vec![0; padded_width];
        let chroma_samples = padded_width / 2 * BLOCK_SIDE;
        let planes = Planes {
            colours: [[row(), row(), row()], [row(), row(), row()]],
            luma: vec![0.0; padded_width * UNIT_SIDE],
            blue: vec![0.0; chroma_samples],
            red: vec![0.0; chroma_samples],
        };
        Self { width, padded_width, has_colour, luma_scales: scales(&luma), chroma_scales: scales(&chroma), planes, made: Vec::new() }
    }

    /// The blocks of a band in the order in which a file has them: with colour unit by unit, four of luma, one of each chroma; else row by row.
    /// `rows` are 1 to 16 whole rows; what is missing below and to the right repeats the last pixels.
    pub(super) fn of_band(&mut self, rows: &[u8]) -> &[Block] {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the processor has the instructions that the function was compiled for")]
            // SAFETY: AVX2 was just detected.
            unsafe {
                of_band_with_avx2(self, rows);
            }
            return &self.made;
        }
        fill(self, rows);
        &self.made
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn of_band_with_avx2(blocks: &mut Blocks, rows: &[u8]) {
    fill(blocks, rows);
}

/// Steps as factors: what the transform leaves out is part of them.
fn scales(steps: &[u8; 64]) -> Scales {
    /// cos(k π / 16) times √2, but for the mean.
    const LEFT_OUT: [f64; 8] = [
        1.0,
        1.387_039_845_322_147_6,
        1.306_562_964_876_376_6,
        1.175_875_602_419_359,
        1.0,
        0.785_694_958_387_102_1,
        0.541_196_100_146_197,
        0.275_899_379_282_943,
    ];
    std::array::from_fn(|at| {
        let (horizontal, vertical) = (at / 8, at % 8);
        (1.0 / (f64::from(steps[vertical * 8 + horizontal]) * LEFT_OUT[horizontal] * LEFT_OUT[vertical] * 8.0)) as f32
    })
}

#[inline(always)]
fn fill(it: &mut Blocks, rows: &[u8]) {
    it.made.clear();
    if it.has_colour {
        let row_bytes = it.width * 3;
        let last = rows.len() / row_bytes - 1;
        for pair in 0..BLOCK_SIDE {
            for below in 0..2 {
                let row = (pair * 2 + below).min(last);
                separate(&rows[row * row_bytes..][..row_bytes], &mut it.planes.colours[below]);
            }
            convert(&mut it.planes, pair, it.padded_width);
        }
        let chroma_width = it.padded_width / 2;
        for unit in 0..it.padded_width / UNIT_SIDE {
            for (top, left) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                let from = &it.planes.luma[top * it.padded_width + unit * UNIT_SIDE + left..];
                it.made.push(transform(from, it.padded_width, &it.luma_scales));
            }
            for plane in [&it.planes.blue, &it.planes.red] {
                it.made.push(transform(&plane[unit * BLOCK_SIDE..], chroma_width, &it.chroma_scales));
            }
        }
    } else {
        let last = rows.len() / it.width - 1;
        let block_rows = (last + 1).div_ceil(BLOCK_SIDE);
        for row in 0..block_rows * BLOCK_SIDE {
            let from = &rows[row.min(last) * it.width..][..it.width];
            let to = &mut it.planes.luma[row * it.padded_width..][..it.padded_width];
            for (to, from) in to.iter_mut().zip(from) {
                *to = f32::from(*from) - 128.0;
            }
            let edge = to[it.width - 1];
            to[it.width..].fill(edge);
        }
        for (top, left) in (0..block_rows).flat_map(|row| (0..it.padded_width / BLOCK_SIDE).map(move |column| (row, column))) {
            let from = &it.planes.luma[top * BLOCK_SIDE * it.padded_width + left * BLOCK_SIDE..];
            it.made.push(transform(from, it.padded_width, &it.luma_scales));
        }
    }
}

/// A row of RGB as a row of each, with the last pixel repeated to the end.
#[inline(always)]
fn separate(row: &[u8], [red, green, blue]: &mut [Vec<u8>; 3]) {
    let pixels = row.as_chunks::<3>().0;
    for (((pixel, red), green), blue) in pixels.iter().zip(red.iter_mut()).zip(green.iter_mut()).zip(blue.iter_mut()) {
        [*red, *green, *blue] = *pixel;
    }
    for colour in [red, green, blue] {
        let edge = colour[pixels.len() - 1];
        colour[pixels.len()..].fill(edge);
    }
}

/// Two rows of luma and one of chroma, around zero (JFIF 1.02, page 3). Chroma is that of the mean of four pixels.
#[inline(always)]
fn convert(planes: &mut Planes, pair: usize, width: usize) {
    for (below, [red, green, blue]) in planes.colours.iter().enumerate() {
        let luma = &mut planes.luma[(pair * 2 + below) * width..][..width];
        for (((luma, red), green), blue) in luma.iter_mut().zip(red).zip(green).zip(blue) {
            *luma = f32::from(*red) * 0.299 + f32::from(*green) * 0.587 + f32::from(*blue) * 0.114 - 128.0;
        }
    }
    let [above, below] = &planes.colours;
    let half = width / 2;
    let to = pair * half;
    let (to_blue, to_red) = (&mut planes.blue[to..][..half], &mut planes.red[to..][..half]);
    let sum = |colour: usize, at: usize| {
        let (above, below) = (&above[colour].as_chunks::<2>().0[at], &below[colour].as_chunks::<2>().0[at]);
        f32::from(u16::from(above[0]) + u16::from(above[1]) + u16::from(below[0]) + u16::from(below[1])) * 0.25
    };
    for at in 0..half {
        let (red, green, blue) = (sum(0, at), sum(1, at), sum(2, at));
        to_blue[at] = blue * 0.5 - red * 0.168_735_89 - green * 0.331_264_1;
        to_red[at] = red * 0.5 - green * 0.418_687_58 - blue * 0.081_312_41;
    }
}

/// Eight samples in each of eight lanes.
type Lanes = [[f32; 8]; 8];

#[inline(always)]
fn transform(from: &[f32], stride: usize, scales: &Scales) -> Block {
    let mut lanes: Lanes = [[0.0; 8]; 8];
    for (lane, from) in lanes.iter_mut().zip(from.chunks(stride)) {
        lane.copy_from_slice(&from[..8]);
    }
    let lanes = cosines(&transposed(&cosines(&lanes)));
    let mut block = [0; 64];
    for ((block, lane), scales) in block.as_chunks_mut::<8>().0.iter_mut().zip(&lanes).zip(scales.as_chunks::<8>().0) {
        for at in 0..8 {
            block[at] = rounded(lane[at] * scales[at]);
        }
    }
    block
}

/// To the nearest integer that a baseline file can hold. Adding a number of which the last bit is a one lets the sum's own rounding do the work.
#[inline(always)]
fn rounded(value: f32) -> i16 {
    const LAST_BIT_IS_ONE: f32 = 12_582_912.0;
    const MAX: f32 = 1023.0;
    ((value.clamp(-MAX, MAX) + LAST_BIT_IS_ONE).to_bits() as i32).wrapping_sub(LAST_BIT_IS_ONE.to_bits() as i32) as i16
}

#[inline(always)]
fn transposed(lanes: &Lanes) -> Lanes {
    std::array::from_fn(|row| std::array::from_fn(|column| lanes[column][row]))
}

/// The cosine transform of each lane, up to a factor for each frequency (Arai, Agui and Nakajima, "A fast DCT-SQ scheme for images", 1988).
#[inline(always)]
fn cosines(x: &Lanes) -> Lanes {
    const COS_4: f32 = 0.707_106_77;
    const COS_6: f32 = 0.382_683_43;
    const COS_2_MINUS_COS_6: f32 = 0.541_196_1;
    const COS_2_PLUS_COS_6: f32 = 1.306_563;
    let mut out: Lanes = [[0.0; 8]; 8];
    for lane in 0..8 {
        let sum = |one: usize, other: usize| x[one][lane] + x[other][lane];
        let difference = |one: usize, other: usize| x[one][lane] - x[other][lane];
        let (outer, inner) = (sum(0, 7) + sum(3, 4), sum(1, 6) + sum(2, 5));
        let (outer_left, inner_left) = (sum(0, 7) - sum(3, 4), sum(1, 6) - sum(2, 5));
        let turned = (outer_left + inner_left) * COS_4;
        out[0][lane] = outer + inner;
        out[4][lane] = outer - inner;
        out[2][lane] = outer_left + turned;
        out[6][lane] = outer_left - turned;
        let (near, middle, far) =
            (difference(3, 4) + difference(2, 5), difference(2, 5) + difference(1, 6), difference(1, 6) + difference(0, 7));
        let shared = (near - far) * COS_6;
        let (near, far) = (near * COS_2_MINUS_COS_6 + shared, far * COS_2_PLUS_COS_6 + shared);
        let (plus, minus) = (difference(0, 7) + middle * COS_4, difference(0, 7) - middle * COS_4);
        out[5][lane] = minus + near;
        out[3][lane] = minus - near;
        out[1][lane] = plus + far;
        out[7][lane] = plus - far;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ITU-T T.81, A.3.3, as it stands there.
    fn frequency(samples: &[f64; 64], u: usize, v: usize) -> f64 {
        let weight = |frequency: usize| if frequency == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let cosine = |at: usize, frequency: usize| ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos();
        let sum: f64 = (0..64).map(|at| samples[at] * cosine(at % 8, u) * cosine(at / 8, v)).sum();
        sum * weight(u) * weight(v) / 4.0
    }

    #[test]
    fn frequencies_are_those_of_the_standard() {
        let samples: [f64; 64] = std::array::from_fn(|at| ((at * 37 + at * at * 11) % 256) as f64 - 128.0);
        let block = transform(&samples.map(|sample| sample as f32), 8, &scales(&[1; 64]));
        for (u, v) in (0..8).flat_map(|u| (0..8).map(move |v| (u, v))) {
            let exact = frequency(&samples, u, v);
            assert!((f64::from(block[u * 8 + v]) - exact).abs() <= 0.51, "{u}, {v}: {} is not {exact}", block[u * 8 + v]);
        }
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        let rows: Vec<u8> = (0..45 * 13 * 3_usize).map(|at| (at * at / 3 + at / 45) as u8).collect();
        for (has_colour, channels) in [(true, 3), (false, 1)] {
            let rows = &rows[..45 * 13 * channels];
            let mut vectors = Blocks::new(45, has_colour, 90);
            let with_vectors = vectors.of_band(rows).to_vec();
            let mut plain = Blocks::new(45, has_colour, 90);
            fill(&mut plain, rows);
            assert_eq!(with_vectors, plain.made);
        }
    }

    #[test]
    fn extremes_fit_into_a_file() {
        for at in 0..64 {
            let mut samples = [-128.0; 64];
            samples[at] = 127.0;
            let checked: [f32; 64] = std::array::from_fn(|at| if (at + at / 8) % 2 == 0 { 127.0 } else { -128.0 });
            for samples in [samples, checked, [-128.0; 64], [127.0; 64]] {
                assert!(transform(&samples, 8, &scales(&[1; 64])).iter().all(|it| it.abs() <= 1023));
            }
        }
    }
}
