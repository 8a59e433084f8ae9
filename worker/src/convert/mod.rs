//! Bytes in, bytes out: no files, no clock, no queue. The same input and spec always give the same bytes.
//!
//! What it keeps to, in short (`docs/conversion.md` has it in full): the format is told by the header, never guessed again. Limits are checked
//! before pixels are decoded. Orientation is applied, an ICC profile is converted to sRGB, metadata is dropped unless the spec keeps it.
//! Transparency goes onto white, or the spec's colour, where the target has none. 16 bit stay 16 bit where the target has them, else they
//! are rounded to 8. Damaged pixels are an error, never a picture with holes.

mod animation;
#[cfg_attr(not(feature = "avif"), path = "without_avif.rs")]
mod avif;
mod canvas;
mod colour;
pub(crate) mod companion;
mod decode;
mod encode;
mod error;
mod finish;
mod gif;
mod ico;
mod inks;
mod jpeg;
pub(crate) mod memory;
mod metadata;
mod pixels;
mod png;
mod rectangle;
mod streamed;
mod thumbhash;
mod tiff;
mod webp;

use tintype_store::{ConversionLimits, Format, ImageHeader, Picture, Spec, Thumbhash};

pub use error::ConvertError;
use finish::Finish;
use metadata::Metadata;
use thumbhash::Sampler;

/// What [`convert`] reads.
pub const INPUT_FORMATS: &[Format] = &[
    Format::Jpeg,
    Format::Png,
    Format::WebP,
    Format::Gif,
    Format::Tiff,
    Format::Bmp,
    Format::Ico,
    #[cfg(feature = "avif")]
    Format::Avif,
    Format::Qoi,
    Format::Pnm,
];

/// What [`convert`] makes.
pub const OUTPUT_FORMATS: &[Format] = &[
    Format::Jpeg,
    Format::Png,
    Format::WebP,
    Format::Gif,
    Format::Tiff,
    Format::Bmp,
    #[cfg(feature = "avif")]
    Format::Avif,
];

/// What does the work in this build, for people who look into the matter: the same on every machine, but for the vector instructions used.
pub fn codecs() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "JPEG by Tintype and zune-jpeg (AVX2), PNG by png, Tintype and libdeflate, WebP by image-webp and libwebp";
    }
    "JPEG by Tintype and zune-jpeg, PNG by png, Tintype and libdeflate, WebP by image-webp and libwebp"
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub picture: Picture,
    /// What the original looks like: the first frame, upright and in sRGB.
    pub thumbhash: Thumbhash,
}

/// Converts a file. `header` is what its header says.
///
/// An animation stays one in the formats that have it (PNG, WebP, GIF); every other target gets its first frame, and
/// [`Picture::first_frame_only`] says so. So it does for the first page of a TIFF that has several. The entries of an ICO are one picture in
/// several sizes: the largest is drawn.
///
/// Two copies of the decoded picture have to fit into `limits.memory_bytes`, and into what its header lets expect. Time is not limited here. May panic on input that makes a
/// decoder panic: callers contain that.
pub fn convert(input: &[u8], header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> Result<Converted, ConvertError> {
    limits.image.check_size(input.len() as u64)?;
    limits.image.check(header)?;
    if !OUTPUT_FORMATS.contains(&spec.format) {
        return Err(encode::not_made(spec.format));
    }
    let limits = &memory::limits_of(input.len() as u64, header, spec, limits);
    let known = (header.format == Format::Gif).then(|| gif::with_known_blocks(input));
    let input = known.as_deref().unwrap_or(input);
    let metadata = if spec.keep_metadata { Metadata::read(input, header.format) } else { Metadata::default() };
    let animated = header.frame_count > 1 && matches!(header.format, Format::Gif | Format::Png | Format::WebP);
    if animated && matches!(spec.format, Format::Gif | Format::Png | Format::WebP) {
        let animation = animation::open(input, header, spec, limits)?;
        return match spec.format {
            Format::Gif => gif::encode_animation(animation, spec),
            Format::WebP => webp::encode_animation(animation, spec, &metadata),
            _ => png::encode_animation(animation, &metadata),
        };
    }
    for streamed in [streamed::png_to_jpeg, streamed::jpeg_to_png] {
        if let Some(converted) = streamed(input, header, spec, &metadata, limits)? {
            return Ok(converted);
        }
    }
    let upright = decode::first_frame(input, header, spec, limits)?;
    let thumbhash = Sampler::hash_of(&upright.image);
    let finish = Finish::of(spec, upright.width, upright.height, limits)?.beginning_at(upright.begins_at);
    let image = finish.apply(upright.image, upright.eighths);
    let first_frame_only = header.frame_count > 1 && header.format != Format::Ico;
    let picture = Picture { width: image.width(), height: image.height(), frame_count: 1, first_frame_only };
    Ok(Converted { bytes: encode::encode(image, spec, &metadata)?, picture, thumbhash })
}
