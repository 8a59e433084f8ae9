//! Metadata: dropped, or kept when that is asked for.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

use crate::pictures::{converted_to, encoded, gradient};

const XMP: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>made by hand</x:xmpmeta>";

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    for spec in ["jpeg", "jpeg effort=small", "png", "webp", "tiff", "gif", "bmp"] {
        let made = converted_to(&told_png(), spec).expect("it can be converted").bytes;
        for told in ["made by hand", "a comment", "Exif", "EXIF", "eXIf"] {
            assert!(!made.windows(told.len()).any(|bytes| bytes == told.as_bytes()), "{spec} says {told}");
        }
    }
}

#[test]
fn exif_and_xmp_go_from_every_format_to_every_other_but_for_the_orientation() {
    let formats = [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("webp", ImageFormat::WebP)];
    for (from, _) in formats {
        let input = converted_to(&told_png(), &format!("{from} metadata")).expect("it can be converted").bytes;
        for (to, format) in formats {
            let made = converted_to(&input, &format!("{to} metadata")).expect("it can be converted").bytes;
            let mut decoder = ImageReader::with_format(Cursor::new(&made), format).into_decoder().expect("it can be decoded");
            let exif = decoder.exif_metadata().expect("it can be read").unwrap_or_else(|| panic!("{from} to {to} has no EXIF"));
            assert_eq!(exif, exif_with(1), "{from} to {to}");
            assert_eq!(Orientation::from_exif_chunk(&exif), Some(Orientation::NoTransforms), "{from} to {to}");
            assert_eq!(decoder.xmp_metadata().expect("it can be read").as_deref(), Some(XMP.as_bytes()), "{from} to {to}");
            assert_eq!(decoder.dimensions(), (20, 30), "the orientation is in the pixels");
        }
    }
}

#[test]
fn the_text_of_a_png_stays_in_a_png() {
    let png = converted_to(&told_png(), "png metadata").expect("it can be converted").bytes;
    let mut reader = png::Decoder::new(Cursor::new(&png)).read_info().expect("it can be decoded");
    reader.finish().expect("it can be decoded");
    let text = &reader.info().uncompressed_latin1_text;
    assert_eq!(text.iter().map(|text| (&*text.keyword, &*text.text)).collect::<Vec<_>>(), [("Comment", "a comment")]);
}

#[test]
fn a_colour_profile_is_applied_and_never_kept() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a built-in profile can be encoded");
    let png = crate::pictures::png_with_profile(&gradient(20, 20), profile);
    for (to, format) in [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("webp", ImageFormat::WebP)] {
        let made = converted_to(&png, &format!("{to} metadata")).expect("it can be converted").bytes;
        let mut decoder = ImageReader::with_format(Cursor::new(&made), format).into_decoder().expect("it can be decoded");
        assert_eq!(decoder.icc_profile().expect("it can be read"), None, "{to}");
    }
}

/// Turned by a quarter, with EXIF, XMP and, behind its pixels, a comment.
fn told_png() -> Vec<u8> {
    let image = gradient(30, 20);
    let mut bytes = Vec::new();
    let mut info = png::Info::with_size(30, 20);
    info.color_type = png::ColorType::Rgb;
    info.bit_depth = png::BitDepth::Eight;
    info.exif_metadata = Some(exif_with(6).into());
    let mut encoder = png::Encoder::with_info(&mut bytes, info).expect("it can be encoded");
    encoder.add_itxt_chunk("XML:com.adobe.xmp".to_owned(), XMP.to_owned()).expect("PNG has text");
    let mut writer = encoder.write_header().expect("it can be encoded");
    writer.write_image_data(image.as_bytes()).expect("it can be encoded");
    writer.write_text_chunk(&png::text_metadata::TEXtChunk::new("Comment", "a comment")).expect("PNG has text");
    writer.finish().expect("it can be encoded");
    bytes
}

/// A directory of one entry, the orientation.
fn exif_with(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif
}

#[test]
fn the_input_of_these_tests_says_what_it_should() {
    assert!(encoded(&gradient(3, 3), ImageFormat::Png).len() < told_png().len());
    assert!(told_png().windows(4).any(|name| name == b"eXIf"));
}
