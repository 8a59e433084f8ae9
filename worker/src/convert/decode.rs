use std::{borrow::Cow, io::Cursor};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits,
    codecs::{png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use tintype_store::{ConversionLimits, Format, ImageHeader, Spec};

use super::{ConvertError, animation::Shown, avif, colour, ico, jpeg, pixels, png, tiff, webp};

/// What a decoder gives, before it is made what people see.
pub(super) struct Raw {
    pub(super) image: DynamicImage,
    pub(super) icc_profile: Option<Vec<u8>>,
    pub(super) orientation: Orientation,
    /// Where only a smaller picture was decoded.
    pub(super) shrunk: Option<Shrunk>,
}

/// What is left of a picture that was decoded smaller than it is stored.
#[derive(Clone, Copy)]
pub(super) struct Shrunk {
    /// Of each side: 1, 2 or 4.
    pub(super) eighths: u32,
    /// As stored.
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A picture as people see it.
pub(super) struct Upright {
    pub(super) image: DynamicImage,
    /// The size of the whole picture.
    pub(super) width: u32,
    pub(super) height: u32,
    /// How much of each side `image` has: all 8, or less where that is enough.
    pub(super) eighths: u32,
    /// Where the picture begins in `image`, from the left and from the top, in pixels of `image`.
    pub(super) begins_at: (f64, f64),
}

impl Raw {
    /// Upright, in sRGB.
    pub(super) fn plain(image: DynamicImage) -> Self {
        Self { image, icc_profile: None, orientation: Orientation::NoTransforms, shrunk: None }
    }
}

/// The picture, or its first frame, as people see it: upright, in sRGB, in integers of 8 or 16 bit, with alpha only where something shows
/// through.
pub(super) fn first_frame(input: &[u8], header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> Result<Upright, ConvertError> {
    let raw = match header.format {
        Format::Jpeg => jpeg::decode(input, spec, limits)?,
        Format::Tiff => tiff::decode(input, limits)?,
        Format::Avif => avif::decode(input, limits)?,
        Format::Ico => ico::decode(input, limits)?,
        Format::Bmp => {
            let raw = through_image(&bitmap_with_known_header(input), header.format, limits)?;
            Raw { icc_profile: profile_of_bitmap(input), ..raw }
        }
        Format::Png if has_separate_default_image(input)? => {
            let frames = png::frames(input, limits)?.map(|(_, frames)| frames);
            let decoder = PngDecoder::with_limits(Cursor::new(input), decoder_limits(limits));
            first_of_animation(decoder, input, header.format, frames, limits)?
        }
        Format::WebP => match webp::frames(input, limits)? {
            Some((_, frames)) => first_of_animation(WebPDecoder::new(Cursor::new(input)), input, header.format, Some(frames), limits)?,
            None => through_image(input, header.format, limits)?,
        },
        format => through_image(input, format, limits)?,
    };
    let mut image = pixels::in_integers(raw.image);
    if let Some(profile) = &raw.icc_profile
        && let Some(conversion) = colour::Conversion::to_srgb(profile, image.color())
    {
        conversion.apply(&mut image);
    }
    image.apply_orientation(raw.orientation);
    let image = pixels::without_opaque_alpha(image);
    let (width, height, eighths) = match raw.shrunk {
        Some(Shrunk { eighths, width, height }) => {
            let (width, height) = upright_size(width, height, raw.orientation);
            (width, height, eighths)
        }
        None => (image.width(), image.height(), 8),
    };
    let beyond = |shrunk: u32, side: u32| f64::from(shrunk) - f64::from(side) * f64::from(eighths) / 8.0;
    // Where sides were rounded up, there is more than the picture at its right and its bottom, as stored.
    let (at_left, at_top) = turned_edges(raw.orientation);
    let begins_at = (if at_left { beyond(image.width(), width) } else { 0.0 }, if at_top { beyond(image.height(), height) } else { 0.0 });
    Ok(Upright { image, width, height, eighths, begins_at })
}

/// Whether the right or the bottom of a stored picture is seen at the left, and at the top.
fn turned_edges(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
        Orientation::FlipHorizontal | Orientation::Rotate90 => (true, false),
        Orientation::FlipVertical | Orientation::Rotate270 => (false, true),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
    }
}

/// The sides of a stored picture as people see them.
pub(super) fn upright_size(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// Checks what a decoder is about to decode, which need not be what the header's reader saw.
pub(super) fn check_size(width: u32, height: u32, total_bytes: u64, limits: &ConversionLimits) -> Result<(), ConvertError> {
    limits.image.check(&ImageHeader { format: Format::Pnm, width, height, frame_count: 1 })?;
    if width == 0 || height == 0 {
        return Err(ConvertError::corrupt("it has no pixels"));
    }
    // A copy while it is turned or its depth changes; the bytes of the result are smaller than that.
    check_memory(total_bytes.saturating_mul(2), limits)
}

/// Checks what a decoder is about to take.
pub(super) fn check_memory(needed: u64, limits: &ConversionLimits) -> Result<(), ConvertError> {
    if needed > limits.memory_bytes {
        return Err(ConvertError::resource_limit(format!(
            "the picture needs {needed} bytes of memory, more than the limit of {}",
            limits.memory_bytes
        )));
    }
    Ok(())
}

/// The limits that `image` passes on to its decoders. Sides are not among them: [`check_size`] says which one is too long.
pub(super) fn decoder_limits(limits: &ConversionLimits) -> Limits {
    let mut passed_on = Limits::no_limits();
    passed_on.max_alloc = Some(limits.memory_bytes);
    passed_on
}

/// Whether an animated PNG's first image is for viewers that know no animation, and not part of it.
fn has_separate_default_image(input: &[u8]) -> Result<bool, ConvertError> {
    let reader = ::png::Decoder::new(Cursor::new(input)).read_info().map_err(ConvertError::corrupt)?;
    let info = reader.info();
    Ok(info.animation_control().is_some() && info.frame_control().is_none())
}

fn first_of_animation(
    decoder: ImageResult<impl ImageDecoder>,
    input: &[u8],
    format: Format,
    frames: Option<impl Iterator<Item = Result<Shown, ConvertError>>>,
    limits: &ConversionLimits,
) -> Result<Raw, ConvertError> {
    let mut decoder = decoder.map_err(|error| ConvertError::decoding_within(error, limits))?;
    let (icc_profile, orientation) = colours_and_orientation(&mut decoder, input, format);
    let first = frames.and_then(|mut frames| frames.next()).ok_or_else(|| ConvertError::corrupt("it has no frame"))?;
    let mut image = DynamicImage::ImageRgba8(first?.image);
    if !decoder.color_type().has_color() {
        image = DynamicImage::ImageLumaA8(image.into_luma_alpha8());
    }
    Ok(Raw { image, icc_profile, orientation, shrunk: None })
}

/// A PNG, WebP without frames, GIF, BMP, QOI or PNM.
pub(super) fn through_image(input: &[u8], format: Format, limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let known = match format {
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        Format::Qoi => ImageFormat::Qoi,
        Format::Pnm => ImageFormat::Pnm,
        Format::Jpeg | Format::Tiff | Format::Ico | Format::Avif | Format::Unknown => {
            return Err(ConvertError::unsupported_input(format!("{format} is not read here")));
        }
    };
    let mut reader = ImageReader::with_format(Cursor::new(input), known);
    reader.limits(decoder_limits(limits));
    let mut decoder = reader.into_decoder().map_err(|error| ConvertError::decoding_within(error, limits))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes(), limits)?;
    let (icc_profile, orientation) = colours_and_orientation(&mut decoder, input, format);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| ConvertError::decoding_within(error, limits))?;
    Ok(Raw { image, icc_profile, orientation, shrunk: None })
}

/// Bitmaps with masks for colours and alpha behind the oldest header (Windows CE's `BI_ALPHABITFIELDS`) as what they are as well: bitmaps with
/// a header that has these masks (`BITMAPV3INFOHEADER`).
fn bitmap_with_known_header(input: &[u8]) -> Cow<'_, [u8]> {
    const HEADER_BYTES: (std::ops::Range<usize>, u32, u32) = (14..18, 40, 56);
    const COMPRESSION: (std::ops::Range<usize>, u32, u32) = (30..34, 6, 3);
    let is = |(at, from, _): &(std::ops::Range<usize>, u32, u32)| input.get(at.clone()) == Some(&from.to_le_bytes());
    if !is(&HEADER_BYTES) || !is(&COMPRESSION) {
        return Cow::Borrowed(input);
    }
    let mut known = input.to_vec();
    for (at, _, to) in [HEADER_BYTES, COMPRESSION] {
        known[at].copy_from_slice(&to.to_le_bytes());
    }
    Cow::Owned(known)
}

/// The profile that a bitmap of the newest kind (`BITMAPV5HEADER`) has embedded. A linked one lies in another file.
fn profile_of_bitmap(input: &[u8]) -> Option<Vec<u8>> {
    const FILE_HEADER_BYTES: usize = 14;
    const HEADER_BYTES: u32 = 124;
    const EMBEDDED: u32 = u32::from_be_bytes(*b"MBED");
    let header = input.get(FILE_HEADER_BYTES..)?;
    let number = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if (number(0)?, number(56)?) != (HEADER_BYTES, EMBEDDED) {
        return None;
    }
    let (start, size_bytes) = (number(112)? as usize, number(116)? as usize);
    header.get(start..start.checked_add(size_bytes)?).map(<[u8]>::to_vec)
}

/// ICC profile and orientation; those that cannot be read count as absent, since the pixels are what matters.
pub(super) fn colours_and_orientation(
    decoder: &mut (impl ImageDecoder + ?Sized),
    input: &[u8],
    format: Format,
) -> (Option<Vec<u8>>, Orientation) {
    let icc_profile = decoder.icc_profile().ok().flatten();
    let orientation = match format {
        Format::Png => png::orientation(input),
        _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    (icc_profile, orientation)
}
