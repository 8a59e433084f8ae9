use image::DynamicImage;
use ravif::{Encoder, MatrixCoefficients, PixelRange};
use tintype_store::{Effort, Spec};

use super::super::{ConvertError, metadata::Metadata, pixels::without_grey};

/// Quality at which alpha is kept, whatever the colours have: its edges are what people see.
const ALPHA_QUALITY: f32 = 90.0;

const DEEPEST: f32 = 1023.0;
const MIDDLE: f32 = 512.0;

/// 10 bit, 4:4:4, full range, BT.601: what every reader takes for granted if it reads no more than the picture.
pub(in super::super) fn encode(image: DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let speed = match spec.effort {
        Effort::Fast => 10,
        Effort::Balanced => 8,
        Effort::Small => 6,
    };
    let mut encoder = Encoder::new()
        .with_quality(f32::from(spec.quality()))
        .with_alpha_quality(ALPHA_QUALITY)
        .with_speed(speed)
        // More would also be more tiles, and other bytes.
        .with_num_threads(Some(1));
    if let Some(exif) = &metadata.exif {
        encoder = encoder.with_exif(exif.clone());
    }
    let pixels = |planes, alpha: Option<Vec<u16>>| {
        encoder.encode_raw_planes_10_bit(width, height, planes, alpha, PixelRange::Full, MatrixCoefficients::BT601)
    };
    let made = match without_grey(image) {
        DynamicImage::ImageRgb8(it) => pixels(planes::<_, 3>(it.as_raw(), 255.0), None),
        DynamicImage::ImageRgba8(it) => pixels(planes::<_, 4>(it.as_raw(), 255.0), Some(alpha(it.as_raw(), 255.0))),
        DynamicImage::ImageRgb16(it) => pixels(planes::<_, 3>(it.as_raw(), 65_535.0), None),
        DynamicImage::ImageRgba16(it) => pixels(planes::<_, 4>(it.as_raw(), 65_535.0), Some(alpha(it.as_raw(), 65_535.0))),
        other => return Err(ConvertError::encoding(format_args!("its pixels are {:?}", other.color()))),
    };
    made.map(|made| made.avif_file).map_err(ConvertError::encoding)
}

fn planes<T: Copy + Into<f32>, const CHANNELS: usize>(samples: &[T], white: f32) -> Vec<[u16; 3]> {
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let scale = DEEPEST / white;
    pixels.iter().map(|pixel| ycbcr([pixel[0], pixel[1], pixel[2]].map(|sample| sample.into() * scale))).collect()
}

fn alpha<T: Copy + Into<f32>>(samples: &[T], opaque: f32) -> Vec<u16> {
    samples.as_chunks::<4>().0.iter().map(|pixel| (pixel[3].into() / opaque * DEEPEST + 0.5) as u16).collect()
}

/// ITU-R BT.601.
fn ycbcr([red, green, blue]: [f32; 3]) -> [u16; 3] {
    let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    let rounded = |value: f32| (value + 0.5).clamp(0.0, DEEPEST) as u16;
    [rounded(luma), rounded((blue - luma) / 1.772 + MIDDLE), rounded((red - luma) / 1.402 + MIDDLE)]
}
