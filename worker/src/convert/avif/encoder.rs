use image::DynamicImage;
use ravif::{Encoder, Img, RGB8, RGBA8};
use tintype_store::{Effort, Spec};

use super::super::{
    ConvertError,
    metadata::Metadata,
    pixels::{in_8_bit, without_grey},
};

/// Quality at which alpha is kept, whatever the colours have: its edges are what people see.
const ALPHA_QUALITY: f32 = 90.0;

/// Colours of 8 bit, kept in 10 bit and full range, 4:4:4, BT.601: AV1 loses less of them so, and readers take these for granted.
pub(in super::super) fn encode(image: DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let speed = match spec.effort {
        Effort::Fast | Effort::Balanced => 10,
        Effort::Small => 8,
    };
    let mut encoder = Encoder::new()
        .with_quality(f32::from(spec.quality()))
        .with_alpha_quality(ALPHA_QUALITY)
        .with_speed(speed)
        // More would also be more tiles, and other bytes.
        .with_num_threads(Some(1));
    if let Some(exif) = &metadata.exif {
        encoder = encoder.with_exif(&exif[..]);
    }
    let made = match without_grey(in_8_bit(image)) {
        DynamicImage::ImageRgba8(it) => {
            let pixels: Vec<_> = it.pixels().map(|pixel| RGBA8::from(pixel.0)).collect();
            drop(it);
            encoder.encode_rgba(Img::new(&pixels[..], width, height))
        }
        other => {
            let pixels: Vec<_> = other.into_rgb8().pixels().map(|pixel| RGB8::from(pixel.0)).collect();
            encoder.encode_rgb(Img::new(&pixels[..], width, height))
        }
    };
    made.map(|made| made.avif_file).map_err(ConvertError::encoding)
}
