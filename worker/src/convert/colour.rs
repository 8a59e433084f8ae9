//! Embedded ICC profiles.

use std::sync::Arc;

use image::{ColorType, DynamicImage};
use moxcms::{CmsError, ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, Transform16BitExecutor, TransformOptions};

/// Pixels that are converted at once, so that no second copy of the picture is needed.
const PIXELS_AT_ONCE: usize = 4096;

/// From the colours of a profile to sRGB, grey to grey.
pub(super) struct Conversion {
    channels: usize,
    depth: Depth,
}

enum Depth {
    Eight(Arc<Transform8BitExecutor>),
    Sixteen(Arc<Transform16BitExecutor>),
}

impl Conversion {
    /// `None` when there is nothing to convert: the profile is broken, is for other colours than these pixels have, or is sRGB itself.
    pub(super) fn to_srgb(profile: &[u8], pixels: ColorType) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        let target = match profile.color_space {
            DataColorSpace::Rgb => ColorProfile::new_srgb(),
            DataColorSpace::Gray => srgb_grey(),
            _ => return None,
        };
        let layout = match (profile.color_space, pixels) {
            (DataColorSpace::Rgb, ColorType::Rgb8 | ColorType::Rgb16) => Layout::Rgb,
            (DataColorSpace::Rgb, ColorType::Rgba8 | ColorType::Rgba16) => Layout::Rgba,
            (DataColorSpace::Gray, ColorType::L8 | ColorType::L16) => Layout::Gray,
            (DataColorSpace::Gray, ColorType::La8 | ColorType::La16) => Layout::GrayAlpha,
            _ => return None,
        };
        let conversion = Self::new(&profile, &target, layout, pixels).ok()?;
        (!conversion.changes_nothing()).then_some(conversion)
    }

    /// Converts a picture with pixels of the kind that this was made for; others stay as they are.
    pub(super) fn apply(&self, image: &mut DynamicImage) {
        match (&self.depth, image) {
            (Depth::Eight(executor), DynamicImage::ImageLuma8(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Eight(executor), DynamicImage::ImageLumaA8(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Eight(executor), DynamicImage::ImageRgb8(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Eight(executor), DynamicImage::ImageRgba8(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Sixteen(executor), DynamicImage::ImageLuma16(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Sixteen(executor), DynamicImage::ImageLumaA16(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Sixteen(executor), DynamicImage::ImageRgb16(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            (Depth::Sixteen(executor), DynamicImage::ImageRgba16(it)) => self.transform(it, |from, to| executor.transform(from, to)),
            _ => {}
        }
    }

    fn new(profile: &ColorProfile, target: &ColorProfile, layout: Layout, pixels: ColorType) -> Result<Self, CmsError> {
        let options = TransformOptions::default();
        let channels = usize::from(pixels.channel_count());
        let depth = if usize::from(pixels.bytes_per_pixel()) == channels {
            Depth::Eight(profile.create_transform_8bit(layout, target, layout, options)?)
        } else {
            Depth::Sixteen(profile.create_transform_16bit(layout, target, layout, options)?)
        };
        Ok(Self { channels, depth })
    }

    /// Whether no colour of a sample of all colours moves by more than one step of 8 bit, as rounding moves it.
    fn changes_nothing(&self) -> bool {
        const LEVELS: u16 = 16;
        let channels: &[usize] = [&[0][..], &[0, 3], &[0, 1, 2], &[0, 1, 2, 3]][self.channels - 1];
        let levels = (0..LEVELS * LEVELS * LEVELS).flat_map(|colour| {
            let sample = [colour % LEVELS, colour / LEVELS % LEVELS, colour / LEVELS / LEVELS, LEVELS - 1];
            channels.iter().map(move |channel| sample[*channel])
        });
        match &self.depth {
            Depth::Eight(executor) => {
                let before: Vec<u8> = levels.map(|level| (level * 17) as u8).collect();
                let mut after = before.clone();
                self.transform(&mut after, |from, to| executor.transform(from, to));
                before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) <= 1)
            }
            Depth::Sixteen(executor) => {
                let before: Vec<u16> = levels.map(|level| level * 4369).collect();
                let mut after = before.clone();
                self.transform(&mut after, |from, to| executor.transform(from, to));
                before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) <= 257)
            }
        }
    }

    fn transform<T: Copy>(&self, samples: &mut [T], executor: impl Fn(&[T], &mut [T]) -> Result<(), CmsError>) {
        let mut from = Vec::with_capacity(PIXELS_AT_ONCE * self.channels);
        for to in samples.chunks_mut(PIXELS_AT_ONCE * self.channels) {
            from.clear();
            from.extend_from_slice(to);
            executor(&from, to).expect("both hold the same whole pixels of the transform's own layout");
        }
    }
}

/// Grey with the tone curve of sRGB.
fn srgb_grey() -> ColorProfile {
    let mut grey = ColorProfile::new_gray_with_gamma(2.2);
    grey.gray_trc = ColorProfile::new_srgb().green_trc;
    grey
}
