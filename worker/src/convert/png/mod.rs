//! PNG out, still and animated.

use image::DynamicImage;
use png::{BitDepth, BlendOp, ColorType, Compression, DisposeOp, Encoder, chunk::ChunkType};
use tintype_store::Picture;

use super::{ConvertError, Converted, animation::Animation, metadata::Metadata, rectangle::Rectangle};

/// Writes a still picture of any kind of integer pixels, quickly.
pub(super) fn encode_still(image: DynamicImage, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
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
    for (name, data) in metadata.png_chunks() {
        writer.write_chunk(ChunkType(name), &data).map_err(ConvertError::encoding)?;
    }
    writer.write_image_data(&samples).map_err(ConvertError::encoding)?;
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(bytes)
}

/// Writes every frame, as the rectangle that differs from the one before.
pub(super) fn encode_animation(mut animation: Animation<'_>, metadata: &Metadata) -> Result<Converted, ConvertError> {
    let (first, delay_ms) = animation.next_frame()?.ok_or_else(|| ConvertError::corrupt("it has no frame"))?;
    let (width, height) = first.dimensions();
    let frame_count = animation.frame_count;
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder.set_animated(frame_count, animation.plays).map_err(ConvertError::encoding)?;
    encoder.set_blend_op(BlendOp::Source).map_err(ConvertError::encoding)?;
    encoder.set_dispose_op(DisposeOp::None).map_err(ConvertError::encoding)?;
    let mut writer = encoder.write_header().map_err(ConvertError::encoding)?;
    for (name, data) in metadata.png_chunks() {
        writer.write_chunk(ChunkType(name), &data).map_err(ConvertError::encoding)?;
    }
    set_delay(&mut writer, delay_ms)?;
    writer.write_image_data(&first).map_err(ConvertError::encoding)?;
    let mut shown = first;
    while let Some((frame, delay_ms)) = animation.next_frame()? {
        let changed = Rectangle::of_changes(&shown, &frame);
        // Position and size may at no time reach beyond the canvas together.
        writer.reset_frame_position().map_err(ConvertError::encoding)?;
        writer.set_frame_dimension(changed.width, changed.height).map_err(ConvertError::encoding)?;
        writer.set_frame_position(changed.x, changed.y).map_err(ConvertError::encoding)?;
        set_delay(&mut writer, delay_ms)?;
        writer.write_image_data(&changed.cut_out_of(&frame)).map_err(ConvertError::encoding)?;
        shown = frame;
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
