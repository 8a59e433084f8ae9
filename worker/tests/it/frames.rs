//! Frames that are parts of a canvas: what people see of each.

use std::{borrow::Cow, io::Cursor};

use image::{DynamicImage, ImageFormat, Rgba, RgbaImage, codecs::png::PngDecoder};
use moxcms::ColorProfile;
use png::{BlendOp, DisposeOp};
use tintype_store::{FailureReason, Format, header::read_header};

use crate::pictures::{converted, converted_to, decoded, encoded};

const RED: Rgba<u8> = Rgba([255, 0, 0, 255]);
const BLUE: Rgba<u8> = Rgba([0, 0, 255, 255]);
const NONE: Rgba<u8> = Rgba([0; 4]);

/// One colour for a part of the canvas: left and width, dispose and blend.
struct Part(u32, u32, DisposeOp, BlendOp, Rgba<u8>);

/// A row of 4 pixels.
fn apng(parts: &[Part], color: png::ColorType, default_image: Option<Rgba<u8>>, profile: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut info = png::Info::with_size(4, 1);
    info.color_type = color;
    info.bit_depth = png::BitDepth::Eight;
    info.icc_profile = profile.map(Cow::Borrowed);
    let mut encoder = png::Encoder::with_info(&mut bytes, info).expect("it can be encoded");
    encoder.set_animated(parts.len() as u32, 0).expect("it has frames");
    encoder.set_sep_def_img(default_image.is_some()).expect("it can have one");
    let mut writer = encoder.write_header().expect("it can be encoded");
    let samples = |width: u32, pixel: Rgba<u8>| pixel.0[..color.samples()].repeat(width as usize);
    if let Some(pixel) = default_image {
        writer.write_image_data(&samples(4, pixel)).expect("it can be encoded");
    }
    for Part(left, width, dispose, blend, pixel) in parts {
        writer.reset_frame_position().expect("it is animated");
        writer.set_frame_dimension(*width, 1).expect("it fits");
        writer.set_frame_position(*left, 0).expect("it fits");
        writer.set_dispose_op(*dispose).expect("it is animated");
        writer.set_blend_op(*blend).expect("it is animated");
        writer.write_image_data(&samples(*width, *pixel)).expect("it can be encoded");
    }
    writer.finish().expect("it can be encoded");
    bytes
}

/// Each whole picture of an animated PNG whose frames replace parts of the canvas and stay.
fn shown(png: &[u8]) -> Vec<RgbaImage> {
    let frames = image::AnimationDecoder::into_frames(PngDecoder::new(Cursor::new(png)).unwrap().apng().expect("it is animated"));
    frames.map(|frame| frame.expect("it can be decoded").into_buffer()).collect()
}

fn rows(input: &[u8]) -> Vec<Vec<Rgba<u8>>> {
    let made = converted(input, Format::Png).expect("it can be converted").bytes;
    shown(&made).iter().map(|frame| frame.pixels().copied().collect()).collect()
}

#[test]
fn what_a_frame_covers_for_a_while_is_what_the_one_before_left() {
    let input = apng(
        &[
            Part(0, 4, DisposeOp::Background, BlendOp::Source, RED),
            Part(1, 1, DisposeOp::Previous, BlendOp::Source, BLUE),
            Part(3, 1, DisposeOp::None, BlendOp::Source, BLUE),
        ],
        png::ColorType::Rgba,
        None,
        None,
    );
    assert_eq!(rows(&input), [vec![RED; 4], vec![NONE, BLUE, NONE, NONE], vec![NONE, NONE, NONE, BLUE]]);
}

#[test]
fn what_is_opaque_stays_opaque_and_its_colour_under_more_of_it() {
    for alpha in [1, 7, 128, 200, 254] {
        let over = Part(0, 4, DisposeOp::None, BlendOp::Over, Rgba([255, 0, 0, alpha]));
        let mut parts = vec![Part(0, 4, DisposeOp::None, BlendOp::Source, RED)];
        parts.push(over);
        let input = apng(&parts, png::ColorType::Rgba, None, None);
        assert_eq!(rows(&input), [vec![RED; 4], vec![RED; 4]], "{alpha}");
    }
}

#[test]
fn a_single_frame_beside_a_default_image_is_the_picture() {
    let input = apng(&[Part(0, 4, DisposeOp::None, BlendOp::Source, RED)], png::ColorType::Rgba, Some(BLUE), None);
    assert_eq!(read_header(&input).expect("it has a header").frame_count, 1);
    for format in [Format::Bmp, Format::Png] {
        let made = converted(&input, format).expect("it can be converted").bytes;
        let made = decoded(&made, if format == Format::Png { ImageFormat::Png } else { ImageFormat::Bmp }).into_rgba8();
        assert!(made.pixels().all(|pixel| *pixel == RED), "{format}");
    }
}

#[test]
fn grey_frames_have_the_colours_of_their_profile() {
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().expect("a profile");
    let grey = Rgba([55, 0, 0, 255]);
    let frame = || Part(0, 4, DisposeOp::None, BlendOp::Source, grey);
    let input = apng(&[frame(), frame()], png::ColorType::Grayscale, None, Some(&linear));
    // 55 of 255 in linear light.
    let expected = 128_u8;
    for row in rows(&input) {
        assert!(row[0].0[0].abs_diff(expected) <= 1 && row[0].0[3] == 255, "{:?}", row[0]);
    }
    let bitmap = decoded(&converted(&input, Format::Bmp).expect("it can be converted").bytes, ImageFormat::Bmp).to_luma8();
    assert!(bitmap.get_pixel(0, 0).0[0].abs_diff(expected) <= 1);
}

/// The chunks of a still picture that a lossy encoder makes.
fn lossy(width: u32, height: u32, pixel: Rgba<u8>) -> Vec<u8> {
    let png = encoded(&DynamicImage::ImageRgba8(RgbaImage::from_pixel(width, height, pixel)), ImageFormat::Png);
    let file = converted_to(&png, "webp quality=95").expect("it can be converted").bytes;
    // An extended header says that alpha follows.
    file[if &file[12..16] == b"VP8X" { 30 } else { 12 }..].to_vec()
}

fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    [&name[..], &(data.len() as u32).to_le_bytes(), data].concat()
}

fn u24(value: u32) -> [u8; 3] {
    let [first, second, third, _] = value.to_le_bytes();
    [first, second, third]
}

/// A canvas of 64 by 64; frames of 16 by 16 at a place, drawn over it and removed afterwards.
fn webp(flags: u8, frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    const REMOVED_AFTERWARDS: u8 = 1;
    let mut chunks = chunk(*b"VP8X", &[&[flags, 0, 0, 0][..], &u24(63), &u24(63)].concat());
    chunks.extend(chunk(*b"ANIM", &[255, 255, 255, 255, 0, 0]));
    for (left, picture) in frames {
        let head = [u24(left / 2), u24(4), u24(15), u24(15), u24(50)].concat();
        chunks.extend(chunk(*b"ANMF", &[&head[..], &[REMOVED_AFTERWARDS], picture].concat()));
    }
    chunk(*b"RIFF", &[&b"WEBP"[..], &chunks].concat())
}

fn is_near(one: Rgba<u8>, other: Rgba<u8>) -> bool {
    one.0.iter().zip(other.0).all(|(one, other)| one.abs_diff(other) <= 6)
}

#[test]
fn lossy_frames_without_alpha_leave_nothing_of_the_frames_before() {
    const ANIMATED: u8 = 0b10;
    const WITH_ALPHA: u8 = 0b1_0000;
    let half = Rgba([0, 0, 255, 128]);
    let frames = [(0, lossy(16, 16, half)), (20, lossy(16, 16, RED)), (40, lossy(16, 16, RED)), (4, lossy(16, 16, RED))];
    for (flags, frames) in [(ANIMATED | WITH_ALPHA, &frames[..]), (ANIMATED, &frames[1..])] {
        let input = webp(flags, frames);
        let made = shown(&converted(&input, Format::Png).expect("it can be converted").bytes);
        assert_eq!(made.len(), frames.len());
        for (frame, (left, _)) in made.iter().zip(frames) {
            let colour = if flags & WITH_ALPHA != 0 && *left == 0 { half } else { RED };
            for (x, y, pixel) in frame.enumerate_pixels() {
                let expected = if (*left..left + 16).contains(&x) && (8..24).contains(&y) { colour } else { NONE };
                assert!(is_near(*pixel, expected), "{x}, {y} of the frame at {left}: {pixel:?}");
            }
        }
        // The first frame alone lies on white, not on black.
        let bitmap = decoded(&converted_to(&input, "jpeg quality=95").expect("it can be converted").bytes, ImageFormat::Jpeg).into_rgba8();
        assert!(is_near(*bitmap.get_pixel(60, 60), Rgba([255; 4])));
    }
}

#[test]
fn frames_that_do_not_fit_are_named() {
    let refusal = |input: &[u8]| {
        let error = converted(input, Format::Png).expect_err("it is refused");
        assert_eq!(error.reason, FailureReason::CorruptInput);
        error.message
    };
    let red = || lossy(16, 16, RED);
    let beyond = refusal(&webp(0b10, &[(0, red()), (50, red())]));
    assert!(beyond.contains("16 x 16 pixels at 50, 8 lies beyond its canvas of 64 x 64"), "{beyond}");
    let larger = refusal(&webp(0b10, &[(0, red()), (20, lossy(24, 16, RED))]));
    assert!(larger.contains("a frame of 16 x 16 pixels holds a picture of 24 x 16"), "{larger}");
}
