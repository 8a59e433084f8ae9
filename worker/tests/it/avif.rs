//! AVIF in and out. Files of other writers are made of those that are written here, by changing their boxes.

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage, Rgba};
use tintype_store::{
    ConversionLimits, FailureReason, Format, Spec,
    header::{AvifMeta, HeaderError, read_header},
};
use tintype_worker::convert::{ConvertError, convert};

use crate::pictures::{as_png, converted, converted_to, encoded, gradient, largest_difference, png_with_orientation};

/// Blocks of colours, which lossy formats keep well.
fn blocks(width: u32, height: u32) -> DynamicImage {
    let colours = [Rgb([200, 40, 40]), Rgb([40, 180, 60]), Rgb([50, 60, 210]), Rgb([230, 220, 60])];
    let at = |x: u32, y: u32| colours[(x * 2 / width + 2 * (y * 2 / height)) as usize];
    RgbImage::from_fn(width, height, at).into()
}

fn avif(image: &DynamicImage, options: &str) -> Vec<u8> {
    converted_to(&encoded(image, ImageFormat::Png), format!("avif {options}").trim_end()).expect("it can be made").bytes
}

fn mean_difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let (one, other) = (one.to_rgba8(), other.to_rgba8());
    let sum: u64 = one.iter().zip(other.iter()).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / one.len() as f64
}

/// Puts a property of the picture behind those that a file has.
fn with_property(file: &[u8], kind: &str, content: &[u8]) -> Vec<u8> {
    let property = [&(content.len() as u32 + 8).to_be_bytes(), kind.as_bytes(), content].concat();
    let mut file = file.to_vec();
    let position = |file: &[u8], kind: &[u8; 4]| file.windows(4).position(|four| four == kind).expect("it has this box") - 4;
    let grow = |file: &mut Vec<u8>, kind: &[u8; 4], by: usize| {
        let at = position(file, kind);
        let size = u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes")) + by as u32;
        file[at..at + 4].copy_from_slice(&size.to_be_bytes());
    };
    let ipco = position(&file, b"ipco");
    let ipco_end = ipco + u32::from_be_bytes(file[ipco..ipco + 4].try_into().expect("four bytes")) as usize;
    let mut count = 0;
    let mut at = ipco + 8;
    while at < ipco_end {
        at += u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
        count += 1;
    }
    // The first item's entry: behind version, number of items and the item's id stands how many properties it has.
    let ipma = position(&file, b"ipma");
    let names = ipma + 18;
    let named = file[names];
    file[names] += 1;
    file.insert(names + 1 + usize::from(named), 0x80 | (count + 1));
    file.splice(ipco_end..ipco_end, property.iter().copied());
    let added = property.len() + 1;
    grow(&mut file, b"ipco", property.len());
    grow(&mut file, b"ipma", 1);
    grow(&mut file, b"iprp", added);
    grow(&mut file, b"meta", added);
    moved(file, added)
}

/// Says in `iloc` that everything is so much further behind: its version 0 with 4-byte offsets and lengths.
fn moved(mut file: Vec<u8>, by: usize) -> Vec<u8> {
    let iloc = file.windows(4).position(|four| four == b"iloc").expect("it has places") + 4;
    assert_eq!(&file[iloc..iloc + 6], [0, 0, 0, 0, 0x44, 0], "places are written like this");
    let count = u16::from_be_bytes([file[iloc + 6], file[iloc + 7]]);
    for item in 0..usize::from(count) {
        let offset = iloc + 8 + item * 14 + 6;
        let place = u32::from_be_bytes(file[offset..offset + 4].try_into().expect("four bytes")) + by as u32;
        file[offset..offset + 4].copy_from_slice(&place.to_be_bytes());
    }
    file
}

fn failure(file: &[u8]) -> ConvertError {
    converted(file, Format::Png).expect_err("it is refused")
}

#[test]
fn a_picture_comes_back_at_every_size() {
    for (width, height) in [(1, 1), (2, 3), (7, 16), (64, 64), (65, 33), (200, 131), (640, 9)] {
        let original =
            if width * height < 100 { RgbImage::from_pixel(width, height, Rgb([90, 160, 30])).into() } else { blocks(width, height) };
        let file = avif(&original, "quality=90");
        let header = read_header(&file).expect("the result has a header");
        assert_eq!((header.format, header.width, header.height, header.frame_count), (Format::Avif, width, height, 1));
        let difference = mean_difference(&as_png(&file), &original);
        assert!(difference < 3.0, "{width} x {height}: {difference}");
    }
}

#[test]
fn quality_and_effort_change_the_file() {
    let picture = gradient(160, 120);
    let size = |options: &str| avif(&picture, options).len();
    assert!(size("quality=30") < size("quality=60") && size("quality=60") < size("quality=95"));
    assert_eq!(avif(&picture, ""), avif(&picture, "quality=60"), "the default");
    assert_ne!(avif(&picture, "effort=fast"), avif(&picture, "effort=small"));
}

#[test]
fn alpha_is_kept_and_left_out_where_nothing_shows_through() {
    let translucent = DynamicImage::ImageRgba8(ImageBuffer::from_fn(64, 48, |x, _| Rgba([200, 30, 60, if x < 32 { 255 } else { 80 }])));
    let file = avif(&translucent, "quality=90");
    assert!(AvifMeta::of_file(&file).expect("it is one").alpha.is_some());
    assert!(largest_difference(&as_png(&file), &translucent) < 12);
    assert!(AvifMeta::of_file(&avif(&blocks(20, 20), "")).expect("it is one").alpha.is_none());
}

#[test]
fn of_16_bit_10_are_kept() {
    // 1,000 shades of a dark grey to a blue, 8 pixels wide each; 8 bit have 52 of them.
    let shades = ImageBuffer::from_fn(800, 80, |x, y| {
        let shade = (x / 8 + y / 8 * 100) as u16;
        Rgb([6_000, 6_000, 6_000 + shade * 13])
    });
    let shades = DynamicImage::ImageRgb16(shades);
    let translucent = shades.to_rgba16();
    let translucent =
        ImageBuffer::from_fn(800, 80, |x, y| Rgba([0, 1, 2, 3].map(|at| if at < 3 { translucent[(x, y)][at] } else { 40_000 })));
    for original in [shades, DynamicImage::ImageRgba16(translucent)] {
        let shown = as_png(&avif(&original, "quality=100"));
        assert_eq!(shown.color(), original.color());
        let (shown, original) = (shown.to_rgba16(), original.to_rgba16());
        let mean = shown.iter().zip(original.iter()).map(|(one, other)| f64::from(one.abs_diff(*other))).sum::<f64>() / shown.len() as f64;
        assert!(mean < 64.0, "half of a step of 10 bit is 32, of 8 bit 128: {mean}");
        let blues: std::collections::BTreeSet<_> = shown.pixels().map(|pixel| pixel[2]).collect();
        assert!(blues.len() > 150, "{}", blues.len());
    }
}

#[test]
fn turns_and_mirrors_are_applied_in_their_order() {
    let stored = blocks(48, 32);
    let file = avif(&stored, "quality=90");
    let turned = |image: &DynamicImage| image.rotate270();
    let cases = [
        (vec![("irot", 0)], stored.clone()),
        (vec![("irot", 1)], turned(&stored)),
        (vec![("irot", 2)], stored.rotate180()),
        (vec![("irot", 3)], stored.rotate90()),
        (vec![("imir", 0)], stored.flipv()),
        (vec![("irot", 1), ("imir", 1)], turned(&stored).fliph()),
        (vec![("imir", 1), ("irot", 1)], turned(&stored.fliph())),
    ];
    for (properties, expected) in cases {
        let file = properties.iter().fold(file.clone(), |file, (kind, value)| with_property(&file, kind, &[*value]));
        let header = read_header(&file).expect("its header is good");
        assert_eq!((header.width, header.height), (expected.width(), expected.height()), "{properties:?}");
        let difference = mean_difference(&as_png(&file), &expected);
        assert!(difference < 4.0, "{properties:?}: {difference}");
    }
}

#[test]
fn a_turned_original_is_upright() {
    let stored = blocks(48, 32);
    let file = converted(&png_with_orientation(&stored, 6), Format::Avif).expect("it can be made").bytes;
    assert!(mean_difference(&as_png(&file), &stored.rotate90()) < 5.0);
}

#[test]
fn colours_are_read_as_the_file_says() {
    let nclx = |primaries: u16, transfer: u16, matrix: u16, range: u8| {
        [b"nclx", &primaries.to_be_bytes()[..], &transfer.to_be_bytes(), &matrix.to_be_bytes(), &[range]].concat()
    };
    let grey: DynamicImage = RgbImage::from_pixel(16, 16, Rgb([128; 3])).into();
    let centre = |file: &[u8]| as_png(file).to_rgb8().get_pixel(8, 8).0;
    let file = avif(&grey, "quality=95");
    // Limited range stretches what lies between 16 and 235 of 255.
    let limited = centre(&with_property(&file, "colr", &nclx(1, 13, 6, 0)));
    assert!(limited.iter().all(|sample| sample.abs_diff(130) <= 2), "{limited:?}");
    let red: DynamicImage = RgbImage::from_pixel(16, 16, Rgb([200, 60, 60])).into();
    let file = avif(&red, "quality=95");
    let (as_601, as_709) = (centre(&file), centre(&with_property(&file, "colr", &nclx(1, 13, 1, 0x80))));
    assert!(as_601[0].abs_diff(200) <= 3 && as_601[1].abs_diff(60) <= 3, "{as_601:?}");
    // The same luma and chroma by the weights of BT.709: more red, more green.
    assert!(as_709[0] > as_601[0] + 5 && as_709[1] > as_601[1] + 5, "{as_601:?} {as_709:?}");
    let wide = centre(&with_property(&file, "colr", &nclx(9, 13, 6, 0x80)));
    assert!(wide[0] > as_601[0] + 20, "BT.2020 red is redder: {as_601:?} {wide:?}");
    let bright = failure(&with_property(&file, "colr", &nclx(9, 16, 9, 0x80)));
    assert_eq!(bright.reason, FailureReason::UnsupportedInput);
    assert!(bright.message.contains("PQ"), "{}", bright.message);
}

#[test]
fn what_is_not_read_is_named() {
    let file = avif(&blocks(16, 16), "");
    let named = |file: &[u8]| match read_header(file) {
        Err(HeaderError::Unsupported(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(named(&with_property(&file, "clap", &[0; 32])).contains("clean aperture"));
    assert!(named(&with_property(&file, "lsel", &[0; 2])).contains("property"));
    let item = file.windows(4).position(|four| four == b"av01").expect("it has an item");
    let mut grid = file.clone();
    grid[item..item + 4].copy_from_slice(b"grid");
    assert!(named(&grid).contains("grid"));
}

#[test]
fn limits_and_sizes_are_checked_before_pixels_are_decoded() {
    let file = avif(&blocks(64, 64), "");
    let header = read_header(&file).expect("its header is good");
    let limits = ConversionLimits { memory_bytes: 10_000, ..ConversionLimits::default() };
    let refused = convert(&file, &header, &Spec::new(Format::Png), &limits).expect_err("it is too large");
    assert_eq!(refused.reason, FailureReason::ResourceLimit);
    let limits = ConversionLimits::default();
    // The AV1 data is of a larger picture than the header says.
    let at = file.windows(4).position(|four| four == b"ispe").expect("it has a size") + 8;
    let mut smaller = file.clone();
    smaller[at..at + 8].copy_from_slice(&[0, 0, 0, 8, 0, 0, 0, 8]);
    let header = read_header(&smaller).expect("its header is good");
    let refused = convert(&smaller, &header, &Spec::new(Format::Png), &limits).expect_err("it is larger than that");
    assert_eq!(refused.reason, FailureReason::CorruptInput);
    assert!(refused.message.contains("larger"), "{}", refused.message);
}

/// Pictures of other encoders beside what another decoder made of them, in the folder that `TINTYPE_AVIF_SAMPLES` names: `NAME.avif` and
/// `NAME.png`.
#[test]
fn other_encoders_files_look_as_in_other_decoders() {
    #[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
    let Ok(folder) = std::env::var("TINTYPE_AVIF_SAMPLES") else {
        println!("TINTYPE_AVIF_SAMPLES is not set: nothing is compared");
        return;
    };
    for entry in std::fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it can be read").path()) {
        if entry.extension().is_none_or(|extension| extension != "avif") {
            continue;
        }
        let file = std::fs::read(&entry).expect("it can be read");
        let expected = image::open(entry.with_extension("png")).expect("another decoder made this");
        let shown = as_png(&file);
        let difference = mean_difference(&shown, &expected);
        println!("{}: {:?}, {difference}", entry.display(), shown.color());
        assert!(difference < 1.5, "{}: {difference}", entry.display());
    }
}
