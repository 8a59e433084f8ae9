//! How renditions are made.

use std::{fmt, str::FromStr};

use crate::{Error, Format};

/// How a rendition is made: the format, and what differs from its defaults. Displayed in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenditionSpec {
    /// The format.
    pub format: Format,
    /// From 1 to 100, of a lossy format; `None` for its default.
    pub quality: Option<u32>,
    /// Every pixel as it is, in a WebP.
    pub lossless: bool,
    /// Width asked for, in pixels of the upright picture.
    pub width: Option<u32>,
    /// Height asked for, in pixels of the upright picture.
    pub height: Option<u32>,
    /// What happens when the sides are of another ratio.
    pub fit: Fit,
    /// Whether a small picture is made larger.
    pub enlarge: bool,
    /// What transparent pixels are drawn onto, as `#` and six hexadecimal digits; `None`: white where the format has no transparency.
    pub background: Option<String>,
    /// How much time is spent on fewer bytes.
    pub effort: Effort,
    /// Whether EXIF, XMP and text are copied.
    pub keep_metadata: bool,
}

/// What happens to a picture whose sides are of another ratio than the size asked for. Displayed in lower case, and read so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fit {
    /// All of it is shown within the size; one side may be shorter.
    #[default]
    Contain,
    /// It fills the size; what sticks out is cut off, the same on both sides.
    Cover,
    /// It is stretched to the size.
    Fill,
    /// One that is newer than this crate, by its number in the protocol.
    Other(i32),
}

/// How much time to spend on fewer bytes. Displayed in lower case, and read so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Effort {
    /// As quick as can be.
    Fast,
    /// Most of what can be saved, in little time.
    #[default]
    Balanced,
    /// As small as can be.
    Small,
    /// One that is newer than this crate, by its number in the protocol.
    Other(i32),
}

impl RenditionSpec {
    /// Whether nothing but the format was asked for: it is the rendition that a download by format brings.
    pub fn is_plain(&self) -> bool {
        let plain = RenditionSpec {
            format: self.format,
            quality: None,
            lossless: false,
            width: None,
            height: None,
            fit: Fit::default(),
            enlarge: false,
            background: None,
            effort: Effort::default(),
            keep_metadata: false,
        };
        *self == plain
    }
}

impl fmt::Display for RenditionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.format)?;
        if self.lossless {
            f.write_str(" lossless")?;
        }
        for (name, number) in [("quality", self.quality), ("width", self.width), ("height", self.height)] {
            number.map_or(Ok(()), |number| write!(f, " {name}={number}"))?;
        }
        if self.fit != Fit::default() {
            write!(f, " fit={}", self.fit)?;
        }
        if self.enlarge {
            f.write_str(" enlarge")?;
        }
        if let Some(background) = &self.background {
            write!(f, " background={background}")?;
        }
        if self.effort != Effort::default() {
            write!(f, " effort={}", self.effort)?;
        }
        if self.keep_metadata {
            f.write_str(" metadata")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fit::Contain => f.pad("contain"),
            Fit::Cover => f.pad("cover"),
            Fit::Fill => f.pad("fill"),
            Fit::Other(number) => write!(f, "fit-{number}"),
        }
    }
}

impl FromStr for Fit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fit, Error> {
        named("fit", text, [Fit::Contain, Fit::Cover, Fit::Fill])
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effort::Fast => f.pad("fast"),
            Effort::Balanced => f.pad("balanced"),
            Effort::Small => f.pad("small"),
            Effort::Other(number) => write!(f, "effort-{number}"),
        }
    }
}

impl FromStr for Effort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Effort, Error> {
        named("effort", text, [Effort::Fast, Effort::Balanced, Effort::Small])
    }
}

fn named<T: Copy + ToString>(what: &str, text: &str, all: [T; 3]) -> Result<T, Error> {
    let found = all.into_iter().find(|one| one.to_string() == text);
    found.ok_or_else(|| {
        let known = all.map(|one| one.to_string()).join(", ");
        Error::bad_setting(format!("unknown {what} `{text}`; known are {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_shown() {
        for fit in [Fit::Contain, Fit::Cover, Fit::Fill] {
            assert_eq!(fit.to_string().parse::<Fit>().unwrap(), fit);
        }
        for effort in [Effort::Fast, Effort::Balanced, Effort::Small] {
            assert_eq!(effort.to_string().parse::<Effort>().unwrap(), effort);
        }
        assert!("round".parse::<Fit>().is_err() && "".parse::<Effort>().is_err());
    }
}
