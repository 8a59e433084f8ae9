use std::{fmt, str::FromStr};

use super::Format;

/// How a rendition is made.
///
/// Its text (`Display` and `FromStr`) is what catalogs store and compare: the format's name, then what differs from the format's defaults, so that
/// specs with the same text give the same picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The format to make.
    pub format: Format,
    /// From 1 to 100, for the lossy formats; `None` for [`Spec::default_quality`].
    pub quality: Option<u8>,
    /// WebP without loss; the other formats have no choice.
    pub lossless: bool,
    /// Another size than that of the original.
    pub resize: Option<Resize>,
    /// What transparent pixels are drawn onto. `None`: onto white, and only where the format has no transparency.
    pub background: Option<Rgb>,
    /// How much time to spend on fewer bytes.
    pub effort: Effort,
    /// Whether EXIF, XMP and text of the original are copied. The orientation never is: it is applied to the pixels.
    pub keep_metadata: bool,
}

/// The size of a rendition, in pixels of the upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resize {
    /// From 1; `None` to follow from the height. At least one of the two is set, and both are unless the fit is [`Fit::Contain`].
    pub width: Option<u32>,
    /// From 1; `None` to follow from the width.
    pub height: Option<u32>,
    /// What happens when the sides are of another ratio.
    pub fit: Fit,
    /// Whether a small picture is made larger. If not, it stays as it is; with [`Fit::Cover`] it is still cut to the ratio asked for.
    pub enlarge: bool,
}

/// What happens to a picture whose sides are of another ratio than the size asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fit {
    /// All of it is shown within the size; one side may be shorter.
    #[default]
    Contain,
    /// It fills the size; what sticks out is cut off, the same on both sides.
    Cover,
    /// It is stretched to the size.
    Fill,
}

/// How much time to spend on fewer bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Effort {
    /// As quick as can be.
    Fast,
    /// Most of what can be saved, in little time.
    #[default]
    Balanced,
    /// As small as can be.
    Small,
}

/// An opaque sRGB colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgb(pub [u8; 3]);

impl Spec {
    /// This format with its defaults: what is made of every upload.
    pub const fn new(format: Format) -> Self {
        Self { format, quality: None, lossless: false, resize: None, background: None, effort: Effort::Balanced, keep_metadata: false }
    }

    /// Quality of a lossy format where none is asked for.
    pub fn default_quality(format: Format) -> u8 {
        match format {
            Format::Jpeg => 82,
            Format::Avif => 60,
            _ => 80,
        }
    }

    /// The same with its text and nothing that the text leaves out, so that canonical specs are equal exactly when their texts are.
    #[must_use]
    pub fn canonical(self) -> Self {
        Self {
            quality: self.quality.filter(|quality| !self.lossless && *quality != Self::default_quality(self.format)),
            background: self.background.filter(|colour| self.format != Format::Jpeg || *colour != Rgb::WHITE),
            ..self
        }
    }

    /// The quality in force.
    pub fn quality(&self) -> u8 {
        self.quality.unwrap_or_else(|| Self::default_quality(self.format))
    }
}

impl Rgb {
    /// White.
    pub const WHITE: Self = Self([255; 3]);
}

impl Fit {
    /// Every fit.
    pub const ALL: [Self; 3] = [Self::Contain, Self::Cover, Self::Fill];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contain => "contain",
            Self::Cover => "cover",
            Self::Fill => "fill",
        }
    }
}

impl Effort {
    /// Every effort.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::Small];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Small => "small",
        }
    }
}

impl fmt::Display for Rgb {
    /// Six hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Rgb {
    type Err = String;

    /// Takes six hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = Some(text).filter(|text| text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = value.and_then(|text| u32::from_str_radix(text, 16).ok());
        let [_, red, green, blue] = value.ok_or_else(|| format!("{text:?} is no colour: it takes six hexadecimal digits"))?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.format)?;
        if self.lossless {
            f.write_str(" lossless")?;
        } else if self.quality() != Self::default_quality(self.format) {
            write!(f, " quality={}", self.quality())?;
        }
        if let Some(resize) = self.resize {
            resize.width.map_or(Ok(()), |width| write!(f, " width={width}"))?;
            resize.height.map_or(Ok(()), |height| write!(f, " height={height}"))?;
            if resize.fit != Fit::default() {
                write!(f, " fit={}", resize.fit.name())?;
            }
            if resize.enlarge {
                f.write_str(" enlarge")?;
            }
        }
        // JPEG has no transparency, so white is what it gets anyway.
        if let Some(background) = self.background.filter(|colour| self.format != Format::Jpeg || *colour != Rgb::WHITE) {
            write!(f, " background={background}")?;
        }
        if self.effort != Effort::default() {
            write!(f, " effort={}", self.effort.name())?;
        }
        if self.keep_metadata {
            f.write_str(" metadata")?;
        }
        Ok(())
    }
}

impl FromStr for Spec {
    type Err = String;

    /// Takes what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split(' ');
        let mut spec = Self::new(words.next().unwrap_or_default().parse()?);
        let mut resize = Resize { width: None, height: None, fit: Fit::default(), enlarge: false };
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u32>().map_err(|error| format!("{name} {value:?}: {error}"));
            match name {
                "lossless" => spec.lossless = true,
                "quality" => spec.quality = Some(u8::try_from(number()?).map_err(|error| format!("quality {value}: {error}"))?),
                "width" => resize.width = Some(number()?),
                "height" => resize.height = Some(number()?),
                "fit" => resize.fit = named(name, value, Fit::ALL, Fit::name)?,
                "enlarge" => resize.enlarge = true,
                "background" => spec.background = Some(value.parse()?),
                "effort" => spec.effort = named(name, value, Effort::ALL, Effort::name)?,
                "metadata" => spec.keep_metadata = true,
                _ => return Err(format!("{word:?} is unknown in the spec {text:?}")),
            }
        }
        spec.resize = Some(resize).filter(|resize| resize.width.is_some() || resize.height.is_some());
        Ok(spec)
    }
}

fn named<T: Copy, const N: usize>(what: &str, value: &str, all: [T; N], name: fn(T) -> &'static str) -> Result<T, String> {
    all.into_iter().find(|one| name(*one) == value).ok_or_else(|| format!("unknown {what} {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_says_what_is_not_the_default_and_nothing_else() {
        let plain = Spec::new(Format::Jpeg);
        assert_eq!(plain.to_string(), "jpeg");
        let defaults = Spec { quality: Some(82), background: Some(Rgb::WHITE), ..plain };
        assert_eq!(defaults.to_string(), "jpeg");
        // A PNG keeps its transparency unless it is told otherwise.
        assert_eq!(Spec { background: Some(Rgb::WHITE), ..Spec::new(Format::Png) }.to_string(), "png background=ffffff");
        let thumbnail = Resize { width: Some(320), height: Some(200), fit: Fit::Cover, enlarge: true };
        let everything = Spec {
            format: Format::WebP,
            quality: Some(55),
            lossless: false,
            resize: Some(thumbnail),
            background: Some(Rgb([1, 2, 255])),
            effort: Effort::Small,
            keep_metadata: true,
        };
        let text = "webp quality=55 width=320 height=200 fit=cover enlarge background=0102ff effort=small metadata";
        assert_eq!(everything.to_string(), text);
        assert_eq!(text.parse(), Ok(everything));
    }

    #[test]
    fn what_is_canonical_is_what_its_text_says() {
        let plain = Spec::new(Format::Jpeg);
        let said = Spec { quality: Some(82), background: Some(Rgb::WHITE), ..plain };
        assert_eq!(said.canonical(), plain);
        let lossless = Spec { quality: Some(3), lossless: true, ..Spec::new(Format::WebP) };
        for spec in [said, lossless, Spec { quality: Some(81), ..plain }, Spec { background: Some(Rgb::WHITE), ..Spec::new(Format::Png) }] {
            assert_eq!(spec.to_string().parse(), Ok(spec.canonical()));
            assert_eq!(spec.canonical().to_string(), spec.to_string());
        }
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["png", "webp lossless", "jpeg quality=90 height=1", "gif width=9 fit=fill", "avif effort=fast"] {
            assert_eq!(text.parse::<Spec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for text in
            ["", "jpg2", "jpeg quality=256", "jpeg width=", "jpeg fit=round", "jpeg background=fff", "jpeg background=+1f2f3", "jpeg x"]
        {
            assert!(text.parse::<Spec>().is_err(), "{text}");
        }
    }
}
