//! A conversion of whatever passes the header scanner: an answer within the limits, the same answer twice, and what it says of its result is what
//! the result's header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_store::{
    ConversionLimits, Effort, Fit, Format, ImageHeader, Resize, Rgb, Spec,
    header::{read_colours, read_header},
};
use tintype_worker::convert::{OUTPUT_FORMATS, convert};

/// Small enough that an input which passes is done in milliseconds.
const MAX_PIXELS: u64 = 1 << 18;

fuzz_target!(|input: (u32, &[u8])| {
    let (choice, bytes) = input;
    let Ok(header) = read_header(bytes) else { return };
    let mut limits = ConversionLimits::default();
    limits.image.max_frame_pixels = MAX_PIXELS;
    limits.image.max_total_pixels = 4 * MAX_PIXELS;
    limits.image.max_frames = 16;
    limits.memory_bytes = 64 << 20;
    let spec = spec(choice);
    let first = convert(bytes, &header, &spec, &limits);
    if let Ok(converted) = &first {
        let made: ImageHeader = read_header(&converted.bytes).expect("what is made is an image");
        assert_eq!(made.format, spec.format);
        let picture = converted.picture;
        assert_eq!((made.width, made.height, made.frame_count), (picture.width, picture.height, picture.frame_count));
        assert!(read_colours(&converted.bytes).is_some(), "what is made tells its colours");
    }
    assert_eq!(first, convert(bytes, &header, &spec, &limits), "the same input and spec give the same bytes");
});

/// One of all the ways in which a picture can be asked for, from the bits of a number.
fn spec(choice: u32) -> Spec {
    let [format, size, look, quality] = choice.to_le_bytes();
    let format: Format = OUTPUT_FORMATS[usize::from(format) % OUTPUT_FORMATS.len()];
    let fit = Fit::ALL[usize::from(look & 3) % Fit::ALL.len()];
    let side = u32::from(size & 127) + 1;
    let resize = Resize { width: Some(side), height: Some(side.div_ceil(2)), fit, enlarge: look & 4 != 0 };
    Spec {
        quality: (quality != 0).then_some(quality % 100 + 1).filter(|_| matches!(format, Format::Jpeg | Format::WebP)),
        lossless: format == Format::WebP && look & 8 != 0,
        resize: (size & 128 != 0).then_some(resize),
        background: (look & 16 != 0).then_some(Rgb([quality, look, size])),
        effort: Effort::ALL[usize::from(look >> 6) % Effort::ALL.len()],
        keep_metadata: look & 32 != 0,
        ..Spec::new(format)
    }
}
