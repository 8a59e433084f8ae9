use std::io::Cursor;

use image::{
    DynamicImage, ImageEncoder, ImageFormat, RgbaImage,
    codecs::{gif::GifEncoder, webp::WebPEncoder},
};
use tintype_store::{Format, Spec};

use super::{
    ConvertError, jpeg,
    pixels::{in_8_bit, onto_white, over_white_8, without_grey_alpha},
    png_out,
};

/// Writes one picture. No metadata goes with it: untagged means sRGB.
pub(super) fn encode(image: DynamicImage, spec: &Spec) -> Result<Vec<u8>, ConvertError> {
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
        Format::Jpeg => jpeg::encode(&in_8_bit(onto_white(image)), spec.quality()),
        Format::Png => png_out::encode_still(image),
        Format::WebP => {
            let image = in_8_bit(image);
            let mut bytes = Vec::new();
            WebPEncoder::new_lossless(&mut bytes)
                .write_image(image.as_bytes(), width, height, image.color().into())
                .map_err(ConvertError::encoding)?;
            Ok(bytes)
        }
        Format::Gif => encode_gif(with_binary_alpha(in_8_bit(image).into_rgba8())),
        Format::Tiff => through_image(&without_grey_alpha(image), ImageFormat::Tiff),
        Format::Bmp => through_image(&without_grey_alpha(in_8_bit(image)), ImageFormat::Bmp),
        Format::Ico | Format::Avif | Format::Qoi | Format::Pnm => {
            Err(ConvertError::unsupported_output(format!("{} is not made here", spec.format)))
        }
    }
}

/// What the format's own fields can say, JPEG as far as decoders take it.
fn max_side_pixels(format: Format) -> Option<u32> {
    match format {
        Format::Jpeg => Some(65_500),
        Format::WebP => Some(16_383),
        Format::Gif => Some(65_535),
        _ => None,
    }
}

fn through_image(image: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>, ConvertError> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).map_err(ConvertError::encoding)?;
    Ok(bytes.into_inner())
}

fn encode_gif(image: RgbaImage) -> Result<Vec<u8>, ConvertError> {
    // 1 is the most careful choice of colours, 30 the quickest.
    const SPEED: i32 = 10;
    let (width, height) = image.dimensions();
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, SPEED);
    encoder.encode(&image.into_raw(), width, height, image::ExtendedColorType::Rgba8).map_err(ConvertError::encoding)?;
    drop(encoder);
    Ok(bytes)
}

/// GIF knows only opaque and transparent: from half on a pixel is drawn, over white.
fn with_binary_alpha(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        pixel.0 =
            if alpha < 128 { [0; 4] } else { [over_white_8(red, alpha), over_white_8(green, alpha), over_white_8(blue, alpha), u8::MAX] };
    }
    image
}
