//! TIFF pages of the kinds that people have, built by hand.

use std::io::Write;

use image::DynamicImage;
use tintype_store::{FailureReason, Format};

use crate::pictures::{as_png, converted, encoded, gradient, jpeg_of_rgb, largest_difference};

/// The tags of a page, each with values of 16 bit, and its strips or tiles.
struct Page {
    width: u16,
    height: u16,
    tags: Vec<(u16, Vec<u16>)>,
    chunks: Vec<Vec<u8>>,
    in_tiles: bool,
}

impl Page {
    fn new(width: u16, height: u16, bits: &[u16], photometric: u16, strip: Vec<u8>) -> Self {
        let tags = vec![(258, bits.to_vec()), (262, vec![photometric]), (277, vec![bits.len() as u16])];
        Self { width, height, tags, chunks: vec![strip], in_tiles: false }
    }

    fn tag(mut self, tag: u16, values: &[u16]) -> Self {
        self.tags.push((tag, values.to_vec()));
        self
    }

    /// The file, little endian: header, chunks, values, directory.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"II*\0\0\0\0\0".to_vec();
        let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            offsets.push(bytes.len() as u16);
            lengths.push(chunk.len() as u16);
            bytes.extend_from_slice(chunk);
        }
        let (offsets_tag, lengths_tag) = if self.in_tiles { (324, 325) } else { (273, 279) };
        let mut tags = self.tags.clone();
        tags.extend([(256, vec![self.width]), (257, vec![self.height]), (offsets_tag, offsets), (lengths_tag, lengths)]);
        tags.sort();
        let mut entries = (tags.len() as u16).to_le_bytes().to_vec();
        for (tag, values) in tags {
            let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            entries.extend_from_slice(&tag.to_le_bytes());
            entries.extend_from_slice(&3_u16.to_le_bytes());
            entries.extend_from_slice(&(values.len() as u32).to_le_bytes());
            if raw.len() <= 4 {
                entries.extend_from_slice(&[&raw[..], &[0; 4][raw.len()..]].concat());
            } else {
                entries.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&raw);
            }
        }
        let directory = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&directory.to_le_bytes());
        bytes.extend_from_slice(&entries);
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }
}

fn rgb(page: &Page) -> Vec<u8> {
    as_png(&page.bytes()).into_rgb8().into_raw()
}

#[test]
fn palettes_of_any_depth_become_colours() {
    let mut map = vec![0_u16; 3 * 16];
    (map[1], map[16 + 2], map[32 + 3]) = (65_535, 32_896, 257);
    let expected = [255, 0, 0, 0, 128, 0, 0, 0, 1, 0, 0, 0];
    let four = Page::new(4, 1, &[4], 3, vec![0x12, 0x30]).tag(320, &map);
    assert_eq!(rgb(&four), expected);
    let small = Page::new(1, 1, &[1], 3, vec![0x80]).tag(320, &[0, 255, 0, 128, 0, 1]);
    assert_eq!(rgb(&small), [255, 128, 1], "a palette of old writers");
    let outside = Page::new(1, 1, &[8], 3, vec![200]).tag(320, &map);
    assert_eq!(converted(&outside.bytes(), Format::Png).expect_err("there is no such colour").reason, FailureReason::CorruptInput);
}

#[test]
fn grey_of_any_depth_is_scaled() {
    let grey = |bits: u16, strip: Vec<u8>, width: u16| as_png(&Page::new(width, 1, &[bits], 1, strip).bytes());
    assert_eq!(grey(2, vec![0b00_01_10_11], 4).into_luma8().into_raw(), [0, 85, 170, 255]);
    assert_eq!(grey(4, vec![0x0F, 0x80], 3).into_luma8().into_raw(), [0, 255, 136]);
    // 12 bit: 0xABC of 0xFFF.
    assert_eq!(grey(12, vec![0xAB, 0xCF, 0xFF], 2).into_luma16().into_raw(), [43_978, 65_535]);
    assert_eq!(grey(32, vec![0, 0, 0, 0x80, 255, 255, 255, 255], 2).into_luma16().into_raw(), [0x8000, 65_535]);
    let inverted = Page::new(8, 1, &[1], 0, vec![0b1010_0000]);
    assert_eq!(as_png(&inverted.bytes()).into_luma8().into_raw(), [0, 255, 0, 255, 255, 255, 255, 255]);
    let half = Page::new(2, 1, &[16], 1, vec![0x00, 0x38, 0x00, 0x3C]).tag(339, &[3]);
    assert_eq!(as_png(&half.bytes()).into_luma16().into_raw(), [32_768, 65_535]);
    let signed = Page::new(3, 1, &[8], 1, vec![0x80, 0, 0x7F]).tag(339, &[2]);
    assert_eq!(as_png(&signed.bytes()).into_luma8().into_raw(), [0, 128, 255]);
}

#[test]
fn planes_and_tiles_are_put_together() {
    let mut planes = Page::new(2, 1, &[8, 8, 8], 2, vec![1, 2]).tag(284, &[2]);
    planes.chunks = vec![vec![1, 2], vec![3, 4], vec![5, 6]];
    assert_eq!(rgb(&planes), [1, 3, 5, 2, 4, 6]);
    let mut tiles = Page::new(3, 2, &[8], 1, Vec::new()).tag(322, &[2]).tag(323, &[2]);
    tiles.chunks = vec![vec![1, 2, 4, 5], vec![3, 99, 6, 99]];
    tiles.in_tiles = true;
    assert_eq!(as_png(&tiles.bytes()).into_luma8().into_raw(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn chroma_that_pixels_share_is_given_to_each() {
    // Four pixels of luma, then their chroma; then the colours of JFIF by hand.
    let page = Page::new(2, 2, &[8, 8, 8], 6, vec![50, 100, 150, 200, 128, 138]).tag(530, &[2, 2]);
    let of = |luma: f64| [luma + 1.402 * 10.0, luma - 0.714_136 * 10.0, luma].map(|light| light.round() as u8);
    assert_eq!(rgb(&page), [50.0, 100.0, 150.0, 200.0].map(of).concat());
}

#[test]
fn compressed_strips_are_unpacked() {
    let packed = Page::new(5, 1, &[8], 1, vec![0xFE, 7, 1, 8, 9]).tag(259, &[32_773]);
    assert_eq!(as_png(&packed.bytes()).into_luma8().into_raw(), [7, 7, 7, 8, 9]);
    let image = gradient(40, 30);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let deflated = zlib.write_all(image.as_bytes()).and_then(|()| zlib.finish()).expect("it can be compressed");
    let page = Page::new(40, 30, &[8, 8, 8], 2, deflated).tag(259, &[8]);
    assert_eq!(as_png(&page.bytes()), image);
    let mut lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let page = Page::new(40, 30, &[8, 8, 8], 2, lzw.encode(image.as_bytes()).expect("it can be encoded")).tag(259, &[5]);
    assert_eq!(as_png(&page.bytes()), image);
}

#[test]
fn jpeg_in_a_tiff_is_read_with_the_colours_that_the_tiff_names() {
    let image = gradient(48, 32);
    let jpeg = encoded(&image, image::ImageFormat::Jpeg);
    let shown = image::load_from_memory(&jpeg).expect("it can be decoded");
    let page = Page::new(48, 32, &[8, 8, 8], 6, jpeg).tag(259, &[7]);
    assert!(largest_difference(&as_png(&page.bytes()), &shown) <= 2);
    // Its Adobe segment calls the three components RGB, and the TIFF has the last word.
    let page = |colours: u16, transform: u8| Page::new(48, 32, &[8, 8, 8], colours, jpeg_of_rgb(&image, false, transform)).tag(259, &[7]);
    assert!(largest_difference(&as_png(&page(2, 0).bytes()), &image) <= 3);
    for transform in [0, 2] {
        let page = page(6, transform);
        let shown = as_png(&jpeg_of_rgb(&image, false, 1));
        assert!(largest_difference(&as_png(&page.bytes()), &shown) <= 3, "transform {transform}");
    }
}

#[test]
fn a_fax_has_black_ink_on_white_paper() {
    let mut writer = fax::VecWriter::new();
    writer = {
        let mut encoder = fax::encoder::Encoder::new(writer);
        for _ in 0..2 {
            let line = (0..16).map(|x| if (4..12).contains(&x) { fax::Color::Black } else { fax::Color::White });
            encoder.encode_line(line, 16).expect("it can be encoded");
        }
        encoder.finish().expect("it can be encoded")
    };
    let page = Page::new(16, 2, &[1], 0, writer.finish()).tag(259, &[4]);
    let row: Vec<u8> = (0..16).map(|x| if (4..12).contains(&x) { 0 } else { 255 }).collect();
    assert_eq!(as_png(&page.bytes()).into_luma8().into_raw(), [row.clone(), row].concat());
}

#[test]
fn inks_become_colours_and_premultiplied_colours_whole() {
    let inks = Page::new(2, 1, &[8; 4], 5, vec![255, 0, 0, 0, 0, 0, 0, 51]);
    assert_eq!(rgb(&inks), [0, 255, 255, 204, 204, 204]);
    let alpha = |kind: u16| Page::new(1, 1, &[8; 4], 2, vec![50, 100, 0, 128]).tag(338, &[kind]);
    assert_eq!(as_png(&alpha(1).bytes()).into_rgba8().into_raw(), [100, 199, 0, 128]);
    assert_eq!(as_png(&alpha(2).bytes()).into_rgba8().into_raw(), [50, 100, 0, 128]);
    assert_eq!(as_png(&alpha(0).bytes()), DynamicImage::ImageRgb8(image::RgbImage::from_pixel(1, 1, image::Rgb([50, 100, 0]))));
}

#[test]
fn inks_keep_what_shines_through() {
    const PREMULTIPLIED: u16 = 1;
    const STRAIGHT: u16 = 2;
    for (kind, cyan) in [(STRAIGHT, 255_u8), (PREMULTIPLIED, 128)] {
        // Cyan of which half shows, nothing, and black of which all shows.
        let pixels = [[cyan, 0, 0, 0, 128], [0, 0, 0, 0, 0], [0, 0, 0, 255, 255]].concat();
        let expected = [0, 255, 255, 128, 255, 255, 255, 0, 0, 0, 0, 255];
        let page = Page::new(3, 1, &[8; 5], 5, pixels.clone()).tag(338, &[kind]);
        assert_eq!(as_png(&page.bytes()), rgba(&expected), "8 bit, kind {kind}");
        let deep = pixels.iter().flat_map(|sample| [*sample; 2]).collect();
        let page = Page::new(3, 1, &[16; 5], 5, deep).tag(338, &[kind]);
        assert_eq!(as_png(&page.bytes()), DynamicImage::ImageRgba16(rgba(&expected).to_rgba16()), "16 bit, kind {kind}");
    }
}

fn rgba(samples: &[u8]) -> DynamicImage {
    let image = image::RgbaImage::from_raw(samples.len() as u32 / 4, 1, samples.to_vec());
    DynamicImage::ImageRgba8(image.expect("there are four samples for each pixel"))
}

#[test]
fn alpha_beside_a_palette_is_scaled_from_any_depth() {
    let mut map = vec![0_u16; 3 * 16];
    (map[1], map[16 + 2]) = (65_535, 65_535);
    let page = |bits: u16, strip: &[u8]| Page::new(3, 1, &[bits; 2], 3, strip.to_vec()).tag(338, &[2]).tag(320, &map).bytes();
    let expected = |middle: u8| rgba(&[255, 0, 0, 0, 0, 255, 0, middle, 255, 0, 0, 255]);
    assert_eq!(as_png(&page(16, &[1, 0, 0, 0, 2, 0, 0x80, 0x80, 1, 0, 0xFF, 0xFF])), expected(128));
    assert_eq!(as_png(&page(8, &[1, 0, 2, 128, 1, 255])), expected(128));
    assert_eq!(as_png(&page(4, &[0x10, 0x28, 0x1F])), expected(136));
}

#[test]
fn an_orientation_that_there_is_not_means_upright() {
    for orientation in [0, 9, 256 + 6] {
        let page = Page::new(2, 1, &[8], 1, vec![1, 2]).tag(274, &[orientation]);
        let shown = as_png(&page.bytes());
        assert_eq!((shown.width(), shown.height()), (2, 1), "orientation {orientation}");
    }
    assert_eq!(as_png(&Page::new(2, 1, &[8], 1, vec![1, 2]).tag(274, &[6]).bytes()).height(), 2);
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let page = |tag: u16, value: u16| Page::new(2, 1, &[8], 1, vec![1, 2]).tag(tag, &[value]);
    for (input, name) in [
        (page(259, 50_000), "Zstandard"),
        (page(259, 6), "JPEG of TIFF 6.0"),
        (page(259, 2), "modified Huffman"),
        (Page::new(2, 1, &[8, 8, 8], 8, vec![0; 6]), "L*a*b*"),
        (Page::new(2, 1, &[8, 8, 8], 32_845, vec![0; 6]), "LogLuv"),
        (Page::new(2, 1, &[8, 16, 8], 2, vec![0; 8]), "different kinds"),
    ] {
        let error = converted(&input.bytes(), Format::Png).expect_err("it is not read");
        assert_eq!(error.reason, FailureReason::UnsupportedInput, "{error}");
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn a_strip_that_is_short_or_elsewhere_is_an_error() {
    let short = Page::new(4, 4, &[8], 1, vec![1; 15]).bytes();
    assert_eq!(converted(&short, Format::Png).expect_err("a byte is missing").reason, FailureReason::CorruptInput);
    let huge = Page::new(2, 2, &[8], 1, vec![1; 4]).tag(322, &[60_000]).tag(323, &[60_000]);
    let huge = Page { in_tiles: true, ..huge };
    assert_eq!(converted(&huge.bytes(), Format::Png).expect_err("the tile is too large").reason, FailureReason::CorruptInput);
}
