//! PNG out, still and animated.

use image::{DynamicImage, RgbaImage};
use png::{BitDepth, BlendOp, ColorType, Compression, DisposeOp, Encoder};
use tintype_store::Picture;

use super::{ConvertError, Converted, animation::Animation};

/// Writes a still picture of any kind of integer pixels, quickly.
pub(super) fn encode_still(image: DynamicImage) -> Result<Vec<u8>, ConvertError> {
    let (color, depth) = match image {
        DynamicImage::ImageLuma8(_) => (ColorType::Grayscale, BitDepth::Eight),
        DynamicImage::ImageLumaA8(_) => (ColorType::GrayscaleAlpha, BitDepth::Eight),
        DynamicImage::ImageRgb8(_) => (ColorType::Rgb, BitDepth::Eight),
        DynamicImage::ImageRgba8(_) => (ColorType::Rgba, BitDepth::Eight),
        DynamicImage::ImageLuma16(_) => (ColorType::Grayscale, BitDepth::Sixteen),
        DynamicImage::ImageLumaA16(_) => (ColorType::GrayscaleAlpha, BitDepth::Sixteen),
        DynamicImage::ImageRgb16(_) => (ColorType::Rgb, BitDepth::Sixteen),
        DynamicImage::ImageRgba16(_) => (ColorType::Rgba, BitDepth::Sixteen),
        other => return Err(ConvertError::encoding(format_args!("PNG has no {:?}", other.color()))),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    let mut samples = image.into_bytes();
    if depth == BitDepth::Sixteen {
        for sample in samples.as_chunks_mut().0 {
            *sample = u16::from_ne_bytes(*sample).to_be_bytes();
        }
    }
    let mut writer = encoder.write_header().map_err(ConvertError::encoding)?;
    writer.write_image_data(&samples).map_err(ConvertError::encoding)?;
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(bytes)
}

/// Writes every frame, as the rectangle that differs from the one before. The animation has exactly `frame_count` frames, because
/// limits were checked with that number: fewer or more are an error.
pub(super) fn encode_animation(mut animation: Animation<'_>, frame_count: u32) -> Result<Converted, ConvertError> {
    let ended = |frames: u32| ConvertError::corrupt(format_args!("it ends after {frames} of {frame_count} frames"));
    let (first, delay_ms) = animation.next_frame()?.ok_or_else(|| ended(0))?;
    let (width, height) = first.dimensions();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder.set_animated(frame_count, animation.plays).map_err(ConvertError::encoding)?;
    encoder.set_blend_op(BlendOp::Source).map_err(ConvertError::encoding)?;
    encoder.set_dispose_op(DisposeOp::None).map_err(ConvertError::encoding)?;
    let mut writer = encoder.write_header().map_err(ConvertError::encoding)?;
    set_delay(&mut writer, delay_ms)?;
    writer.write_image_data(&first).map_err(ConvertError::encoding)?;
    let mut shown = first;
    for index in 1..frame_count {
        let (frame, delay_ms) = animation.next_frame()?.ok_or_else(|| ended(index))?;
        let changed = Rectangle::of_changes(&shown, &frame);
        // Position and size may at no time reach beyond the canvas together.
        writer.reset_frame_position().map_err(ConvertError::encoding)?;
        writer.set_frame_dimension(changed.width, changed.height).map_err(ConvertError::encoding)?;
        writer.set_frame_position(changed.x, changed.y).map_err(ConvertError::encoding)?;
        set_delay(&mut writer, delay_ms)?;
        writer.write_image_data(&changed.cut_out_of(&frame)).map_err(ConvertError::encoding)?;
        shown = frame;
    }
    if animation.next_frame()?.is_some() {
        return Err(ConvertError::corrupt(format_args!("it has more than the {frame_count} frames that its header says")));
    }
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(Converted { bytes, picture: Picture { width, height, frame_count, first_frame_only: false } })
}

/// Delays are fractions of two 16-bit numbers, in seconds; longer ones are told less exactly.
fn set_delay(writer: &mut png::Writer<&mut Vec<u8>>, delay_ms: u32) -> Result<(), ConvertError> {
    let (numerator, denominator) = [(1, 1000), (10, 100), (100, 10), (1000, 1)]
        .into_iter()
        .find_map(|(unit_ms, per_second)| Some((u16::try_from(delay_ms / unit_ms).ok()?, per_second)))
        .unwrap_or((u16::MAX, 1));
    writer.set_frame_delay(numerator, denominator).map_err(ConvertError::encoding)
}

struct Rectangle {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Rectangle {
    /// The smallest one that holds every changed pixel; a frame has to have one, so without a change it is the first pixel.
    fn of_changes(before: &RgbaImage, after: &RgbaImage) -> Self {
        let row_bytes = after.width() as usize * 4;
        let rows = || before.chunks_exact(row_bytes).zip(after.chunks_exact(row_bytes)).enumerate();
        let changed_rows = || rows().filter(|(_, (before, after))| before != after);
        let Some((top, _)) = changed_rows().next() else { return Self { x: 0, y: 0, width: 1, height: 1 } };
        let (mut left, mut right, mut bottom) = (usize::MAX, 0, top);
        for (row, (before, after)) in changed_rows() {
            let differs = |column: &usize| before[column * 4..][..4] != after[column * 4..][..4];
            left = (0..row_bytes / 4).find(differs).unwrap_or(left).min(left);
            right = (0..row_bytes / 4).rev().find(differs).unwrap_or(right).max(right);
            bottom = row;
        }
        Self { x: left as u32, y: top as u32, width: (right - left + 1) as u32, height: (bottom - top + 1) as u32 }
    }

    fn cut_out_of(&self, image: &RgbaImage) -> Vec<u8> {
        let row_bytes = image.width() as usize * 4;
        let (left, length) = (self.x as usize * 4, self.width as usize * 4);
        let rows = image.chunks_exact(row_bytes).skip(self.y as usize).take(self.height as usize);
        rows.flat_map(|row| &row[left..][..length]).copied().collect()
    }
}
