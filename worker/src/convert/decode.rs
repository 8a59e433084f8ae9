use std::io::Cursor;

use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, codecs::png::PngDecoder, metadata::Orientation,
};
use tiff::tags::Tag;
use tintype_store::{ConversionLimits, Format, ImageHeader};

use super::{ConvertError, colour, jpeg, pixels};

/// What a decoder gives, before it is made what people see.
pub(super) struct Raw {
    pub(super) image: DynamicImage,
    pub(super) icc_profile: Option<Vec<u8>>,
    pub(super) orientation: Orientation,
}

/// The picture, or its first frame, as people see it: upright, in sRGB, in integers of 8 or 16 bit, with alpha only where something shows
/// through.
pub(super) fn first_frame(input: &[u8], header: &ImageHeader, limits: &ConversionLimits) -> Result<DynamicImage, ConvertError> {
    let raw = match header.format {
        Format::Jpeg => jpeg::decode(input, limits)?,
        Format::Png if header.frame_count > 1 && has_separate_default_image(input)? => first_of_apng(input, limits)?,
        format => decode(input, format, limits)?,
    };
    let mut image = pixels::in_integers(raw.image);
    if let Some(profile) = &raw.icc_profile
        && let Some(conversion) = colour::Conversion::to_srgb(profile, image.color())
    {
        conversion.apply(&mut image);
    }
    image.apply_orientation(raw.orientation);
    Ok(pixels::without_opaque_alpha(image))
}

/// Checks what a decoder is about to decode, which need not be what the header's reader saw.
pub(super) fn check_size(width: u32, height: u32, total_bytes: u64, limits: &ConversionLimits) -> Result<(), ConvertError> {
    limits.image.check(&ImageHeader { format: Format::Pnm, width, height, frame_count: 1 })?;
    if width == 0 || height == 0 {
        return Err(ConvertError::corrupt("it has no pixels"));
    }
    // A copy while it is turned or its depth changes; the bytes of the result are smaller than that.
    let needed = total_bytes.saturating_mul(2);
    if needed > limits.memory_bytes {
        return Err(ConvertError::resource_limit(format!(
            "the picture needs {needed} bytes of memory, more than the limit of {}",
            limits.memory_bytes
        )));
    }
    Ok(())
}

/// The limits that `image` passes on to its decoders.
pub(super) fn decoder_limits(limits: &ConversionLimits) -> Limits {
    let mut passed_on = Limits::default();
    passed_on.max_image_width = Some(limits.image.max_side_pixels);
    passed_on.max_image_height = Some(limits.image.max_side_pixels);
    passed_on.max_alloc = Some(limits.memory_bytes);
    passed_on
}

/// Whether an animated PNG's first image is for viewers that know no animation, and not part of it.
fn has_separate_default_image(input: &[u8]) -> Result<bool, ConvertError> {
    let reader = png::Decoder::new(Cursor::new(input)).read_info().map_err(ConvertError::corrupt)?;
    let info = reader.info();
    // `image` composes frames of 8 bit only; for deeper ones the default image is what can be shown.
    Ok(info.animation_control().is_some() && info.frame_control().is_none() && info.bit_depth != png::BitDepth::Sixteen)
}

fn first_of_apng(input: &[u8], limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let mut decoder = PngDecoder::with_limits(Cursor::new(input), decoder_limits(limits)).map_err(ConvertError::decoding)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, u64::from(width) * u64::from(height) * 4, limits)?;
    let (icc_profile, orientation) = colours_and_orientation(&mut decoder);
    let frame = decoder.apng().map_err(ConvertError::decoding)?.into_frames().next();
    let frame = frame.ok_or_else(|| ConvertError::corrupt("it has no frame"))?.map_err(ConvertError::decoding)?;
    Ok(Raw { image: DynamicImage::ImageRgba8(frame.into_buffer()), icc_profile, orientation })
}

fn decode(input: &[u8], format: Format, limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Gif => ImageFormat::Gif,
        Format::Tiff => ImageFormat::Tiff,
        Format::Bmp => ImageFormat::Bmp,
        Format::Ico => ImageFormat::Ico,
        Format::Qoi => ImageFormat::Qoi,
        Format::Pnm => ImageFormat::Pnm,
        Format::Jpeg | Format::Avif => return Err(ConvertError::unsupported_input(format!("{format} is not read here"))),
    };
    let mut reader = ImageReader::with_format(Cursor::new(input), format);
    reader.limits(decoder_limits(limits));
    let mut decoder = reader.into_decoder().map_err(ConvertError::decoding)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes(), limits)?;
    let (icc_profile, orientation) = colours_and_orientation(&mut decoder);
    let mut image = DynamicImage::from_decoder(decoder).map_err(ConvertError::decoding)?;
    if format == ImageFormat::Tiff && has_premultiplied_alpha(input) {
        image = pixels::with_straight_alpha(pixels::in_integers(image));
    }
    Ok(Raw { image, icc_profile, orientation })
}

/// Whether the colours of a TIFF are stored multiplied by their alpha ("associated alpha", TIFF 6.0, section 18), which `image` passes on
/// as they are.
fn has_premultiplied_alpha(tiff: &[u8]) -> bool {
    const ASSOCIATED_ALPHA: u16 = 1;
    let extra_samples =
        tiff::decoder::Decoder::new(Cursor::new(tiff)).and_then(|mut decoder| decoder.find_tag_unsigned_vec(Tag::ExtraSamples));
    extra_samples.is_ok_and(|samples| samples.is_some_and(|samples| samples.first() == Some(&ASSOCIATED_ALPHA)))
}

/// ICC profile and orientation; those that cannot be read count as absent, since the pixels are what matters.
pub(super) fn colours_and_orientation(decoder: &mut (impl ImageDecoder + ?Sized)) -> (Option<Vec<u8>>, Orientation) {
    let icc_profile = decoder.icc_profile().ok().flatten();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    (icc_profile, orientation)
}
