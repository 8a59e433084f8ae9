use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use tintype_store::{Format, Rgb, Spec};

use super::{
    ConvertError, avif, gif, jpeg,
    metadata::Metadata,
    pixels::{in_8_bit, onto, without_grey_alpha},
    png, webp,
};

/// Writes one picture. Untagged means sRGB.
pub(super) fn encode(image: DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height) = (image.width(), image.height());
    if let Some(max_side) = max_side_pixels(spec.format)
        && width.max(height) > max_side
    {
        return Err(ConvertError::unsupported_output(format!(
            "a {} has at most {max_side} pixels a side, the picture has {width} x {height}",
            spec.format
        )));
    }
    match spec.format {
        Format::Jpeg => jpeg::encode(&in_8_bit(onto(image, Rgb::WHITE)), spec, metadata),
        Format::Png => png::encode_still(image, spec.effort, metadata),
        Format::WebP => webp::encode_still(in_8_bit(image), spec, metadata),
        Format::Gif => gif::encode_still(in_8_bit(image), spec),
        Format::Tiff => through_image(&without_grey_alpha(image), ImageFormat::Tiff),
        Format::Bmp => through_image(&without_grey_alpha(in_8_bit(image)), ImageFormat::Bmp),
        Format::Avif => avif::encode(image, spec, metadata),
        Format::Ico | Format::Qoi | Format::Pnm | Format::Unknown => Err(not_made(spec.format)),
    }
}

/// The refusal of a format that is not among [`super::OUTPUT_FORMATS`].
pub(super) fn not_made(format: Format) -> ConvertError {
    let why = if format == Format::Avif { ": this worker is built without the feature avif" } else { "" };
    ConvertError::unsupported_output(format!("{format} is not made here{why}"))
}

/// What the format's own fields can say, JPEG as far as decoders take it.
fn max_side_pixels(format: Format) -> Option<u32> {
    match format {
        Format::Jpeg => Some(65_500),
        Format::WebP => Some(webp::MAX_SIDE_PIXELS),
        Format::Gif | Format::Avif => Some(65_535),
        _ => None,
    }
}

fn through_image(image: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>, ConvertError> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).map_err(ConvertError::encoding)?;
    Ok(bytes.into_inner())
}
