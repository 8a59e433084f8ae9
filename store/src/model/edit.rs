use std::collections::BTreeMap;

use super::{Image, Rendition};

/// Words that users put on an image, by key.
pub type Labels = BTreeMap<String, String>;

/// What the keys and values of an image's labels may take together, in bytes.
pub const MAX_LABELS_BYTES: u64 = 1024;

/// What the keys and values take together, in bytes.
pub fn labels_bytes(labels: &Labels) -> u64 {
    labels.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

/// Why a write was not done for a user, as it was found while nobody else could change that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no such image or rendition, or the user does not see it, or not any more.
    Missing,
    /// The user sees it and may not change it, or not any more.
    NotPermitted,
}

/// What became of a request for a rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It was recorded and is pending.
    New(Rendition),
    /// Nothing was written: there is one with this spec, in whatever state.
    Standing(Rendition),
    /// Nothing was written: the image has as many renditions as it may have.
    TooMany {
        /// How many it has.
        rendition_count: u32,
    },
    /// Nothing was written: the owner stores all that the quota allows, or more.
    OverQuota {
        /// What the owner may store.
        quota_bytes: u64,
        /// What the owner stores.
        used_bytes: u64,
    },
    /// Nothing was written: the user may not ask for it, or the owner is deleted.
    Denied(Denied),
}

/// A change to an image; the default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageChange {
    /// A new file name, in Unicode NFC.
    pub file_name: Option<String>,
    /// Whether labels that are not in `labels` go.
    pub replace_labels: bool,
    /// Labels to set, or without a value to remove.
    pub labels: BTreeMap<String, Option<String>>,
}

impl ImageChange {
    /// The image with this change, but for its time of change.
    #[must_use]
    pub fn applied(&self, image: &Image) -> Image {
        let mut changed = image.clone();
        if let Some(file_name) = &self.file_name {
            changed.file_name.clone_from(file_name);
        }
        if self.replace_labels {
            changed.labels.clear();
        }
        for (key, value) in &self.labels {
            match value {
                Some(value) => changed.labels.insert(key.clone(), value.clone()),
                None => changed.labels.remove(key),
            };
        }
        changed
    }
}

/// What became of an [`ImageChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageWrite {
    /// The image is as asked for now. It may have been so before; then nothing was written.
    Done(Box<Image>),
    /// Nothing was written: the labels would take more than [`MAX_LABELS_BYTES`].
    LabelsTooLarge {
        /// What they would take.
        size_bytes: u64,
    },
    /// Nothing was written: the user may not change it.
    Denied(Denied),
}
