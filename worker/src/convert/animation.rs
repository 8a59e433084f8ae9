use std::{io::Cursor, num::NonZeroU32};

use image::{
    AnimationDecoder, ColorType, DynamicImage, Frame, Frames, ImageDecoder, Rgba, RgbaImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::{LoopCount, Orientation},
};
use tintype_store::{ConversionLimits, Format, ImageHeader, Spec, Thumbhash};

use super::{
    ConvertError,
    colour::Conversion,
    decode::{check_size, colours_and_orientation, decoder_limits, upright_size},
    finish::Finish,
    png,
    thumbhash::Sampler,
};

/// An animation whose frames are decoded one by one, each composed on the canvas as people see it: upright and in sRGB.
pub(super) struct Animation<'a> {
    /// How often it is played; 0 is without end.
    pub(super) plays: u32,
    /// What limits were checked with; there are exactly as many, or an error.
    pub(super) frame_count: u32,
    frames: Frames<'a>,
    frames_seen: u32,
    thumbhash: Option<Thumbhash>,
    finish: Finish,
    conversion: Option<Conversion>,
    orientation: Orientation,
}

pub(super) fn open<'a>(
    input: &'a [u8],
    header: &ImageHeader,
    spec: &Spec,
    limits: &ConversionLimits,
) -> Result<Animation<'a>, ConvertError> {
    let reader = Cursor::new(input);
    let look = |decoder: &mut dyn ImageDecoder| Look::of(decoder, header, spec, limits);
    match header.format {
        Format::Gif => {
            let plays = gif_plays(input)?;
            let mut decoder = GifDecoder::new(reader).map_err(ConvertError::decoding)?;
            let look = look(&mut decoder)?;
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(reader).map_err(ConvertError::decoding)?;
            let look = look(&mut decoder)?;
            // Without a colour to clear with, the decoder would leave frames on the canvas that are to be removed. Browsers clear with none.
            decoder.set_background_color(Rgba([0; 4])).map_err(ConvertError::decoding)?;
            let plays = plays(decoder.loop_count());
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        Format::Png => {
            let mut decoder = PngDecoder::with_limits(reader, decoder_limits(limits)).map_err(ConvertError::decoding)?;
            let look = look(&mut decoder)?;
            if let Some((plays, frames)) = png::deep_frames(input, limits)? {
                return Ok(look.of_frames(Frames::new(Box::new(frames)), plays));
            }
            let decoder = decoder.apng().map_err(ConvertError::decoding)?;
            let plays = plays(decoder.loop_count());
            Ok(look.of_frames(decoder.into_frames(), plays))
        }
        other => Err(ConvertError::unsupported_input(format!("{other} has no animation"))),
    }
}

impl Animation<'_> {
    /// What its first frame looks like, once that was given out.
    pub(super) fn thumbhash(&self) -> Result<Thumbhash, ConvertError> {
        self.thumbhash.ok_or_else(|| ConvertError::corrupt("it has no frame"))
    }

    /// The next frame and how long it is shown, in milliseconds.
    pub(super) fn next_frame(&mut self) -> Result<Option<(RgbaImage, u32)>, ConvertError> {
        let Some(frame) = self.frames.next() else {
            if self.frames_seen == self.frame_count {
                return Ok(None);
            }
            return Err(ConvertError::corrupt(format_args!("it ends after {} of {} frames", self.frames_seen, self.frame_count)));
        };
        let frame = frame.map_err(ConvertError::decoding)?;
        self.frames_seen += 1;
        if self.frames_seen > self.frame_count {
            return Err(ConvertError::corrupt(format_args!("it has more than the {} frames that its header says", self.frame_count)));
        }
        let delay_ms = delay_ms(&frame);
        let mut image = DynamicImage::ImageRgba8(frame.into_buffer());
        if let Some(conversion) = &self.conversion {
            conversion.apply(&mut image);
        }
        image.apply_orientation(self.orientation);
        self.thumbhash.get_or_insert_with(|| Sampler::hash_of(&image));
        Ok(Some((self.finish.apply(image, 8).into_rgba8(), delay_ms)))
    }
}

/// What is done to every frame.
struct Look {
    conversion: Option<Conversion>,
    orientation: Orientation,
    finish: Finish,
    frame_count: u32,
}

impl Look {
    fn of(decoder: &mut dyn ImageDecoder, header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> Result<Self, ConvertError> {
        const FRAME_BYTES_PER_PIXEL: u64 = 4;
        decoder.set_limits(decoder_limits(limits)).map_err(ConvertError::decoding)?;
        let (width, height) = decoder.dimensions();
        check_size(width, height, u64::from(width) * u64::from(height) * FRAME_BYTES_PER_PIXEL, limits)?;
        let (profile, orientation) = colours_and_orientation(decoder);
        let conversion = profile.and_then(|profile| Conversion::to_srgb(&profile, ColorType::Rgba8));
        let (width, height) = upright_size(width, height, orientation);
        let finish = Finish::of(spec, width, height, limits)?;
        Ok(Self { conversion, orientation, finish, frame_count: header.frame_count })
    }

    fn of_frames(self, frames: Frames<'_>, plays: u32) -> Animation<'_> {
        let Self { conversion, orientation, finish, frame_count } = self;
        Animation { plays, frame_count, frames, frames_seen: 0, thumbhash: None, finish, conversion, orientation }
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
