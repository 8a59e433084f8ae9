//! Cyan, magenta, yellow and black, as printers mix them, to sRGB.

use image::{DynamicImage, ImageBuffer, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Four samples a pixel; the largest value is all of an ink.
pub(super) enum Inks {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Inks {
    /// By the profile, or without one that fits: what an ink takes away of its colour, times what black leaves of it. That is brighter than
    /// print, and what most viewers show.
    pub(super) fn into_srgb(self, width: u32, height: u32, profile: Option<&[u8]>) -> DynamicImage {
        let profile = profile.and_then(|profile| ColorProfile::new_from_slice(profile).ok());
        let profile = profile.filter(|profile| profile.color_space == DataColorSpace::Cmyk);
        let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
        // Four inks have the layout of RGBA.
        let (from, to) = (Layout::Rgba, Layout::Rgb);
        match self {
            Self::Eight(inks) => {
                let transform = profile.and_then(|profile| profile.create_transform_8bit(from, &srgb, to, options).ok());
                let mut samples = vec![0; inks.len() / 4 * 3];
                if transform.is_none_or(|transform| transform.transform(&inks, &mut samples).is_err()) {
                    mix(&inks, &mut samples, |ink, black| {
                        let light = u32::from(255 - ink) * u32::from(255 - black);
                        ((light + 127) / 255) as u8
                    });
                }
                RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
            }
            Self::Sixteen(inks) => {
                let transform = profile.and_then(|profile| profile.create_transform_16bit(from, &srgb, to, options).ok());
                let mut samples = vec![0; inks.len() / 4 * 3];
                if transform.is_none_or(|transform| transform.transform(&inks, &mut samples).is_err()) {
                    mix(&inks, &mut samples, |ink, black| {
                        let light = u64::from(65_535 - ink) * u64::from(65_535 - black);
                        ((light + 32_767) / 65_535) as u16
                    });
                }
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb16)
            }
        }
        .expect("there are four inks for each pixel")
    }
}

fn mix<T: Copy>(inks: &[T], samples: &mut [T], light: impl Fn(T, T) -> T) {
    for (colour, [cyan, magenta, yellow, black]) in samples.as_chunks_mut::<3>().0.iter_mut().zip(inks.as_chunks::<4>().0) {
        *colour = [light(*cyan, *black), light(*magenta, *black), light(*yellow, *black)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_profile_every_ink_takes_away_its_colour() {
        let inks = vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 51, 0, 0, 0, 255, 10, 20, 30, 0];
        let expected = vec![255, 255, 255, 0, 255, 255, 204, 0, 204, 0, 0, 0, 245, 235, 225];
        assert_eq!(Inks::Eight(inks.clone()).into_srgb(5, 1, None).into_bytes(), expected);
        assert_eq!(Inks::Eight(inks.clone()).into_srgb(5, 1, Some(b"no profile")).into_bytes(), expected);
        let deep = Inks::Sixteen(inks.iter().map(|ink| u16::from(*ink) * 257).collect()).into_srgb(5, 1, None);
        assert_eq!(deep.to_rgb8().into_raw(), expected);
    }
}
