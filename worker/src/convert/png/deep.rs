//! Frames of animated PNGs of 16 bit, which `image` does not compose: scaled to 8 bit as they come, then drawn as the extension of PNG says
//! (PNG, third edition, section 13).

use std::io::Cursor;

use image::{DynamicImage, Frame, ImageBuffer, ImageResult, Rgba, RgbaImage, imageops};
use png::{BlendOp, ColorType, DisposeOp, FrameControl, Reader, Transformations};
use tintype_store::ConversionLimits;

use super::super::{ConvertError, decode::check_size, pixels::in_8_bit, streamed::image_error};

/// The frames of an animation, each the whole canvas.
pub(in super::super) struct DeepFrames<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    canvas: RgbaImage,
    /// What becomes of the last frame before the next one is drawn.
    disposal: Option<Disposal>,
    left: u32,
}

enum Disposal {
    Clear { x: u32, y: u32, width: u32, height: u32 },
    Restore(RgbaImage, u32, u32),
}

/// How often it is played, 0 without end, and its frames; `None` when samples are of 8 bit or there is no animation.
pub(in super::super) fn frames<'a>(input: &'a [u8], limits: &ConversionLimits) -> Result<Option<(u32, DeepFrames<'a>)>, ConvertError> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(input), png::Limits { bytes: limits.memory_bytes as usize });
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(ConvertError::corrupt)?;
    let info = reader.info();
    let (width, height) = info.size();
    let Some(control) = info.animation_control().copied().filter(|_| info.bit_depth == png::BitDepth::Sixteen) else { return Ok(None) };
    let has_default_image = info.frame_control().is_none();
    check_size(width, height, u64::from(width) * u64::from(height) * 8, limits)?;
    if has_default_image {
        reader.next_frame_info().map_err(ConvertError::corrupt)?;
    }
    let canvas = RgbaImage::new(width, height);
    Ok(Some((control.num_plays, DeepFrames { reader, canvas, disposal: None, left: control.num_frames })))
}

impl Iterator for DeepFrames<'_> {
    type Item = ImageResult<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.drawn().map_err(|error| {
            self.left = 0;
            image_error(error)
        }))
    }
}

impl DeepFrames<'_> {
    fn drawn(&mut self) -> Result<Frame, png::DecodingError> {
        let mut samples = vec![0; self.reader.output_buffer_size().unwrap_or_default()];
        let output = self.reader.next_frame(&mut samples)?;
        samples.truncate(output.buffer_size());
        let whole = FrameControl { width: output.width, height: output.height, ..FrameControl::default() };
        let control = self.reader.info().frame_control().copied().unwrap_or(whole);
        let (x, y) = (i64::from(control.x_offset), i64::from(control.y_offset));
        match self.disposal.take() {
            Some(Disposal::Clear { x, y, width, height }) => {
                imageops::replace(&mut self.canvas, &RgbaImage::new(width, height), i64::from(x), i64::from(y));
            }
            Some(Disposal::Restore(before, x, y)) => imageops::replace(&mut self.canvas, &before, i64::from(x), i64::from(y)),
            None => {}
        }
        let FrameControl { x_offset, y_offset, width, height, .. } = control;
        self.disposal = match control.dispose_op {
            DisposeOp::None => None,
            DisposeOp::Background => Some(Disposal::Clear { x: x_offset, y: y_offset, width, height }),
            DisposeOp::Previous => {
                let before = imageops::crop_imm(&self.canvas, x_offset, y_offset, width, height).to_image();
                Some(Disposal::Restore(before, x_offset, y_offset))
            }
        };
        let part = in_rgba_8(output.color_type, output.width, output.height, &samples);
        match control.blend_op {
            BlendOp::Source => imageops::replace(&mut self.canvas, &part, x, y),
            BlendOp::Over => draw_over(&mut self.canvas, &part, x_offset, y_offset),
        }
        let per_second = if control.delay_den == 0 { 100 } else { u32::from(control.delay_den) };
        let delay = image::Delay::from_numer_denom_ms(u32::from(control.delay_num) * 1000, per_second);
        Ok(Frame::from_parts(self.canvas.clone(), 0, 0, delay))
    }
}

/// Rounded to the nearest step; what is opaque stays opaque.
fn draw_over(canvas: &mut RgbaImage, part: &RgbaImage, left: u32, top: u32) {
    for (x, y, above) in part.enumerate_pixels() {
        let Some(below) = canvas.get_pixel_mut_checked(left + x, top + y) else { continue };
        let (alpha, rest) = (u32::from(above.0[3]), u32::from(below.0[3]) * (255 - u32::from(above.0[3])));
        // In 255ths of a step.
        let opacity = alpha * 255 + rest;
        for channel in 0..3 {
            let sum = u32::from(above.0[channel]) * alpha * 255 + u32::from(below.0[channel]) * rest;
            below.0[channel] = (sum + opacity / 2).checked_div(opacity).unwrap_or_default() as u8;
        }
        below.0[3] = ((opacity + 127) / 255) as u8;
    }
}

fn in_rgba_8(color: ColorType, width: u32, height: u32, samples: &[u8]) -> RgbaImage {
    let samples: Vec<u16> = samples.as_chunks::<2>().0.iter().map(|sample| u16::from_be_bytes(*sample)).collect();
    let deep = match color {
        ColorType::GrayscaleAlpha => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16),
        _ => ImageBuffer::<Rgba<u16>, _>::from_raw(width, height, samples).map(DynamicImage::ImageRgba16),
    };
    in_8_bit(deep.expect("the decoder gives all samples, with alpha")).into_rgba8()
}
