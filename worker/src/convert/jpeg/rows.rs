//! Baseline JPEG in full size, row by row: reading, transforming and colouring a row of units at a time, so that memory grows with the width.
//!
//! It knows the usual kinds and gives up on everything else, damage included: then the whole picture is decoded, and that decoder decides.
#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the processor of its caller")]

use std::ops::Range;

use super::{
    bits::{Bits, Codes},
    colours::{convert, enlarge},
    frame::{Component, Frame},
    inverse,
    tables::ZIGZAG,
};

const BLOCK_SIDE: usize = 8;
/// The narrowest chroma that has neighbours on both sides.
const MIN_CHROMA_WIDTH: usize = 3;

/// Reads one picture.
pub(in super::super) struct RowDecoder<'a> {
    bits: Bits<'a>,
    frame: Frame,
    /// Of a unit, in blocks.
    most_across: usize,
    most_down: usize,
    units_across: usize,
    units_down: usize,
    planes: Vec<Plane>,
    /// Rows of units that were read, and rows of pixels that were made.
    read: usize,
    made: usize,
    working: Working,
    pixels: Vec<u8>,
}

/// Two rows of units of one component; rows of pixels lie at their number modulo both.
struct Plane {
    steps: [i32; 64],
    mean: i32,
    stride: usize,
    /// What is part of the picture.
    width: usize,
    height: usize,
    /// Rows of samples that are kept.
    kept: usize,
    samples: Vec<u8>,
}

/// Space for a row of each chroma.
#[derive(Default)]
struct Working {
    sums: Vec<u16>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

impl<'a> RowDecoder<'a> {
    /// `None` for kinds that it does not know.
    pub(in super::super) fn new(input: &'a [u8]) -> Option<Self> {
        let (frame, scan) = Frame::read(input)?;
        let (most_across, most_down) = frame.unit_blocks()?;
        let (units_across, units_down) = (frame.width.div_ceil(BLOCK_SIDE * most_across), frame.height.div_ceil(BLOCK_SIDE * most_down));
        if let [luma, chroma @ ..] = &frame.components[..]
            && !chroma.is_empty()
        {
            let is_whole = luma.across == most_across && luma.down == most_down && most_across <= 2 && most_down <= 2;
            let is_usual = chroma.iter().all(|chroma| chroma.across == 1 && chroma.down == 1);
            if !is_whole || !is_usual || frame.width.div_ceil(most_across) < MIN_CHROMA_WIDTH {
                return None;
            }
        }
        let plane = |component: &Component| {
            let steps = frame.steps[component.steps].as_ref()?;
            let stride = units_across * component.across * BLOCK_SIDE;
            let kept = 2 * component.down * BLOCK_SIDE;
            frame.dc[component.dc].as_ref().and(frame.ac[component.ac].as_ref())?;
            Some(Plane {
                steps: steps.map(i32::from),
                mean: 0,
                stride,
                width: (frame.width * component.across).div_ceil(most_across),
                height: (frame.height * component.down).div_ceil(most_down),
                kept,
                samples: vec![0; stride * kept],
            })
        };
        let planes = frame.components.iter().map(plane).collect::<Option<Vec<_>>>()?;
        let bits = Bits::new(scan);
        let (working, pixels) = (Working::default(), Vec::new());
        Some(Self { bits, frame, most_across, most_down, units_across, units_down, planes, read: 0, made: 0, working, pixels })
    }

    pub(in super::super) fn has_colour(&self) -> bool {
        self.planes.len() == 3
    }

    /// Whether every row was made, up to the end of the picture in the file.
    pub(in super::super) fn is_done(&self) -> bool {
        self.made == self.frame.height
    }

    /// The next rows, a dozen or so, grey or RGB. `None` when it has to give up.
    pub(in super::super) fn next_rows(&mut self) -> Option<&[u8]> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the processor has the instructions that the function was compiled for")]
            // SAFETY: AVX2 was just detected.
            return unsafe { next_rows_with_avx2(self) }.map(|()| &self.pixels[..]);
        }
        self.advance().map(|()| &self.pixels[..])
    }

    /// All rows, which are `size_bytes` together. `None` when it has to give up.
    pub(super) fn all(mut self, size_bytes: usize) -> Option<Vec<u8>> {
        let mut pixels = Vec::with_capacity(size_bytes);
        while !self.is_done() {
            pixels.extend_from_slice(self.next_rows()?);
        }
        (pixels.len() == size_bytes).then_some(pixels)
    }

    #[inline(always)]
    fn advance(&mut self) -> Option<()> {
        self.read_units()?;
        // The last row waits for the chroma below.
        let waiting = if self.read == self.units_down { 0 } else { self.most_down - 1 };
        let end = (self.read * self.most_down * BLOCK_SIDE - waiting).min(self.frame.height);
        self.make_rows(self.made..end);
        self.made = end;
        Some(())
    }

    #[inline(always)]
    fn read_units(&mut self) -> Option<()> {
        for across in 0..self.units_across {
            let unit = self.read * self.units_across + across;
            if self.frame.restart_every > 0 && unit > 0 && unit.is_multiple_of(self.frame.restart_every) {
                if self.bits.is_exhausted() {
                    return None;
                }
                self.bits.restart(((unit / self.frame.restart_every - 1) % 8) as u8)?;
                for plane in &mut self.planes {
                    plane.mean = 0;
                }
            }
            for (component, plane) in self.frame.components.iter().zip(&mut self.planes) {
                let (dc, ac) = (self.frame.dc[component.dc].as_ref()?, self.frame.ac[component.ac].as_ref()?);
                for (down, right) in (0..component.down).flat_map(|down| (0..component.across).map(move |right| (down, right))) {
                    let row = (self.read * component.down + down) * BLOCK_SIDE % plane.kept;
                    let start = row * plane.stride + (across * component.across + right) * BLOCK_SIDE;
                    plane.read_block(&mut self.bits, dc, ac, start)?;
                }
            }
        }
        self.read += 1;
        let is_good = if self.read == self.units_down { self.bits.is_at_end() } else { !self.bits.is_exhausted() };
        is_good.then_some(())
    }

    #[inline(always)]
    fn make_rows(&mut self, rows: Range<usize>) {
        let width = self.frame.width;
        let row_bytes = width * self.planes.len();
        self.pixels.clear();
        self.pixels.resize(rows.len() * row_bytes, 0);
        let Working { sums, blue, red } = &mut self.working;
        for (y, to) in rows.zip(self.pixels.chunks_exact_mut(row_bytes)) {
            let luma = &self.planes[0].row(y)[..width];
            if self.planes.len() == 1 {
                to.copy_from_slice(luma);
                continue;
            }
            for (plane, row) in self.planes[1..].iter().zip([&mut *blue, &mut *red]) {
                row.resize(plane.width * self.most_across, 0);
                let nearest = y / self.most_down;
                let is_above = y.is_multiple_of(2);
                let other = if is_above { nearest.saturating_sub(1) } else { (nearest + 1).min(plane.height - 1) };
                let other = (self.most_down == 2).then(|| (plane.row(other), is_above));
                enlarge(plane.row(nearest), other, self.most_across == 2, sums, row);
            }
            convert(luma, &blue[..width], &red[..width], to);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn next_rows_with_avx2(decoder: &mut RowDecoder<'_>) -> Option<()> {
    decoder.advance()
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y % self.kept * self.stride..][..self.width]
    }

    #[inline(always)]
    fn read_block(&mut self, bits: &mut Bits<'_>, dc: &Codes, ac: &Codes, start: usize) -> Option<()> {
        /// What a baseline file can say.
        const MAX_DC_SIZE: u32 = 11;
        let size = u32::from(bits.value(dc)?);
        if size > MAX_DC_SIZE {
            return None;
        }
        self.mean = self.mean.wrapping_add(bits.of_class(size));
        let mut frequencies = [0; 64];
        frequencies[0] = self.mean.wrapping_mul(self.steps[0]);
        let mut at = 1;
        let mut only_mean = true;
        while at < 64 {
            let (length, run_and_size) = bits.peek(ac)?;
            bits.skip(length);
            let (run, size) = (usize::from(run_and_size >> 4), u32::from(run_and_size & 15));
            if size == 0 {
                if run < 15 {
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            let value = bits.of_class(size);
            // A run may not lead out of the block.
            let step = self.steps.get(at)?;
            frequencies[usize::from(ZIGZAG[at] & 63)] = value * step;
            only_mean = false;
            at += 1;
        }
        if at > 64 {
            return None;
        }
        let to = &mut self.samples[start..];
        if only_mean {
            inverse::write_mean(frequencies[0], to, self.stride);
        } else {
            inverse::write(&frequencies, to, self.stride);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use jpeg_encoder::SamplingFactor as Factor;

    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3 + y) as u8, (y * 5) as u8 ^ (x / 4) as u8, (x * y / 16) as u8]))
    }

    fn jpeg(image: &RgbImage, factors: Factor, restart_every: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 92);
        encoder.set_sampling_factor(factors);
        if restart_every > 0 {
            encoder.set_restart_interval(restart_every);
        }
        encoder.encode(image, image.width() as u16, image.height() as u16, jpeg_encoder::ColorType::Rgb).expect("it can be encoded");
        bytes
    }

    fn decoded(jpeg: &[u8]) -> Option<Vec<u8>> {
        let decoder = RowDecoder::new(jpeg)?;
        let size_bytes = decoder.frame.width * decoder.frame.height * decoder.planes.len();
        decoder.all(size_bytes)
    }

    #[test]
    fn pixels_are_those_of_another_decoder_up_to_rounding() {
        for (width, height) in [(5, 1), (16, 16), (17, 33), (203, 121), (64, 50)] {
            for (factors, restart_every) in
                [(Factor::R_4_4_4, 0), (Factor::R_4_2_2, 0), (Factor::R_4_2_0, 0), (Factor::R_4_4_0, 3), (Factor::R_4_2_0, 1)]
            {
                let jpeg = jpeg(&picture(width, height), factors, restart_every);
                let expected = image::load_from_memory(&jpeg).expect("it can be decoded").into_rgb8().into_raw();
                let Some(pixels) = decoded(&jpeg) else { panic!("{factors:?} of {width} x {height} is not decoded") };
                assert_eq!(pixels.len(), expected.len());
                let differences = pixels.iter().zip(&expected).map(|(one, other)| one.abs_diff(*other));
                let (most, sum) = differences.fold((0, 0), |(most, sum), it| (it.max(most), sum + u64::from(it)));
                assert!(most <= 4 && sum * 2 < pixels.len() as u64, "{factors:?} of {width} x {height}: at most {most}, {sum} in all");
            }
        }
    }

    #[test]
    fn grey_stays_grey() {
        let image = GrayImage::from_fn(45, 31, |x, y| Luma([(x * 5) as u8 ^ (y * 3) as u8]));
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 100).encode(&image, 45, 31, jpeg_encoder::ColorType::Luma).expect("it can be encoded");
        let pixels = decoded(&jpeg).expect("it can be decoded");
        assert_eq!(pixels.len(), 45 * 31);
        assert!(pixels.iter().zip(image.as_raw()).all(|(one, other)| one.abs_diff(*other) <= 3));
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        for factors in [Factor::R_4_4_4, Factor::R_4_2_2, Factor::R_4_2_0, Factor::R_4_4_0] {
            let jpeg = jpeg(&picture(77, 66), factors, 2);
            let mut plain = RowDecoder::new(&jpeg).expect("it is known");
            let mut pixels = Vec::new();
            while !plain.is_done() {
                plain.advance().expect("it is whole");
                pixels.extend_from_slice(&plain.pixels);
            }
            assert!(decoded(&jpeg) == Some(pixels), "{factors:?}");
        }
    }

    #[test]
    fn what_is_cut_changed_or_of_another_kind_is_left_to_the_other_decoder() {
        let image = picture(64, 64);
        let whole = jpeg(&image, Factor::R_4_2_0, 0);
        assert!(decoded(&whole).is_some());
        assert!(decoded(&whole[..whole.len() - 2]).is_some(), "the end mark is no pixel");
        for kept in [whole.len() - 4, whole.len() - 40, whole.len() / 2, 100, 3] {
            assert!(decoded(&whole[..kept]).is_none(), "cut to {kept}");
        }
        let longer = [&whole[..whole.len() - 2], &[0, 0, 0, 0xFF, 0xD9]].concat();
        assert!(decoded(&longer).is_none(), "more than the picture needs");
        let restarting = jpeg(&image, Factor::R_4_2_0, 3);
        let marker = restarting.windows(2).position(|pair| pair == [0xFF, 0xD1]).expect("it has restart markers");
        let mut another = restarting.clone();
        another[marker + 1] = 0xD2;
        assert!(decoded(&restarting).is_some() && decoded(&another).is_none(), "a restart is missing");
        let mut progressive = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 90);
        encoder.set_progressive(true);
        encoder.encode(&image, 64, 64, jpeg_encoder::ColorType::Rgb).expect("it can be encoded");
        assert!(decoded(&progressive).is_none());
    }
}
