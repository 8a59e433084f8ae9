//! What a picture roughly looks like, in a few bytes: the open format of <https://evanw.github.io/thumbhash/>.
//!
//! The picture is made small, its brightness, two differences of colours and its alpha become sums of cosine waves, and the slowest waves of
//! each are kept in four bits.

use std::f64::consts::PI;

use image::{DynamicImage, Pixel};
use tintype_store::Thumbhash;

/// The longer side of the small picture.
const MAX_SIDE: u32 = 100;
/// Pixels a side that are looked at for each of the small picture: with all of them it would take as long as a quick encoder.
const LOOKS: u32 = 4;

/// The small picture, filled with the rows of the large one.
pub(super) struct Sampler {
    large: (u32, u32),
    small: (u32, u32),
    /// For each small pixel: red, green and blue multiplied by alpha, alpha, and the number of pixels in it.
    sums: Vec<[f64; 5]>,
    /// The row that comes next.
    y: u32,
}

impl Sampler {
    /// For a picture of this size, as people see it.
    pub(super) fn new(width: u32, height: u32) -> Self {
        let longest = width.max(height);
        let side = |pixels: u32| match longest {
            ..=MAX_SIDE => pixels,
            _ => (u64::from(pixels) * u64::from(MAX_SIDE) / u64::from(longest)).max(1) as u32,
        };
        let small = (side(width), side(height));
        Self { large: (width, height), small, sums: vec![[0.0; 5]; small.0 as usize * small.1 as usize], y: 0 }
    }

    /// The hash of a whole picture.
    pub(super) fn hash_of(image: &DynamicImage) -> Thumbhash {
        let mut sampler = Self::new(image.width(), image.height());
        sampler.take(image);
        sampler.finish()
    }

    /// Takes the next rows: those of a picture of the same width, in integers, from its first to its last.
    pub(super) fn take(&mut self, rows: &DynamicImage) {
        match rows {
            DynamicImage::ImageLuma8(it) => self.take_rows(it, |[grey]: [u8; 1]| eight([grey, grey, grey, 255])),
            DynamicImage::ImageLumaA8(it) => self.take_rows(it, |[grey, alpha]: [u8; 2]| eight([grey, grey, grey, alpha])),
            DynamicImage::ImageRgb8(it) => self.take_rows(it, |[red, green, blue]: [u8; 3]| eight([red, green, blue, 255])),
            DynamicImage::ImageRgba8(it) => self.take_rows(it, eight),
            DynamicImage::ImageLuma16(it) => self.take_rows(it, |[grey]: [u16; 1]| sixteen([grey, grey, grey, u16::MAX])),
            DynamicImage::ImageLumaA16(it) => self.take_rows(it, |[grey, alpha]: [u16; 2]| sixteen([grey, grey, grey, alpha])),
            DynamicImage::ImageRgb16(it) => self.take_rows(it, |[red, green, blue]: [u16; 3]| sixteen([red, green, blue, u16::MAX])),
            DynamicImage::ImageRgba16(it) => self.take_rows(it, sixteen),
            // Decoders' floating point is made integers before.
            _ => {}
        }
    }

    /// The hash of all rows.
    pub(super) fn finish(self) -> Thumbhash {
        let (width, height) = (self.small.0 as usize, self.small.1 as usize);
        let means: Vec<[f64; 4]> = self
            .sums
            .iter()
            .map(|[red, green, blue, alpha, count]| [*red, *green, *blue, *alpha].map(|sum| sum / count.max(1.0)))
            .collect();
        hash(width, height, &means)
    }

    fn take_rows<P: Pixel, const CHANNELS: usize>(
        &mut self,
        rows: &image::ImageBuffer<P, Vec<P::Subpixel>>,
        rgba: impl Fn([P::Subpixel; CHANNELS]) -> [f64; 4],
    ) {
        let columns = looked_at(self.large.0, self.small.0);
        let step = (self.large.1 / (self.small.1 * LOOKS)).max(1);
        for row in rows.as_chunks::<CHANNELS>().0.chunks_exact(self.large.0 as usize) {
            // Every row of a small picture, and of a large one so many that each small pixel gets some.
            if self.y.is_multiple_of(step) {
                let small_y = u64::from(self.y) * u64::from(self.small.1) / u64::from(self.large.1);
                let sums = &mut self.sums[small_y as usize * self.small.0 as usize..];
                for &(x, small_x) in &columns {
                    let [red, green, blue, alpha] = rgba(row[x]);
                    for (sum, value) in sums[small_x].iter_mut().zip([red * alpha, green * alpha, blue * alpha, alpha, 1.0]) {
                        *sum += value;
                    }
                }
            }
            self.y += 1;
        }
    }
}

/// Columns of the large picture that are looked at, each with the column of the small one that it is part of.
fn looked_at(large: u32, small: u32) -> Vec<(usize, usize)> {
    let step = (large / (small * LOOKS)).max(1);
    (0..large).step_by(step as usize).map(|x| (x as usize, (u64::from(x) * u64::from(small) / u64::from(large)) as usize)).collect()
}

fn eight(pixel: [u8; 4]) -> [f64; 4] {
    pixel.map(|sample| f64::from(sample) / 255.0)
}

fn sixteen(pixel: [u16; 4]) -> [f64; 4] {
    pixel.map(|sample| f64::from(sample) / 65_535.0)
}

/// The hash of pixels whose colours are multiplied by their alpha, all from 0 to 1.
fn hash(width: usize, height: usize, pixels: &[[f64; 4]]) -> Thumbhash {
    let sum = |channel: usize| pixels.iter().map(|pixel| pixel[channel]).sum::<f64>();
    let opacity = sum(3);
    let mean = [0, 1, 2].map(|channel| if opacity > 0.0 { sum(channel) / opacity } else { 0.0 });
    let has_alpha = pixels.iter().any(|pixel| pixel[3] < 1.0);
    // What is transparent takes the mean colour, so that it adds no edges.
    let composed = |pixel: &[f64; 4]| [0, 1, 2].map(|channel| pixel[channel] + mean[channel] * (1.0 - pixel[3]));
    let channel = |value: &dyn Fn([f64; 3]) -> f64| pixels.iter().map(|pixel| value(composed(pixel))).collect::<Vec<f64>>();
    let brightness = channel(&|[red, green, blue]| (red + green + blue) / 3.0);
    let yellow_blue = channel(&|[red, green, blue]| f64::midpoint(red, green) - blue);
    let red_green = channel(&|[red, green, _]| red - green);
    let alpha: Vec<f64> = pixels.iter().map(|pixel| pixel[3]).collect();

    let most = if has_alpha { 5.0 } else { 7.0 };
    let waves = |side: usize| ((most * side as f64 / width.max(height) as f64).round() as usize).max(1);
    let (across, down) = (waves(width), waves(height));
    let size = (width, height);
    let l = Waves::of(&brightness, size, (across.max(3), down.max(3)));
    let p = Waves::of(&yellow_blue, size, (3, 3));
    let q = Waves::of(&red_green, size, (3, 3));
    let a = has_alpha.then(|| Waves::of(&alpha, size, (5, 5)));

    let is_landscape = width > height;
    let bits = |value: f64, max: u32| ((value * f64::from(max)).round() as u32).min(max);
    let signed = |value: f64| (31.5 + 31.5 * value).round().clamp(0.0, 63.0) as u32;
    let colours = bits(l.mean, 63) | signed(p.mean) << 6 | signed(q.mean) << 12 | bits(l.scale, 31) << 18 | u32::from(has_alpha) << 23;
    let shape =
        (if is_landscape { down } else { across }) as u32 | bits(p.scale, 63) << 3 | bits(q.scale, 63) << 9 | u32::from(is_landscape) << 15;
    let mut bytes = colours.to_le_bytes()[..3].to_vec();
    bytes.extend_from_slice(&shape.to_le_bytes()[..2]);
    bytes.extend(a.iter().map(|a| (bits(a.mean, 15) | bits(a.scale, 15) << 4) as u8));
    let strengths: Vec<u8> = [Some(&l), Some(&p), Some(&q), a.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|waves| waves.strengths.iter().map(|strength| bits(*strength, 15) as u8))
        .collect();
    bytes.extend(strengths.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
    Thumbhash::new(&bytes).expect("so few waves take no more bytes than a thumbhash may have")
}

/// A channel as the sum of cosine waves.
struct Waves {
    mean: f64,
    /// Of the strongest of the others.
    scale: f64,
    /// Of the others, from 0 to 1: a half is none.
    strengths: Vec<f64>,
}

impl Waves {
    /// At most `across` waves in a row and `down` in a column, those that are slow in both.
    fn of(channel: &[f64], (width, height): (usize, usize), (across, down): (usize, usize)) -> Self {
        let wave = |turns: usize, side: usize| -> Vec<f64> {
            (0..side).map(|at| (PI / side as f64 * turns as f64 * (at as f64 + 0.5)).cos()).collect()
        };
        let (mut mean, mut scale, mut strengths) = (0.0, 0.0_f64, Vec::new());
        for turns_down in 0..down {
            let in_column = wave(turns_down, height);
            for turns_across in (0..across).take_while(|turns_across| turns_across * down < across * (down - turns_down)) {
                let in_row = wave(turns_across, width);
                let rows = channel.chunks_exact(width).zip(&in_column);
                let sum: f64 = rows.map(|(row, y)| y * row.iter().zip(&in_row).map(|(value, x)| value * x).sum::<f64>()).sum();
                let strength = sum / (width * height) as f64;
                if turns_down == 0 && turns_across == 0 {
                    mean = strength;
                } else {
                    scale = scale.max(strength.abs());
                    strengths.push(strength);
                }
            }
        }
        if scale > 0.0 {
            for strength in &mut strengths {
                *strength = 0.5 + 0.5 / scale * *strength;
            }
        }
        Self { mean, scale, strengths }
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgba};

    use super::*;

    #[test]
    fn hashes_are_those_of_the_open_format() {
        // Made by the format's own JavaScript, version 0.1.1, of these very pixels.
        for ((width, height), has_alpha, expected) in [
            ((32_u32, 24_u32), false, "5d07061d884074a8637587239737c896455012e2f7"),
            ((24, 100), false, "df0706120465540452776456668340a407"),
            ((40, 40), true, "9d07860d040842544063532646123051b1f6ffdebf9aafe8d9"),
            ((77, 50), false, "df07020d804415633044558085336572634091f1f3"),
            ((90, 30), true, "9d07820a84083334404552446073c5f8adcdbf9abed8da"),
        ] {
            let pixel = |x: u32, y: u32| {
                let alpha = if has_alpha { 255 - x * y * 3 % 256 } else { 255 };
                Rgba([x * x + 3 * y, x * y + y * y, x * 7 + y * 13, alpha].map(|sample| (sample % 256) as u8))
            };
            let picture = DynamicImage::ImageRgba8(ImageBuffer::from_fn(width, height, pixel));
            assert_eq!(Sampler::hash_of(&picture).to_string(), expected, "{width} x {height}");
            let deep = DynamicImage::ImageRgba16(picture.to_rgba16());
            assert_eq!(Sampler::hash_of(&deep).to_string(), expected, "{width} x {height} in 16 bit");
        }
    }

    #[test]
    fn every_size_has_a_hash_and_rows_may_come_in_any_number() {
        for (width, height) in [(1, 1), (1, 5000), (5000, 1), (101, 100), (399, 401), (1600, 900)] {
            let picture = DynamicImage::ImageLumaA8(ImageBuffer::from_fn(width, height, |x, y| image::LumaA([x as u8, y as u8])));
            let mut sampler = Sampler::new(width, height);
            for top in (0..height).step_by(37) {
                sampler.take(&picture.crop_imm(0, top, width, 37.min(height - top)));
            }
            assert_eq!(sampler.finish(), Sampler::hash_of(&picture), "{width} x {height}");
        }
    }
}
