//! AVIF in and out: AV1 by rav1d and rav1e, each on the one thread that calls it. The boxes around it are read by the header's reader.

mod colours;
mod decoder;
mod encoder;

use image::metadata::Orientation;
use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};
use tintype_store::{
    ConversionLimits,
    header::{AvifItem, AvifMeta, Cicp, HeaderError},
};

use super::{
    ConvertError,
    decode::{Raw, check_size},
    pixels::with_straight_alpha,
};
use decoder::Frame;
pub(super) use encoder::encode;

/// What a pixel takes besides the picture itself: three planes of 16 bit and an alpha.
const PLANES_BYTES: u64 = 8;

pub(super) fn decode(input: &[u8], limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let meta = AvifMeta::of_file(input).map_err(refused)?;
    let sample_bytes = if meta.channel_bits > 8 { 2 } else { 1 };
    let pixel_bytes = if meta.alpha.is_some() { 4 } else { 3 } * sample_bytes;
    // Twice this is counted; the planes are there once.
    check_size(meta.width, meta.height, u64::from(meta.width) * u64::from(meta.height) * (pixel_bytes + PLANES_BYTES / 2), limits)?;

    let read = |item: &AvifItem| Frame::decode(&item.bytes(input).map_err(refused)?, meta.width, meta.height);
    let picture = read(&meta.colours)?;
    let alpha = meta.alpha.as_ref().map(read).transpose()?;
    let cicp = meta.cicp.unwrap_or_else(|| picture.cicp());
    let icc_profile = match &meta.icc_profile {
        Some(profile) => Some(profile.clone()),
        None => profile_of(cicp)?,
    };
    let mut image = colours::image(&picture, alpha.as_ref(), cicp)?;
    if meta.is_premultiplied {
        image = with_straight_alpha(image);
    }
    Ok(Raw { image, icc_profile, orientation: orientation(&meta), shrunk: None })
}

/// EXIF as others keep it: a TIFF header and its directories.
pub(super) fn exif(input: &[u8]) -> Option<Vec<u8>> {
    let meta = AvifMeta::of_file(input).ok()?;
    let item = meta.exif?;
    let block = item.bytes(input).ok()?;
    let (skipped, rest) = block.split_first_chunk::<4>()?;
    rest.get(u32::from_be_bytes(*skipped) as usize..).map(<[u8]>::to_vec)
}

fn refused(error: HeaderError) -> ConvertError {
    match error {
        HeaderError::Unsupported(what) => ConvertError::unsupported_input(format!("{what} is not read here")),
        HeaderError::Corrupt { what, .. } | HeaderError::NotAnImage(what) => ConvertError::corrupt(what),
    }
}

/// Turning first, then mirroring, as its names say.
fn orientation(meta: &AvifMeta) -> Orientation {
    match (meta.quarter_turns, meta.is_mirrored) {
        (0, false) => Orientation::NoTransforms,
        (1, false) => Orientation::Rotate90,
        (2, false) => Orientation::Rotate180,
        (_, false) => Orientation::Rotate270,
        (0, true) => Orientation::FlipHorizontal,
        (1, true) => Orientation::Rotate90FlipH,
        (2, true) => Orientation::FlipVertical,
        (_, true) => Orientation::Rotate270FlipH,
    }
}

/// A profile for colours that are not those of sRGB. Tone curves of television are taken for that of sRGB, as viewers do.
fn profile_of(cicp: Cicp) -> Result<Option<Vec<u8>>, ConvertError> {
    let transfer = match cicp.transfer {
        0..=2 | 6 | 13..=15 => TransferCharacteristics::Srgb,
        4 => TransferCharacteristics::Bt470M,
        5 => TransferCharacteristics::Bt470Bg,
        8 => TransferCharacteristics::Linear,
        16 => return Err(ConvertError::unsupported_input("AVIF with a high dynamic range (PQ) is not read here")),
        18 => return Err(ConvertError::unsupported_input("AVIF with a high dynamic range (HLG) is not read here")),
        other => return Err(ConvertError::unsupported_input(format!("AVIF with transfer characteristics {other} is not read here"))),
    };
    let is_unsaid = matches!(cicp.primaries, 0..=2);
    if is_unsaid && transfer == TransferCharacteristics::Srgb {
        return Ok(None);
    }
    let primaries = if is_unsaid { 1 } else { cicp.primaries };
    let unknown = || ConvertError::unsupported_input(format!("AVIF with colour primaries {primaries} is not read here"));
    let color_primaries = u8::try_from(primaries).ok().and_then(|number| CicpColorPrimaries::try_from(number).ok()).ok_or_else(unknown)?;
    let said = CicpProfile {
        color_primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    };
    let mut profile = ColorProfile::new_srgb();
    // Its answer is no help; it keeps the numbers when it could use them.
    profile.cicp = None;
    profile.update_rgb_colorimetry_from_cicp(said);
    profile.cicp.take().ok_or_else(unknown)?;
    profile.encode().map(Some).map_err(|_| unknown())
}
