//! JPEG in and out.
//!
//! Reading is strict where pixels are concerned: data that ends early, or codes that do not exist, are an error. The lenient mode that
//! `image` uses would fill what is missing with grey. A missing end marker after the last pixel is no loss of pixels, and neither are odd
//! bytes between the segments of the header: both are accepted.

mod bits;
mod blocks;
mod colours;
mod encoder;
mod frame;
mod inverse;
mod rows;
mod shrunk;
mod tables;

use std::iter;

use image::{DynamicImage, GrayImage, RgbImage, metadata::Orientation};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, SamplingFactor};
use tintype_store::{ConversionLimits, Effort, Spec};
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{
    ConvertError,
    decode::{Raw, Shrunk, check_size, upright_size},
    finish::Finish,
    inks::Inks,
    metadata::Metadata,
};
pub(super) use encoder::{BAND_ROWS, Encoder};
pub(super) use rows::RowDecoder;

/// A JPEG of which the header was read and is within the limits.
pub(super) struct Opened<'a> {
    input: &'a [u8],
    decoder: JpegDecoder<ZCursor<&'a [u8]>>,
    options: DecoderOptions,
    /// Of CMYK and YCCK.
    in_inks: Option<ColorSpace>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) icc_profile: Option<Vec<u8>>,
    pub(super) orientation: Orientation,
}

pub(super) fn open<'a>(input: &'a [u8], limits: &ConversionLimits) -> Result<Opened<'a>, ConvertError> {
    if let Some(name) = unread_kind(input) {
        return Err(ConvertError::unsupported_input(format!("{name} is not read here")));
    }
    // The decoder's own limits would call a large picture a damaged one; ours follow below, before anything is allocated.
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(input), options.set_strict_mode(false));
    decoder.decode_headers().map_err(decoding)?;
    let info = decoder.info();
    let (width, height) = info.as_ref().map(|info| (u32::from(info.width), u32::from(info.height))).unwrap_or_default();
    // Until it decodes, the decoder takes an Adobe segment at its word for four components, even where there are three.
    let has_four = info.is_some_and(|info| info.components == 4);
    let in_inks = decoder.input_colorspace().filter(|stored| has_four && matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK));
    let icc_profile = decoder.icc_profile();
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms);
    let opened = Opened { input, decoder, options, in_inks, width, height, icc_profile, orientation };
    check_size(width, height, opened.size_bytes(), limits)?;
    Ok(opened)
}

pub(super) fn decode(input: &[u8], spec: &Spec, limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let opened = open(input, limits)?;
    let (width, height, orientation) = (opened.width, opened.height, opened.orientation);
    let (upright_width, upright_height) = upright_size(width, height, orientation);
    let eighths = Finish::eighths_needed(spec, upright_width, upright_height);
    if eighths < 8
        && let Some(image) = shrunk::decode(input, eighths as usize)
    {
        let shrunk = Some(Shrunk { eighths, width, height });
        return Ok(Raw { image, icc_profile: opened.icc_profile, orientation, shrunk });
    }
    opened.decode()
}

impl<'a> Opened<'a> {
    /// Whether it is known to be grey; RGB else, or inks.
    fn is_grey(&self) -> bool {
        self.decoder.input_colorspace() == Some(ColorSpace::Luma)
    }

    /// Decoded.
    fn size_bytes(&self) -> u64 {
        let channels = if self.in_inks.is_some() {
            4
        } else if self.is_grey() {
            1
        } else {
            3
        };
        u64::from(self.width) * u64::from(self.height) * channels
    }

    /// Gives its rows one by one, and whether they are grey. `None` when the whole picture is needed.
    pub(super) fn rows(&self) -> Option<(RowDecoder<'a>, bool)> {
        let is_grey = self.is_grey();
        let is_known = |rows: &RowDecoder<'_>| self.in_inks.is_none() && rows.has_colour() != is_grey;
        RowDecoder::new(self.input).filter(is_known).map(|rows| (rows, is_grey))
    }

    fn decode(mut self) -> Result<Raw, ConvertError> {
        let (width, height, orientation) = (self.width, self.height, self.orientation);
        let is_grey = self.is_grey();
        let pixels = match self.rows().and_then(|(rows, _)| rows.all(self.size_bytes() as usize)) {
            Some(pixels) => pixels,
            None => self.all_at_once()?,
        };
        if let Some(stored) = self.in_inks {
            let inks = Inks::Eight(inks(pixels, stored, self.input));
            let image = inks.into_srgb(width, height, self.icc_profile.as_deref());
            return Ok(Raw { image, icc_profile: None, orientation, shrunk: None });
        }
        let image = if is_grey {
            GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8)
        } else {
            RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
        };
        let image = image.expect("the buffer was made for this size");
        Ok(Raw { image, icc_profile: self.icc_profile, orientation, shrunk: None })
    }

    fn all_at_once(&mut self) -> Result<Vec<u8>, ConvertError> {
        let target = self.in_inks.unwrap_or(if self.is_grey() { ColorSpace::Luma } else { ColorSpace::RGB });
        self.decoder.set_options(self.options.set_strict_mode(true).jpeg_set_out_colorspace(target));
        let mut pixels = vec![0; self.size_bytes() as usize];
        self.decoder.decode_into(&mut pixels).map_err(decoding)?;
        Ok(pixels)
    }
}

/// Writes JPEG, 4:2:0. The image is 8-bit grey or RGB.
pub(super) fn encode(image: &DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (has_colour, samples) = match image {
        DynamicImage::ImageLuma8(grey) => (false, grey.as_raw()),
        DynamicImage::ImageRgb8(rgb) => (true, rgb.as_raw()),
        other => return Err(ConvertError::encoding(format_args!("JPEG has no {:?}", other.color()))),
    };
    let (width, height) = (image.width(), image.height());
    if spec.effort == Effort::Small {
        return encode_small(samples, side(width)?, side(height)?, has_colour, spec.quality(), metadata);
    }
    let mut encoder = Encoder::new(width, height, has_colour, spec.quality(), &metadata.jpeg_segments())?;
    let row_bytes = width as usize * if has_colour { 3 } else { 1 };
    for band in samples.chunks(row_bytes * BAND_ROWS) {
        encoder.write_band(band);
    }
    Ok(encoder.finish())
}

/// Progressive, with Huffman tables made for the picture: about a tenth fewer bytes for three times the time.
fn encode_small(
    samples: &[u8],
    width: u16,
    height: u16,
    has_colour: bool,
    quality: u8,
    metadata: &Metadata,
) -> Result<Vec<u8>, ConvertError> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    // The default takes the colour of one pixel in four, which falsifies fine patterns.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.set_progressive(true);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode(samples, width, height, if has_colour { ColorType::Rgb } else { ColorType::Luma }).map_err(ConvertError::encoding)?;
    // Behind the start marker and the JFIF segment, which wants to be first.
    let after_jfif = 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    bytes.splice(after_jfif..after_jfif, metadata.jpeg_segments());
    Ok(bytes)
}

fn side(pixels: u32) -> Result<u16, ConvertError> {
    u16::try_from(pixels).map_err(ConvertError::encoding)
}

fn decoding(error: DecodeErrors) -> ConvertError {
    match error {
        DecodeErrors::Unsupported(scheme) => ConvertError::unsupported_input(format!("this kind of JPEG is not read here: {scheme:?}")),
        DecodeErrors::ExhaustedData => ConvertError::corrupt("the data ends before the last pixel"),
        DecodeErrors::Format(text) => ConvertError::corrupt(text),
        other => ConvertError::corrupt(format_args!("{other:?}")),
    }
}

/// Stored samples as inks. YCCK is turned into CMYK first, as ITU-T T.872 has it; and Adobe's programs, whose segment says so, store how much
/// of an ink is missing.
fn inks(mut samples: Vec<u8>, stored: ColorSpace, input: &[u8]) -> Vec<u8> {
    if stored == ColorSpace::YCCK {
        for [luma, blue, red, _] in samples.as_chunks_mut::<4>().0 {
            let [y, cb, cr] = [*luma, *blue, *red].map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            let rgb = [y + 1.402 * cr, y - 0.344_136_3 * cb - 0.714_136_3 * cr, y + 1.772 * cb];
            [*luma, *blue, *red] = rgb.map(|light| 255 - light.round().clamp(0.0, 255.0) as u8);
        }
    }
    if has_adobe_segment(input) {
        for sample in &mut samples {
            *sample = 255 - *sample;
        }
    }
    samples
}

fn has_adobe_segment(input: &[u8]) -> bool {
    segments(input).any(|(marker, content, _)| marker == 0xEE && content.starts_with(b"Adobe"))
}

/// The name of a kind of JPEG that the decoder does not know, from the frame header (ITU-T T.81, table B.1).
fn unread_kind(input: &[u8]) -> Option<&'static str> {
    segments(input).find_map(|(marker, content, _)| match marker {
        0xC3 => Some("lossless JPEG"),
        0xC5..=0xC7 | 0xCD..=0xCF => Some("hierarchical JPEG"),
        0xC9..=0xCB => Some("arithmetic-coded JPEG"),
        0xF7 => Some("JPEG-LS"),
        0xC0..=0xC2 if content.first() == Some(&12) => Some("12-bit JPEG"),
        _ => None,
    })
}

/// Markers and contents of the segments up to that of the first scan, and what is behind each. Fill bytes and what has no place here are skipped, as decoders do.
fn segments(input: &[u8]) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
    let mut rest = input.get(2..).unwrap_or_default();
    iter::from_fn(move || {
        loop {
            let marker_at = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF))?;
            let marker = rest[marker_at + 1];
            rest = &rest[marker_at + 2..];
            match marker {
                0xD9 => return None,
                0x01 | 0xD0..=0xD8 => {}
                _ => {
                    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
                    let content = rest.get(2..length).or_else(|| rest.get(2..)).unwrap_or_default();
                    let behind = rest.get(length..).unwrap_or_default();
                    // Pixels are no segments.
                    rest = if marker == 0xDA { &[] } else { behind };
                    return Some((marker, content, behind));
                }
            }
        }
    })
}
