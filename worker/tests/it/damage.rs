//! Damaged and unknown files: an error that says so, never a wrong picture.

use image::ImageFormat;
use tintype_store::{FailureReason, Format};

use crate::pictures::{as_png, converted, encoded, gradient};

#[test]
fn a_file_that_ends_too_soon_is_corrupt_in_every_format() {
    let formats = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Tiff,
        ImageFormat::Bmp,
        ImageFormat::Qoi,
        ImageFormat::Pnm,
        ImageFormat::Ico,
    ];
    for format in formats {
        let whole = encoded(&gradient(200, 150), format);
        // The directory of a TIFF is at its end here, so a shorter one has no header.
        for kept in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 40] {
            let Ok(header) = tintype_store::header::read_header(&whole[..kept]) else { continue };
            let limits = tintype_store::ConversionLimits::default();
            let spec = tintype_store::Spec::new(Format::Jpeg);
            let result = tintype_worker::convert::convert(&whole[..kept], &header, &spec, &limits);
            assert_eq!(result.map(|_| ()).map_err(|error| error.reason), Err(FailureReason::CorruptInput), "{format:?} cut to {kept}");
        }
    }
}

#[test]
fn damage_in_the_middle_of_a_jpeg_is_an_error() {
    let mut jpeg = encoded(&gradient(200, 150), ImageFormat::Jpeg);
    let middle = jpeg.len() / 2;
    // A code of sixteen ones exists in no table; zeros behind each byte keep it from being a marker.
    for at in (middle..middle + 16).step_by(2) {
        (jpeg[at], jpeg[at + 1]) = (0xFF, 0);
    }
    let error = converted(&jpeg, Format::Png).expect_err("it is damaged");
    assert_eq!(error.reason, FailureReason::CorruptInput, "{error}");
}

#[test]
fn a_jpeg_without_its_end_marker_has_all_its_pixels() {
    let jpeg = encoded(&gradient(64, 64), ImageFormat::Jpeg);
    assert_eq!(as_png(&jpeg[..jpeg.len() - 2]), as_png(&jpeg));
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let jpeg = encoded(&gradient(64, 64), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("it is a baseline JPEG");
    let with = |offset: usize, byte: u8| {
        let mut changed = jpeg.clone();
        changed[frame + offset] = byte;
        changed
    };
    let header = tintype_store::header::read_header(&jpeg).expect("the header is good");
    for (name, input) in
        [("12-bit", with(4, 12)), ("lossless", with(1, 0xC3)), ("arithmetic", with(1, 0xC9)), ("hierarchical", with(1, 0xC5))]
    {
        let spec = tintype_store::Spec::new(Format::Png);
        let limits = tintype_store::ConversionLimits::default();
        let error = tintype_worker::convert::convert(&input, &header, &spec, &limits).expect_err("it is not read");
        assert_eq!(error.reason, FailureReason::UnsupportedInput);
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn messages_are_short_and_on_one_line() {
    let mut png = encoded(&gradient(64, 64), ImageFormat::Png);
    let data = png.windows(4).position(|chunk| chunk == b"IDAT").expect("it has pixels");
    png[data + 10] ^= 0x55;
    let error = converted(&png, Format::Jpeg).expect_err("it is damaged");
    assert_eq!(error.reason, FailureReason::CorruptInput);
    assert!(error.message.chars().count() <= 200 && !error.message.contains(char::is_control), "{error}");
}
