use image::DynamicImage;
use ravif::{EncodedImage, Encoder, Img, MatrixCoefficients, PixelRange, RGB8, RGBA8};
use tintype_store::{Effort, Spec};

use super::super::{ConvertError, metadata::Metadata, pixels::without_grey};

/// Quality at which alpha is kept, whatever the colours have: its edges are what people see.
const ALPHA_QUALITY: f32 = 90.0;

/// The largest sample of 10 bit.
const MOST: f32 = 1023.0;

/// Kept in 10 bit and full range, 4:4:4, BT.601: AV1 loses less of 8 bit so, and readers take these for granted. 16 bit are rounded to 10.
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
    let made = match without_grey(image) {
        DynamicImage::ImageRgb16(it) => encode_deep(&encoder, width, height, it.pixels().map(|pixel| pixel.0), None),
        DynamicImage::ImageRgba16(it) => {
            let colours = it.pixels().map(|pixel| [pixel[0], pixel[1], pixel[2]]);
            let is_opaque = it.pixels().all(|pixel| pixel[3] == u16::MAX);
            let alpha = (!is_opaque).then(|| it.pixels().map(|pixel| rounded(in_10_bit(pixel[3]))).collect());
            encode_deep(&encoder, width, height, colours, alpha)
        }
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

fn encode_deep(
    encoder: &Encoder<'_>,
    width: usize,
    height: usize,
    colours: impl Iterator<Item = [u16; 3]> + Send,
    alpha: Option<Vec<u16>>,
) -> Result<EncodedImage, ravif::Error> {
    encoder.encode_raw_planes_10_bit(width, height, colours.map(luma_and_chroma), alpha, PixelRange::Full, MatrixCoefficients::BT601)
}

/// ITU-T H.273, 8.3: `MatrixCoefficients` 6, full range, 10 bit.
fn luma_and_chroma(colour: [u16; 3]) -> [u16; 3] {
    const NO_CHROMA: f32 = 512.0;
    let [red, green, blue] = colour.map(in_10_bit);
    let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    [luma, NO_CHROMA + (blue - luma) / 1.772, NO_CHROMA + (red - luma) / 1.402].map(rounded)
}

fn in_10_bit(sample: u16) -> f32 {
    f32::from(sample) * MOST / f32::from(u16::MAX)
}

fn rounded(sample: f32) -> u16 {
    sample.round().min(MOST) as u16
}
