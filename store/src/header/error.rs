use crate::Format;

/// Why a file is not accepted. Sending the same bytes again never helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is empty or something else altogether.
    #[error("not an image: {0}")]
    NotAnImage(&'static str),
    /// It has the signature of a format that is read here, but its header is broken or cut.
    #[error("corrupt {}: {what}", title(*format))]
    Corrupt {
        /// The format of its signature.
        format: Format,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is known by name but not read here.
    #[error("unsupported image: {0}")]
    Unsupported(&'static str),
}

/// The name as people write it.
fn title(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "JPEG",
        Format::Png => "PNG",
        Format::WebP => "WebP",
        Format::Gif => "GIF",
        Format::Tiff => "TIFF",
        Format::Bmp => "BMP",
        Format::Ico => "ICO",
        Format::Avif => "AVIF",
        Format::Qoi => "QOI",
        Format::Pnm => "PNM",
        Format::Unknown => "unknown",
    }
}
