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
fn xmp_behind_the_pixels_of_a_png_is_kept() {
    for is_compressed in [false, true] {
        let mut xmp = png::text_metadata::ITXtChunk::new("XML:com.adobe.xmp", XMP);
        xmp.compressed = is_compressed;
        let mut png = Vec::new();
        let mut writer = png::Encoder::new(&mut png, 1, 1).write_header().expect("it can be encoded");
        writer.write_image_data(&[7]).expect("it can be encoded");
        writer.write_text_chunk(&xmp).expect("PNG has text");
        writer.finish().expect("it can be encoded");
        for (to, format) in [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("webp", ImageFormat::WebP)] {
            let made = converted_to(&png, &format!("{to} metadata")).expect("it can be converted").bytes;
            let mut decoder = ImageReader::with_format(Cursor::new(&made), format).into_decoder().expect("it can be decoded");
            let kept = decoder.xmp_metadata().expect("it can be read");
            assert_eq!(kept.as_deref(), Some(XMP.as_bytes()), "{to}, compressed: {is_compressed}");
        }
        let dropped = converted_to(&png, "png").expect("it can be converted").bytes;
        assert!(!dropped.windows(4).any(|name| name == b"iTXt"));
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

/// A TIFF of one pixel in the byte order that was asked for, turned, with a description, what the camera says and where it was.
fn told_tiff(big_endian: bool) -> Vec<u8> {
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let inline = |value: u16| [short(value), [0; 2]].concat();
    let entry = |tag: u16, kind: u16, count: u32, value: Vec<u8>| [&short(tag)[..], &short(kind), &long(count), &value].concat();
    let directory = |entries: &[Vec<u8>]| [&short(entries.len() as u16)[..], &entries.concat(), &[0; 4]].concat();
    // 12 bytes of head and text, then three directories of 13, 3 and 1 entries.
    let (page, camera, place) = (24, 24 + 6 + 12 * 12, 24 + 6 + 12 * 12 + 6 + 12 * 2);
    let end = place + 6 + 12;
    let head = [&if big_endian { *b"MM\0*" } else { *b"II*\0" }[..], &long(page), b"made by hand\0\0\0\0"].concat();
    let page = directory(&[
        entry(256, 3, 1, inline(1)),
        entry(257, 3, 1, inline(1)),
        entry(258, 3, 1, inline(8)),
        entry(259, 3, 1, inline(1)),
        entry(262, 3, 1, inline(1)),
        entry(270, 2, 13, long(8).to_vec()),
        entry(273, 4, 1, long(end).to_vec()),
        entry(274, 3, 1, inline(6)),
        entry(278, 3, 1, inline(1)),
        entry(279, 4, 1, long(1).to_vec()),
        entry(0x8769, 4, 1, long(camera).to_vec()),
        entry(0x8825, 4, 1, long(place).to_vec()),
    ]);
    let camera = directory(&[entry(0x8827, 3, 1, inline(400)), entry(0x927c, 7, 4, b"note".to_vec())]);
    let place = directory(&[entry(1, 2, 2, b"N\0\0\0".to_vec())]);
    [head, page, camera, place, vec![77]].concat()
}

#[test]
fn what_a_tiff_says_of_the_photo_becomes_exif_without_what_it_says_of_its_pixels() {
    for big_endian in [false, true] {
        for (to, format) in [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("webp", ImageFormat::WebP)] {
            let made = converted_to(&told_tiff(big_endian), &format!("{to} metadata")).expect("it can be converted").bytes;
            let mut decoder = ImageReader::with_format(Cursor::new(&made), format).into_decoder().expect("it can be decoded");
            let exif = decoder.exif_metadata().expect("it can be read").expect("it is kept");
            assert!(Orientation::from_exif_chunk(&exif).is_none(), "it is in the pixels");
            // Read with the reader of another library.
            let fields = ::exif::Reader::new().read_raw(exif).expect("it is EXIF");
            let mut told: Vec<_> = fields.fields().map(|field| (field.tag.number(), field.display_value().to_string())).collect();
            told.sort_unstable();
            let expected = [(1, "N".to_owned()), (270, "\"made by hand\"".to_owned()), (0x8827, "400".to_owned())];
            assert_eq!(told, expected, "{to}, big endian: {big_endian}");
        }
    }
    let dropped = converted_to(&told_tiff(false), "jpeg").expect("it can be converted").bytes;
    assert!(!dropped.windows(4).any(|bytes| bytes == b"Exif"));
}
