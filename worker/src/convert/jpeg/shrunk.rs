//! Baseline JPEG at a half, a quarter or an eighth of its size: of each block only the lowest frequencies are turned back into pixels, so that
//! little more than reading the bits is left to do.
//!
//! It knows the usual kinds and gives up on everything else, damage included: then the whole picture is decoded, and that decoder decides.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use image::{DynamicImage, GrayImage, RgbImage};

use super::{
    bits::{Bits, Codes, Skips},
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
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
        #[expect(unsafe_code, reason = "the processor has the instructions that the function was compiled for")]
        // SAFETY: AVX2 and BMI2 were just detected.
        return unsafe { decode_with_avx2(input, eighths) };
    }
    decode_for_this_processor(input, eighths)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn decode_with_avx2(input: &[u8], eighths: usize) -> Option<DynamicImage> {
    decode_for_this_processor(input, eighths)
}

#[inline(always)]
fn decode_for_this_processor(input: &[u8], eighths: usize) -> Option<DynamicImage> {
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
    let skips = frame.ac.each_ref().map(|codes| codes.as_ref().map(Skips::new));
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
            let codes = BlockCodes { dc, ac, skips: skips[component.ac].as_ref()? };
            let steps = steps[component.steps].as_ref()?;
            for block in 0..component.across * component.down {
                let x = unit % units_across * component.across + block % component.across;
                let y = unit / units_across * component.down + block / component.across;
                plane.block(&mut bits, &codes, steps, x, y)?;
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
    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, codes: &BlockCodes<'_>, steps: &[f32; 64], x: usize, y: usize) -> Option<()> {
        let size = u32::from(bits.value(codes.dc)?);
        if size > 11 {
            return None;
        }
        self.mean = self.mean.wrapping_add(bits.of_class(size));
        let mean = self.mean as f32 * steps[0];
        let start = y * self.block_height * self.stride + x * self.block_width;
        if self.wanted == 1 {
            self.samples[start] = byte(mean / 8.0 + 128.0);
            return bits.skip_values(codes.ac, codes.skips, 1);
        }
        let mut frequencies = [0.0_f32; 64];
        frequencies[0] = mean;
        let mut at = 1;
        let mut only_mean = true;
        while at < 64 {
            if self.wanted >> at == 0 {
                bits.skip_values(codes.ac, codes.skips, at)?;
                break;
            }
            let (length, run_and_size) = bits.peek(codes.ac)?;
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
        if only_mean {
            let mean = byte(mean / 8.0 + 128.0);
            for row in 0..self.block_height {
                self.samples[start + row * self.stride..][..self.block_width].fill(mean);
            }
            return Some(());
        }
        let mut half_way = [0.0_f32; 64];
        match self.block_width {
            1 => across::<1>(&frequencies, self.block_height, &mut half_way),
            2 => across::<2>(&frequencies, self.block_height, &mut half_way),
            4 => across::<4>(&frequencies, self.block_height, &mut half_way),
            _ => across::<8>(&frequencies, self.block_height, &mut half_way),
        }
        let to = &mut self.samples[start..];
        match self.block_height {
            1 => down::<1>(&half_way, self.block_width, to, self.stride),
            2 => down::<2>(&half_way, self.block_width, to, self.stride),
            4 => down::<4>(&half_way, self.block_width, to, self.stride),
            _ => down::<8>(&half_way, self.block_width, to, self.stride),
        }
        Some(())
    }
}

/// What reads the blocks of a component.
struct BlockCodes<'a> {
    dc: &'a Codes,
    ac: &'a Codes,
    skips: &'a Skips,
}

#[inline(always)]
fn across<const COUNT: usize>(frequencies: &[f32; 64], rows: usize, half_way: &mut [f32; 64]) {
    for (from, to) in frequencies.chunks_exact(8).zip(half_way.chunks_exact_mut(8)).take(rows) {
        for (column, to) in to.iter_mut().enumerate().take(COUNT) {
            *to = waves::<COUNT>(|frequency| from[frequency], column);
        }
    }
}

#[inline(always)]
fn down<const COUNT: usize>(half_way: &[f32; 64], columns: usize, to: &mut [u8], stride: usize) {
    for row in 0..COUNT {
        for (column, to) in to[row * stride..][..columns].iter_mut().enumerate() {
            *to = byte(waves::<COUNT>(|frequency| half_way[column + frequency * 8], row) + 128.0);
        }
    }
}

/// The value at one of `COUNT` places, 1, 2, 4 or 8, of as many frequencies. The factors are those of eight frequencies, so that fewer of them
/// give the same light.
#[inline(always)]
fn waves<const COUNT: usize>(frequency: impl Fn(usize) -> f32, at: usize) -> f32 {
    const MEAN: f32 = 0.353_553_38;
    let step = 8 / COUNT;
    (1..COUNT).fold(frequency(0) * MEAN, |sum, number| sum + frequency(number) * 0.5 * COSINES[(2 * at + 1) * number * step % 32])
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
    fn every_processor_gives_the_same_bits() {
        let noisy = RgbImage::from_fn(150, 90, |x, y| Rgb([((x * 7) ^ (y * 3)) as u8, (x * y / 5) as u8, (x * x / 9 + y) as u8]));
        for factors in [jpeg_encoder::SamplingFactor::R_4_4_4, jpeg_encoder::SamplingFactor::R_4_2_0] {
            let jpeg = jpeg(&noisy, factors, 2);
            for eighths in [1, 2, 4] {
                assert!(decode(&jpeg, eighths).is_some());
                assert_eq!(decode(&jpeg, eighths), decode_for_this_processor(&jpeg, eighths), "{factors:?} in {eighths}/8");
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
