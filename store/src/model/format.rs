use std::{fmt, str::FromStr};

/// An image format that Tintype takes or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Tiff,
    Bmp,
    Ico,
    Avif,
    Qoi,
    Pnm,
    /// What only a newer version knows, whose rows this one reads. It is not asked for, taken or made.
    Unknown,
}

impl Format {
    /// Every format that is known, in the order of the protobuf enum.
    pub const ALL: [Self; 10] =
        [Self::Jpeg, Self::Png, Self::WebP, Self::Gif, Self::Tiff, Self::Bmp, Self::Ico, Self::Avif, Self::Qoi, Self::Pnm];

    /// What is made; the others are only taken. Which of them a worker makes is said in its heartbeat.
    pub const MADE: [Self; 7] = [Self::Jpeg, Self::Png, Self::WebP, Self::Gif, Self::Tiff, Self::Bmp, Self::Avif];

    /// Whether fewer bytes can be had for a picture less exact.
    pub fn is_lossy(self) -> bool {
        matches!(self, Self::Jpeg | Self::WebP | Self::Avif)
    }

    /// Lower-case name: the file extension, what a catalog stores, and what people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::Ico => "ico",
            Self::Avif => "avif",
            Self::Qoi => "qoi",
            Self::Pnm => "pnm",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    /// Takes the names of [`Format::name`] and `jpg`, `tif`, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = match text.to_ascii_lowercase().as_str() {
            "jpg" => "jpeg".to_owned(),
            "tif" => "tiff".to_owned(),
            other => other.to_owned(),
        };
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| format!("unknown image format {text:?}; known are {}", Self::ALL.map(Self::name).join(", ")))
    }
}
