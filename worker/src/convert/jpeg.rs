//! JPEG in and out.
//!
//! Reading is strict where pixels are concerned: data that ends early, or codes that do not exist, are an error. The lenient mode that
//! `image` uses would fill what is missing with grey. A missing end marker after the last pixel is no loss of pixels, and neither are odd
//! bytes between the segments of the header: both are accepted.

use image::{DynamicImage, GrayImage, RgbImage, metadata::Orientation};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use tintype_store::{ConversionLimits, Effort, Spec};
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{
    ConvertError,
    decode::{Raw, check_size},
    metadata::Metadata,
};

pub(super) fn decode(input: &[u8], limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    if let Some(name) = unread_kind(input) {
        return Err(ConvertError::unsupported_input(format!("{name} is not read here")));
    }
    // The decoder's own limits would call a large picture a damaged one; ours follow below, before anything is allocated.
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(input), options.set_strict_mode(false));
    decoder.decode_headers().map_err(decoding)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (width, height) = decoder.info().map(|info| (u32::from(info.width), u32::from(info.height))).unwrap_or_default();
    let channels = if grey { 1 } else { 3 };
    let size_bytes = u64::from(width) * u64::from(height) * channels;
    check_size(width, height, size_bytes, limits)?;

    let icc_profile = decoder.icc_profile();
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms);
    let target = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(target));
    let mut pixels = vec![0; size_bytes as usize];
    decoder.decode_into(&mut pixels).map_err(decoding)?;
    let image = if grey {
        GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
    };
    Ok(Raw { image: image.expect("the buffer was made for this size"), icc_profile, orientation })
}

/// Writes JPEG, 4:2:0. The image is 8-bit grey or RGB.
pub(super) fn encode(image: &DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height) = (side(image.width())?, side(image.height())?);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, spec.quality().clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    // The default takes the colour of one pixel in four, which falsifies fine patterns.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    if spec.effort == Effort::Small {
        encoder.set_progressive(true);
        encoder.set_optimized_huffman_tables(true);
    }
    match image {
        DynamicImage::ImageLuma8(grey) => encoder.encode(grey, width, height, ColorType::Luma),
        DynamicImage::ImageRgb8(rgb) => encoder.encode(rgb, width, height, ColorType::Rgb),
        other => return Err(ConvertError::encoding(format_args!("JPEG has no {:?}", other.color()))),
    }
    .map_err(ConvertError::encoding)?;
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

/// The name of a kind of JPEG that the decoder does not know, from the frame header (ITU-T T.81, table B.1).
fn unread_kind(input: &[u8]) -> Option<&'static str> {
    let mut rest = input.get(2..)?;
    loop {
        // Fill bytes and what has no place here are skipped, as decoders do.
        let marker_at = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF))?;
        let marker = rest[marker_at + 1];
        let segment = &rest[marker_at + 2..];
        match marker {
            0xC3 => return Some("lossless JPEG"),
            0xC5..=0xC7 | 0xCD..=0xCF => return Some("hierarchical JPEG"),
            0xC9..=0xCB => return Some("arithmetic-coded JPEG"),
            0xF7 => return Some("JPEG-LS"),
            0xC0..=0xC2 => return if segment.get(2) == Some(&12) { Some("12-bit JPEG") } else { None },
            0xD9 | 0xDA => return None,
            0x01 | 0xD0..=0xD8 => rest = segment,
            _ => {
                let length = usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]));
                rest = segment.get(length..)?;
            }
        }
    }
}
