//! TIFF in: the first page, in strips or tiles, of any depth (TIFF 6.0; Adobe's technical notes; BigTIFF).

mod chunks;
mod directory;
mod exif;
mod samples;

use image::{DynamicImage, ImageBuffer, metadata::Orientation};
use tintype_store::ConversionLimits;

use super::{
    ConvertError,
    decode::{Raw, check_memory, check_size},
    inks::Inks,
    pixels::{divide_by_alpha, straight_8, straight_16, with_alpha, with_straight_alpha},
};
use chunks::{Compression, Extent, Storage};
pub(super) use directory::Directory;
pub(super) use exif::exif;
use samples::{Kind, Prediction, Samples};

/// Tag 262, those that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Inks,
    YCbCr,
}

impl Colours {
    fn from_tag(number: Option<u64>) -> Result<Self, ConvertError> {
        let name = match number {
            Some(0) => return Ok(Self::WhiteIsZero),
            Some(1) => return Ok(Self::BlackIsZero),
            Some(2) => return Ok(Self::Rgb),
            Some(3) => return Ok(Self::Palette),
            Some(5) => return Ok(Self::Inks),
            Some(6) => return Ok(Self::YCbCr),
            Some(4) => "a transparency mask",
            Some(8..=10) => "L*a*b* colours",
            Some(32_803) => "the raw data of a camera",
            Some(32_844 | 32_845) => "LogLuv colours",
            _ => "unknown colours",
        };
        Err(ConvertError::unsupported_input(format!("a TIFF of {name} is not read here")))
    }

    fn channels(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Inks => 4,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alpha {
    None,
    Straight,
    Premultiplied,
}

/// A page, as its tags describe it.
struct Page<'a> {
    input: &'a [u8],
    directory: Directory<'a>,
    width: usize,
    height: usize,
    colours: Colours,
    alpha: Alpha,
    samples_per_pixel: usize,
    in_planes: bool,
    samples: Samples,
    storage: Storage<'a>,
    /// How many pixels share a chroma, across and down.
    shared: (usize, usize),
}

pub(super) fn decode(input: &[u8], limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let page = Page::read(input, limits)?;
    let samples = page.samples(limits)?;
    let icc_profile = page.directory.bytes(ICC_PROFILE).map(<[u8]>::to_vec);
    let orientation = page.directory.first_unsigned(ORIENTATION).and_then(|it| Orientation::from_exif(u8::try_from(it).ok()?));
    Ok(Raw { image: page.image(samples)?, icc_profile, orientation: orientation.unwrap_or(Orientation::NoTransforms), shrunk: None })
}

const ORIENTATION: u16 = 274;
const ICC_PROFILE: u16 = 34_675;

impl<'a> Page<'a> {
    fn read(input: &'a [u8], limits: &ConversionLimits) -> Result<Self, ConvertError> {
        let directory = Directory::first(input)?;
        let or = |tag: u16, default: u64| directory.first_unsigned(tag).unwrap_or(default);
        let side = |tag: u16| u32::try_from(or(tag, 0)).map_err(ConvertError::corrupt);
        let (width, height) = (side(256)?, side(257)?);
        let colours = Colours::from_tag(directory.first_unsigned(262))?;
        let samples_per_pixel = or(277, 1) as usize;
        let channels = colours.channels();
        if samples_per_pixel < channels || samples_per_pixel > usize::from(u16::MAX) {
            return Err(ConvertError::corrupt(format_args!("it has {samples_per_pixel} samples a pixel, its colours have {channels}")));
        }
        let alpha = match directory.first_unsigned(338) {
            Some(1) if samples_per_pixel > channels => Alpha::Premultiplied,
            Some(2) if samples_per_pixel > channels => Alpha::Straight,
            // Writers that do not say what one more sample is mean alpha.
            None if samples_per_pixel == channels + 1 && colours != Colours::Inks => Alpha::Straight,
            _ => Alpha::None,
        };
        let alike = |tag: u16, default: u64| -> Result<u64, ConvertError> {
            let values = directory.unsigned(tag).unwrap_or_else(|| vec![default]);
            let first = values.first().copied().unwrap_or(default);
            let differ = || ConvertError::unsupported_input("a TIFF whose samples are of different kinds is not read here");
            if values.iter().all(|value| *value == first) { Ok(first) } else { Err(differ()) }
        };
        let in_planes = or(284, 1) == 2 && samples_per_pixel > 1;
        let samples = Samples {
            kind: match alike(339, 1)? {
                1 | 4 => Kind::Unsigned,
                2 => Kind::Signed,
                3 => Kind::Float,
                other => return Err(ConvertError::unsupported_input(format!("a TIFF with samples of kind {other} is not read here"))),
            },
            bits: alike(258, 1)?.min(255) as u32,
            big_endian: directory.is_big_endian(),
            side_by_side: if in_planes { 1 } else { samples_per_pixel },
            prediction: match or(317, 1) {
                2 => Prediction::Horizontal,
                3 => Prediction::Float,
                _ => Prediction::None,
            },
        };
        samples.check()?;
        // Twice as much as the samples: they are 16 bit until it is known what they stand for.
        let kept = channels + usize::from(alpha != Alpha::None);
        check_size(width, height, u64::from(width) * u64::from(height) * kept as u64 * 2, limits)?;
        let compression = Compression::from_tag(or(259, 1), or(292, 0) & 1 == 1)?;
        let storage = Storage { compression, lowest_bit_first: or(266, 1) == 2, jpeg_tables: directory.bytes(347) };
        let shared = match (colours, directory.unsigned(530).as_deref()) {
            (Colours::YCbCr, Some([across, down, ..])) => (*across as usize, *down as usize),
            (Colours::YCbCr, _) => (2, 2),
            _ => (1, 1),
        };
        let page = Self {
            input,
            width: width as usize,
            height: height as usize,
            colours,
            alpha,
            samples_per_pixel,
            in_planes,
            samples,
            storage,
            shared: if compression == Compression::Jpeg { (1, 1) } else { shared },
            directory,
        };
        page.check()?;
        Ok(page)
    }

    /// Combinations that make no sense, or that nobody writes.
    fn check(&self) -> Result<(), ConvertError> {
        let eight = self.samples.bits == 8 && self.samples.kind == Kind::Unsigned;
        let refused = if self.storage.compression == Compression::Jpeg && !eight {
            "JPEG data of another depth than 8 bit"
        } else if matches!(self.storage.compression, Compression::Fax3 | Compression::Fax4) && self.samples.row_bytes(8) != 1 {
            "fax data of more than one bit"
        } else if self.colours == Colours::YCbCr && !eight {
            "YCbCr colours of another depth than 8 bit"
        } else if self.shared != (1, 1) && (self.in_planes || self.alpha != Alpha::None || self.samples_per_pixel != 3) {
            "shared chroma in planes or with alpha"
        } else if !matches!(self.shared, (1 | 2 | 4, 1 | 2 | 4)) {
            "chroma shared by an odd number of pixels"
        } else if self.colours == Colours::Palette && (self.samples.bits > 16 || self.samples.kind != Kind::Unsigned) {
            "a palette with indices that are no small integers"
        } else {
            return Ok(());
        };
        Err(ConvertError::unsupported_input(format!("a TIFF with {refused} is not read here")))
    }

    fn channels(&self) -> usize {
        self.colours.channels() + usize::from(self.alpha != Alpha::None)
    }

    /// Every sample that is shown, pixel by pixel: scaled, but for the indices of a palette.
    fn samples(&self, limits: &ConversionLimits) -> Result<Vec<u16>, ConvertError> {
        let tag = |tag: u16| self.directory.unsigned(tag);
        let in_tiles = tag(322).is_some() && tag(323).is_some();
        let missing = || ConvertError::corrupt("it does not say where its pixels are");
        let (offsets, lengths) = if in_tiles && tag(324).is_some() { (tag(324), tag(325)) } else { (tag(273), tag(279)) };
        let offsets = offsets.ok_or_else(missing)?;
        let lengths = lengths.unwrap_or_default();
        let first =
            |tag: u16, default: usize| self.directory.first_unsigned(tag).and_then(|it| usize::try_from(it).ok()).unwrap_or(default);
        let (chunk_width, chunk_rows) =
            if in_tiles { (first(322, 0), first(323, 0)) } else { (self.width, first(278, self.height).min(self.height)) };
        let most = 2 * (self.width.max(self.height) + 4096);
        if chunk_width == 0 || chunk_rows == 0 || chunk_width > most || chunk_rows > most {
            return Err(ConvertError::corrupt(format_args!("its tiles or strips are of {chunk_width} x {chunk_rows} pixels")));
        }
        let (across, down) = (self.width.div_ceil(chunk_width), self.height.div_ceil(chunk_rows));
        let planes = if self.in_planes { self.channels() } else { 1 };
        let count = self.width * self.height * self.channels();
        check_memory((2 * count + self.chunk_memory(chunk_width, chunk_rows)) as u64, limits)?;
        let mut samples = vec![0; count];
        for (plane, row, column) in
            (0..planes).flat_map(|plane| (0..down).flat_map(move |row| (0..across).map(move |column| (plane, row, column))))
        {
            let index = (plane * down + row) * across + column;
            let start = *offsets.get(index).ok_or_else(missing)? as usize;
            let length = lengths.get(index).map_or(usize::MAX, |length| *length as usize);
            let stored = self.input.get(start..start.saturating_add(length).min(self.input.len()));
            let stored = stored.ok_or_else(|| ConvertError::corrupt("a strip or tile lies beyond the end of the file"))?;
            let (top, left) = (row * chunk_rows, column * chunk_width);
            let shown_rows = chunk_rows.min(self.height - top);
            let rows = if in_tiles { chunk_rows } else { shown_rows };
            let (bytes, row_bytes) = self.chunk(stored, chunk_width, rows)?;
            for (y, bytes) in bytes.chunks_exact(row_bytes).take(shown_rows).enumerate() {
                let values = self.samples.values(bytes, chunk_width);
                let to = &mut samples[((top + y) * self.width + left) * self.channels()..];
                self.place(&values, &mut to[..chunk_width.min(self.width - left) * self.channels()], plane);
            }
        }
        Ok(samples)
    }

    /// Bytes that a strip or tile takes while it is read, once more where pixels that share chroma get their own, and a row of its values.
    /// Samples that are not shown count, too.
    fn chunk_memory(&self, width: usize, rows: usize) -> usize {
        let copies = if self.shared == (1, 1) { 1 } else { 2 };
        copies * rows * self.samples.row_bytes(width) + width * self.samples.side_by_side * size_of::<u64>()
    }

    /// A strip or tile as whole rows, and how long these are.
    fn chunk(&self, stored: &[u8], width: usize, rows: usize) -> Result<(Vec<u8>, usize), ConvertError> {
        let row_bytes = self.samples.row_bytes(width);
        let (across, down) = self.shared;
        if self.shared == (1, 1) {
            return Ok((self.storage.unpack(stored, Extent { width, rows, row_bytes })?, row_bytes));
        }
        // TIFF 6.0, section 21: the luma of a few pixels, then their chroma.
        let (units, unit_rows, unit_bytes) = (width.div_ceil(across), rows.div_ceil(down), across * down + 2);
        let extent = Extent { width, rows: unit_rows, row_bytes: units * unit_bytes };
        let packed = self.storage.unpack(stored, extent)?;
        let mut bytes = vec![0; rows * row_bytes];
        for (at, pixel) in bytes.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (at % width, at / width);
            let unit = &packed[(y / down * units + x / across) * unit_bytes..][..unit_bytes];
            *pixel = [unit[y % down * across + x % across], unit[unit_bytes - 2], unit[unit_bytes - 1]];
        }
        Ok((bytes, row_bytes))
    }

    fn place(&self, values: &[u64], to: &mut [u16], plane: usize) {
        let is_index = |channel: usize| self.colours == Colours::Palette && channel == 0;
        let scaled = |channel: usize, value: u64| if is_index(channel) { value as u16 } else { self.samples.scaled(value) };
        let channels = self.channels();
        for (pixel, values) in to.chunks_exact_mut(channels).zip(values.chunks_exact(self.samples.side_by_side)) {
            if self.in_planes {
                pixel[plane] = scaled(plane, values[0]);
            } else {
                for (channel, (sample, value)) in pixel.iter_mut().zip(values).enumerate() {
                    *sample = scaled(channel, *value);
                }
            }
        }
    }

    fn image(&self, mut samples: Vec<u16>) -> Result<DynamicImage, ConvertError> {
        let (width, height) = (self.width as u32, self.height as u32);
        let deep = self.samples.is_deep();
        let mut channels = self.channels();
        match self.colours {
            Colours::WhiteIsZero => {
                let white = if deep { u16::MAX } else { u16::from(u8::MAX) };
                samples.iter_mut().step_by(channels).for_each(|sample| *sample = white - *sample);
            }
            Colours::Palette => {
                samples = self.colours_of_palette(&samples)?;
                channels += 2;
            }
            Colours::YCbCr => self.convert_ycbcr(&mut samples, channels),
            Colours::Inks => return Ok(self.image_of_inks(samples)),
            Colours::BlackIsZero | Colours::Rgb => {}
        }
        let image = if deep && self.colours != Colours::Palette {
            match channels {
                1 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma16),
                2 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16),
                3 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb16),
                _ => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba16),
            }
        } else {
            let samples: Vec<u8> = samples.into_iter().map(|sample| sample as u8).collect();
            match channels {
                1 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma8),
                2 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8),
                3 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
                _ => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
            }
        };
        let image = image.ok_or_else(|| ConvertError::corrupt("it has fewer samples than pixels"))?;
        Ok(if self.alpha == Alpha::Premultiplied { with_straight_alpha(image) } else { image })
    }

    /// What shines through stays beside the colours that the inks make.
    fn image_of_inks(&self, mut samples: Vec<u16>) -> DynamicImage {
        let (channels, deep) = (self.channels(), self.samples.is_deep());
        if self.alpha == Alpha::Premultiplied {
            let straight = |ink: u16, alpha: u16| if deep { straight_16(ink, alpha) } else { straight_8(ink as u8, alpha as u8).into() };
            divide_by_alpha(&mut samples, channels, straight);
        }
        let alpha: Vec<u16> = samples.iter().skip(4).step_by(channels).copied().collect();
        let inks = samples.chunks_exact(channels).flat_map(|pixel| pixel[..4].iter().copied());
        let inks = if deep { Inks::Sixteen(inks.collect()) } else { Inks::Eight(inks.map(|ink| ink as u8).collect()) };
        drop(samples);
        let image = inks.into_srgb(self.width as u32, self.height as u32, self.directory.bytes(ICC_PROFILE));
        if self.alpha == Alpha::None { image } else { with_alpha(image, &alpha) }
    }

    /// 8-bit colours for indices; an alpha stays behind them.
    fn colours_of_palette(&self, samples: &[u16]) -> Result<Vec<u16>, ConvertError> {
        let map = self.directory.unsigned(320).ok_or_else(|| ConvertError::corrupt("it has no palette"))?;
        let colours = map.len() / 3;
        // Some writers take 255 for white.
        let small = map.iter().all(|value| *value <= 255);
        let divided = |value: u64| ((value.min(65_535) + 128) / 257) as u16;
        let in_8_bit = |value: u64| if small { value as u16 } else { divided(value) };
        let channels = self.channels();
        let mut mapped = Vec::with_capacity(samples.len() / channels * (channels + 2));
        for pixel in samples.chunks_exact(channels) {
            let index = usize::from(pixel[0]);
            for colour in 0..3 {
                let value = map.get(colour * colours + index).filter(|_| index < colours);
                mapped.push(in_8_bit(*value.ok_or_else(|| ConvertError::corrupt("a pixel has a colour that the palette does not have"))?));
            }
            mapped.extend(pixel[1..].iter().map(|alpha| if self.samples.is_deep() { divided((*alpha).into()) } else { *alpha }));
        }
        Ok(mapped)
    }

    /// TIFF 6.0, sections 20 and 21.
    fn convert_ycbcr(&self, samples: &mut [u16], channels: usize) {
        let [red, green, blue] = self.directory.fractions(529).filter(|it| it[1] > 0.0).unwrap_or([0.299, 0.587, 0.114]);
        let [black, white, blue_zero, blue_most, red_zero, red_most] =
            self.directory.fractions(532).filter(|it| it[0] < it[1]).unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let between = |sample: u16, zero: f32, most: f32, range: f32| (f32::from(sample) - zero) * range / (most - zero).max(1.0);
        for pixel in samples.chunks_exact_mut(channels) {
            let luma = between(pixel[0], black, white, 255.0);
            let (cb, cr) = (between(pixel[1], blue_zero, blue_most, 127.0), between(pixel[2], red_zero, red_most, 127.0));
            let (r, b) = (luma + cr * (2.0 - 2.0 * red), luma + cb * (2.0 - 2.0 * blue));
            let g = (luma - red * r - blue * b) / green;
            for (sample, light) in pixel.iter_mut().zip([r, g, b]) {
                *sample = light.round().clamp(0.0, 255.0) as u16;
            }
        }
    }
}
