//! How much of a picture a conversion kept.

use std::io::Cursor;

use anyhow::Context;
use image::{ImageReader, Limits, RgbImage};

/// Decodes with the `image` crate, whoever made the file, onto eight bits RGB.
pub(super) fn decode(bytes: &[u8]) -> anyhow::Result<RgbImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(Limits::no_limits());
    Ok(reader.decode().context("a result cannot be decoded")?.into_rgb8())
}

/// Peak signal-to-noise ratio in decibels over all samples of two pictures of one size (ITU-R BT.2245's formula without its filters):
/// 10 log₁₀(255² / mean square difference). Infinite for equal ones.
pub(super) fn psnr(one: &RgbImage, other: &RgbImage) -> anyhow::Result<f64> {
    anyhow::ensure!(one.dimensions() == other.dimensions(), "pictures of {:?} and {:?}", one.dimensions(), other.dimensions());
    let squares: u64 = one.iter().zip(other.iter()).map(|(one, other)| u64::from(one.abs_diff(*other)).pow(2)).sum();
    Ok(10.0 * (255.0 * 255.0 / (squares as f64 / one.len() as f64)).log10())
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn one_step_everywhere_is_forty_eight_decibels() {
        let [one, other] = [7, 8].map(|value| RgbImage::from_pixel(4, 4, Rgb([value; 3])));
        assert!((psnr(&one, &other).unwrap() - 48.13).abs() < 0.01);
        assert!(psnr(&one, &one).unwrap().is_infinite());
    }
}
