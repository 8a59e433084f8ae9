//! Cyan, magenta, yellow and black, as printers mix them, to sRGB.

mod profile;

use image::{DynamicImage, ImageBuffer, RgbImage};

use self::profile::InkProfile;

/// Points of the curve of sRGB, such that a line between two is less than a tenth of a step of 16 bit beside the curve.
const CURVE_POINTS: u16 = 16_384;

/// Four samples a pixel; the largest value is all of an ink.
pub(super) enum Inks {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Inks {
    /// By the profile, or without one that fits: what an ink takes away of its colour, times what black leaves of it. That is brighter than
    /// print, and what most viewers show.
    pub(super) fn into_srgb(self, width: u32, height: u32, profile: Option<&[u8]>) -> DynamicImage {
        let profile = profile.and_then(InkProfile::read);
        match self {
            Self::Eight(inks) => {
                let samples = mixed(&inks, u8::MAX, profile.as_ref(), |value| value as u8);
                RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
            }
            Self::Sixteen(inks) => {
                let samples = mixed(&inks, u16::MAX, profile.as_ref(), |value| value as u16);
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb16)
            }
        }
        .expect("there are four inks for each pixel")
    }
}

/// Red, green and blue for every four inks; `full` is all of one.
fn mixed<T: Copy + Default + PartialEq + Into<f32>>(inks: &[T], full: T, profile: Option<&InkProfile>, whole: impl Fn(f32) -> T) -> Vec<T> {
    let full = full.into();
    let curve: Vec<_> = (0..=CURVE_POINTS).map(|at| curved(f32::from(at) / f32::from(CURVE_POINTS))).collect();
    let colour_of = |inks: [f32; 4]| match profile {
        Some(profile) => profile.light(inks).map(|light| {
            let place = light.clamp(0.0, 1.0) * f32::from(CURVE_POINTS);
            let before = (place as usize).min(curve.len() - 2);
            curve[before] + (curve[before + 1] - curve[before]) * (place - before as f32)
        }),
        None => [0, 1, 2].map(|ink| (1.0 - inks[ink]) * (1.0 - inks[3])),
    };
    let mut samples = Vec::with_capacity(inks.len() / 4 * 3);
    // Pages have much of one colour.
    let (mut last, mut colour) = (None, [T::default(); 3]);
    for inks in inks.as_chunks::<4>().0 {
        if last != Some(inks) {
            colour = colour_of(inks.map(|ink| ink.into() / full)).map(|value| whole((value * full).round()));
            last = Some(inks);
        }
        samples.extend(colour);
    }
    samples
}

/// From linear light to the curve of sRGB (IEC 61966-2-1).
fn curved(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
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
