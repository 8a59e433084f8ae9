use std::io::Cursor;

use image::{
    AnimationDecoder, ColorType, DynamicImage, Frame, ImageDecoder, RgbaImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use tintype_store::{ConversionLimits, Format, ImageHeader, Spec, Thumbhash};

use super::{
    ConvertError,
    colour::Conversion,
    decode::{check_size, colours_and_orientation, decoder_limits, upright_size},
    finish::Finish,
    png,
    thumbhash::Sampler,
    webp,
};

/// A frame as it stands on the canvas, and for how long.
pub(super) struct Shown {
    pub(super) image: RgbaImage,
    pub(super) delay_ms: u32,
}

type Frames<'a> = Box<dyn Iterator<Item = Result<Shown, ConvertError>> + 'a>;

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
    /// Its profile may be one for grey.
    is_grey: bool,
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
    let no_frame = || ConvertError::corrupt("it has no animation");
    match header.format {
        Format::Gif => {
            let plays = gif_plays(input)?;
            let mut decoder = GifDecoder::new(reader).map_err(|error| ConvertError::decoding_within(error, limits))?;
            let look = Look::of(&mut decoder, input, header, spec, limits)?;
            let frames = decoder.into_frames().map(|frame| frame.map(shown).map_err(ConvertError::decoding));
            Ok(look.of_frames(Box::new(frames), plays))
        }
        Format::WebP => {
            let mut decoder = WebPDecoder::new(reader).map_err(|error| ConvertError::decoding_within(error, limits))?;
            let look = Look::of(&mut decoder, input, header, spec, limits)?;
            let (plays, frames) = webp::frames(input, limits)?.ok_or_else(no_frame)?;
            Ok(look.of_frames(Box::new(frames), plays))
        }
        Format::Png => {
            let mut decoder =
                PngDecoder::with_limits(reader, decoder_limits(limits)).map_err(|error| ConvertError::decoding_within(error, limits))?;
            let look = Look::of(&mut decoder, input, header, spec, limits)?;
            let (plays, frames) = png::frames(input, limits)?.ok_or_else(no_frame)?;
            Ok(look.of_frames(Box::new(frames), plays))
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
        let Shown { image, delay_ms } = frame?;
        self.frames_seen += 1;
        if self.frames_seen > self.frame_count {
            return Err(ConvertError::corrupt(format_args!("it has more than the {} frames that its header says", self.frame_count)));
        }
        let mut image = DynamicImage::ImageRgba8(image);
        if self.is_grey {
            image = DynamicImage::ImageLumaA8(image.into_luma_alpha8());
        }
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
    is_grey: bool,
    conversion: Option<Conversion>,
    orientation: Orientation,
    finish: Finish,
    frame_count: u32,
}

impl Look {
    fn of(
        decoder: &mut dyn ImageDecoder,
        input: &[u8],
        header: &ImageHeader,
        spec: &Spec,
        limits: &ConversionLimits,
    ) -> Result<Self, ConvertError> {
        const FRAME_BYTES_PER_PIXEL: u64 = 4;
        decoder.set_limits(decoder_limits(limits)).map_err(|error| ConvertError::decoding_within(error, limits))?;
        let (width, height) = decoder.dimensions();
        check_size(width, height, u64::from(width) * u64::from(height) * FRAME_BYTES_PER_PIXEL, limits)?;
        let (profile, orientation) = colours_and_orientation(decoder, input, header.format);
        let is_grey = !decoder.color_type().has_color();
        let pixels = if is_grey { ColorType::La8 } else { ColorType::Rgba8 };
        let conversion = profile.and_then(|profile| Conversion::to_srgb(&profile, pixels));
        let (width, height) = upright_size(width, height, orientation);
        let finish = Finish::of(spec, width, height, limits)?;
        Ok(Self { is_grey, conversion, orientation, finish, frame_count: header.frame_count })
    }

    fn of_frames(self, frames: Frames<'_>, plays: u32) -> Animation<'_> {
        let Self { is_grey, conversion, orientation, finish, frame_count } = self;
        Animation { plays, frame_count, frames, frames_seen: 0, thumbhash: None, finish, is_grey, conversion, orientation }
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

fn shown(frame: Frame) -> Shown {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator.max(1)));
    let delay_ms = ((numerator + denominator / 2) / denominator) as u32;
    Shown { image: frame.into_buffer(), delay_ms }
}
