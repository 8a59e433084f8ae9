//! Frames of animated files: each decoded as the still picture that it is, then drawn as the container says (RFC 9649, section 2.7.1).

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, RgbaImage, codecs::webp::WebPDecoder};
use tintype_store::ConversionLimits;

use super::{
    super::{
        ConvertError,
        animation::Shown,
        canvas::{After, Canvas, Part},
        decode::{check_size, decoder_limits},
        metadata::Metadata,
    },
    HAS_ALPHA, HAS_ANIMATION, PIXELS, RIFF_BYTES, append, chunks, container, riff,
};

/// Place, size, time and flags of a frame.
const FRAME_HEAD_BYTES: usize = 16;
const IS_CLEARED_AFTER: u8 = 0b01;
const REPLACES: u8 = 0b10;

/// The frames of an animation, each the whole canvas. Where nothing is drawn the canvas is transparent: its background colour is a hint that
/// browsers do not follow.
pub(in super::super) struct Frames<'a> {
    stored: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    limits: ConversionLimits,
    width: u32,
    height: u32,
    canvas: Canvas,
}

/// How often it is played, 0 without end, and its frames; `None` when there is no animation.
pub(in super::super) fn frames<'a>(input: &'a [u8], limits: &ConversionLimits) -> Result<Option<(u32, Frames<'a>)>, ConvertError> {
    let all = || chunks(input.get(RIFF_BYTES..).unwrap_or_default());
    let Some((b"VP8X", &[flags, _, _, _, ref size @ ..])) = all().next().as_ref().map(|(name, data)| (name, *data)) else {
        return Ok(None);
    };
    let Some((width, height)) = size.get(..6).map(|size| (number(&size[..3]) + 1, number(&size[3..]) + 1)) else { return Ok(None) };
    if flags & HAS_ANIMATION == 0 {
        return Ok(None);
    }
    check_size(width, height, u64::from(width) * u64::from(height) * 4, limits)?;
    // Behind the background colour.
    let plays = all().find(|(name, _)| name == b"ANIM").and_then(|(_, data)| data.get(4..6)).map_or(0, number);
    let stored = Box::new(all().filter(|(name, _)| name == b"ANMF").map(|(_, data)| data));
    Ok(Some((plays, Frames { stored, limits: limits.clone(), width, height, canvas: Canvas::new(width, height) })))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl Iterator for Frames<'_> {
    type Item = Result<Shown, ConvertError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.stored.next()?;
        Some(self.drawn(frame))
    }
}

impl Frames<'_> {
    fn drawn(&mut self, frame: &[u8]) -> Result<Shown, ConvertError> {
        let (head, picture) = frame.split_at_checked(FRAME_HEAD_BYTES).ok_or_else(|| ConvertError::corrupt("a frame is cut"))?;
        let [left, top, width, height, delay_ms] = [0, 3, 6, 9, 12].map(|at| number(&head[at..at + 3]));
        let (left, top, width, height) = (left * 2, top * 2, width + 1, height + 1);
        if left + width > self.width || top + height > self.height {
            return Err(ConvertError::corrupt(format_args!(
                "a frame of {width} x {height} pixels at {left}, {top} lies beyond its canvas of {} x {}",
                self.width, self.height
            )));
        }
        let image = decode(picture, width, height, &self.limits)?;
        let flags = head[FRAME_HEAD_BYTES - 1];
        let after = if flags & IS_CLEARED_AFTER == 0 { After::Keep } else { After::Clear };
        let image = self.canvas.draw(&Part { image, left, top, is_over: flags & REPLACES == 0, after });
        Ok(Shown { image, delay_ms })
    }
}

/// The picture of a frame, as a file of its own.
fn decode(picture: &[u8], width: u32, height: u32, limits: &ConversionLimits) -> Result<RgbaImage, ConvertError> {
    let mut pixels = Vec::with_capacity(picture.len());
    let mut has_alpha = false;
    for (name, data) in chunks(picture).filter(|(name, _)| PIXELS.contains(name)) {
        has_alpha |= name == *b"ALPH";
        check_lossy_size(name, data, width, height)?;
        append(&mut pixels, name, data);
    }
    let file = if has_alpha {
        container(width, height, HAS_ALPHA, &pixels, &Metadata::default())
    } else {
        riff(&[&b"WEBP"[..], &pixels].concat())
    };
    let mut decoder = WebPDecoder::new(Cursor::new(&file[..])).map_err(|error| ConvertError::decoding_within(error, limits))?;
    decoder.set_limits(decoder_limits(limits)).map_err(|error| ConvertError::decoding_within(error, limits))?;
    let (found_width, found_height) = decoder.dimensions();
    if (found_width, found_height) != (width, height) {
        return Err(another_size(width, height, found_width, found_height));
    }
    Ok(DynamicImage::from_decoder(decoder).map_err(|error| ConvertError::decoding_within(error, limits))?.into_rgba8())
}

/// RFC 6386, section 9.1.
fn check_lossy_size(name: [u8; 4], data: &[u8], width: u32, height: u32) -> Result<(), ConvertError> {
    const SIZE_BITS: u32 = 0x3FFF;
    let Some(size) = data.get(6..10).filter(|_| name == *b"VP8 ") else { return Ok(()) };
    let (found_width, found_height) = (number(&size[..2]) & SIZE_BITS, number(&size[2..]) & SIZE_BITS);
    if (found_width, found_height) == (width, height) { Ok(()) } else { Err(another_size(width, height, found_width, found_height)) }
}

fn another_size(width: u32, height: u32, found_width: u32, found_height: u32) -> ConvertError {
    ConvertError::corrupt(format_args!("a frame of {width} x {height} pixels holds a picture of {found_width} x {found_height}"))
}
