//! How a file keeps its colours, for files that are in memory and of a format that is made. Follows what the parsers beside it name.

use super::{
    AvifMeta,
    parser::{big_endian, little_endian},
    signature,
};
use crate::{ColourType, Colours, Format};

/// How the colours of a whole file are kept, by its header. `None` when the header does not tell, or the format is none that is made.
/// Never panics, whatever the bytes.
pub fn read_colours(file: &[u8]) -> Option<Colours> {
    let (format, _) = signature::recognise(file).ok()?;
    let (kind, channel_bits) = match format {
        Format::Png => png(file),
        Format::Jpeg => jpeg(file),
        Format::WebP => webp(file),
        Format::Gif => Some((ColourType::Palette, 8)),
        Format::Tiff => tiff(file),
        Format::Bmp => bmp(file),
        Format::Avif => avif(file),
        Format::Ico | Format::Qoi | Format::Pnm | Format::Unknown => None,
    }?;
    Some(Colours { kind, channel_bits })
}

fn png(file: &[u8]) -> Option<(ColourType, u8)> {
    let [depth, kind] = *bytes(file, 24)?;
    Some(match kind {
        0 => (ColourType::Grey, depth),
        2 => (ColourType::Rgb, depth),
        3 => (ColourType::Palette, 8),
        4 => (ColourType::GreyAlpha, depth),
        6 => (ColourType::Rgba, depth),
        _ => return None,
    })
}

fn jpeg(file: &[u8]) -> Option<(ColourType, u8)> {
    const START_BYTES: usize = 2;
    let mut rest = file.get(START_BYTES..)?;
    while let [0xff, code, after @ ..] = rest {
        rest = match code {
            // Fill bytes, and markers that stand alone.
            0xff => rest.get(1..)?,
            0x01 | 0xd0..=0xd8 => after,
            // Length, precision, height, width, number of components.
            0xc0..=0xc2 => {
                return match (after.get(2)?, after.get(7)?) {
                    (precision, 1) => Some((ColourType::Grey, *precision)),
                    (precision, 3) => Some((ColourType::Rgb, *precision)),
                    _ => None,
                };
            }
            _ => after.get(big_endian(bytes::<2>(after, 0)?) as usize..)?,
        };
    }
    None
}

fn webp(file: &[u8]) -> Option<(ColourType, u8)> {
    const ALPHA_OF_FILE: u8 = 0x10;
    const ALPHA_OF_LOSSLESS: u64 = 1 << 28;
    let has_alpha = match bytes(file, 12)? {
        b"VP8X" => file.get(20)? & ALPHA_OF_FILE != 0,
        b"VP8L" => little_endian(bytes::<4>(file, 21)?) & ALPHA_OF_LOSSLESS != 0,
        _ => false,
    };
    Some((if has_alpha { ColourType::Rgba } else { ColourType::Rgb }, 8))
}

fn avif(file: &[u8]) -> Option<(ColourType, u8)> {
    let meta = AvifMeta::of_file(file).ok()?;
    let kind = match (meta.is_grey, meta.alpha.is_some()) {
        (true, false) => ColourType::Grey,
        (true, true) => ColourType::GreyAlpha,
        (false, false) => ColourType::Rgb,
        (false, true) => ColourType::Rgba,
    };
    Some((kind, meta.channel_bits))
}

fn bmp(file: &[u8]) -> Option<(ColourType, u8)> {
    match little_endian(bytes::<2>(file, 28)?) {
        1..=8 => Some((ColourType::Palette, 8)),
        24 => Some((ColourType::Rgb, 8)),
        32 => Some((ColourType::Rgba, 8)),
        _ => None,
    }
}

/// The first page of a classic TIFF.
fn tiff(file: &[u8]) -> Option<(ColourType, u8)> {
    const ENTRY_BYTES: usize = 12;
    const SHORT_BYTES: u64 = 2;
    const INLINE_BYTES: u64 = 4;
    let number = |bytes: &[u8]| if file[0] == b'M' { big_endian(bytes) } else { little_endian(bytes) };
    let directory = file.get(number(bytes::<4>(file, 4)?) as usize..)?;
    let entries = directory.get(2..)?.chunks_exact(ENTRY_BYTES).take(number(bytes::<2>(directory, 0)?) as usize);
    let (mut depth, mut photometric, mut samples) = (1, None, 1);
    for entry in entries {
        // Of several values, as of the depths of all samples, the first.
        let value = if number(&entry[4..8]).saturating_mul(SHORT_BYTES) > INLINE_BYTES {
            bytes::<2>(file, number(&entry[8..12]) as usize).map(|value| number(value))
        } else {
            Some(number(&entry[8..10]))
        };
        match number(&entry[..2]) {
            258 => depth = u8::try_from(value?).ok()?,
            262 => photometric = value,
            277 => samples = value?,
            _ => {}
        }
    }
    match (photometric?, samples) {
        (0 | 1, 1) => Some((ColourType::Grey, depth)),
        (0 | 1, 2) => Some((ColourType::GreyAlpha, depth)),
        (2, 3) => Some((ColourType::Rgb, depth)),
        (2, 4) => Some((ColourType::Rgba, depth)),
        (3, 1) => Some((ColourType::Palette, 16)),
        _ => None,
    }
}

fn bytes<const COUNT: usize>(file: &[u8], at: usize) -> Option<&[u8; COUNT]> {
    file.get(at..)?.first_chunk()
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn samples_tell_their_colours() {
        let expected = [
            ("still PNG", Some((ColourType::Rgba, 8))),
            ("JPEG", Some((ColourType::Rgb, 8))),
            ("progressive CMYK JPEG", None),
            ("lossy WebP", Some((ColourType::Rgb, 8))),
            ("lossless WebP", Some((ColourType::Rgb, 8))),
            ("extended WebP", Some((ColourType::Rgba, 8))),
            ("animated GIF", Some((ColourType::Palette, 8))),
            ("QOI", None),
        ];
        let samples = samples::all();
        for (name, colours) in expected {
            let sample = samples.iter().find(|sample| sample.name == name).expect("it is a sample");
            assert_eq!(read_colours(&sample.bytes).map(|colours| (colours.kind, colours.channel_bits)), colours, "{name}");
        }
    }

    #[test]
    fn cut_and_damaged_files_are_no_trouble() {
        for sample in samples::all() {
            for length in 0..sample.bytes.len() {
                read_colours(&sample.bytes[..length]);
                let mut damaged = sample.bytes.clone();
                damaged[length] = 0xff;
                read_colours(&damaged);
            }
        }
    }
}
