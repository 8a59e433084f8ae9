//! Frames of animated PNGs, scaled to 8 bit as they come, then drawn as the extension of PNG says (PNG, third edition, section 13).

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, Rgba, RgbaImage};
use png::{BitDepth, BlendOp, ColorType, DisposeOp, FrameControl, Reader, Transformations};
use tintype_store::ConversionLimits;

use super::super::{
    ConvertError,
    animation::Shown,
    canvas::{After, Canvas, Part},
    decode::check_size,
    pixels::in_8_bit,
    streamed::image_error,
};

/// The frames of an animation, each the whole canvas.
pub(in super::super) struct Frames<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    canvas: Canvas,
    left: u32,
}

/// How often it is played, 0 without end, and its frames; `None` when there is no animation.
pub(in super::super) fn frames<'a>(input: &'a [u8], limits: &ConversionLimits) -> Result<Option<(u32, Frames<'a>)>, ConvertError> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(input), png::Limits { bytes: limits.memory_bytes as usize });
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(ConvertError::corrupt)?;
    let info = reader.info();
    let (width, height) = info.size();
    let Some(control) = info.animation_control().copied() else { return Ok(None) };
    let has_default_image = info.frame_control().is_none();
    let frame_bytes_per_pixel = if info.bit_depth == BitDepth::Sixteen { 8 } else { 4 };
    check_size(width, height, u64::from(width) * u64::from(height) * frame_bytes_per_pixel, limits)?;
    if has_default_image {
        reader.next_frame_info().map_err(ConvertError::corrupt)?;
    }
    Ok(Some((control.num_plays, Frames { reader, canvas: Canvas::new(width, height), left: control.num_frames })))
}

impl Iterator for Frames<'_> {
    type Item = Result<Shown, ConvertError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.drawn().map_err(|error| {
            self.left = 0;
            ConvertError::decoding(image_error(error))
        }))
    }
}

impl Frames<'_> {
    fn drawn(&mut self) -> Result<Shown, png::DecodingError> {
        let mut samples = vec![0; self.reader.output_buffer_size().unwrap_or_default()];
        let output = self.reader.next_frame(&mut samples)?;
        samples.truncate(output.buffer_size());
        let whole = FrameControl { width: output.width, height: output.height, ..FrameControl::default() };
        let control = self.reader.info().frame_control().copied().unwrap_or(whole);
        let after = match control.dispose_op {
            DisposeOp::None => After::Keep,
            DisposeOp::Background => After::Clear,
            DisposeOp::Previous => After::Restore,
        };
        let image = in_rgba_8(output.color_type, output.bit_depth, output.width, output.height, samples);
        let is_over = control.blend_op == BlendOp::Over;
        let image = self.canvas.draw(&Part { image, left: control.x_offset, top: control.y_offset, is_over, after });
        let per_second = if control.delay_den == 0 { 100 } else { u32::from(control.delay_den) };
        Ok(Shown { image, delay_ms: (u32::from(control.delay_num) * 1000 + per_second / 2) / per_second })
    }
}

fn in_rgba_8(color: ColorType, depth: BitDepth, width: u32, height: u32, samples: Vec<u8>) -> RgbaImage {
    let is_grey = matches!(color, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    let image = if depth == BitDepth::Sixteen {
        let samples: Vec<u16> = samples.as_chunks::<2>().0.iter().map(|sample| u16::from_be_bytes(*sample)).collect();
        if is_grey {
            ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16)
        } else {
            ImageBuffer::<Rgba<u16>, _>::from_raw(width, height, samples).map(DynamicImage::ImageRgba16)
        }
    } else if is_grey {
        ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8)
    } else {
        RgbaImage::from_raw(width, height, samples).map(DynamicImage::ImageRgba8)
    };
    in_8_bit(image.expect("the decoder gives all samples, with alpha")).into_rgba8()
}
