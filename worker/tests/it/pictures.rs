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

/// EXIF that says nothing else.
fn exif_with(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif
}

/// A JPEG with a segment of EXIF that holds this orientation.
pub(crate) fn jpeg_with_orientation(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let content = [&b"Exif\0\0"[..], &exif_with(orientation)].concat();
    let length = (content.len() as u16 + 2).to_be_bytes();
    let mut jpeg = encoded(image, ImageFormat::Jpeg);
    jpeg.splice(2..2, [&[0xFF, 0xE1], &length[..], &content].concat());
    jpeg
}

/// A JPEG whose three components hold red, green and blue, as its Adobe segment says with transform 0. With 1 or 2 they are YCbCr.
pub(crate) fn jpeg_of_rgb(image: &DynamicImage, is_progressive: bool, transform: u8) -> Vec<u8> {
    const JFIF: std::ops::Range<usize> = 2..20;
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 100);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::R_4_4_4);
    encoder.set_progressive(is_progressive);
    // The samples are written as they are.
    let (width, height) = (image.width() as u16, image.height() as u16);
    encoder.encode(image.as_bytes(), width, height, jpeg_encoder::ColorType::Ycbcr).expect("it can be encoded");
    assert_eq!(jpeg[JFIF][..4], [0xFF, 0xE0, 0, 16], "the segment that says YCbCr");
    jpeg.splice(JFIF, [&b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0"[..], &[transform]].concat());
    jpeg
}

/// A PNG with an `eXIf` chunk that holds this orientation.
pub(crate) fn png_with_orientation(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif_with(orientation)).expect("PNG has EXIF");
    encoder.write_image(image.as_bytes(), image.width(), image.height(), image.color().into()).expect("it can be encoded");
    bytes
}

/// The same with the chunk behind the pixels, where ImageMagick writes it.
pub(crate) fn png_with_late_orientation(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    const LENGTH_BYTES: usize = 4;
    const CHECKSUM_BYTES: usize = 4;
    let mut bytes = png_with_orientation(image, orientation);
    let at = bytes.windows(4).position(|name| name == b"eXIf").expect("it has one") - LENGTH_BYTES;
    let chunk: Vec<u8> = bytes.drain(at..at + LENGTH_BYTES + 4 + exif_with(orientation).len() + CHECKSUM_BYTES).collect();
    let end = bytes.len() - (LENGTH_BYTES + 4 + CHECKSUM_BYTES);
    bytes.splice(end..end, chunk);
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

/// A bitmap of 24 bit with the header that can hold a profile (`BITMAPV5HEADER`), and this one behind its pixels.
pub(crate) fn bitmap_with_profile(image: &RgbImage, profile: &[u8]) -> Vec<u8> {
    const HEADERS_BYTES: u32 = 14 + 124;
    let mut pixels = Vec::new();
    for row in image.rows().rev() {
        pixels.extend(row.flat_map(|pixel| [pixel.0[2], pixel.0[1], pixel.0[0]]));
        pixels.resize(pixels.len().next_multiple_of(4), 0);
    }
    let mut bytes = vec![0; HEADERS_BYTES as usize];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let size_bytes = HEADERS_BYTES + pixels.len() as u32 + profile.len() as u32;
    for (at, value) in [(2, size_bytes), (10, HEADERS_BYTES), (14, 124), (18, image.width()), (22, image.height())] {
        put(at, value);
    }
    put(26, 24 << 16 | 1);
    put(34, pixels.len() as u32);
    put(70, u32::from_be_bytes(*b"MBED"));
    put(126, HEADERS_BYTES - 14 + pixels.len() as u32);
    put(130, profile.len() as u32);
    bytes[..2].copy_from_slice(b"BM");
    [bytes, pixels, profile.to_vec()].concat()
}

/// The largest difference of any sample.
pub(crate) fn largest_difference(one: &DynamicImage, other: &DynamicImage) -> u8 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    one.to_rgba8().iter().zip(other.to_rgba8().iter()).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0)
}
