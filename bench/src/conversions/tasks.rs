//! What is made of what, in the words of each contestant, and what Tintype claims of it.

use tintype_store::Spec;

use crate::report::Target;

/// A conversion, the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    PngToJpeg,
    JpegToPng,
    JpegToPngFast,
    JpegToThumbnail,
    JpegToWebP,
}

/// What Tintype claims beside one peer: how many times as fast, for how much less CPU time, at what part of its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claim {
    pub(super) wall: Option<Target>,
    pub(super) cpu: Option<Target>,
    pub(super) bytes: Option<Target>,
}

impl Task {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::PngToJpeg => "PNG → JPEG q80 4:2:0",
            Self::JpegToPng => "JPEG → PNG balanced",
            Self::JpegToPngFast => "JPEG → PNG fast",
            Self::JpegToThumbnail => "JPEG → JPEG of 320 px",
            Self::JpegToWebP => "JPEG → WebP q80",
        }
    }

    /// Whether its input is a PNG; else it is a JPEG.
    pub(super) fn reads_png(self) -> bool {
        self == Self::PngToJpeg
    }

    /// Whether the result has the size of the input, so that both can be compared.
    pub(super) fn keeps_size(self) -> bool {
        self != Self::JpegToThumbnail
    }

    pub(super) fn output_extension(self) -> &'static str {
        match self {
            Self::PngToJpeg | Self::JpegToThumbnail => "jpg",
            Self::JpegToPng | Self::JpegToPngFast => "png",
            Self::JpegToWebP => "webp",
        }
    }

    pub(super) fn spec(self) -> Spec {
        let text = match self {
            Self::PngToJpeg => "jpeg quality=80",
            Self::JpegToPng => "png",
            Self::JpegToPngFast => "png effort=fast",
            Self::JpegToThumbnail => "jpeg width=320 height=320",
            Self::JpegToWebP => "webp quality=80",
        };
        text.parse().expect("it is a spec")
    }

    /// As `peers/sharp.mjs` calls it.
    pub(super) fn sharp(self) -> &'static str {
        match self {
            Self::PngToJpeg => "png-jpeg",
            Self::JpegToPng => "jpeg-png",
            Self::JpegToPngFast => "jpeg-png-fast",
            Self::JpegToThumbnail => "jpeg-thumbnail",
            Self::JpegToWebP => "jpeg-webp",
        }
    }

    /// Arguments of ImageMagick's `convert`. Without any but the files for PNG: its own default.
    pub(super) fn image_magick(self, input: &str, output: &str) -> Option<Vec<String>> {
        let options: &[&str] = match self {
            Self::PngToJpeg => &["-background", "white", "-flatten", "-sampling-factor", "4:2:0", "-quality", "80"],
            Self::JpegToPng => &[],
            Self::JpegToThumbnail => &["-resize", "320x320>", "-quality", "82"],
            Self::JpegToWebP => &["-quality", "80"],
            Self::JpegToPngFast => return None,
        };
        let hint = if self == Self::JpegToThumbnail { &["-define", "jpeg:size=640x640"][..] } else { &[] };
        Some(hint.iter().chain(&[input]).chain(options).chain(&[output]).map(|part| (*part).to_owned()).collect())
    }

    /// Arguments of oximg's command line, which takes JPEGs for thumbnails as its main work.
    pub(super) fn oximg(self, input: &str, output: &str) -> Option<Vec<String>> {
        let (side, quality) = match self {
            Self::JpegToThumbnail => ("320", "82"),
            Self::PngToJpeg | Self::JpegToWebP => ("0", "80"),
            Self::JpegToPng | Self::JpegToPngFast => return None,
        };
        Some(["resize", input, side, side, output, "-q", quality].map(str::to_owned).to_vec())
    }

    /// What is claimed beside the peer of that name; of photos only.
    pub(super) fn claim(self, peer: &str) -> Claim {
        let least = |ratio| Some(Target::AtLeast(ratio));
        let most = |ratio| Some(Target::AtMost(ratio));
        match (self, peer) {
            (Self::PngToJpeg, "sharp") => Claim { wall: least(1.5), cpu: least(1.3), bytes: most(1.05) },
            (Self::PngToJpeg, "ImageMagick") => Claim { wall: least(4.0), cpu: least(3.0), bytes: None },
            (Self::JpegToPng, "sharp") => Claim { wall: least(2.5), cpu: None, bytes: most(0.65) },
            (Self::JpegToPng, "ImageMagick") => Claim { wall: least(20.0), cpu: None, bytes: most(1.12) },
            (Self::JpegToPngFast, "sharp") => Claim { wall: least(2.0), cpu: None, bytes: most(0.6) },
            (Self::JpegToThumbnail, "sharp") => Claim { wall: least(1.0), ..Claim::default() },
            _ => Claim::default(),
        }
    }
}
