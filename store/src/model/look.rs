use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;

use super::Picture;

/// How a file keeps the colours of its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    /// What a pixel is made of.
    pub kind: ColourType,
    /// Bits of each of the pixel's channels; of a palette, those of its colours.
    pub channel_bits: u8,
}

/// What a pixel is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum ColourType {
    Grey,
    GreyAlpha,
    /// Red, green and blue, or what they are computed from, as in a JPEG.
    Rgb,
    Rgba,
    /// An index into a table of colours.
    Palette,
}

impl ColourType {
    /// Every colour type, in the order of the protobuf enum.
    pub const ALL: [Self; 5] = [Self::Grey, Self::GreyAlpha, Self::Rgb, Self::Rgba, Self::Palette];

    /// Lower-case name, as catalogs store it and people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grey => "grey",
            Self::GreyAlpha => "grey_alpha",
            Self::Rgb => "rgb",
            Self::Rgba => "rgba",
            Self::Palette => "palette",
        }
    }
}

/// A few bytes that show roughly what a picture looks like, to be drawn while it is loaded (<https://evanw.github.io/thumbhash/>).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbhash {
    bytes: [u8; Self::MAX_BYTES],
    length: u8,
}

impl Thumbhash {
    /// The shortest: what stands before the waves, and the fewest of these.
    pub const MIN_BYTES: usize = 5;
    /// The longest.
    pub const MAX_BYTES: usize = 25;

    /// `None` for fewer bytes than [`MIN_BYTES`](Self::MIN_BYTES) or more than [`MAX_BYTES`](Self::MAX_BYTES). What they show is not looked at:
    /// whatever the bytes, it is a picture.
    pub fn new(hash: &[u8]) -> Option<Self> {
        if hash.len() < Self::MIN_BYTES {
            return None;
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..hash.len())?.copy_from_slice(hash);
        Some(Self { bytes, length: hash.len() as u8 })
    }

    /// The hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Display for Thumbhash {
    /// In hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(self.as_bytes()))
    }
}

impl fmt::Debug for Thumbhash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbhash({self})")
    }
}

impl FromStr for Thumbhash {
    type Err = String;

    /// Takes what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|error| error.to_string())?;
        Self::new(&bytes).ok_or_else(|| format!("{} bytes are no thumbhash", bytes.len()))
    }
}

/// What a worker tells of a rendition that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Its geometry.
    pub picture: Picture,
    /// How the rendition's file keeps its colours.
    pub colours: Option<Colours>,
    /// What the original looks like; kept when nothing is known of it yet.
    pub thumbhash: Option<Thumbhash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbhash_has_bounds_and_reads_back() {
        for (length, fits) in [(0, false), (4, false), (5, true), (25, true), (26, false), (1000, false)] {
            assert_eq!(Thumbhash::new(&vec![7; length]).is_some(), fits, "{length} bytes");
        }
        let hash = Thumbhash::new(&[0, 1, 0xfe, 0x7f, 9]).expect("it is long enough");
        assert_eq!((hash.to_string().as_str(), hash.as_bytes()), ("0001fe7f09", [0, 1, 0xfe, 0x7f, 9].as_slice()));
        assert_eq!("0001fe7f09".parse(), Ok(hash));
        for bad in ["", "0001fe7f", "0001fe7f0", "0001FE7F09", "0001fe7f0x", &"00".repeat(26)] {
            assert!(bad.parse::<Thumbhash>().is_err(), "{bad:?}");
        }
    }
}
