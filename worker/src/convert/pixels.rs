//! From one layout of pixels to another. Everything that only gets smaller is done in place.

use image::{DynamicImage, ImageBuffer, Pixel};
use tintype_store::Rgb;

/// Whether grey pixels stay grey on it.
pub(super) fn is_grey(Rgb([red, green, blue]): Rgb) -> bool {
    red == green && green == blue
}

/// Without alpha: what is behind is this colour.
pub(super) fn onto(image: DynamicImage, colour: Rgb) -> DynamicImage {
    let image = if is_grey(colour) { image } else { without_grey_alpha(image) };
    let behind = |channel: usize| colour.0[channel];
    match image {
        DynamicImage::ImageLumaA8(it) => {
            DynamicImage::ImageLuma8(drop_alpha(it, |sample, alpha, channel| over_8(sample, alpha, behind(channel))))
        }
        DynamicImage::ImageRgba8(it) => {
            DynamicImage::ImageRgb8(drop_alpha(it, |sample, alpha, channel| over_8(sample, alpha, behind(channel))))
        }
        DynamicImage::ImageLumaA16(it) => {
            DynamicImage::ImageLuma16(drop_alpha(it, |sample, alpha, channel| over_16(sample, alpha, u16::from(behind(channel)) * 257)))
        }
        DynamicImage::ImageRgba16(it) => {
            DynamicImage::ImageRgb16(drop_alpha(it, |sample, alpha, channel| over_16(sample, alpha, u16::from(behind(channel)) * 257)))
        }
        other => other,
    }
}

/// Without an alpha that says "opaque" everywhere, which some decoders always give.
pub(super) fn without_opaque_alpha(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLumaA8(it) if is_opaque(&it, u8::MAX) => DynamicImage::ImageLuma8(drop_alpha(it, |sample, _, _| sample)),
        DynamicImage::ImageRgba8(it) if is_opaque(&it, u8::MAX) => DynamicImage::ImageRgb8(drop_alpha(it, |sample, _, _| sample)),
        DynamicImage::ImageLumaA16(it) if is_opaque(&it, u16::MAX) => DynamicImage::ImageLuma16(drop_alpha(it, |sample, _, _| sample)),
        DynamicImage::ImageRgba16(it) if is_opaque(&it, u16::MAX) => DynamicImage::ImageRgb16(drop_alpha(it, |sample, _, _| sample)),
        other => other,
    }
}

/// Floating point becomes 16 bit; 1.0 is white, and what is beyond is cut off.
pub(super) fn in_integers(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb32F(it) => DynamicImage::ImageRgb16(DynamicImage::ImageRgb32F(it).into_rgb16()),
        DynamicImage::ImageRgba32F(it) => DynamicImage::ImageRgba16(DynamicImage::ImageRgba32F(it).into_rgba16()),
        other => other,
    }
}

/// 16 bit become 8: divided by 257 and rounded.
pub(super) fn in_8_bit(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(image.into_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLumaA8(image.into_luma_alpha8()),
        DynamicImage::ImageRgb16(_) => DynamicImage::ImageRgb8(image.into_rgb8()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgba8(image.into_rgba8()),
        other => other,
    }
}

/// Colours that are multiplied by their alpha become whole again.
pub(super) fn with_straight_alpha(mut image: DynamicImage) -> DynamicImage {
    match &mut image {
        DynamicImage::ImageLumaA8(it) => divide_by_alpha(it, 2, straight_8),
        DynamicImage::ImageRgba8(it) => divide_by_alpha(it, 4, straight_8),
        DynamicImage::ImageLumaA16(it) => divide_by_alpha(it, 2, straight_16),
        DynamicImage::ImageRgba16(it) => divide_by_alpha(it, 4, straight_16),
        _ => {}
    }
    image
}

/// RGB with an alpha of its own depth, which `alpha` has one of for each pixel; other kinds of pixels stay as they are.
pub(super) fn with_alpha(image: DynamicImage, alpha: &[u16]) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb8(it) => DynamicImage::ImageRgba8(add_alpha(&it, alpha.iter().map(|alpha| *alpha as u8))),
        DynamicImage::ImageRgb16(it) => DynamicImage::ImageRgba16(add_alpha(&it, alpha.iter().copied())),
        other => other,
    }
}

/// Grey with alpha becomes RGB with alpha, for formats that know no other kind of transparency.
pub(super) fn without_grey_alpha(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLumaA8(_) => DynamicImage::ImageRgba8(image.into_rgba8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageRgba16(image.into_rgba16()),
        other => other,
    }
}

/// Grey becomes RGB.
pub(super) fn without_grey(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma8(_) => DynamicImage::ImageRgb8(image.into_rgb8()),
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageRgb16(image.into_rgb16()),
        other => without_grey_alpha(other),
    }
}

/// A sample of straight alpha over another one, rounded.
pub(super) fn over_8(sample: u8, alpha: u8, behind: u8) -> u8 {
    let (sample, alpha, behind) = (u32::from(sample), u32::from(alpha), u32::from(behind));
    ((sample * alpha + behind * (255 - alpha) + 127) / 255) as u8
}

fn over_16(sample: u16, alpha: u16, behind: u16) -> u16 {
    let (sample, alpha, behind) = (u64::from(sample), u64::from(alpha), u64::from(behind));
    ((sample * alpha + behind * (65_535 - alpha) + 32_767) / 65_535) as u16
}

/// A sample that was multiplied by its alpha, as it was before.
pub(super) fn straight_8(sample: u8, alpha: u8) -> u8 {
    let (sample, alpha) = (u32::from(sample), u32::from(alpha.max(1)));
    ((sample * 255 + alpha / 2) / alpha).min(255) as u8
}

/// As [`straight_8`] does.
pub(super) fn straight_16(sample: u16, alpha: u16) -> u16 {
    let (sample, alpha) = (u64::from(sample), u64::from(alpha.max(1)));
    ((sample * 65_535 + alpha / 2) / alpha).min(65_535) as u16
}

/// The last channel is the alpha.
pub(super) fn divide_by_alpha<T: Copy>(samples: &mut [T], channels: usize, straight: impl Fn(T, T) -> T) {
    for pixel in samples.chunks_exact_mut(channels) {
        let alpha = pixel[channels - 1];
        for sample in &mut pixel[..channels - 1] {
            *sample = straight(*sample, alpha);
        }
    }
}

fn add_alpha<From, To>(
    image: &ImageBuffer<From, Vec<From::Subpixel>>,
    alpha: impl Iterator<Item = From::Subpixel>,
) -> ImageBuffer<To, Vec<From::Subpixel>>
where
    From: Pixel,
    To: Pixel<Subpixel = From::Subpixel>,
{
    let mut samples = Vec::with_capacity(image.len() / usize::from(From::CHANNEL_COUNT) * usize::from(To::CHANNEL_COUNT));
    for (pixel, alpha) in image.chunks_exact(usize::from(From::CHANNEL_COUNT)).zip(alpha) {
        samples.extend_from_slice(pixel);
        samples.push(alpha);
    }
    ImageBuffer::from_raw(image.width(), image.height(), samples).expect("there is an alpha for each pixel")
}

fn is_opaque<P: Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>, opaque: P::Subpixel) -> bool {
    let alpha = usize::from(P::CHANNEL_COUNT) - 1;
    image.chunks_exact(usize::from(P::CHANNEL_COUNT)).all(|pixel| pixel[alpha] == opaque)
}

/// `From` is `To` with alpha behind it.
fn drop_alpha<From, To>(
    image: ImageBuffer<From, Vec<From::Subpixel>>,
    flatten: impl Fn(From::Subpixel, From::Subpixel, usize) -> From::Subpixel,
) -> ImageBuffer<To, Vec<From::Subpixel>>
where
    From: Pixel,
    To: Pixel<Subpixel = From::Subpixel>,
{
    let (width, height) = image.dimensions();
    let (from, to) = (usize::from(From::CHANNEL_COUNT), usize::from(To::CHANNEL_COUNT));
    let mut samples = image.into_raw();
    for pixel in 0..samples.len() / from {
        let alpha = samples[pixel * from + to];
        for channel in 0..to {
            samples[pixel * to + channel] = flatten(samples[pixel * from + channel], alpha, channel);
        }
    }
    samples.truncate(samples.len() / from * to);
    ImageBuffer::from_raw(width, height, samples).expect("the samples are as many as the pixels need")
}

#[cfg(test)]
mod tests {
    use image::{Luma, LumaA, Rgba};

    use super::*;

    #[test]
    fn alpha_over_a_colour_is_rounded_to_the_nearest_step() {
        for (sample, alpha) in (0..=255).flat_map(|sample| (0..=255).map(move |alpha| (sample, alpha))) {
            for behind in [0, 77, 255] {
                let exact = (f64::from(sample) * f64::from(alpha) + f64::from(behind) * (255.0 - f64::from(alpha))) / 255.0;
                assert_eq!(over_8(sample, alpha, behind), exact.round() as u8, "{sample} with alpha {alpha} over {behind}");
            }
        }
        for (sample, alpha) in [(0, 0), (0, 1), (1, 65_535), (65_535, 65_535), (12_345, 54_321), (0, 32_768), (40_000, 77)] {
            let exact = f64::from(sample) * f64::from(alpha) / 65_535.0 + 65_535.0 - f64::from(alpha);
            assert_eq!(over_16(sample, alpha, 65_535), exact.round() as u16, "{sample} with alpha {alpha}");
        }
    }

    #[test]
    fn grey_over_a_colour_gets_colours() {
        let grey = DynamicImage::ImageLumaA8(ImageBuffer::from_pixel(1, 1, LumaA([100, 0])));
        assert_eq!(onto(grey.clone(), Rgb([1, 2, 3])), DynamicImage::ImageRgb8(ImageBuffer::from_pixel(1, 1, image::Rgb([1, 2, 3]))));
        assert_eq!(onto(grey, Rgb([9, 9, 9])), DynamicImage::ImageLuma8(ImageBuffer::from_pixel(1, 1, Luma([9]))));
        let deep = DynamicImage::ImageRgba16(ImageBuffer::from_pixel(1, 1, Rgba([7, 8, 9, 0])));
        let expected = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(1, 1, image::Rgb([257, 514, 65_535])));
        assert_eq!(onto(deep, Rgb([1, 2, 255])), expected);
    }

    #[test]
    fn sixteen_bit_become_eight_by_dividing_by_257_and_rounding() {
        let levels = ImageBuffer::from_fn(256, 256, |x, y| Luma([(y * 256 + x) as u16]));
        let expected: Vec<u8> = (0..=u16::MAX).map(|level| (f64::from(level) / 257.0).round() as u8).collect();
        let repeated = |times: usize| expected.iter().flat_map(|level| vec![*level; times]).collect::<Vec<_>>();
        let rgb = ImageBuffer::from_fn(256, 256, |x, y| image::Rgb([(y * 256 + x) as u16; 3]));
        let rgba = ImageBuffer::from_fn(256, 256, |x, y| Rgba([(y * 256 + x) as u16; 4]));
        let grey_alpha = ImageBuffer::from_fn(256, 256, |x, y| LumaA([(y * 256 + x) as u16; 2]));
        assert_eq!(in_8_bit(DynamicImage::ImageLuma16(levels)).into_bytes(), expected);
        assert_eq!(in_8_bit(DynamicImage::ImageLumaA16(grey_alpha)).into_bytes(), repeated(2));
        assert_eq!(in_8_bit(DynamicImage::ImageRgb16(rgb)).into_bytes(), repeated(3));
        assert_eq!(in_8_bit(DynamicImage::ImageRgba16(rgba)).into_bytes(), repeated(4));
    }

    #[test]
    fn premultiplied_colours_become_whole_again() {
        let premultiplied = ImageBuffer::from_raw(4, 1, vec![64, 128, 7, 255, 64, 128, 0, 128, 16, 16, 0, 16, 9, 0, 0, 0]);
        let straight = ImageBuffer::from_raw(4, 1, vec![64, 128, 7, 255, 128, 255, 0, 128, 255, 255, 0, 16, 255, 0, 0, 0]);
        let [premultiplied, straight] = [premultiplied, straight].map(|it| DynamicImage::ImageRgba8(it.expect("4 pixels")));
        assert_eq!(with_straight_alpha(premultiplied.clone()), straight);
        let deep = with_straight_alpha(DynamicImage::ImageRgba16(premultiplied.to_rgba16()));
        assert_eq!(DynamicImage::ImageRgba8(deep.to_rgba8()), straight);
    }

    #[test]
    fn alpha_is_dropped_only_where_nothing_shows_through() {
        let opaque = ImageBuffer::from_pixel(3, 2, Rgba([1_u8, 2, 3, 255]));
        let mut translucent = opaque.clone();
        translucent.put_pixel(2, 1, Rgba([1, 2, 3, 254]));
        let dropped = without_opaque_alpha(DynamicImage::ImageRgba8(opaque));
        assert_eq!(dropped, DynamicImage::ImageRgb8(ImageBuffer::from_pixel(3, 2, image::Rgb([1, 2, 3]))));
        let kept = DynamicImage::ImageRgba8(translucent);
        assert_eq!(without_opaque_alpha(kept.clone()), kept);
    }
}
