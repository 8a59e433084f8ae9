//! Still pictures: what comes out is what people saw.

use image::{ColorType, DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use moxcms::{ColorProfile, Layout, TransformOptions};
use tintype_store::{ConversionLimits, FailureReason, Format, Picture, Spec, header::read_header};
use tintype_worker::convert::{OUTPUT_FORMATS, convert};

use crate::pictures::{
    as_jpeg, as_png, bitmap_with_profile, converted, converted_to, decoded, encoded, gradient, jpeg_of_rgb, largest_difference,
    png_with_late_orientation, png_with_orientation, png_with_profile,
};

#[test]
fn orientation_is_applied_and_invalid_values_mean_upright() {
    let stored = gradient(5, 3);
    let (right, bottom) = (stored.width() - 1, stored.height() - 1);
    for orientation in 0..=9 {
        let shown = as_png(&png_with_orientation(&stored, orientation));
        let size = if (5..=8).contains(&orientation) { (3, 5) } else { (5, 3) };
        assert_eq!((shown.width(), shown.height()), size, "orientation {orientation}");
        for (x, y, pixel) in shown.to_rgb8().enumerate_pixels() {
            let (from_x, from_y) = match orientation {
                2 => (right - x, y),
                3 => (right - x, bottom - y),
                4 => (x, bottom - y),
                5 => (y, x),
                6 => (y, bottom - x),
                7 => (right - y, bottom - x),
                8 => (right - y, x),
                _ => (x, y),
            };
            assert_eq!(pixel, stored.to_rgb8().get_pixel(from_x, from_y), "orientation {orientation} at {x}, {y}");
        }
    }
}

#[test]
fn orientation_behind_the_pixels_of_a_png_counts_unless_it_is_damaged() {
    let stored = gradient(5, 3);
    for orientation in 1..=8 {
        let late = png_with_late_orientation(&stored, orientation);
        assert_eq!(as_png(&late), as_png(&png_with_orientation(&stored, orientation)), "orientation {orientation}");
    }
    let mut damaged = png_with_late_orientation(&stored, 6);
    let checksum_of_exif = damaged.len() - 13;
    damaged[checksum_of_exif] ^= 1;
    assert_eq!(as_png(&damaged), stored);
}

#[test]
fn a_turned_picture_reports_the_size_that_people_see() {
    for turned in [png_with_orientation(&gradient(5, 3), 6), png_with_late_orientation(&gradient(5, 3), 6)] {
        let picture = converted(&turned, Format::Jpeg).expect("it can be converted").picture;
        assert_eq!(picture, Picture { width: 3, height: 5, frame_count: 1, first_frame_only: false });
    }
}

#[test]
fn what_is_transparent_is_white_in_a_jpeg() {
    let half_black = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(16, 16, Rgba([0, 0, 0, 128])));
    let gone = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(16, 16, Rgba([255, 0, 0, 0])));
    assert_eq!(as_jpeg(&encoded(&half_black, ImageFormat::Png)).to_rgb8().get_pixel(8, 8), &Rgb([127; 3]));
    assert_eq!(as_jpeg(&encoded(&gone, ImageFormat::Png)).to_rgb8().get_pixel(8, 8), &Rgb([255; 3]));
}

#[test]
fn colours_finer_than_a_jpeg_stores_them_are_mixed() {
    let stripes = RgbImage::from_fn(64, 64, |x, _| if x % 2 == 0 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
    let shown = as_jpeg(&encoded(&stripes.into(), ImageFormat::Png)).to_rgb8();
    let mean = |channel: usize| shown.pixels().map(|pixel| u64::from(pixel.0[channel])).sum::<u64>() / 4096;
    assert!(mean(0).abs_diff(mean(2)) < 20, "red {} and blue {} are equally many", mean(0), mean(2));
}

#[test]
fn transparency_is_kept_where_the_target_has_it() {
    let image = DynamicImage::ImageRgba8(ImageBuffer::from_fn(9, 7, |x, y| Rgba([x as u8, y as u8, 200, (x * 20) as u8])));
    assert_eq!(as_png(&encoded(&image, ImageFormat::WebP)), image);
    for (spec, read) in [("webp lossless", ImageFormat::WebP), ("tiff", ImageFormat::Tiff), ("bmp", ImageFormat::Bmp)] {
        let bytes = converted_to(&encoded(&image, ImageFormat::Png), spec).expect("it can be converted").bytes;
        assert_eq!(decoded(&bytes, read), image, "{spec}");
    }
}

#[test]
fn a_gif_is_opaque_from_half_on() {
    let image = DynamicImage::ImageRgba8(ImageBuffer::from_fn(2, 1, |x, _| Rgba([0, 0, 0, 127 + x as u8])));
    let bytes = converted(&encoded(&image, ImageFormat::Png), Format::Gif).expect("it can be converted").bytes;
    let gif = decoded(&bytes, ImageFormat::Gif).into_rgba8();
    assert_eq!((gif.get_pixel(0, 0).0[3], gif.get_pixel(1, 0).0), (0, [127, 127, 127, 255]));
}

#[test]
fn sixteen_bit_stay_where_the_target_has_them() {
    let image = DynamicImage::ImageRgb16(ImageBuffer::from_fn(64, 48, |x, y| Rgb([(x * 1023) as u16, (y * 1365) as u16, 4_321])));
    assert_eq!(as_png(&encoded(&image, ImageFormat::Tiff)), image);
    let tiff = converted(&encoded(&image, ImageFormat::Png), Format::Tiff).expect("it can be converted").bytes;
    assert_eq!(decoded(&tiff, ImageFormat::Tiff), image);
    let bmp = converted(&encoded(&image, ImageFormat::Png), Format::Bmp).expect("it can be converted").bytes;
    for (from, to) in image.as_rgb16().expect("made so").iter().zip(decoded(&bmp, ImageFormat::Bmp).to_rgb8().iter()) {
        assert_eq!(*to, (f64::from(*from) / 257.0).round() as u8);
    }
}

#[test]
fn grey_stays_grey() {
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_fn(32, 32, |x, y| Luma([(x * 4 + y) as u8])));
    let png = encoded(&grey, ImageFormat::Png);
    assert_eq!(as_jpeg(&png).color(), ColorType::L8);
    assert_eq!(as_png(&encoded(&grey, ImageFormat::Bmp)).to_luma8().as_raw(), grey.as_bytes());
    let jpeg = converted(&png, Format::Jpeg).expect("it can be converted").bytes;
    assert_eq!(as_png(&jpeg).color(), ColorType::L8);
}

#[test]
fn palettes_and_few_bits_become_whole_samples() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
    encoder.set_trns(vec![255, 255, 255, 100]);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&[0b00_01_10_11])).expect("it can be encoded");
    let expected = vec![0, 0, 0, 255, 255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 100];
    assert_eq!(as_png(&bytes).into_rgba8().into_raw(), expected);

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Four);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&[0x0F, 0x53])).expect("it can be encoded");
    assert_eq!(as_png(&bytes), DynamicImage::ImageLuma8(ImageBuffer::from_raw(4, 1, vec![0, 255, 85, 51]).expect("4 pixels")));
}

#[test]
fn an_embedded_profile_is_converted_to_srgb_in_both_depths() {
    let profile = ColorProfile::new_display_p3();
    let encoded_profile = profile.encode().expect("a built-in profile can be encoded");
    let p3 = DynamicImage::ImageRgb8(ImageBuffer::from_fn(32, 32, |x, y| Rgb([(60 + x * 3) as u8, (90 + y * 2) as u8, 100])));
    let mut expected = vec![0; p3.as_bytes().len()];
    profile
        .create_transform_8bit(Layout::Rgb, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default())
        .and_then(|transform| transform.transform(p3.as_bytes(), &mut expected))
        .expect("built-in profiles can be converted");
    let expected = DynamicImage::ImageRgb8(ImageBuffer::from_raw(32, 32, expected).expect("as many pixels"));
    assert!(largest_difference(&expected, &p3) > 10, "the two spaces must differ for this test to say anything");
    assert!(largest_difference(&as_png(&png_with_profile(&p3, encoded_profile.clone())), &expected) <= 1);
    let deep = DynamicImage::ImageRgb16(p3.to_rgb16());
    let converted = as_png(&png_with_profile(&deep, encoded_profile));
    assert_eq!(converted.color(), ColorType::Rgb16);
    assert!(largest_difference(&converted, &expected) <= 1);
}

#[test]
fn a_grey_profile_is_converted_and_stays_grey() {
    let profile = ColorProfile::new_gray_with_gamma(1.0).encode().expect("a built-in profile can be encoded");
    let linear = DynamicImage::ImageLuma8(ImageBuffer::from_fn(256, 1, |x, _| Luma([x as u8])));
    let shown = as_png(&png_with_profile(&linear, profile));
    assert_eq!(shown.color(), ColorType::L8);
    for (x, _, pixel) in shown.to_luma8().enumerate_pixels().skip(2) {
        let light = f64::from(x) / 255.0;
        let srgb = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        assert!((f64::from(pixel.0[0]) - srgb * 255.0).abs() <= 1.5, "{x} became {}, not {}", pixel.0[0], srgb * 255.0);
    }
}

#[test]
fn a_profile_in_a_bitmap_is_applied_as_one_in_a_png_is() {
    // Its rows are filled up to whole words.
    let image = gradient(41, 30);
    let profile = ColorProfile::new_display_p3().encode().expect("a built-in profile can be encoded");
    let bitmap = bitmap_with_profile(&image.to_rgb8(), &profile);
    let shown = as_png(&bitmap);
    assert_ne!(shown, image);
    assert_eq!(shown, as_png(&png_with_profile(&image, profile)));
    // The last byte is the profile's.
    assert_eq!(as_png(&bitmap[..bitmap.len() - 1]), image, "a profile that is not whole counts as none");
}

#[test]
fn profiles_that_say_nothing_new_change_no_pixel() {
    let image = gradient(40, 30);
    let srgb = ColorProfile::new_srgb().encode().expect("a built-in profile can be encoded");
    let grey = ColorProfile::new_gray_with_gamma(1.0).encode().expect("a built-in profile can be encoded");
    for (what, profile) in [("sRGB", srgb.clone()), ("broken", srgb[..200].to_vec()), ("of other colours", grey)] {
        assert_eq!(as_png(&png_with_profile(&image, profile)), image, "{what}");
    }
}

#[test]
fn every_output_format_comes_from_every_depth_and_colour() {
    let rgba16 = DynamicImage::ImageRgba16(ImageBuffer::from_fn(20, 10, |x, y| Rgba([(x * 3000) as u16, (y * 6000) as u16, 999, 50_000])));
    let kinds = [
        gradient(20, 10),
        DynamicImage::ImageRgba16(rgba16.to_rgba16()),
        DynamicImage::ImageRgb16(rgba16.to_rgb16()),
        DynamicImage::ImageRgba8(rgba16.to_rgba8()),
        DynamicImage::ImageLuma8(rgba16.to_luma8()),
        DynamicImage::ImageLuma16(rgba16.to_luma16()),
        DynamicImage::ImageLumaA8(rgba16.to_luma_alpha8()),
        DynamicImage::ImageLumaA16(rgba16.to_luma_alpha16()),
    ];
    for image in &kinds {
        let png = encoded(image, ImageFormat::Png);
        for format in OUTPUT_FORMATS.iter().copied() {
            let converted = converted(&png, format).unwrap_or_else(|error| panic!("{:?} to {format}: {error}", image.color()));
            let header = read_header(&converted.bytes).expect("the result has a header");
            assert_eq!((header.format, header.width, header.height), (format, 20, 10), "{:?} to {format}", image.color());
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let png = encoded(&gradient(120, 90), ImageFormat::Png);
    for format in OUTPUT_FORMATS.iter().copied() {
        assert_eq!(converted(&png, format), converted(&png, format), "{format}");
    }
}

#[test]
fn limits_are_checked_before_pixels_are_decoded() {
    // The pixels behind the header are missing: whoever decoded them would say so instead.
    let png = &encoded(&gradient(300, 200), ImageFormat::Png)[..60];
    let header = read_header(png).expect("the header is whole");
    let reason = |limits: &ConversionLimits| convert(png, &header, &Spec::new(Format::Jpeg), limits).expect_err("it is too large").reason;
    let mut limits = ConversionLimits::default();
    assert_eq!(reason(&limits), FailureReason::CorruptInput);
    limits.image.max_frame_pixels = 59_999;
    assert_eq!(reason(&limits), FailureReason::ResourceLimit);
    limits = ConversionLimits { memory_bytes: 300 * 200 * 3 * 2 - 1, ..ConversionLimits::default() };
    assert_eq!(reason(&limits), FailureReason::ResourceLimit);
}

#[test]
fn limits_hold_for_what_the_decoder_finds_whatever_the_header_was_said_to_be() {
    let png = encoded(&gradient(300, 200), ImageFormat::Png);
    let jpeg = encoded(&gradient(300, 200), ImageFormat::Jpeg);
    let mut limits = ConversionLimits::default();
    limits.image.max_side_pixels = 250;
    for input in [png, jpeg] {
        let mut header = read_header(&input).expect("the header is good");
        (header.width, header.height) = (1, 1);
        let error = convert(&input, &header, &Spec::new(Format::Bmp), &limits).expect_err("it is too large");
        assert_eq!(error.reason, FailureReason::ResourceLimit, "{error}");
        assert!(error.message.contains("300, more than the limit of 250"), "{error}");
    }
}

#[test]
fn memory_that_a_decoder_may_not_take_is_refused_with_the_limit() {
    // Text that takes more memory than the pixels do.
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 4, 4);
    encoder.add_text_chunk("Comment".to_owned(), "x".repeat(100_000)).expect("PNG has text");
    let mut writer = encoder.write_header().expect("it can be encoded");
    writer.write_image_data(&[0; 16]).expect("it can be encoded");
    writer.finish().expect("it can be encoded");
    let header = read_header(&png).expect("the header is good");
    let limits = ConversionLimits { memory_bytes: 50_000, ..ConversionLimits::default() };
    let error = convert(&png, &header, &Spec::new(Format::Png), &limits).expect_err("it takes too much");
    assert_eq!(error.reason, FailureReason::ResourceLimit, "{error}");
    assert!(error.message.contains("50000 bytes") && error.message.contains("conversion_memory_bytes"), "{error}");
}

#[test]
fn a_picture_that_the_target_cannot_hold_is_refused() {
    let wide = encoded(&DynamicImage::ImageLuma8(ImageBuffer::new(16_384, 1)), ImageFormat::Png);
    let header = read_header(&wide).expect("the header is good");
    let mut limits = ConversionLimits::default();
    limits.image.max_side_pixels = 20_000;
    let error = convert(&wide, &header, &Spec::new(Format::WebP), &limits).expect_err("it is too wide for WebP");
    assert_eq!(error.reason, FailureReason::UnsupportedOutput);
    assert!(error.message.contains("16383"), "{error}");
    assert!(convert(&wide, &header, &Spec::new(Format::Jpeg), &limits).is_ok());
}

#[test]
fn three_components_are_no_inks_whatever_an_adobe_segment_calls_them() {
    const YCBCR: u8 = 1;
    const YCCK: u8 = 2;
    let image = gradient(48, 32);
    for is_progressive in [false, true] {
        let rgb = as_png(&jpeg_of_rgb(&image, is_progressive, 0));
        assert!(largest_difference(&rgb, &image) <= 3, "progressive: {is_progressive}");
        let [ycbcr, ycck] = [YCBCR, YCCK].map(|transform| as_png(&jpeg_of_rgb(&image, is_progressive, transform)));
        assert!(largest_difference(&ycck, &ycbcr) <= 3, "progressive: {is_progressive}");
        assert!(largest_difference(&ycck, &image) > 100, "they are other colours");
    }
}

#[test]
fn a_jpeg_of_inks_shows_what_the_printer_would() {
    // Cyan, half black, and magenta with a fifth of black.
    let inks = [[255, 0, 0, 0], [0, 0, 0, 128], [0, 255, 0, 51]];
    let expected = [[0, 255, 255], [127, 127, 127], [204, 0, 204]];
    for (kind, name) in [(jpeg_encoder::ColorType::Cmyk, "CMYK"), (jpeg_encoder::ColorType::CmykAsYcck, "YCCK")] {
        let samples: Vec<u8> = (0..48 * 16).flat_map(|at| inks[at % 48 / 16]).collect();
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 100).encode(&samples, 48, 16, kind).expect("it can be encoded");
        let shown = as_png(&jpeg).into_rgb8();
        for (index, expected) in expected.into_iter().enumerate() {
            let pixel = shown.get_pixel(index as u32 * 16 + 8, 8).0;
            assert!(
                pixel.iter().zip(expected).all(|(shown, expected)| shown.abs_diff(expected) <= 3),
                "{name}: {pixel:?} is not {expected:?}"
            );
        }
    }
}

#[test]
fn rows_that_are_streamed_give_what_the_whole_picture_gives() {
    let rgba = DynamicImage::ImageRgba16(ImageBuffer::from_fn(70, 150, |x, y| {
        Rgba([(x * 900) as u16, (y * 430) as u16, (x * y * 6) as u16, 65_535 - (x * 400) as u16])
    }));
    let kinds = [
        rgba.clone(),
        DynamicImage::ImageRgba8(rgba.to_rgba8()),
        DynamicImage::ImageRgb16(rgba.to_rgb16()),
        DynamicImage::ImageRgb8(rgba.to_rgb8()),
        DynamicImage::ImageLuma8(rgba.to_luma8()),
    ];
    let profile = ColorProfile::new_display_p3().encode().expect("a built-in profile can be encoded");
    for image in kinds {
        // A TIFF of the same pixels is not streamed.
        let (png, tiff) = (encoded(&image, ImageFormat::Png), converted(&encoded(&image, ImageFormat::Png), Format::Tiff));
        let tiff = tiff.expect("it can be converted").bytes;
        for spec in ["jpeg", "jpeg background=102030", "jpeg quality=35"] {
            let [streamed, whole] = [&png, &tiff].map(|input| converted_to(input, spec).expect("it can be converted").bytes);
            assert!(streamed == whole, "{:?} to {spec}", image.color());
        }
    }
    let deep = DynamicImage::ImageRgb16(rgba.to_rgb16());
    let turned = converted_to(&png_with_profile(&deep, profile.clone()), "jpeg quality=95").expect("it can be converted").bytes;
    let upright = converted_to(&encoded(&as_png(&png_with_profile(&deep, profile)), ImageFormat::Png), "jpeg quality=95");
    assert_eq!(decoded(&turned, ImageFormat::Jpeg), decoded(&upright.expect("it can be converted").bytes, ImageFormat::Jpeg));
}

#[test]
fn a_jpeg_becomes_the_same_png_row_by_row_and_as_a_whole() {
    // Several parts of a file, the last one not full.
    let jpeg = encoded(&gradient(1003, 611), ImageFormat::Jpeg);
    // A bitmap holds the same pixels and is read as a whole.
    let bitmap = converted(&jpeg, Format::Bmp).expect("it can be converted").bytes;
    for spec in ["png", "png effort=fast"] {
        let [streamed, whole] = [&jpeg, &bitmap].map(|input| converted_to(input, spec).expect("it can be converted"));
        assert!(streamed == whole, "{spec}");
    }
}
