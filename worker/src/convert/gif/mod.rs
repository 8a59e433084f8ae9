//! GIF out, still and animated.

mod blocks;

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use image::{DynamicImage, RgbaImage};
use tintype_store::{Effort, Picture, Rgb, Spec};

pub(super) use blocks::with_known_blocks;

use super::{ConvertError, Converted, animation::Animation, pixels::over_8, rectangle::Rectangle};

/// What a frame's delay counts in.
const UNIT_MS: u64 = 10;

/// Writes a still picture of 8-bit pixels.
pub(super) fn encode_still(image: DynamicImage, spec: &Spec) -> Result<Vec<u8>, ConvertError> {
    let image = with_binary_alpha(image.into_rgba8());
    let mut encoder = begin(&image)?;
    write(&mut encoder, &image, &Rectangle::whole(&image), 0, DisposalMethod::Any, spec)?;
    encoder.into_inner().map_err(ConvertError::encoding)
}

/// Writes every frame, as the rectangle that differs from what the canvas shows. Delays are rounded to a hundredth of a second such that the
/// whole is as long as before.
pub(super) fn encode_animation(mut animation: Animation<'_>, spec: &Spec) -> Result<Converted, ConvertError> {
    let nothing = || ConvertError::corrupt("it has no frame");
    let mut next = animation.next_frame()?.map(|(frame, delay_ms)| (with_binary_alpha(frame), delay_ms));
    let (width, height) = next.as_ref().ok_or_else(nothing)?.0.dimensions();
    let mut encoder = begin(&next.as_ref().ok_or_else(nothing)?.0)?;
    match u16::try_from(animation.plays) {
        Ok(0) => encoder.set_repeat(Repeat::Infinite).map_err(ConvertError::encoding)?,
        // Once is what a file means that says nothing.
        Ok(1) => {}
        plays => encoder.set_repeat(Repeat::Finite(plays.unwrap_or(u16::MAX) - 1)).map_err(ConvertError::encoding)?,
    }
    let mut canvas = RgbaImage::new(width, height);
    let mut at = Clock::default();
    while let Some((frame, delay_ms)) = next {
        next = animation.next_frame()?.map(|(frame, delay_ms)| (with_binary_alpha(frame), delay_ms));
        let delay = at.pass(delay_ms);
        // Nothing that is drawn can become transparent again, unless all of the canvas is cleared.
        if next.as_ref().is_some_and(|(next, _)| becomes_transparent(&frame, next)) {
            write(&mut encoder, &frame, &Rectangle::whole(&frame), delay, DisposalMethod::Background, spec)?;
            canvas = RgbaImage::new(width, height);
        } else {
            write(&mut encoder, &frame, &Rectangle::of_changes(&canvas, &frame), delay, DisposalMethod::Keep, spec)?;
            canvas = frame;
        }
    }
    let bytes = encoder.into_inner().map_err(ConvertError::encoding)?;
    Ok(Converted {
        bytes,
        picture: Picture { width, height, frame_count: animation.frame_count, first_frame_only: false },
        thumbhash: animation.thumbhash()?,
    })
}

/// Where an animation is, in its own time and in the units of the file.
#[derive(Default)]
struct Clock {
    passed_ms: u64,
    written_units: u64,
}

impl Clock {
    /// The delay to write for a frame that is shown for so long.
    fn pass(&mut self, delay_ms: u32) -> u16 {
        self.passed_ms += u64::from(delay_ms);
        let units = (self.passed_ms + UNIT_MS / 2) / UNIT_MS - self.written_units;
        // Viewers take a delay of none for a tenth of a second.
        let units = if delay_ms == 0 { 0 } else { units.clamp(1, u64::from(u16::MAX)) };
        self.written_units = (self.written_units + units).min((self.passed_ms + UNIT_MS / 2) / UNIT_MS);
        units as u16
    }
}

fn begin(first: &RgbaImage) -> Result<Encoder<Vec<u8>>, ConvertError> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(ConvertError::encoding);
    Encoder::new(Vec::new(), side(first.width())?, side(first.height())?, &[]).map_err(ConvertError::encoding)
}

fn write(
    encoder: &mut Encoder<Vec<u8>>,
    image: &RgbaImage,
    part: &Rectangle,
    delay: u16,
    dispose: DisposalMethod,
    spec: &Spec,
) -> Result<(), ConvertError> {
    // 1 is the most careful choice of colours, 30 the quickest.
    let speed = match spec.effort {
        Effort::Fast => 30,
        Effort::Balanced => 10,
        Effort::Small => 1,
    };
    let mut samples = part.cut_out_of(image).into_raw();
    let mut frame = Frame::from_rgba_speed(part.width as u16, part.height as u16, &mut samples, speed);
    (frame.left, frame.top, frame.delay, frame.dispose) = (part.x as u16, part.y as u16, delay, dispose);
    encoder.write_frame(&frame).map_err(ConvertError::encoding)
}

fn becomes_transparent(before: &RgbaImage, after: &RgbaImage) -> bool {
    before.pixels().zip(after.pixels()).any(|(before, after)| before.0[3] != 0 && after.0[3] == 0)
}

/// GIF knows only opaque and transparent: from half on a pixel is drawn, over white.
fn with_binary_alpha(mut image: RgbaImage) -> RgbaImage {
    let [behind, ..] = Rgb::WHITE.0;
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        pixel.0 = if alpha < 128 {
            [0; 4]
        } else {
            [over_8(red, alpha, behind), over_8(green, alpha, behind), over_8(blue, alpha, behind), u8::MAX]
        };
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_without_losing_time() {
        let mut clock = Clock::default();
        let delays: Vec<u16> = [33; 6].into_iter().map(|delay_ms| clock.pass(delay_ms)).collect();
        assert_eq!((delays.iter().sum::<u16>(), delays.len()), (20, 6));
        assert!(delays.iter().all(|delay| (3..=4).contains(delay)), "{delays:?}");
        assert_eq!(Clock::default().pass(1), 1, "a short delay is not none");
        assert_eq!(Clock::default().pass(0), 0);
        assert_eq!(Clock::default().pass(u32::MAX), u16::MAX);
    }
}
