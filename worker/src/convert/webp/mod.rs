//! WebP out, still and animated: pixels by libwebp, the container around them by hand (WebP Container Specification, RFC 9649); and the frames
//! of animated ones.

mod encoder;
mod frames;

use image::{DynamicImage, RgbaImage};
use tintype_store::{Picture, Spec};

use super::{ConvertError, Converted, animation::Animation, metadata::Metadata, pixels::without_grey, rectangle::Rectangle};
use encoder::Pixels;
pub(super) use frames::frames;

/// In pixels; libwebp's own limit.
pub(super) const MAX_SIDE_PIXELS: u32 = 16_383;
/// What 24 bits hold.
const MAX_DELAY_MS: u32 = (1 << 24) - 1;

const HAS_ANIMATION: u8 = 1 << 1;
const HAS_XMP: u8 = 1 << 2;
const HAS_EXIF: u8 = 1 << 3;
const HAS_ALPHA: u8 = 1 << 4;

/// `RIFF`, a size, `WEBP`.
const RIFF_BYTES: usize = 12;

/// Chunks of a picture: its alpha apart, and lossy or lossless pixels.
const PIXELS: [[u8; 4]; 3] = [*b"ALPH", *b"VP8 ", *b"VP8L"];

/// Writes a still picture of 8-bit pixels.
pub(super) fn encode_still(image: DynamicImage, spec: &Spec, metadata: &Metadata) -> Result<Vec<u8>, ConvertError> {
    let image = without_grey(image);
    let (width, height, has_alpha) = (image.width(), image.height(), image.color().has_alpha());
    let file = encoder::encode(&Pixels { width, height, samples: image.as_bytes(), has_alpha }, spec)?;
    if metadata.exif.is_none() && metadata.xmp.is_none() {
        return Ok(file);
    }
    Ok(container(width, height, if has_alpha { HAS_ALPHA } else { 0 }, &bitstream(&file), metadata))
}

/// Writes every frame, as the rectangle that differs from the one before.
pub(super) fn encode_animation(mut animation: Animation<'_>, spec: &Spec, metadata: &Metadata) -> Result<Converted, ConvertError> {
    let mut chunks = Vec::new();
    // Background: none. Viewers may ignore it, and the frames leave nothing to it.
    append(&mut chunks, *b"ANIM", &[&[0; 4][..], &(animation.plays.min(u32::from(u16::MAX)) as u16).to_le_bytes()].concat());
    let mut shown: Option<RgbaImage> = None;
    while let Some((frame, delay_ms)) = animation.next_frame()? {
        check_side(frame.width().max(frame.height()))?;
        let part = shown.as_ref().map_or_else(|| Rectangle::whole(&frame), |shown| Rectangle::of_changes(shown, &frame));
        let part = part.starting_even();
        append(&mut chunks, *b"ANMF", &anmf(&part, &part.cut_out_of(&frame), delay_ms, spec)?);
        shown = Some(frame);
    }
    let (width, height) = shown.map(|frame| frame.dimensions()).unwrap_or_default();
    let picture = Picture { width, height, frame_count: animation.frame_count, first_frame_only: false };
    let thumbhash = animation.thumbhash()?;
    Ok(Converted { bytes: container(width, height, HAS_ANIMATION | HAS_ALPHA, &chunks, metadata), picture, thumbhash })
}

fn check_side(pixels: u32) -> Result<(), ConvertError> {
    if pixels > MAX_SIDE_PIXELS {
        return Err(ConvertError::encoding(format_args!("a side has {pixels} pixels, more than {MAX_SIDE_PIXELS}")));
    }
    Ok(())
}

/// A frame that replaces its part of the canvas and stays until it is replaced.
fn anmf(part: &Rectangle, image: &RgbaImage, delay_ms: u32, spec: &Spec) -> Result<Vec<u8>, ConvertError> {
    const REPLACE: u8 = 0b10;
    let pixels = Pixels { width: part.width, height: part.height, samples: image, has_alpha: true };
    let mut frame = Vec::new();
    for value in [part.x / 2, part.y / 2, part.width - 1, part.height - 1, delay_ms.min(MAX_DELAY_MS)] {
        frame.extend_from_slice(&value.to_le_bytes()[..3]);
    }
    frame.push(REPLACE);
    frame.extend_from_slice(&bitstream(&encoder::encode(&pixels, spec)?));
    Ok(frame)
}

/// The chunks of a file that hold its pixels.
fn bitstream(file: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(file.len());
    for (name, data) in chunks(&file[RIFF_BYTES..]).filter(|(name, _)| PIXELS.contains(name)) {
        append(&mut pixels, name, data);
    }
    pixels
}

/// One behind the other; of one that is cut what is there.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        rest = after.get(size + size % 2..).unwrap_or_default();
        Some((*name, &after[..size.min(after.len())]))
    })
}

fn container(width: u32, height: u32, flags: u8, pixels: &[u8], metadata: &Metadata) -> Vec<u8> {
    let has = |present: bool, flag: u8| if present { flag } else { 0 };
    let flags = flags | has(metadata.exif.is_some(), HAS_EXIF) | has(metadata.xmp.is_some(), HAS_XMP);
    let mut header = vec![flags, 0, 0, 0];
    header.extend_from_slice(&(width - 1).to_le_bytes()[..3]);
    header.extend_from_slice(&(height - 1).to_le_bytes()[..3]);
    let mut content = b"WEBP".to_vec();
    append(&mut content, *b"VP8X", &header);
    content.extend_from_slice(pixels);
    for (name, data) in [(*b"EXIF", &metadata.exif), (*b"XMP ", &metadata.xmp)] {
        if let Some(data) = data {
            append(&mut content, name, data);
        }
    }
    riff(&content)
}

fn riff(content: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(content.len() + 8);
    append(&mut file, *b"RIFF", content);
    file
}

fn append(chunks: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    chunks.extend_from_slice(&name);
    chunks.extend_from_slice(&(data.len() as u32).to_le_bytes());
    chunks.extend_from_slice(data);
    if data.len() % 2 == 1 {
        chunks.push(0);
    }
}
