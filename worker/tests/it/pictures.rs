//! Files made for the tests, and a shorter way to convert them.

use std::io::Cursor;

use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, codecs::png::PngEncoder};
use tintype_store::{ConversionLimits, Format, Spec, header::read_header};
use tintype_worker::convert::{ConvertError, Converted, convert};

pub(crate) fn converted(input: &[u8], format: Format) -> Result<Converted, ConvertError> {
    converted_to(input, &Spec::new(format).to_string())
}

/// The spec as its text.
pub(crate) fn converted_to(input: &[u8], spec: &str) -> Result<Converted, ConvertError> {
    let header = read_header(input).expect("the header is good");
    convert(input, &header, &spec.parse().expect("it is a spec"), &ConversionLimits::default())
}

pub(crate) fn decoded(bytes: &[u8], format: ImageFormat) -> DynamicImage {
    image::load_from_memory_with_format(bytes, format).expect("the result can be decoded")
}

/// Converts to PNG, which shows every pixel as it is.
pub(crate) fn as_png(input: &[u8]) -> DynamicImage {
    decoded(&converted(input, Format::Png).expect("it can be converted").bytes, ImageFormat::Png)
}

pub(crate) fn as_jpeg(input: &[u8]) -> DynamicImage {
    decoded(&converted(input, Format::Jpeg).expect("it can be converted").bytes, ImageFormat::Jpeg)
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("it can be encoded");
    bytes.into_inner()
}

/// No two pixels alike.
pub(crate) fn gradient(width: u32, height: u32) -> DynamicImage {
    let rgb = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x * y) % 256) as u8]));
    DynamicImage::ImageRgb8(rgb)
}

/// A PNG with an `eXIf` chunk that holds this orientation.
pub(crate) fn png_with_orientation(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).expect("PNG has EXIF");
    encoder.write_image(image.as_bytes(), image.width(), image.height(), image.color().into()).expect("it can be encoded");
    bytes
}

pub(crate) fn png_with_profile(image: &DynamicImage, profile: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).expect("PNG has profiles");
    // The encoder takes samples of 16 bit in native order.
    encoder.write_image(image.as_bytes(), image.width(), image.height(), image.color().into()).expect("it can be encoded");
    bytes
}

/// The largest difference of any sample.
pub(crate) fn largest_difference(one: &DynamicImage, other: &DynamicImage) -> u8 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    one.to_rgba8().iter().zip(other.to_rgba8().iter()).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0)
}
