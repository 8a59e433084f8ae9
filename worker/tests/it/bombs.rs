//! Small files that hold, or ask for, much more than their header says.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use image::{DynamicImage, ImageFormat, RgbaImage};
use tintype_store::{FailureReason, Format, header::read_header};

use crate::pictures::{converted, encoded};

/// A page of one pixel with these tags of 32 bit, behind that its one tile or strip.
fn tiff(tags: &[(u16, u32)], stored: &[u8]) -> Vec<u8> {
    let mut tags = tags.to_vec();
    let directory_bytes = 2 + (tags.len() + 2) * 12 + 4;
    let start = 8 + directory_bytes as u32;
    let (offsets, lengths) = if tags.iter().any(|(tag, _)| *tag == 322) { (324, 325) } else { (273, 279) };
    tags.extend([(offsets, start), (lengths, stored.len() as u32)]);
    tags.sort_by_key(|(tag, _)| *tag);
    let mut bytes = [&b"II*\0"[..], &8_u32.to_le_bytes(), &(tags.len() as u16).to_le_bytes()].concat();
    for (tag, value) in tags {
        bytes.extend([&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(stored);
    bytes
}

fn refusal(input: &[u8]) -> String {
    let error = converted(input, Format::Png).expect_err("it is refused");
    assert_eq!(error.reason, FailureReason::ResourceLimit, "{}", error.message);
    error.message
}

#[test]
fn a_tile_far_larger_than_its_page_is_refused_before_it_is_unpacked() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&[0; 4096]).expect("it is written to memory");
    let zeros = zlib.finish().expect("it is written to memory");
    let page = |samples: u32, side: u32| {
        tiff(&[(256, 1), (257, 1), (258, 8), (259, 8), (262, 1), (277, samples), (322, side), (323, side)], &zeros)
    };
    assert!(converted(&page(1, 16), Format::Png).is_ok());
    let message = refusal(&page(1, 8192));
    assert!(message.contains("needs 67174402 bytes of memory, more than the limit of 67108864"), "{message}");
    let message = refusal(&page(60_000, 64));
    assert!(message.contains("more than the limit of 67108864"), "{message}");
}

#[test]
fn of_two_sizes_the_first_one_is_read_and_counted() {
    let page = tiff(&[(256, 2), (256, 9_000), (257, 1), (257, 9_000), (258, 8), (262, 1)], &[0, 255]);
    let header = read_header(&page).expect("it has a header");
    assert_eq!((header.width, header.height), (2, 1));
    let made = converted(&page, Format::Png).expect("it can be converted");
    assert_eq!((made.picture.width, made.picture.height), (2, 1));
}

#[test]
fn an_icon_that_holds_a_huge_picture_is_refused() {
    let png = encoded(&DynamicImage::ImageRgba8(RgbaImage::new(4_000, 4_000)), ImageFormat::Png);
    let entry = [&[0, 0, 0, 0, 1, 0, 32, 0][..], &(png.len() as u32).to_le_bytes(), &22_u32.to_le_bytes()].concat();
    let icon = [&[0, 0, 1, 0, 1, 0][..], &entry, &png].concat();
    let header = read_header(&icon).expect("it has a header");
    assert_eq!((header.format, header.width), (Format::Ico, 256));
    let message = refusal(&icon);
    assert!(message.contains("needs 128000000 bytes of memory, more than the limit of"), "{message}");
}
