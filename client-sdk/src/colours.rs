use std::fmt;

use tintype_proto::v1;

/// What the pixels in a file are made of. Displayed as the type and the bits of a channel, as in `rgb 8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Colours {
    /// What a pixel is made of.
    pub colour_type: ColourType,
    /// Bits of each channel of a pixel; of a palette, those of its colours.
    pub bits_per_channel: u32,
}

/// What a pixel is made of. Displayed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColourType {
    /// A level of grey.
    Grey,
    /// A level of grey, and alpha.
    GreyAlpha,
    /// Red, green and blue, or what they are computed from.
    Rgb,
    /// Red, green, blue and alpha.
    Rgba,
    /// An index into a table of colours.
    Palette,
    /// A colour type that is newer than this crate, by its number in the protocol.
    Other(i32),
}

/// `None` when the service does not tell.
pub(crate) fn colours(colour_type: i32, bits_per_channel: i32) -> Option<Colours> {
    use v1::ColourType as Wire;
    let colour_type = match Wire::try_from(colour_type) {
        Ok(Wire::Unspecified) => return None,
        Ok(Wire::Grey) => ColourType::Grey,
        Ok(Wire::GreyAlpha) => ColourType::GreyAlpha,
        Ok(Wire::Rgb) => ColourType::Rgb,
        Ok(Wire::Rgba) => ColourType::Rgba,
        Ok(Wire::Palette) => ColourType::Palette,
        Err(_) => ColourType::Other(colour_type),
    };
    Some(Colours { colour_type, bits_per_channel: u32::try_from(bits_per_channel).unwrap_or(0) })
}

impl fmt::Display for Colours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.colour_type, self.bits_per_channel)
    }
}

impl fmt::Display for ColourType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColourType::Grey => f.pad("grey"),
            ColourType::GreyAlpha => f.pad("grey_alpha"),
            ColourType::Rgb => f.pad("rgb"),
            ColourType::Rgba => f.pad("rgba"),
            ColourType::Palette => f.pad("palette"),
            ColourType::Other(number) => write!(f, "colour-type-{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_whatever_the_service_says() {
        assert_eq!(colours(0, 8), None);
        assert_eq!(colours(2, 16).unwrap().to_string(), "grey_alpha 16");
        let newer = colours(77, -1).unwrap();
        assert_eq!((newer.colour_type, newer.bits_per_channel), (ColourType::Other(77), 0));
        assert_eq!(newer.to_string(), "colour-type-77 0");
    }
}
