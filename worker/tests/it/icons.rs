//! ICO and BMP, built by hand.

use image::{DynamicImage, ImageFormat, Rgba};

use crate::pictures::{as_png, encoded, gradient};

/// Sizes (0 for 256), bits and content of each picture.
fn icon(entries: &[((u8, u8), u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [&[0, 0, 1, 0][..], &(entries.len() as u16).to_le_bytes()].concat();
    let mut offset = 6 + 16 * entries.len() as u32;
    for ((width, height), bits, content) in entries {
        bytes.extend_from_slice(&[*width, *height, 0, 0, 1, 0]);
        bytes.extend_from_slice(&bits.to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
        offset += content.len() as u32;
    }
    for (_, _, content) in entries {
        bytes.extend_from_slice(content);
    }
    bytes
}

/// A bitmap of two columns and one row, with its mask or without.
fn bitmap(bits: u16, palette: &[u8], pixels: &[u8], mask: &[u8]) -> Vec<u8> {
    let mut header = 40_u32.to_le_bytes().to_vec();
    header.extend_from_slice(&2_u32.to_le_bytes());
    header.extend_from_slice(&2_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&bits.to_le_bytes());
    header.extend_from_slice(&[0; 24]);
    header[32..36].copy_from_slice(&(palette.len() as u32 / 4).to_le_bytes());
    [&header[..], palette, pixels, mask].concat()
}

#[test]
fn the_largest_picture_of_an_icon_is_drawn() {
    let small = encoded(&gradient(16, 16), ImageFormat::Png);
    let large = encoded(&gradient(48, 48), ImageFormat::Png);
    let icon = icon(&[((16, 16), 32, small), ((48, 48), 32, large)]);
    assert_eq!(as_png(&icon), gradient(48, 48));
}

#[test]
fn a_png_in_an_icon_may_have_any_kind_of_pixels() {
    let rgb = gradient(20, 20);
    for image in [DynamicImage::ImageLuma8(rgb.to_luma8()), rgb.clone(), DynamicImage::ImageRgb16(rgb.to_rgb16())] {
        assert_eq!(as_png(&icon(&[((20, 20), 32, encoded(&image, ImageFormat::Png))])), image);
    }
}

#[test]
fn the_mask_of_an_icon_says_what_is_transparent() {
    let masked = |bits, palette: &[u8], pixels: &[u8], mask: &[u8]| {
        let icon = icon(&[((2, 1), bits, bitmap(bits, palette, pixels, mask))]);
        as_png(&icon).into_rgba8().pixels().map(|pixel| pixel.0).collect::<Vec<_>>()
    };
    let right = [0b0100_0000, 0, 0, 0];
    let red_then_nothing = |pixels: Vec<[u8; 4]>| assert_eq!((pixels[0], pixels[1][3]), ([255, 0, 0, 255], 0));
    red_then_nothing(masked(24, &[], &[0, 0, 255, 255, 255, 255, 0, 0], &right));
    red_then_nothing(masked(1, &[0, 0, 255, 0, 255, 0, 0, 0], &[0b0100_0000, 0, 0, 0], &right));
    red_then_nothing(masked(32, &[], &[0, 0, 255, 0, 9, 9, 9, 0], &right));
    // With an alpha of its own the mask does not count.
    assert_eq!(masked(32, &[], &[0, 0, 255, 255, 1, 2, 3, 128], &right), [[255, 0, 0, 255], [3, 2, 1, 128]]);
    // A mask that is missing hides nothing.
    assert_eq!(masked(24, &[], &[0, 0, 255, 255, 255, 255, 0, 0], &[])[1], [255, 255, 255, 255]);
}

#[test]
fn a_bitmap_with_a_mask_for_its_alpha_keeps_it() {
    let mut bytes = [&b"BM"[..], &[0; 8], &70_u32.to_le_bytes(), &40_u32.to_le_bytes()].concat();
    for value in [2_u32, 1] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(&[1, 0, 32, 0, 6, 0, 0, 0]);
    bytes.extend_from_slice(&[0; 20]);
    for mask in [0xFF_u32, 0xFF00, 0x00FF_0000, 0xFF00_0000] {
        bytes.extend_from_slice(&mask.to_le_bytes());
    }
    bytes.extend_from_slice(&[10, 20, 30, 128, 40, 50, 60, 255]);
    let shown: Vec<Rgba<u8>> = as_png(&bytes).into_rgba8().pixels().copied().collect();
    assert_eq!(shown, [Rgba([10, 20, 30, 128]), Rgba([40, 50, 60, 255])]);
}
