//! The canvas of an animation whose frames are parts of it (PNG, third edition, section 13.2.4; RFC 9649, section 2.7.1.1).

use image::{RgbaImage, imageops};

/// What one frame after the other is drawn on; without any colour and transparent before the first one.
pub(super) struct Canvas {
    pixels: RgbaImage,
    disposal: Option<Disposal>,
}

/// What a frame draws, and what becomes of its place before the next one is drawn.
pub(super) struct Part {
    pub(super) image: RgbaImage,
    pub(super) left: u32,
    pub(super) top: u32,
    /// It is drawn over what is there; else it replaces that.
    pub(super) is_over: bool,
    pub(super) after: After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    /// Nothing is left there.
    Clear,
    /// What was there before it.
    Restore,
}

struct Disposal {
    left: u32,
    top: u32,
    becomes: RgbaImage,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { pixels: RgbaImage::new(width, height), disposal: None }
    }

    /// What people see of a frame. What lies beyond the canvas is left out.
    pub(super) fn draw(&mut self, part: &Part) -> RgbaImage {
        if let Some(Disposal { left, top, becomes }) = self.disposal.take() {
            imageops::replace(&mut self.pixels, &becomes, i64::from(left), i64::from(top));
        }
        let Part { left, top, .. } = *part;
        let (width, height) = part.image.dimensions();
        let becomes = match part.after {
            After::Keep => None,
            After::Clear => Some(RgbaImage::new(width, height)),
            After::Restore => Some(imageops::crop_imm(&self.pixels, left, top, width, height).to_image()),
        };
        self.disposal = becomes.map(|becomes| Disposal { left, top, becomes });
        if part.is_over {
            draw_over(&mut self.pixels, &part.image, left, top);
        } else {
            imageops::replace(&mut self.pixels, &part.image, i64::from(left), i64::from(top));
        }
        self.pixels.clone()
    }
}

/// Rounded to the nearest step; what is opaque stays opaque.
fn draw_over(canvas: &mut RgbaImage, part: &RgbaImage, left: u32, top: u32) {
    for (x, y, above) in part.enumerate_pixels() {
        let Some(below) = canvas.get_pixel_mut_checked(left + x, top + y) else { continue };
        let (alpha, rest) = (u32::from(above.0[3]), u32::from(below.0[3]) * (255 - u32::from(above.0[3])));
        // In 255ths of a step.
        let opacity = alpha * 255 + rest;
        for channel in 0..3 {
            let sum = u32::from(above.0[channel]) * alpha * 255 + u32::from(below.0[channel]) * rest;
            below.0[channel] = (sum + opacity / 2).checked_div(opacity).unwrap_or_default() as u8;
        }
        below.0[3] = ((opacity + 127) / 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    const RED: Rgba<u8> = Rgba([255, 0, 0, 255]);
    const BLUE: Rgba<u8> = Rgba([0, 0, 255, 255]);
    const NONE: Rgba<u8> = Rgba([0; 4]);

    fn part(left: u32, width: u32, colour: Rgba<u8>, after: After) -> Part {
        Part { image: RgbaImage::from_pixel(width, 1, colour), left, top: 0, is_over: false, after }
    }

    fn row(image: &RgbaImage) -> Vec<Rgba<u8>> {
        image.pixels().copied().collect()
    }

    #[test]
    fn what_is_restored_is_what_was_left_by_the_frame_before() {
        let mut canvas = Canvas::new(4, 1);
        assert_eq!(row(&canvas.draw(&part(0, 4, RED, After::Clear))), [RED; 4]);
        assert_eq!(row(&canvas.draw(&part(1, 1, BLUE, After::Restore))), [NONE, BLUE, NONE, NONE]);
        assert_eq!(row(&canvas.draw(&part(3, 1, BLUE, After::Keep))), [NONE, NONE, NONE, BLUE]);
        assert_eq!(row(&canvas.draw(&part(0, 1, RED, After::Keep))), [RED, NONE, NONE, BLUE]);
    }

    #[test]
    fn opaque_stays_opaque_whatever_is_drawn_over_it() {
        for alpha in 0..=255 {
            let mut canvas = Canvas::new(1, 1);
            canvas.draw(&part(0, 1, RED, After::Keep));
            let above = Part { is_over: true, ..part(0, 1, Rgba([255, 0, 0, alpha]), After::Keep) };
            assert_eq!(row(&canvas.draw(&above)), [RED], "{alpha}");
        }
        let mut canvas = Canvas::new(1, 1);
        let half = Part { is_over: true, ..part(0, 1, Rgba([10, 20, 30, 128]), After::Keep) };
        assert_eq!(row(&canvas.draw(&half)), [Rgba([10, 20, 30, 128])], "over nothing");
    }
}
