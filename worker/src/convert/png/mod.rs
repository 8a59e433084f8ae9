//! PNG out, still and animated, and of PNGs that come the frames of animated ones and what stands beside the pixels.

mod choice;
mod chunks;
mod deflate;
mod filter;
mod frames;
mod huffman;
mod matches;
mod parts;
mod tokens;
mod trial;

use image::DynamicImage;
use libdeflater::{CompressionLvl, Compressor};
use png::{BitDepth, BlendOp, ColorType, Compression, DisposeOp, Encoder, chunk, chunk::ChunkType};
use tintype_store::{Effort, Picture};

use super::{ConvertError, Converted, animation::Animation, metadata::Metadata, rectangle::Rectangle};
use choice::Chooser;
pub(super) use chunks::{chunks, exif, orientation};
use deflate::Search;
use filter::Layout;
pub(super) use frames::frames;
use parts::Parts;

/// Level of libdeflate.
const SMALL_LEVEL: i32 = 8;

const MAX_IDAT_BYTES: usize = 1 << 30;

/// Rows that are copied at once, so that there is no second copy of the picture.
const ROWS_AT_ONCE: usize = 32;

/// Writes a still picture of any kind of integer pixels.
pub(super) fn encode_still(image: DynamicImage, effort: Effort, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height, pixels) = (image.width(), image.height(), image.color());
    let row_bytes = width as usize * usize::from(pixels.bytes_per_pixel());
    let mut samples = image.into_bytes();
    if pixels.bytes_per_pixel() / pixels.channel_count() == 2 {
        for sample in samples.as_chunks_mut().0 {
            *sample = u16::from_ne_bytes(*sample).to_be_bytes();
        }
    }
    let Some(search) = search(effort) else { return encode_small(&samples, width, height, pixels, metadata) };
    let bytes = encode_rows(width, height, pixels, search, metadata, |write| {
        samples.chunks(row_bytes * ROWS_AT_ONCE).try_for_each(write)?;
        Ok(true)
    })?;
    Ok(bytes.expect("these are all rows"))
}

/// How an effort looks for repetitions, row by row. `None`: it wants the whole picture at once.
pub(super) fn search(effort: Effort) -> Option<Search> {
    match effort {
        Effort::Fast => Some(Search::Quick),
        Effort::Balanced => Some(Search::Thorough),
        Effort::Small => None,
    }
}

/// Writes a picture of which the rows come some at a time: `feed` gets what takes them, and says whether these are all. `None` if not. Samples
/// of 16 bit have their high byte first.
pub(super) fn encode_rows(
    width: u32,
    height: u32,
    pixels: image::ColorType,
    search: Search,
    metadata: &Metadata,
    feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), ConvertError>) -> Result<bool, ConvertError>,
) -> Result<Option<Vec<u8>>, ConvertError> {
    let mut bytes = Vec::new();
    let mut writer = begin(&mut bytes, width, height, pixels, metadata)?;
    let mut parts = Parts::new(layout(width, pixels), search);
    let is_whole = feed(&mut |rows| {
        let data = parts.write(rows);
        if data.is_empty() { Ok(()) } else { writer.write_chunk(chunk::IDAT, &data).map_err(ConvertError::encoding) }
    })?;
    if !is_whole {
        return Ok(None);
    }
    writer.write_chunk(chunk::IDAT, &parts.finish()).map_err(ConvertError::encoding)?;
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(Some(bytes))
}

fn encode_small(samples: &[u8], width: u32, height: u32, pixels: image::ColorType, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let mut bytes = Vec::new();
    let mut writer = begin(&mut bytes, width, height, pixels, metadata)?;
    let layout = layout(width, pixels);
    let filtered = filter::filtered(samples, &vec![0; layout.row_bytes], layout, &mut Chooser::new(layout));
    for part in with_libdeflate(&filtered, SMALL_LEVEL)?.chunks(MAX_IDAT_BYTES) {
        writer.write_chunk(chunk::IDAT, part).map_err(ConvertError::encoding)?;
    }
    writer.finish().map_err(ConvertError::encoding)?;
    Ok(bytes)
}

/// Writes what comes before the pixels.
fn begin<'a>(
    bytes: &'a mut Vec<u8>,
    width: u32,
    height: u32,
    pixels: image::ColorType,
    metadata: &Metadata,
) -> Result<png::Writer<&'a mut Vec<u8>>, ConvertError> {
    let (color, depth) = kind(pixels)?;
    let mut encoder = Encoder::new(bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(ConvertError::encoding)?;
    for (name, data) in metadata.png_chunks() {
        writer.write_chunk(ChunkType(name), &data).map_err(ConvertError::encoding)?;
    }
    Ok(writer)
}

fn layout(width: u32, pixels: image::ColorType) -> Layout {
    let bytes_per_pixel = usize::from(pixels.bytes_per_pixel());
    Layout { row_bytes: width as usize * bytes_per_pixel, bytes_per_pixel }
}

fn kind(pixels: image::ColorType) -> Result<(ColorType, BitDepth), ConvertError> {
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
