//! What is told of pictures besides their size.

use image::{DynamicImage, ImageFormat, Rgba};
use tintype_store::{ColourType, Format, header::read_colours};
use tintype_worker::convert::OUTPUT_FORMATS;

use crate::pictures::{converted, converted_to, encoded, gradient, png_with_orientation};

fn colours(input: &[u8], format: Format) -> (ColourType, u8) {
    let made = converted(input, format).expect("it can be converted");
    let colours = read_colours(&made.bytes).expect("what is made tells its colours");
    (colours.kind, colours.channel_bits)
}

#[test]
fn every_format_that_is_made_tells_its_colours() {
    use ColourType::{Grey, GreyAlpha, Palette, Rgb, Rgba};
    let colour = gradient(9, 7);
    let mut translucent = colour.to_rgba8();
    translucent.put_pixel(3, 3, image::Rgba([1, 2, 3, 100]));
    let translucent = DynamicImage::ImageRgba8(translucent);
    let (grey, grey_alpha) = (DynamicImage::ImageLuma8(colour.to_luma8()), DynamicImage::ImageLumaA8(translucent.to_luma_alpha8()));
    let deep = DynamicImage::ImageLuma16(colour.to_luma16());
    let pictures = [&colour, &translucent, &grey, &grey_alpha, &deep].map(|picture| encoded(picture, ImageFormat::Png));
    for (format, expected) in [
        (Format::Jpeg, [(Rgb, 8), (Rgb, 8), (Grey, 8), (Grey, 8), (Grey, 8)]),
        (Format::Png, [(Rgb, 8), (Rgba, 8), (Grey, 8), (GreyAlpha, 8), (Grey, 16)]),
        (Format::WebP, [(Rgb, 8), (Rgba, 8), (Rgb, 8), (Rgba, 8), (Rgb, 8)]),
        (Format::Gif, [(Palette, 8); 5]),
        (Format::Tiff, [(Rgb, 8), (Rgba, 8), (Grey, 8), (Rgba, 8), (Grey, 16)]),
        (Format::Bmp, [(Rgb, 8), (Rgba, 8), (Palette, 8), (Rgba, 8), (Palette, 8)]),
    ] {
        assert!(OUTPUT_FORMATS.contains(&format));
        assert_eq!(pictures.each_ref().map(|picture| colours(picture, format)), expected, "{format}");
    }
}

#[test]
fn a_picture_has_one_thumbhash_whatever_is_made_of_it() {
    let mut translucent = gradient(320, 200).to_rgba8();
    translucent.enumerate_pixels_mut().filter(|(x, _, _)| x % 64 < 20).for_each(|(_, _, pixel)| *pixel = Rgba([9, 200, 9, 30]));
    for picture in [gradient(150, 333), DynamicImage::ImageRgba8(translucent)] {
        let png = encoded(&picture, ImageFormat::Png);
        let whole = converted(&png, Format::Png).expect("it can be converted").thumbhash;
        for spec in ["jpeg", "jpeg background=ff0000", "webp width=20", "gif", "tiff", "bmp"] {
            assert_eq!(converted_to(&png, spec).expect("it can be converted").thumbhash, whole, "{spec}");
        }
    }
}

#[test]
fn a_thumbhash_is_of_the_upright_picture() {
    let stored = gradient(120, 80);
    let upright = converted(&encoded(&stored.rotate90(), ImageFormat::Png), Format::Png).expect("it can be converted").thumbhash;
    assert_eq!(converted(&png_with_orientation(&stored, 6), Format::Jpeg).expect("it can be converted").thumbhash, upright);
    let sideways = converted(&png_with_orientation(&stored, 1), Format::Jpeg).expect("it can be converted").thumbhash;
    assert_ne!(sideways, upright);
}
