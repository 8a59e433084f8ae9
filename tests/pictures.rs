//! Pictures made on the spot, the same ones every time.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

/// A soft picture with some structure, so that lossy formats come close to it and no two seeds look alike.
pub fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |step: u32| ((x * step + y * (step + 1) + seed * 37) / 4 % 512).abs_diff(256).min(255) as u8;
        Rgb([wave(1), wave(2), wave(3)])
    })
}

/// [`picture`] as a PNG file.
pub fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(width, height, seed), ImageFormat::Png)
}

/// [`picture`] as a JPEG file.
pub fn jpeg(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(width, height, seed), ImageFormat::Jpeg)
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("a picture can be encoded");
    file.into_inner()
}

/// A BMP file of 24 bits a pixel: the size in bytes is what the pixels say, and making it costs next to nothing.
pub fn bmp(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let row_bytes = (width as usize * 3).next_multiple_of(4);
    let mut file = bmp_header(width, height);
    file.extend((0..row_bytes * height as usize).map(|index| (index / 7) as u8 ^ seed));
    file
}

/// The 54 bytes before the pixels of a BMP file that may promise anything.
pub fn bmp_header(width: u32, height: u32) -> Vec<u8> {
    const HEADER_BYTES: u32 = 54;
    let pixel_bytes = (width.wrapping_mul(3)).next_multiple_of(4).wrapping_mul(height);
    let mut header = b"BM".to_vec();
    for word in [HEADER_BYTES.wrapping_add(pixel_bytes), 0, HEADER_BYTES, 40, width, height] {
        header.extend(word.to_le_bytes());
    }
    header.extend([1, 0, 24, 0]);
    for word in [0, pixel_bytes, 2835, 2835, 0, 0] {
        header.extend(u32::to_le_bytes(word));
    }
    header
}
