use std::{io::Cursor, num::NonZeroU32};

use image::{
    AnimationDecoder, ColorType, DynamicImage, Frame, Frames, ImageDecoder, Rgba, RgbaImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::{LoopCount, Orientation},
};
use tintype_store::{ConversionLimits, Format, ImageHeader};

use super::{
    ConvertError,
    colour::Conversion,
    decode::{check_size, decoder_limits, metadata},
};

/// An animation whose frames are decoded one by one, each composed on the canvas as people see it: upright and in sRGB.
pub(super) struct Animation<'a> {
    /// How often it is played; 0 is without end.
    pub(super) plays: u32,
    frames: Frames<'a>,
    conversion: Option<Conversion>,
    orientation: Orientation,
}

pub(super) fn open<'a>(input: &'a [u8], header: &ImageHeader, limits: &ConversionLimits) -> Result<Animation<'a>, ConvertError> {
    let reader = Cursor::new(input);
    match header.format {
        Format::Gif => {
            let plays = gif_plays(input)?;
            let mut decoder = GifDecoder::new(reader).map_err(ConvertError::decoding)?;
            let look = Look::of(&mut decoder, limits)?;
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(reader).map_err(ConvertError::decoding)?;
            let look = Look::of(&mut decoder, limits)?;
            // Without a colour to clear with, the decoder would leave frames on the canvas that are to be removed. Browsers clear with none.
            decoder.set_background_color(Rgba([0; 4])).map_err(ConvertError::decoding)?;
            let plays = plays(decoder.loop_count());
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        Format::Png => {
            let mut decoder = PngDecoder::with_limits(reader, decoder_limits(limits)).map_err(ConvertError::decoding)?;
            let look = Look::of(&mut decoder, limits)?;
            let decoder = decoder.apng().map_err(ConvertError::decoding)?;
            let plays = plays(decoder.loop_count());
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        other => Err(ConvertError::unsupported_input(format!("{other} has no animation"))),
    }
}

impl Animation<'_> {
    /// The next frame and how long it is shown, in milliseconds.
    pub(super) fn next_frame(&mut self) -> Result<Option<(RgbaImage, u32)>, ConvertError> {
        let Some(frame) = self.frames.next() else { return Ok(None) };
        let frame = frame.map_err(ConvertError::decoding)?;
        let delay_ms = delay_ms(&frame);
        let mut image = DynamicImage::ImageRgba8(frame.into_buffer());
        if let Some(conversion) = &self.conversion {
            conversion.apply(&mut image);
        }
        image.apply_orientation(self.orientation);
        Ok(Some((image.into_rgba8(), delay_ms)))
    }
}

/// What is done to every frame.
struct Look {
    conversion: Option<Conversion>,
    orientation: Orientation,
}

impl Look {
    fn of(decoder: &mut impl ImageDecoder, limits: &ConversionLimits) -> Result<Self, ConvertError> {
        const FRAME_BYTES_PER_PIXEL: u64 = 4;
        decoder.set_limits(decoder_limits(limits)).map_err(ConvertError::decoding)?;
        let (width, height) = decoder.dimensions();
        check_size(width, height, u64::from(width) * u64::from(height) * FRAME_BYTES_PER_PIXEL, limits)?;
        let (profile, orientation) = metadata(decoder);
        Ok(Self { conversion: profile.and_then(|profile| Conversion::to_srgb(&profile, ColorType::Rgba8)), orientation })
    }

    fn of_frames(self, frames: Frames<'_>, plays: u32) -> Animation<'_> {
        Animation { plays, frames, conversion: self.conversion, orientation: self.orientation }
    }
}

/// A GIF says how often it is *repeated*, and one that says nothing is played once.
fn gif_plays(input: &[u8]) -> Result<u32, ConvertError> {
    let decoder = gif::DecodeOptions::new().read_info(Cursor::new(input)).map_err(ConvertError::corrupt)?;
    Ok(match decoder.repeat() {
        gif::Repeat::Infinite => 0,
        gif::Repeat::Finite(repeats) => u32::from(repeats) + 1,
    })
}

fn plays(count: LoopCount) -> u32 {
    match count {
        LoopCount::Infinite => 0,
        LoopCount::Finite(plays) => NonZeroU32::get(plays),
    }
}

fn delay_ms(frame: &Frame) -> u32 {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator.max(1)));
    ((numerator + denominator / 2) / denominator) as u32
}
