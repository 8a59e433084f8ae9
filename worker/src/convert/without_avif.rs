//! In the place of `avif` where the feature of that name is off: says so.

use image::DynamicImage;
use tintype_store::{ConversionLimits, Format, Spec};

use super::{ConvertError, decode::Raw, encode::not_made, metadata::Metadata};

pub(super) fn decode(_: &[u8], _: &ConversionLimits) -> Result<Raw, ConvertError> {
    Err(ConvertError::unsupported_input("avif is not read here: this worker is built without the feature avif"))
}

pub(super) fn encode(_: DynamicImage, _: &Spec, _: &Metadata) -> Result<Vec<u8>, ConvertError> {
    Err(not_made(Format::Avif))
}

pub(super) fn exif(_: &[u8]) -> Option<Vec<u8>> {
    None
}
