//! PNG out, still and animated.

mod deep;
mod entropy;
mod filter;

use image::DynamicImage;
use libdeflater::{CompressionLvl, Compressor};
use png::{BitDepth, BlendOp, ColorType, Compression, DisposeOp, Encoder, chunk, chunk::ChunkType};
use tintype_store::{Effort, Picture};

use super::{ConvertError, Converted, animation::Animation, metadata::Metadata, rectangle::Rectangle};
pub(super) use deep::frames as deep_frames;
use entropy::Deflater;
use filter::Rows;

/// Levels of libdeflate.
const BALANCED_LEVEL: i32 = 1;
const SMALL_LEVEL: i32 = 8;

const MAX_IDAT_BYTES: usize = 1 << 30;

/// Writes a still picture of any kind of integer pixels.
pub(super) fn encode_still(image: DynamicImage, effort: Effort, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height, pixels) = (image.width(), image.height(), image.color());
    let (color, depth) = layout(pixels)?;
    let mut samples = image.into_bytes();
    if depth == BitDepth::Sixteen {
        for sample in samples.as_chunks_mut().0 {
            *sample = u16::from_ne_bytes(*sample).to_be_bytes();
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(ConvertError::encoding)?;
    for (name, data) in metadata.png_chunks() {
        writer.write_chunk(ChunkType(name), &data).map_err(ConvertError::encoding)?;
    }
    let bytes_per_pixel = usize::from(pixels.bytes_per_pixel());
    let rows = Rows::new(&samples, width as usize * bytes_per_pixel, bytes_per_pixel);
    for part in deflated(&rows, effort)?.chunks(MAX_IDAT_BYTES) {
        writer.write_chunk(chunk::IDAT, part).map_err(ConvertError::encoding)?;
    }
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(bytes)
}

fn layout(pixels: image::ColorType) -> Result<(ColorType, BitDepth), ConvertError> {
    Ok(match pixels {
        image::ColorType::L8 => (ColorType::Grayscale, BitDepth::Eight),
        image::ColorType::La8 => (ColorType::GrayscaleAlpha, BitDepth::Eight),
        image::ColorType::Rgb8 => (ColorType::Rgb, BitDepth::Eight),
        image::ColorType::Rgba8 => (ColorType::Rgba, BitDepth::Eight),
        image::ColorType::L16 => (ColorType::Grayscale, BitDepth::Sixteen),
        image::ColorType::La16 => (ColorType::GrayscaleAlpha, BitDepth::Sixteen),
        image::ColorType::Rgb16 => (ColorType::Rgb, BitDepth::Sixteen),
        image::ColorType::Rgba16 => (ColorType::Rgba, BitDepth::Sixteen),
        other => return Err(ConvertError::encoding(format_args!("PNG has no {other:?}"))),
    })
}

fn deflated(rows: &Rows<'_>, effort: Effort) -> Result<Vec<u8>, ConvertError> {
    if effort == Effort::Fast || (effort == Effort::Balanced && repeat_little(rows)?) {
        let mut filtered = Vec::new();
        let mut deflater = Deflater::new(rows.filtered_bytes() / 2);
        for band in 0..rows.bands() {
            filtered.clear();
            rows.filter_band(band, &mut filtered);
            deflater.write(&filtered);
        }
        return Ok(deflater.finish());
    }
    let mut filtered = Vec::with_capacity(rows.filtered_bytes());
    (0..rows.bands()).for_each(|band| rows.filter_band(band, &mut filtered));
    with_libdeflate(&filtered, if effort == Effort::Small { SMALL_LEVEL } else { BALANCED_LEVEL })
}

/// Whether looking for repetitions would save next to nothing: told from a few bands.
fn repeat_little(rows: &Rows<'_>) -> Result<bool, ConvertError> {
    const SAMPLES: usize = 4;
    const SAMPLE_BYTES: usize = 1 << 16;
    const LITTLE_PER_CENT: usize = 3;
    let (mut with, mut without) = (0, 0);
    let mut filtered = Vec::new();
    for band in (0..rows.bands()).step_by(rows.bands().div_ceil(SAMPLES).max(1)) {
        filtered.clear();
        rows.filter_band(band, &mut filtered);
        let sample = &filtered[..filtered.len().min(SAMPLE_BYTES)];
        with += with_libdeflate(sample, BALANCED_LEVEL)?.len();
        without += entropy::estimate_bytes(sample);
    }
    Ok(without * 100 <= with * (100 + LITTLE_PER_CENT))
}

fn with_libdeflate(data: &[u8], level: i32) -> Result<Vec<u8>, ConvertError> {
    let mut compressor = Compressor::new(CompressionLvl::new(level).expect("it is one of libdeflate's levels"));
    let mut bytes = vec![0; compressor.zlib_compress_bound(data.len())];
    let length = compressor.zlib_compress(data, &mut bytes).map_err(ConvertError::encoding)?;
    bytes.truncate(length);
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
    Ok(Converted { bytes, picture: Picture { width, height, frame_count, first_frame_only: false }, thumbhash: animation.thumbhash()? })
}

/// Delays are fractions of two 16-bit numbers, in seconds; longer ones are told less exactly.
fn set_delay(writer: &mut png::Writer<&mut Vec<u8>>, delay_ms: u32) -> Result<(), ConvertError> {
    let (numerator, denominator) = [(1, 1000), (10, 100), (100, 10), (1000, 1)]
        .into_iter()
        .find_map(|(unit_ms, per_second)| Some((u16::try_from(delay_ms / unit_ms).ok()?, per_second)))
        .unwrap_or((u16::MAX, 1));
    writer.set_frame_delay(numerator, denominator).map_err(ConvertError::encoding)
}
