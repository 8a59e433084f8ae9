//! What a spec asks to be done to every frame: another size, and a colour behind what is transparent.

use fast_image_resize::{ResizeOptions, Resizer};
use image::DynamicImage;
use tintype_store::{ConversionLimits, Fit, Resize, Rgb, Spec};

use super::{ConvertError, decode::check_size, pixels};

/// Is made once for all frames of a picture.
pub(super) struct Finish {
    sampling: Option<Sampling>,
    background: Option<Rgb>,
    /// Where the picture begins in a frame, from the left and from the top.
    begins_at: (f64, f64),
}

impl Finish {
    /// For upright frames of this size.
    pub(super) fn of(spec: &Spec, width: u32, height: u32, limits: &ConversionLimits) -> Result<Self, ConvertError> {
        let sampling = spec.resize.map(|resize| Sampling::of(width, height, &resize)).filter(|sampling| !sampling.keeps(width, height));
        if let Some(sampling) = &sampling {
            check_size(sampling.width, sampling.height, u64::from(sampling.width) * u64::from(sampling.height) * 4, limits)?;
        }
        Ok(Self { sampling, background: spec.background, begins_at: (0.0, 0.0) })
    }

    /// For frames that have something else in front of the picture, so many of their pixels at the left and at the top.
    pub(super) fn beginning_at(self, begins_at: (f64, f64)) -> Self {
        Self { begins_at, ..self }
    }

    /// How many eighths of each side are enough to start from: a third more than what is asked for. 1, 2, 4 or all 8.
    pub(super) fn eighths_needed(spec: &Spec, width: u32, height: u32) -> u32 {
        const MARGIN: f64 = 4.0 / 3.0;
        let Some(resize) = &spec.resize else { return 8 };
        let sampling = Sampling::of(width, height, resize);
        let enough = |eighths: &u32| {
            let left = f64::from(*eighths) / 8.0;
            sampling.from_width * left >= f64::from(sampling.width) * MARGIN
                && sampling.from_height * left >= f64::from(sampling.height) * MARGIN
        };
        [1, 2, 4].into_iter().find(enough).unwrap_or(8)
    }

    /// For a frame of which `eighths` of each side are left, 8 for all of it.
    pub(super) fn apply(&self, mut image: DynamicImage, eighths: u32) -> DynamicImage {
        if let Some(sampling) = &self.sampling {
            image = sampling.apply(&image, f64::from(eighths) / 8.0, self.begins_at);
        }
        match self.background {
            Some(colour) => pixels::onto(image, colour),
            None => image,
        }
    }
}

/// Which part of a picture is drawn, and how large.
///
/// Samples are weighed as they are stored, with the tone curve of sRGB, as most tools do: thin bright lines on black get a little darker
/// than light itself would. Colours are multiplied by their alpha first, so that what is transparent does not bleed into what is not.
#[derive(Debug, PartialEq)]
struct Sampling {
    left: f64,
    top: f64,
    from_width: f64,
    from_height: f64,
    width: u32,
    height: u32,
}

impl Sampling {
    fn of(width: u32, height: u32, resize: &Resize) -> Self {
        let (from_width, from_height) = (f64::from(width), f64::from(height));
        let factors = [resize.width.map(|to| f64::from(to) / from_width), resize.height.map(|to| f64::from(to) / from_height)];
        let smallest = factors.into_iter().flatten().fold(f64::INFINITY, f64::min);
        let largest = factors.into_iter().flatten().fold(0.0, f64::max);
        let allowed = |factor: f64| if resize.enlarge { factor } else { factor.min(1.0) };
        let whole =
            |width: f64, height: f64| Self { left: 0.0, top: 0.0, from_width, from_height, width: side(width), height: side(height) };
        match (resize.fit, resize.width, resize.height) {
            (Fit::Cover, Some(to_width), Some(to_height)) => {
                let (cut_width, cut_height) = (f64::from(to_width) / largest, f64::from(to_height) / largest);
                let factor = allowed(largest);
                Self {
                    left: (from_width - cut_width) / 2.0,
                    top: (from_height - cut_height) / 2.0,
                    from_width: cut_width,
                    from_height: cut_height,
                    width: side(cut_width * factor),
                    height: side(cut_height * factor),
                }
            }
            (Fit::Fill, Some(to_width), Some(to_height)) => {
                whole(from_width * allowed(f64::from(to_width) / from_width), from_height * allowed(f64::from(to_height) / from_height))
            }
            _ => whole(from_width * allowed(smallest), from_height * allowed(smallest)),
        }
    }

    fn keeps(&self, width: u32, height: u32) -> bool {
        (self.width, self.height) == (width, height)
    }

    fn apply(&self, image: &DynamicImage, factor: f64, begins_at: (f64, f64)) -> DynamicImage {
        let mut target = DynamicImage::new(self.width, self.height, image.color());
        let (left, top) = (begins_at.0 + self.left * factor, begins_at.1 + self.top * factor);
        // Rounding may not lead beyond the edge.
        let width = (self.from_width * factor).min(f64::from(image.width()) - left);
        let height = (self.from_height * factor).min(f64::from(image.height()) - top);
        let options = ResizeOptions::new().crop(left, top, width, height);
        Resizer::new().resize(image, &mut target, &options).expect("the part lies inside, and both have the same kind of pixels");
        target
    }
}

/// No picture is thinner than a pixel.
fn side(pixels: f64) -> u32 {
    (pixels.round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_the_fit_says() {
        let resize = |width, height, fit, enlarge| Resize { width, height, fit, enlarge };
        // (from, asked for, to, the part that is drawn)
        for (from, resize, to, part) in [
            ((400, 200), resize(Some(100), None, Fit::Contain, false), (100, 50), (0, 0, 400, 200)),
            ((400, 200), resize(None, Some(100), Fit::Contain, false), (200, 100), (0, 0, 400, 200)),
            ((400, 200), resize(Some(100), Some(100), Fit::Contain, false), (100, 50), (0, 0, 400, 200)),
            ((400, 200), resize(Some(100), Some(100), Fit::Cover, false), (100, 100), (100, 0, 200, 200)),
            ((400, 200), resize(Some(100), Some(100), Fit::Fill, false), (100, 100), (0, 0, 400, 200)),
            ((400, 200), resize(Some(800), Some(800), Fit::Contain, false), (400, 200), (0, 0, 400, 200)),
            ((400, 200), resize(Some(800), Some(800), Fit::Contain, true), (800, 400), (0, 0, 400, 200)),
            ((400, 200), resize(Some(800), Some(800), Fit::Cover, false), (200, 200), (100, 0, 200, 200)),
            ((400, 200), resize(Some(800), Some(800), Fit::Cover, true), (800, 800), (100, 0, 200, 200)),
            ((400, 200), resize(Some(800), Some(100), Fit::Fill, false), (400, 100), (0, 0, 400, 200)),
            ((400, 200), resize(Some(800), Some(100), Fit::Fill, true), (800, 100), (0, 0, 400, 200)),
            ((400, 2), resize(Some(10), None, Fit::Contain, false), (10, 1), (0, 0, 400, 2)),
        ] {
            let sampling = Sampling::of(from.0, from.1, &resize);
            let drawn = [sampling.left, sampling.top, sampling.from_width, sampling.from_height].map(|side| side as u32);
            assert_eq!(((sampling.width, sampling.height), drawn.into()), (to, part), "{from:?} {resize:?}");
        }
    }

    #[test]
    fn a_picture_is_shrunk_to_no_less_than_what_is_needed_and_a_third() {
        for (spec, eighths) in [("jpeg", 8), ("jpeg width=336", 1), ("jpeg width=339", 2), ("jpeg width=675", 2), ("jpeg width=1400", 8)] {
            let spec: Spec = spec.parse().expect("it is a spec");
            assert_eq!(Finish::eighths_needed(&spec, 3600, 2400), eighths, "{spec}");
        }
        let cover = "jpeg width=300 height=300 fit=cover".parse().expect("it is a spec");
        assert_eq!(Finish::eighths_needed(&cover, 3600, 1200), 4);
    }
}
