//! What can be said of renditions, names and labels.

use clap::Args as Group;
use tintype_client::{CreateRendition, Effort, Fit, Format};

/// How a picture is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Group)]
#[command(next_help_heading = "How it is made")]
pub(crate) struct SpecArgs {
    /// From 1 to 100, for JPEG, lossy WebP and AVIF
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100))]
    quality: Option<u32>,
    /// Every pixel as it is, for WebP
    #[arg(long, conflicts_with = "quality")]
    lossless: bool,
    /// Width in pixels; the height follows if it is not said
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    width: Option<u32>,
    /// Height in pixels; the width follows if it is not said
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    height: Option<u32>,
    /// When the sides are of another ratio: `contain` shows all of it, `cover` cuts off what sticks out, `fill` stretches it
    #[arg(long, value_name = "FIT")]
    fit: Option<Fit>,
    /// Make a small picture larger
    #[arg(long)]
    enlarge: bool,
    /// What transparent pixels are drawn onto: `#` and six hexadecimal digits
    #[arg(long, value_name = "COLOUR")]
    background: Option<String>,
    /// How much time to spend on fewer bytes: `fast`, `balanced` or `small`
    #[arg(long, value_name = "EFFORT")]
    effort: Option<Effort>,
    /// Copy EXIF, XMP and text
    #[arg(long)]
    keep_metadata: bool,
}

impl SpecArgs {
    /// Whether nothing is said, so that the format says it all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == SpecArgs::default()
    }

    /// Adds what is said to a request.
    pub(crate) fn apply(&self, mut request: CreateRendition) -> CreateRendition {
        if let Some(quality) = self.quality {
            request = request.quality(quality);
        }
        if self.lossless {
            request = request.lossless();
        }
        if let Some(width) = self.width {
            request = request.width(width);
        }
        if let Some(height) = self.height {
            request = request.height(height);
        }
        if let Some(fit) = self.fit {
            request = request.fit(fit);
        }
        if self.enlarge {
            request = request.enlarge();
        }
        if let Some(colour) = &self.background {
            request = request.background(colour);
        }
        if let Some(effort) = self.effort {
            request = request.effort(effort);
        }
        if self.keep_metadata { request.keep_metadata() } else { request }
    }
}

#[derive(Debug, Group)]
pub(crate) struct Render {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
    /// The format to make
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Print the line only when it is ready or has failed, which is then a failure
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

#[derive(Debug, Group)]
pub(crate) struct Edit {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
    /// Another file name
    #[arg(long, value_name = "NAME", required_unless_present_any = ["label", "unlabel"])]
    pub(crate) name: Option<String>,
    /// A label to set; may be said more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// A label to remove; may be said more than once
    #[arg(long, value_name = "KEY")]
    pub(crate) unlabel: Vec<String>,
}

/// A label as people write it.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "it takes a key, `=` and a value".to_owned())
}
