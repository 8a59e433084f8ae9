//! What a spec asks for beside the format.

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, metadata::Orientation};
use tintype_store::FailureReason;

use crate::pictures::{converted_to, decoded, encoded, gradient, jpeg_with_orientation, largest_difference, png_with_orientation};

fn size_bytes(png: &[u8], spec: &str) -> usize {
    converted_to(png, spec).unwrap_or_else(|error| panic!("{spec}: {error}")).bytes.len()
}

#[test]
fn a_higher_quality_takes_more_bytes_and_the_default_is_the_documented_one() {
    let png = encoded(&gradient(200, 150), ImageFormat::Png);
    for (format, default) in [("jpeg", 82), ("webp", 80)] {
        let of_quality = |quality: u8| size_bytes(&png, &format!("{format} quality={quality}"));
        assert!(of_quality(30) < of_quality(default) && of_quality(default) < of_quality(98), "{format}");
        assert_eq!(size_bytes(&png, format), of_quality(default), "{format}");
        assert!(of_quality(1) <= of_quality(2) && of_quality(100) > of_quality(95), "{format}");
    }
}

#[test]
fn a_jpeg_says_in_its_tables_which_quality_it_has() {
    // ITU-T T.81, table K.1: the first step is 16; quality 82 takes 36 per cent of it, 50 all of it.
    let png = encoded(&gradient(20, 20), ImageFormat::Png);
    for (spec, step) in [("jpeg", 6), ("jpeg quality=50", 16), ("jpeg quality=25", 32), ("jpeg quality=100", 1)] {
        let jpeg = converted_to(&png, spec).expect("it can be converted").bytes;
        let table = jpeg.windows(2).position(|pair| pair == [0xFF, 0xDB]).expect("it has a table");
        assert_eq!(jpeg[table + 5], step, "{spec}");
    }
}

#[test]
fn webp_without_loss_keeps_every_pixel_also_behind_transparency() {
    let image = DynamicImage::ImageRgba8(ImageBuffer::from_fn(40, 30, |x, y| Rgba([(x * 6) as u8, (y * 8) as u8, 77, (x * y) as u8])));
    for spec in ["webp lossless", "webp lossless effort=fast", "webp lossless effort=small"] {
        let webp = converted_to(&encoded(&image, ImageFormat::Png), spec).expect("it can be converted").bytes;
        assert_eq!(decoded(&webp, ImageFormat::WebP), image, "{spec}");
    }
}

#[test]
fn more_effort_never_changes_what_is_lossless_and_saves_bytes() {
    let photo = RgbImage::from_fn(256, 256, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 13 & 15;
        Rgb([(x / 2 + noise) as u8, (y / 2 + noise) as u8, ((x + y) / 4 + noise) as u8])
    });
    let png = encoded(&photo.clone().into(), ImageFormat::Png);
    let sizes = ["fast", "balanced", "small"].map(|effort| {
        let made = converted_to(&png, &format!("png effort={effort}")).expect("it can be converted").bytes;
        assert_eq!(decoded(&made, ImageFormat::Png).into_rgb8(), photo, "{effort}");
        made.len()
    });
    assert!(sizes[2] < sizes[1] && sizes[1] < sizes[0], "{sizes:?}");
    for format in ["jpeg", "webp"] {
        assert!(size_bytes(&png, &format!("{format} effort=small")) < size_bytes(&png, &format!("{format} effort=fast")), "{format}");
    }
}

#[test]
fn a_background_is_put_behind_the_picture_in_every_format() {
    let image = DynamicImage::ImageRgba8(ImageBuffer::from_fn(32, 32, |x, _| Rgba([200, 100, 0, if x < 16 { 0 } else { 51 }])));
    let png = encoded(&image, ImageFormat::Png);
    // A fifth of the picture, four fifths of the background.
    let expected = [[10, 20, 30], [48, 36, 24]];
    for (spec, read) in [
        ("png background=0a141e", ImageFormat::Png),
        ("webp lossless background=0a141e", ImageFormat::WebP),
        ("gif background=0a141e", ImageFormat::Gif),
        ("tiff background=0a141e", ImageFormat::Tiff),
        ("bmp background=0a141e", ImageFormat::Bmp),
    ] {
        let shown = decoded(&converted_to(&png, spec).expect("it can be converted").bytes, read).into_rgba8();
        for (x, y, pixel) in shown.enumerate_pixels() {
            let [red, green, blue] = expected[usize::from(x >= 16)];
            assert_eq!(pixel.0, [red, green, blue, 255], "{spec} at {x}, {y}");
        }
    }
    let jpeg = decoded(&converted_to(&png, "jpeg quality=100 background=0a141e").expect("it can be converted").bytes, ImageFormat::Jpeg);
    for (x, expected) in [(3, expected[0]), (28, expected[1])] {
        let shown = jpeg.to_rgb8().get_pixel(x, 16).0;
        assert!(shown.iter().zip(expected).all(|(shown, expected)| shown.abs_diff(expected) <= 2), "{shown:?} is not {expected:?}");
    }
}

#[test]
fn a_size_is_that_of_the_upright_picture() {
    let stored = png_with_orientation(&gradient(60, 30), 6);
    for (spec, size) in [("png width=15", (15, 30)), ("png height=15", (8, 15)), ("png width=10 height=10 fit=cover", (10, 10))] {
        let made = converted_to(&stored, spec).expect("it can be converted");
        assert_eq!((made.picture.width, made.picture.height), size, "{spec}");
        let shown = decoded(&made.bytes, ImageFormat::Png);
        assert_eq!((shown.width(), shown.height()), size, "{spec}");
    }
}

#[test]
fn halving_a_picture_averages_it_and_cover_takes_its_middle() {
    let stripes = RgbImage::from_fn(300, 100, |x, _| if (100..200).contains(&x) { Rgb([0, 200, 0]) } else { Rgb([200, 0, 0]) });
    let png = encoded(&stripes.into(), ImageFormat::Png);
    let middle = converted_to(&png, "png width=50 height=50 fit=cover").expect("it can be converted").bytes;
    let middle = decoded(&middle, ImageFormat::Png).into_rgb8();
    assert!(middle.enumerate_pixels().filter(|(x, _, _)| (4..46).contains(x)).all(|(_, _, pixel)| pixel.0 == [0, 200, 0]));
    let checked = RgbImage::from_fn(64, 64, |x, y| Rgb([if (x + y) % 2 == 0 { 0 } else { 200 }; 3]));
    let half = converted_to(&encoded(&checked.into(), ImageFormat::Png), "png width=32").expect("it can be converted").bytes;
    for (x, y, pixel) in decoded(&half, ImageFormat::Png).into_rgb8().enumerate_pixels() {
        let inside = (3..29).contains(&x) && (3..29).contains(&y);
        assert!(!inside || pixel.0.iter().all(|sample| sample.abs_diff(100) <= 1), "{:?} at {x}, {y}", pixel.0);
    }
}

#[test]
fn what_is_transparent_does_not_bleed_into_what_is_not() {
    // Red where it can be seen, green where it cannot.
    let image = RgbaImage::from_fn(64, 64, |x, _| if x < 31 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 255, 0, 0]) });
    let half = converted_to(&encoded(&image.into(), ImageFormat::Png), "png width=32").expect("it can be converted").bytes;
    for (x, _, pixel) in decoded(&half, ImageFormat::Png).into_rgba8().enumerate_pixels() {
        assert!(pixel.0[3] == 0 || pixel.0[1] <= 1, "{:?} at {x}", pixel.0);
    }
}

#[test]
fn small_pictures_grow_only_when_asked_to() {
    let png = encoded(&gradient(20, 10), ImageFormat::Png);
    for (spec, size) in
        [("png width=40", (20, 10)), ("png width=40 enlarge", (40, 20)), ("png width=40 height=40 fit=fill enlarge", (40, 40))]
    {
        let picture = converted_to(&png, spec).expect("it can be converted").picture;
        assert_eq!((picture.width, picture.height), size, "{spec}");
    }
    let error = converted_to(&png, "png width=16000 enlarge").expect_err("8,000 rows of that are too many pixels");
    assert_eq!(error.reason, FailureReason::ResourceLimit, "{error}");
    assert!(error.message.contains("max_frame_pixels"), "{error}");
}

#[test]
fn sixteen_bit_are_resized_as_they_are() {
    let deep = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(40, 40, Rgb([1_u16, 30_001, 65_535])));
    let half = converted_to(&encoded(&deep, ImageFormat::Png), "png width=20").expect("it can be converted").bytes;
    assert_eq!(decoded(&half, ImageFormat::Png), DynamicImage::ImageRgb16(ImageBuffer::from_pixel(20, 20, Rgb([1, 30_001, 65_535]))));
}

#[test]
fn a_thumbnail_of_a_jpeg_looks_like_one_of_the_same_pixels() {
    let smooth = RgbImage::from_fn(640, 360, |x, y| Rgb([(x / 3) as u8, (y / 2 + 30) as u8, (255 - (x + y) / 5) as u8]));
    let jpeg = converted_to(&encoded(&smooth.into(), ImageFormat::Png), "jpeg quality=95").expect("it can be converted").bytes;
    let png = converted_to(&jpeg, "png").expect("it can be converted").bytes;
    for spec in ["png width=40", "png width=80", "png width=33 height=33 fit=cover", "png width=150", "png width=20 height=50 fit=fill"] {
        let [quick, whole] =
            [&jpeg, &png].map(|input| decoded(&converted_to(input, spec).expect("it can be converted").bytes, ImageFormat::Png));
        assert!(largest_difference(&quick, &whole) <= 4, "{spec}");
    }
}

#[test]
fn a_turned_jpeg_is_made_smaller_as_the_upright_one_is() {
    // Of its eighths the last one is not whole, neither across nor down; a shift by half a pixel of them is far more than rounding.
    let wave = |at: u32| (f64::from(at) / 8.0).sin() * 60.0;
    let image = RgbImage::from_fn(203, 101, |x, y| Rgb([(128.0 + wave(x) + wave(y)) as u8; 3]));
    let made = |orientation: u8, spec: &str| {
        let made = converted_to(&jpeg_with_orientation(&image.clone().into(), orientation), spec).expect("it can be converted");
        decoded(&made.bytes, ImageFormat::Png)
    };
    for part in ["fit=fill", "fit=cover"] {
        let upright = made(1, &format!("png width=18 height=9 {part}"));
        for orientation in 2..=8 {
            let size = if orientation < 5 { "width=18 height=9" } else { "width=9 height=18" };
            let mut expected = upright.clone();
            expected.apply_orientation(Orientation::from_exif(orientation).expect("there is such a one"));
            let difference = largest_difference(&made(orientation, &format!("png {size} {part}")), &expected);
            assert!(difference <= 3, "{difference} for orientation {orientation}, {part}");
        }
    }
}
