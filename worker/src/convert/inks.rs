//! Cyan, magenta, yellow and black, as printers mix them, to sRGB.

use image::{DynamicImage, ImageBuffer, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Y of L* 50 (CIE 15).
const LIGHTEST_BLACK: f64 = 0.184_186_5;

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
                if let Some(transform) = transform
                    && transform.transform(&inks, &mut samples).is_ok()
                {
                    let mut darkest = [0; 3];
                    let darkest =
                        transform.transform(&[u8::MAX; 4], &mut darkest).map_or([0.0; 3], |()| darkest.map(|it| f64::from(it) / 255.0));
                    let table: Vec<_> = darkened(darkest, 255).map(|value| value as u8).collect();
                    for sample in &mut samples {
                        *sample = table[usize::from(*sample)];
                    }
                } else {
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
                if let Some(transform) = transform
                    && transform.transform(&inks, &mut samples).is_ok()
                {
                    let mut darkest = [0; 3];
                    let darkest =
                        transform.transform(&[u16::MAX; 4], &mut darkest).map_or([0.0; 3], |()| darkest.map(|it| f64::from(it) / 65_535.0));
                    let table: Vec<_> = darkened(darkest, 65_535).map(|value| value as u16).collect();
                    for sample in &mut samples {
                        *sample = table[usize::from(*sample)];
                    }
                } else {
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

/// Every sample of sRGB from 0 to `full`, such that the darkest that inks can be becomes black and white stays: black point compensation as
/// Adobe's paper of 2006 has it, with the black point of all inks at their most, without its hue. In linear light that is a line.
fn darkened(darkest: [f64; 3], full: u32) -> impl Iterator<Item = f64> {
    let [red, green, blue] = darkest.map(linear);
    // Weights of BT.709, section 3. Nobody's ink is lighter than an L* of 50.
    let black = (0.2126 * red + 0.7152 * green + 0.0722 * blue).min(LIGHTEST_BLACK);
    let full = f64::from(full);
    (0..=full as u32).map(move |sample| {
        let light = (linear(f64::from(sample) / full) - black) / (1.0 - black);
        (curved(light.max(0.0)) * full).round()
    })
}

/// From the curve of sRGB to linear light and back (IEC 61966-2-1).
fn linear(value: f64) -> f64 {
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn curved(light: f64) -> f64 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
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
    fn the_darkest_ink_becomes_black_and_white_stays() {
        let table: Vec<_> = darkened([40.0 / 255.0; 3], 255).collect();
        assert_eq!((table[0], table[39], table[40], table[255]), (0.0, 0.0, 0.0, 255.0));
        assert!(table.is_sorted());
        assert_eq!(darkened([0.0; 3], 255).collect::<Vec<_>>(), (0..=255).map(f64::from).collect::<Vec<_>>());
    }

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
