//! PNG to JPEG and JPEG to PNG, some rows at a time: reading, colours and writing overlap, and memory grows with the width alone.
//!
//! The result is the one that the whole picture gives. It takes part only where rows come out in the order in which they go in.

use std::io::Cursor;

use image::{
    ColorType, DynamicImage, ImageBuffer, ImageError, ImageFormat,
    error::{DecodingError, LimitError, LimitErrorKind},
    metadata::Orientation,
};
use png::{BitDepth, Reader, Transformations};
use tintype_store::{ConversionLimits, Effort, Format, ImageHeader, Picture, Rgb, Spec};

use super::{
    ConvertError, Converted,
    colour::Conversion,
    companion::{self, Shared},
    decode::check_size,
    jpeg::{self, BAND_ROWS},
    metadata::Metadata,
    pixels::{in_8_bit, is_grey, onto},
    png as own_png,
    thumbhash::Sampler,
};

/// Bands that are handed over at once.
const BANDS_AT_ONCE: usize = 4;

/// `None` when the file has to be in memory as a whole.
pub(super) fn png_to_jpeg(
    input: &[u8],
    header: &ImageHeader,
    spec: &Spec,
    metadata: &Metadata,
    limits: &ConversionLimits,
) -> Result<Option<Converted>, ConvertError> {
    let plain = header.format == Format::Png && header.frame_count == 1 && spec.format == Format::Jpeg;
    if !plain || spec.resize.is_some() || spec.effort == Effort::Small {
        return Ok(None);
    }
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(input), png::Limits { bytes: limits.memory_bytes as usize });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(ConvertError::corrupt)?;
    let info = reader.info();
    if info.interlaced || info.animation_control().is_some() || own_png::orientation(input) != Orientation::NoTransforms {
        return Ok(None);
    }
    let (width, height) = info.size();
    let Some(pixels) = pixels_of(reader.output_color_type()) else { return Ok(None) };
    check_size(width, height, u64::from(width) * u64::from(height) * u64::from(pixels.bytes_per_pixel()), limits)?;
    let conversion = info.icc_profile.as_ref().and_then(|profile| Conversion::to_srgb(profile, pixels));
    let look = Look { width, pixels, conversion, background: spec.background.unwrap_or(Rgb::WHITE) };
    let encoder = jpeg::Encoder::new(width, height, look.has_colour(), spec.quality(), &metadata.jpeg_segments())?;
    let sampler = Sampler::new(width, height);
    let writing = read_rows(&mut reader, height as usize, limits, Shared::Done((encoder, look, sampler)), |writing, rows| {
        let (mut encoder, look, mut sampler) = writing.wait();
        companion::share(move || {
            write(&mut encoder, &look, &mut sampler, rows);
            (encoder, look, sampler)
        })
    })?;
    let (encoder, _, sampler) = writing.wait();
    let picture = Picture { width, height, frame_count: 1, first_frame_only: false };
    Ok(Some(Converted { bytes: encoder.finish(), picture, thumbhash: sampler.finish() }))
}

/// `None` when the file has to be in memory as a whole, also because it is damaged.
pub(super) fn jpeg_to_png(
    input: &[u8],
    header: &ImageHeader,
    spec: &Spec,
    metadata: &Metadata,
    limits: &ConversionLimits,
) -> Result<Option<Converted>, ConvertError> {
    let plain = header.format == Format::Jpeg && spec.format == Format::Png && spec.resize.is_none();
    let Some(search) = own_png::search(spec.effort).filter(|_| plain) else { return Ok(None) };
    let opened = jpeg::open(input, limits)?;
    let (width, height) = (opened.width, opened.height);
    let Some((mut rows, is_grey)) = opened.rows().filter(|_| opened.orientation == Orientation::NoTransforms) else { return Ok(None) };
    let pixels = if is_grey { ColorType::L8 } else { ColorType::Rgb8 };
    let conversion = opened.icc_profile.as_ref().and_then(|profile| Conversion::to_srgb(profile, pixels));
    let mut sampler = Sampler::new(width, height);
    let bytes = own_png::encode_rows(width, height, pixels, search, metadata, |write| {
        while !rows.is_done() {
            let Some(rows) = rows.next_rows() else { return Ok(false) };
            let mut image = image_of(width, pixels, rows.to_vec());
            if let Some(conversion) = &conversion {
                conversion.apply(&mut image);
            }
            sampler.take(&image);
            write(image.as_bytes())?;
        }
        Ok(true)
    })?;
    let picture = Picture { width, height, frame_count: 1, first_frame_only: false };
    Ok(bytes.map(|bytes| Converted { bytes, picture, thumbhash: sampler.finish() }))
}

/// Reads all rows, and makes something of several bands at a time and what was made before.
fn read_rows<T>(
    reader: &mut Reader<Cursor<&[u8]>>,
    mut left: usize,
    limits: &ConversionLimits,
    mut made: T,
    mut take: impl FnMut(T, Vec<u8>) -> T,
) -> Result<T, ConvertError> {
    let decoding = |error| ConvertError::decoding_within(image_error(error), limits);
    let line_bytes = reader.output_line_size(reader.info().width).ok_or_else(|| ConvertError::corrupt("its rows are too long"))?;
    while left > 0 {
        let count = left.min(BAND_ROWS * BANDS_AT_ONCE);
        left -= count;
        let mut rows = vec![0; count * line_bytes];
        for row in rows.chunks_exact_mut(line_bytes) {
            let read = reader.read_row(row).map_err(decoding)?;
            read.ok_or_else(|| ConvertError::corrupt("it ends before its last row"))?;
        }
        made = take(made, rows);
    }
    // What is behind the last row belongs to the picture's checksum.
    reader.read_row(&mut vec![0; line_bytes]).map_err(decoding)?;
    Ok(made)
}

pub(super) fn image_error(error: png::DecodingError) -> ImageError {
    match error {
        png::DecodingError::LimitsExceeded => ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory)),
        other => ImageError::Decoding(DecodingError::new(ImageFormat::Png.into(), other)),
    }
}

fn write(encoder: &mut jpeg::Encoder, look: &Look, sampler: &mut Sampler, rows: Vec<u8>) {
    let rows = look.applied_to(rows, sampler);
    let row_bytes = look.width as usize * if look.has_colour() { 3 } else { 1 };
    for band in rows.chunks(row_bytes * BAND_ROWS) {
        encoder.write_band(band);
    }
}

/// What makes rows of a PNG into rows of a JPEG.
struct Look {
    width: u32,
    pixels: ColorType,
    conversion: Option<Conversion>,
    background: Rgb,
}

impl Look {
    fn has_colour(&self) -> bool {
        self.pixels.has_color() || (self.pixels.has_alpha() && !is_grey(self.background))
    }

    /// Opaque sRGB or grey in 8 bit. The sampler sees them in sRGB, before what they are drawn onto.
    fn applied_to(&self, rows: Vec<u8>, sampler: &mut Sampler) -> Vec<u8> {
        let mut image = image_of(self.width, self.pixels, rows);
        if let Some(conversion) = &self.conversion {
            conversion.apply(&mut image);
        }
        sampler.take(&image);
        in_8_bit(onto(image, self.background)).into_bytes()
    }
}

fn pixels_of(pixels: (png::ColorType, BitDepth)) -> Option<ColorType> {
    match pixels {
        (png::ColorType::Grayscale, BitDepth::Eight) => Some(ColorType::L8),
        (png::ColorType::GrayscaleAlpha, BitDepth::Eight) => Some(ColorType::La8),
        (png::ColorType::Rgb, BitDepth::Eight) => Some(ColorType::Rgb8),
        (png::ColorType::Rgba, BitDepth::Eight) => Some(ColorType::Rgba8),
        (png::ColorType::Grayscale, BitDepth::Sixteen) => Some(ColorType::L16),
        (png::ColorType::GrayscaleAlpha, BitDepth::Sixteen) => Some(ColorType::La16),
        (png::ColorType::Rgb, BitDepth::Sixteen) => Some(ColorType::Rgb16),
        (png::ColorType::Rgba, BitDepth::Sixteen) => Some(ColorType::Rgba16),
        _ => None,
    }
}

fn image_of(width: u32, pixels: ColorType, rows: Vec<u8>) -> DynamicImage {
    let height = (rows.len() / (width as usize * usize::from(pixels.bytes_per_pixel()))) as u32;
    let deep = || rows.as_chunks::<2>().0.iter().map(|sample| u16::from_be_bytes(*sample)).collect::<Vec<_>>();
    let image = match pixels {
        ColorType::L16 => ImageBuffer::from_raw(width, height, deep()).map(DynamicImage::ImageLuma16),
        ColorType::La16 => ImageBuffer::from_raw(width, height, deep()).map(DynamicImage::ImageLumaA16),
        ColorType::Rgb16 => ImageBuffer::from_raw(width, height, deep()).map(DynamicImage::ImageRgb16),
        ColorType::Rgba16 => ImageBuffer::from_raw(width, height, deep()).map(DynamicImage::ImageRgba16),
        ColorType::L8 => ImageBuffer::from_raw(width, height, rows).map(DynamicImage::ImageLuma8),
        ColorType::La8 => ImageBuffer::from_raw(width, height, rows).map(DynamicImage::ImageLumaA8),
        ColorType::Rgba8 => ImageBuffer::from_raw(width, height, rows).map(DynamicImage::ImageRgba8),
        _ => ImageBuffer::from_raw(width, height, rows).map(DynamicImage::ImageRgb8),
    };
    image.expect("the rows are whole")
}
