//! What the service stores, as plain values. `wire.rs` makes them from messages.

use std::{collections::BTreeMap, fmt, str::FromStr, time::SystemTime};

use crate::{Access, Colours, Error, RenditionSpec};

/// An uploaded image: the original, byte for byte as it came, and the same picture in other formats.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Given by the server, from 1; later images have larger ids.
    pub id: i64,
    /// Id of the user who uploaded it.
    pub owner_id: i64,
    /// The uploaded file's name. It comes from another user's machine: make it safe before it becomes a path.
    pub file_name: String,
    /// The original's format, told by its content.
    pub format: Format,
    /// The original's size in bytes.
    pub size_bytes: u64,
    /// Width of the original in pixels, before any EXIF orientation is applied.
    pub width: u32,
    /// Height of the original in pixels, before any EXIF orientation is applied.
    pub height: u32,
    /// Frames of an animation, pages of a TIFF, entries of an ICO; 1 for everything else.
    pub frame_count: u32,
    /// SHA-256 of the original.
    pub sha256: [u8; 32],
    /// What the original roughly looks like, to be drawn as a placeholder: a `ThumbHash` (<https://evanw.github.io/thumbhash/>) of 5 to 25 bytes.
    /// `None` until the first rendition is ready.
    pub thumbhash: Option<Vec<u8>>,
    /// What its users say of it.
    pub labels: BTreeMap<String, String>,
    /// When the upload was finished.
    pub created_at: SystemTime,
    /// When the file name or a label was last changed; `created_at` if never.
    pub updated_at: SystemTime,
    /// The renditions, in the order in which they were asked for.
    pub renditions: Vec<Rendition>,
    /// What the caller may do with it.
    pub access: Access,
}

impl Image {
    /// All renditions in one word: pending as long as one is not final, else failed if one failed, else ready.
    pub fn state(&self) -> ImageState {
        if self.renditions.iter().any(|rendition| !rendition.state.is_final()) {
            ImageState::Pending
        } else if self.renditions.iter().any(|rendition| rendition.state == RenditionState::Failed) {
            ImageState::Failed
        } else {
            ImageState::Ready
        }
    }

    /// The rendition of which nothing but this format was asked for.
    pub fn rendition(&self, format: Format) -> Option<&Rendition> {
        self.renditions.iter().find(|rendition| rendition.spec.format == format && rendition.spec.is_plain())
    }
}

/// All renditions of an image in one word. Displayed as `pending`, `ready` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageState {
    /// A rendition is waiting or being made.
    Pending,
    /// All renditions can be downloaded.
    Ready,
    /// All renditions are final, and at least one could not be made.
    Failed,
}

/// An image's picture in another format, size or quality, made in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendition {
    /// Given by the server, from 1; unique among all renditions.
    pub id: i64,
    /// The image it belongs to.
    pub image_id: i64,
    /// The format it has or will have.
    pub format: Format,
    /// What was asked for.
    pub spec: RenditionSpec,
    /// Whether it is ready.
    pub state: RenditionState,
    /// Its file name: `converted_img.` and the format's extension.
    pub file_name: String,
    /// Size in bytes; 0 until it is ready.
    pub size_bytes: u64,
    /// Width in pixels; 0 until it is ready.
    pub width: u32,
    /// Height in pixels; 0 until it is ready.
    pub height: u32,
    /// Frames in it; 0 until it is ready.
    pub frame_count: u32,
    /// True when the original has more frames than the format can hold and the rendition shows only the first.
    pub first_frame_only: bool,
    /// What its pixels are made of; `None` until it is ready, and when it was made before the service told it.
    pub colours: Option<Colours>,
    /// SHA-256 of its bytes; `None` until it is ready.
    pub sha256: Option<[u8; 32]>,
    /// How many times its making was begun.
    pub attempt_count: u32,
    /// Why it failed; only in the state `Failed`.
    pub failure: Option<RenditionFailure>,
    /// When it was asked for.
    pub created_at: SystemTime,
    /// When it became ready or failed.
    pub finished_at: Option<SystemTime>,
}

/// The life of a rendition. Displayed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RenditionState {
    /// Waits for a worker.
    Pending,
    /// A worker is making it.
    Running,
    /// It can be downloaded.
    Ready,
    /// It could not be made.
    Failed,
    /// A state that is newer than this crate, by its number in the protocol; 0 if it is newer than the server, too.
    Other(i32),
}

impl RenditionState {
    /// Whether only an explicit retry can change it.
    pub fn is_final(self) -> bool {
        matches!(self, RenditionState::Ready | RenditionState::Failed)
    }
}

/// Why a rendition could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenditionFailure {
    /// The kind of failure, as the protocol names it without its prefix: `CORRUPT_INPUT`, `DECODER_TIMEOUT` and so on.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// An image format. Displayed as its file name extension, and read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG and APNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// TIFF.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// Windows icon.
    Ico,
    /// AVIF.
    Avif,
    /// QOI, the Quite OK Image format.
    Qoi,
    /// PBM, PGM, PPM and PAM.
    Pnm,
    /// A format that is newer than this crate, by its number in the protocol; 0 if it is newer than the server, too.
    Other(i32),
}

impl Format {
    /// Every format that this crate knows by name.
    pub const ALL: [Format; 10] = [
        Format::Jpeg,
        Format::Png,
        Format::WebP,
        Format::Gif,
        Format::Tiff,
        Format::Bmp,
        Format::Ico,
        Format::Avif,
        Format::Qoi,
        Format::Pnm,
    ];

    /// The extension of file names, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::WebP => "webp",
            Format::Gif => "gif",
            Format::Tiff => "tiff",
            Format::Bmp => "bmp",
            Format::Ico => "ico",
            Format::Avif => "avif",
            Format::Qoi => "qoi",
            Format::Pnm => "pnm",
            Format::Other(_) => "bin",
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Takes an extension in either case, `jpg` and `tif` too.
    fn from_str(text: &str) -> Result<Format, Error> {
        let lower = text.to_ascii_lowercase();
        let name = match lower.as_str() {
            "jpg" => "jpeg",
            "tif" => "tiff",
            other => other,
        };
        let found = Format::ALL.into_iter().find(|format| format.extension() == name);
        found.ok_or_else(|| {
            let known = Format::ALL.map(Format::extension).join(", ");
            Error::bad_setting(format!("unknown image format `{text}`; known are {known}"))
        })
    }
}

/// Someone who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Given by the server, from 1.
    pub id: i64,
    /// Unique among users.
    pub user_name: String,
    /// What the user may do.
    pub role: Role,
    /// When the user was created.
    pub created_at: SystemTime,
    /// Whether the user is kept out: signing in fails, and the user's tokens are refused.
    pub disabled: bool,
    /// How many bytes the user may store.
    pub quota_bytes: u64,
    /// How many bytes the user stores: originals, ready renditions, and what has arrived of unfinished uploads.
    pub used_bytes: u64,
}

/// What is known of a token; its secret is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// Given by the server, from 1.
    pub id: i64,
    /// Id of the user whose token it is.
    pub user_id: i64,
    /// What it is for, as said when it was made.
    pub label: String,
    /// What it is good for; empty: all that the user may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends; `None`: never by itself.
    pub expires_at: Option<SystemTime>,
}

/// What a token is good for, of what its user may do. No scope includes another one. Displayed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// To look and to download.
    Read,
    /// To upload, change and delete.
    Write,
    /// To run the service.
    Admin,
    /// A scope that is newer than this crate, by its number in the protocol; 0 if it is newer than the server, too.
    Other(i32),
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Works with the user's own images.
    User,
    /// Also runs the service.
    Admin,
    /// A role that is newer than this crate, by its number in the protocol; 0 if it is newer than the server, too.
    Other(i32),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Other(0) => f.pad("unknown"),
            Format::Other(number) => write!(f, "format-{number}"),
            known => f.pad(known.extension()),
        }
    }
}

impl fmt::Display for ImageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ImageState::Pending => "pending",
            ImageState::Ready => "ready",
            ImageState::Failed => "failed",
        })
    }
}

impl fmt::Display for RenditionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RenditionState::Pending => f.pad("pending"),
            RenditionState::Running => f.pad("running"),
            RenditionState::Ready => f.pad("ready"),
            RenditionState::Failed => f.pad("failed"),
            RenditionState::Other(0) => f.pad("unknown"),
            RenditionState::Other(number) => write!(f, "state-{number}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Read => f.pad("read"),
            Scope::Write => f.pad("write"),
            Scope::Admin => f.pad("admin"),
            Scope::Other(0) => f.pad("unknown"),
            Scope::Other(number) => write!(f, "scope-{number}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::User => f.pad("user"),
            Role::Admin => f.pad("admin"),
            Role::Other(0) => f.pad("unknown"),
            Role::Other(number) => write!(f, "role-{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_as_they_are_shown() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        assert_eq!("JPG".parse::<Format>().unwrap(), Format::Jpeg);
        assert!("".parse::<Format>().is_err());
    }
}
