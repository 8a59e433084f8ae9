//! Baseline JPEG at a half, a quarter or an eighth of its size: of each block only the lowest frequencies are turned back into pixels, so that
//! little more than reading the bits is left to do.
//!
//! It knows the usual kinds and gives up on everything else, damage included: then the whole picture is decoded, and that decoder decides.

use image::{DynamicImage, GrayImage, RgbImage};

use super::{
    bits::{Bits, Codes},
    segments,
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

/// One component of the frame.
struct Component {
    id: u8,
    /// Blocks of a unit.
    across: usize,
    down: usize,
    steps: usize,
    dc: usize,
    ac: usize,
    /// Pixels that a block gives.
    block_width: usize,
    block_height: usize,
    /// A bit for each frequency, in zigzag, that these pixels show.
    wanted: u64,
    mean: i32,
    stride: usize,
    plane: Vec<u8>,
}

/// What the segments before the scan say.
#[derive(Default)]
struct Header {
    steps: [Option<[f32; 64]>; 4],
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    width: usize,
    height: usize,
    components: Vec<Component>,
    restart_every: usize,
}

/// Grey or RGB of 8 bit; sides are rounded up. `eighths` is 1, 2 or 4.
pub(super) fn decode(input: &[u8], eighths: usize) -> Option<DynamicImage> {
    let mut header = Header::default();
    let mut scan = None;
    for (marker, content, behind) in segments(input) {
        match marker {
            0xC0 | 0xC1 => header.read_frame(content)?,
            0xC4 => header.read_codes(content)?,
            0xDB => header.read_steps(content)?,
            0xDD => header.restart_every = usize::from(u16::from_be_bytes(*content.first_chunk()?)),
            // Components that are no YCbCr.
            0xEE if content.starts_with(b"Adobe") && content.get(11) != Some(&1) => return None,
            0xC2..=0xCF => return None,
            0xDA => {
                header.read_scan(content)?;
                scan = Some(behind);
                break;
            }
            _ => {}
        }
    }
    let mut bits = Bits::new(scan?);
    let (most_across, most_down) = header.prepare(eighths)?;
    let (units_across, units_down) = (header.width.div_ceil(8 * most_across), header.height.div_ceil(8 * most_down));
    for component in &mut header.components {
        component.stride = units_across * component.across * component.block_width;
        component.plane = vec![0; component.stride * units_down * component.down * component.block_height];
    }
    for unit in 0..units_across * units_down {
        if header.restart_every > 0 && unit > 0 && unit % header.restart_every == 0 {
            if bits.is_exhausted() {
                return None;
            }
            bits.restart(((unit / header.restart_every - 1) % 8) as u8)?;
            header.components.iter_mut().for_each(|component| component.mean = 0);
        }
        for component in &mut header.components {
            let (dc, ac) = (header.dc[component.dc].as_ref()?, header.ac[component.ac].as_ref()?);
            let steps = header.steps[component.steps].as_ref()?;
            for block in 0..component.across * component.down {
                let x = unit % units_across * component.across + block % component.across;
                let y = unit / units_across * component.down + block / component.across;
                component.block(&mut bits, dc, ac, steps, x, y)?;
            }
        }
    }
    if bits.is_exhausted() {
        return None;
    }
    header.picture(eighths)
}

impl Header {
    fn read_steps(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = content.split_first() {
            let (values, rest): (Vec<f32>, _) = if kind >> 4 == 0 {
                (rest.get(..64)?.iter().map(|step| f32::from(*step)).collect(), &rest[64..])
            } else {
                (rest.get(..128)?.as_chunks().0.iter().map(|step| f32::from(u16::from_be_bytes(*step))).collect(), &rest[128..])
            };
            *self.steps.get_mut(usize::from(kind & 15))? = Some(values.try_into().ok()?);
            content = rest;
        }
        Some(())
    }

    fn read_codes(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = content.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let (values, rest) = rest.split_at_checked(counts.iter().map(|count| usize::from(*count)).sum())?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(Codes::new(counts, values)?);
            content = rest;
        }
        Some(())
    }

    fn read_frame(&mut self, content: &[u8]) -> Option<()> {
        let [8, height_high, height_low, width_high, width_low, count, components @ ..] = content else { return None };
        self.height = usize::from(u16::from_be_bytes([*height_high, *height_low]));
        self.width = usize::from(u16::from_be_bytes([*width_high, *width_low]));
        let components = components.as_chunks::<3>().0.get(..usize::from(*count))?;
        // Without JFIF or Adobe's word these letters mean that the colours are what they are called.
        let are_rgb = components.iter().map(|component| component[0]).eq(*b"RGB");
        if self.width == 0 || self.height == 0 || !matches!(count, 1 | 3) || are_rgb || !self.components.is_empty() {
            return None;
        }
        for [id, factors, steps] in components {
            let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
            // A grey picture has one block a unit, whatever it says.
            let (across, down) = if *count == 1 { (1, 1) } else { (across, down) };
            if !matches!((across, down), (1 | 2 | 4, 1 | 2 | 4)) {
                return None;
            }
            self.components.push(Component {
                id: *id,
                across,
                down,
                steps: usize::from(*steps),
                dc: 0,
                ac: 0,
                block_width: 0,
                block_height: 0,
                wanted: 0,
                mean: 0,
                stride: 0,
                plane: Vec::new(),
            });
        }
        Some(())
    }

    fn read_scan(&mut self, content: &[u8]) -> Option<()> {
        let (count, rest) = content.split_first()?;
        if usize::from(*count) != self.components.len() || self.components.is_empty() {
            return None;
        }
        for (component, [id, tables]) in self.components.iter_mut().zip(rest.as_chunks::<2>().0.get(..usize::from(*count))?) {
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if component.id != *id || component.dc > 3 || component.ac > 3 || component.steps > 3 {
                return None;
            }
        }
        Some(())
    }

    /// How many pixels of each component a block has to give, so that all components get the same size.
    fn prepare(&mut self, eighths: usize) -> Option<(usize, usize)> {
        let most_across = self.components.iter().map(|component| component.across).max()?;
        let most_down = self.components.iter().map(|component| component.down).max()?;
        for component in &mut self.components {
            component.block_width = eighths * most_across / component.across;
            component.block_height = eighths * most_down / component.down;
            if component.block_width > 8 || component.block_height > 8 {
                return None;
            }
            component.wanted = ZIGZAG.iter().enumerate().fold(0, |wanted, (at, index)| {
                let shown = usize::from(index % 8) < component.block_width && usize::from(index / 8) < component.block_height;
                wanted | u64::from(shown) << at
            });
        }
        Some((most_across, most_down))
    }

    fn picture(&self, eighths: usize) -> Option<DynamicImage> {
        let (width, height) = ((self.width * eighths).div_ceil(8), (self.height * eighths).div_ceil(8));
        let row = |component: usize, y: usize| {
            let component = &self.components[component];
            &component.plane[y * component.stride..][..width]
        };
        let mut samples = Vec::with_capacity(width * height * self.components.len());
        for y in 0..height {
            if self.components.len() == 1 {
                samples.extend_from_slice(row(0, y));
                continue;
            }
            for ((luma, blue), red) in row(0, y).iter().zip(row(1, y)).zip(row(2, y)) {
                let (y, cb, cr) = (f32::from(*luma), f32::from(*blue) - 128.0, f32::from(*red) - 128.0);
                samples.extend([y + 1.402 * cr, y - 0.344_136_3 * cb - 0.714_136_3 * cr, y + 1.772 * cb].map(byte));
            }
        }
        let (width, height) = (width as u32, height as u32);
        if self.components.len() == 1 {
            return GrayImage::from_raw(width, height, samples).map(DynamicImage::ImageLuma8);
        }
        RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
    }
}

/// To the nearest of 0 to 255.
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

impl Component {
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
                self.plane[start + row * self.stride..][..self.block_width].fill(mean);
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
                self.plane[start + row * self.stride + column] = byte(light + 128.0);
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
