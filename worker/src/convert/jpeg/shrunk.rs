//! Baseline JPEG at a half, a quarter or an eighth of its size: of each block only the lowest frequencies are turned back into pixels, so that
//! little more than reading the bits is left to do.
//!
//! It knows the usual kinds and gives up on everything else, damage included: then the whole picture is decoded, and that decoder decides.

use image::{DynamicImage, GrayImage, RgbImage};

use super::{
    bits::{Bits, Codes},
    frame::{Component, Frame},
    tables::ZIGZAG,
};

/// cos(k π / 16).
const COSINES: [f32; 32] = [
    1.0,
    0.980_785_25,
    0.923_879_5,
    0.831_469_6,
    0.707_106_77,
    0.555_570_24,
    0.382_683_43,
    0.195_090_32,
    0.0,
    -0.195_090_32,
    -0.382_683_43,
    -0.555_570_24,
    -0.707_106_77,
    -0.831_469_6,
    -0.923_879_5,
    -0.980_785_25,
    -1.0,
    -0.980_785_25,
    -0.923_879_5,
    -0.831_469_6,
    -0.707_106_77,
    -0.555_570_24,
    -0.382_683_43,
    -0.195_090_32,
    0.0,
    0.195_090_32,
    0.382_683_43,
    0.555_570_24,
    0.707_106_77,
    0.831_469_6,
    0.923_879_5,
    0.980_785_25,
];

/// What becomes of one component.
struct Plane {
    /// Pixels that a block gives.
    block_width: usize,
    block_height: usize,
    /// A bit for each frequency, in zigzag, that these pixels show.
    wanted: u64,
    mean: i32,
    stride: usize,
    samples: Vec<u8>,
}

/// Grey or RGB of 8 bit; sides are rounded up. `eighths` is 1, 2 or 4.
pub(super) fn decode(input: &[u8], eighths: usize) -> Option<DynamicImage> {
    let (frame, scan) = Frame::read(input)?;
    let mut bits = Bits::new(scan);
    let (most_across, most_down) = frame.unit_blocks()?;
    let (units_across, units_down) = (frame.width.div_ceil(8 * most_across), frame.height.div_ceil(8 * most_down));
    let plane = |component: &Component| {
        let (block_width, block_height) = (eighths * most_across / component.across, eighths * most_down / component.down);
        let wanted = ZIGZAG.iter().enumerate().fold(0, |wanted, (at, index)| {
            let shown = usize::from(index % 8) < block_width && usize::from(index / 8) < block_height;
            wanted | u64::from(shown) << at
        });
        let stride = units_across * component.across * block_width;
        let samples = vec![0; stride * units_down * component.down * block_height];
        (block_width <= 8 && block_height <= 8).then_some(Plane { block_width, block_height, wanted, mean: 0, stride, samples })
    };
    let mut planes = frame.components.iter().map(plane).collect::<Option<Vec<_>>>()?;
    let steps = frame.steps.map(|steps| steps.map(|steps| steps.map(f32::from)));
    for unit in 0..units_across * units_down {
        if frame.restart_every > 0 && unit > 0 && unit % frame.restart_every == 0 {
            if bits.is_exhausted() {
                return None;
            }
            bits.restart(((unit / frame.restart_every - 1) % 8) as u8)?;
            for plane in &mut planes {
                plane.mean = 0;
            }
        }
        for (component, plane) in frame.components.iter().zip(&mut planes) {
            let (dc, ac) = (frame.dc[component.dc].as_ref()?, frame.ac[component.ac].as_ref()?);
            let steps = steps[component.steps].as_ref()?;
            for block in 0..component.across * component.down {
                let x = unit % units_across * component.across + block % component.across;
                let y = unit / units_across * component.down + block / component.across;
                plane.block(&mut bits, dc, ac, steps, x, y)?;
            }
        }
    }
    if bits.is_exhausted() {
        return None;
    }
    picture(&planes, (frame.width * eighths).div_ceil(8), (frame.height * eighths).div_ceil(8))
}

fn picture(planes: &[Plane], width: usize, height: usize) -> Option<DynamicImage> {
    let row = |plane: usize, y: usize| &planes[plane].samples[y * planes[plane].stride..][..width];
    let mut samples = Vec::with_capacity(width * height * planes.len());
    for y in 0..height {
        if planes.len() == 1 {
            samples.extend_from_slice(row(0, y));
            continue;
        }
        for ((luma, blue), red) in row(0, y).iter().zip(row(1, y)).zip(row(2, y)) {
            let (y, cb, cr) = (f32::from(*luma), f32::from(*blue) - 128.0, f32::from(*red) - 128.0);
            samples.extend([y + 1.402 * cr, y - 0.344_136_3 * cb - 0.714_136_3 * cr, y + 1.772 * cb].map(byte));
        }
    }
    let (width, height) = (width as u32, height as u32);
    if planes.len() == 1 {
        return GrayImage::from_raw(width, height, samples).map(DynamicImage::ImageLuma8);
    }
    RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
}

/// To the nearest of 0 to 255.
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

impl Plane {
    fn block(&mut self, bits: &mut Bits<'_>, dc: &Codes, ac: &Codes, steps: &[f32; 64], x: usize, y: usize) -> Option<()> {
        let mut frequencies = [0.0_f32; 64];
        let size = u32::from(bits.value(dc)?);
        if size > 11 {
            return None;
        }
        self.mean += bits.of_class(size);
        frequencies[0] = self.mean as f32 * steps[0];
        let mut at = 1;
        let mut only_mean = true;
        while at < 64 {
            let (length, run_and_size) = bits.peek(ac)?;
            let (run, size) = (usize::from(run_and_size >> 4), u32::from(run_and_size & 15));
            if size == 0 {
                bits.skip(length);
                if run < 15 {
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            if self.wanted >> (at % 64) & 1 == 1 && at < 64 {
                bits.skip(length);
                frequencies[usize::from(ZIGZAG[at])] = bits.of_class(size) as f32 * steps[at];
                only_mean = false;
            } else {
                bits.skip(length + size);
            }
            at += 1;
        }
        // A run of sixteen zeros, or the value behind a run, may not lead out of the block.
        if at > 64 {
            return None;
        }
        let start = y * self.block_height * self.stride + x * self.block_width;
        if only_mean {
            let mean = byte(frequencies[0] / 8.0 + 128.0);
            for row in 0..self.block_height {
                self.samples[start + row * self.stride..][..self.block_width].fill(mean);
            }
            return Some(());
        }
        let mut half_way = [0.0_f32; 64];
        for row in 0..self.block_height {
            for column in 0..self.block_width {
                half_way[row * 8 + column] = waves(&frequencies[row * 8..], 1, self.block_width, column);
            }
        }
        for row in 0..self.block_height {
            for column in 0..self.block_width {
                let light = waves(&half_way[column..], 8, self.block_height, row);
                self.samples[start + row * self.stride + column] = byte(light + 128.0);
            }
        }
        Some(())
    }
}

/// The value at one of `count` places, 1, 2, 4 or 8, of as many frequencies, which lie `stride` apart. The factors are those of eight
/// frequencies, so that fewer of them give the same light.
fn waves(frequencies: &[f32], stride: usize, count: usize, at: usize) -> f32 {
    const MEAN: f32 = 0.353_553_38;
    let step = 8 / count;
    (1..count).fold(frequencies[0] * MEAN, |sum, frequency| {
        sum + frequencies[frequency * stride] * 0.5 * COSINES[(2 * at + 1) * frequency * step % 32]
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, imageops::FilterType};

    use super::*;

    fn jpeg(image: &RgbImage, factors: jpeg_encoder::SamplingFactor, restart_every: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
        encoder.set_sampling_factor(factors);
        if restart_every > 0 {
            encoder.set_restart_interval(restart_every);
        }
        encoder.encode(image, image.width() as u16, image.height() as u16, jpeg_encoder::ColorType::Rgb).expect("it can be encoded");
        bytes
    }

    #[test]
    fn it_looks_like_the_whole_picture_made_smaller() {
        use jpeg_encoder::SamplingFactor as Factor;
        let smooth = RgbImage::from_fn(203, 121, |x, y| Rgb([(x + 20) as u8, (y * 2) as u8, (255 - x / 2 - y / 2) as u8]));
        for (factors, restart_every) in
            [(Factor::R_4_4_4, 0), (Factor::R_4_2_2, 0), (Factor::R_4_2_0, 0), (Factor::R_4_4_0, 3), (Factor::R_4_2_0, 1)]
        {
            let jpeg = jpeg(&smooth, factors, restart_every);
            let whole = image::load_from_memory_with_format(&jpeg, ImageFormat::Jpeg).expect("it can be decoded");
            for eighths in [1, 2, 4] {
                let Some(shrunk) = decode(&jpeg, eighths) else { panic!("{factors:?} in {eighths}/8 is not decoded") };
                assert_eq!((shrunk.width() as usize, shrunk.height() as usize), ((203 * eighths).div_ceil(8), (121 * eighths).div_ceil(8)));
                // Up to the last whole block: the mean of the pixels that each stands for.
                let (width, height) = ((200 * eighths / 8) as u32, (120 * eighths / 8) as u32);
                let expected = whole.crop_imm(0, 0, 200, 120).resize_exact(width, height, FilterType::Triangle).into_rgb8();
                let shown = shrunk.crop_imm(1, 1, width - 2, height - 2).into_rgb8();
                for (x, y, pixel) in shown.enumerate_pixels() {
                    let expected = expected.get_pixel(x + 1, y + 1);
                    let near = pixel.0.iter().zip(expected.0).all(|(one, other)| one.abs_diff(other) <= 5);
                    assert!(near, "{factors:?} in {eighths}/8 at {x}, {y}: {pixel:?} is not {expected:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_cut_or_of_another_kind_is_left_to_the_other_decoder() {
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, ((x * y) % 256) as u8]));
        let whole = jpeg(&image, jpeg_encoder::SamplingFactor::R_4_2_0, 0);
        assert!(decode(&whole, 2).is_some());
        assert!(decode(&whole[..whole.len() - 2], 2).is_some(), "the end mark is no pixel");
        for kept in [whole.len() - 40, whole.len() / 2, 100, 3] {
            assert!(decode(&whole[..kept], 2).is_none(), "cut to {kept}");
        }
        let mut progressive = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 90);
        encoder.set_progressive(true);
        encoder.encode(&image, 64, 64, jpeg_encoder::ColorType::Rgb).expect("it can be encoded");
        assert!(decode(&progressive, 2).is_none());
    }
}
