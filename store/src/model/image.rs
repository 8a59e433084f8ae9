use super::{BlobKey, Colours, Format, ImageId, Labels, Owners, RenditionId, Spec, StoredBlob, Thumbhash, Timestamp, UserId};

/// What the header of an image file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Told by the content, never by the name.
    pub format: Format,
    /// Pixels, as stored: before any orientation is applied.
    pub width: u32,
    /// Pixels, as stored: before any orientation is applied.
    pub height: u32,
    /// Frames of an animation, pages of a TIFF, entries of an ICO; 1 for everything else.
    pub frame_count: u32,
}

/// An uploaded image with its renditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Given by the catalog.
    pub id: ImageId,
    /// Who uploaded it.
    pub owner: UserId,
    /// The uploaded file's name in Unicode NFC: metadata only.
    pub file_name: String,
    /// What the original's header says.
    pub header: ImageHeader,
    /// Size of the original in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the original.
    pub sha256: [u8; 32],
    /// What the original looks like, upright; `None` until a worker has seen it.
    pub thumbhash: Option<Thumbhash>,
    /// Where the original is.
    pub blob: BlobKey,
    /// What its users say of it.
    pub labels: Labels,
    /// When the upload was finished.
    pub created_at: Timestamp,
    /// When the file name or a label was last changed; when the upload was finished if never.
    pub updated_at: Timestamp,
    /// In the order of their ids.
    pub renditions: Vec<Rendition>,
}

/// An image whose original is already durable in the blob store.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Who uploaded it.
    pub owner: UserId,
    /// In Unicode NFC.
    pub file_name: String,
    /// At most [`MAX_LABELS_BYTES`](super::MAX_LABELS_BYTES) together.
    pub labels: Labels,
    /// What the original's header says.
    pub header: ImageHeader,
    /// The original.
    pub original: StoredBlob,
    /// Formats to make at once, none of them twice.
    pub renditions: Vec<Format>,
    /// The client's name for this upload.
    pub request_id: Option<String>,
}

/// What became of a [`NewImage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was recorded.
    New(Image),
    /// Nothing was written: the same user's same request id made this image before; `None` when it was deleted since.
    Repeated(Option<Image>),
    /// Nothing was written: with this original the owner would store more than the quota.
    OverQuota {
        /// What the owner may store.
        quota_bytes: u64,
        /// What the owner stores without it.
        used_bytes: u64,
    },
    /// Nothing was written: the owner was deleted meanwhile.
    OwnerMissing,
}

/// The life of a rendition. Ready and failed are final, but for an explicit retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenditionState {
    /// Waits for a worker.
    Pending,
    /// A worker holds its lease.
    Running,
    /// It can be downloaded.
    Ready,
    /// It could not be made.
    Failed,
    /// What only a newer version knows, whose rows this one reads. Not known to be final.
    Unknown,
}

impl RenditionState {
    /// Every state that is known, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Running, Self::Ready, Self::Failed];

    /// Lower-case name, as catalogs store it and people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// An image's picture in another format, size or quality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Given by the catalog.
    pub id: RenditionId,
    /// The image it belongs to.
    pub image: ImageId,
    /// How it is made. No two renditions of an image have the same, but for those of which only a newer version knows it: their format is
    /// [`Format::Unknown`].
    pub spec: Spec,
    /// The format it has or will have: that of the spec, if that is known.
    pub format: Format,
    /// Where it is in its life.
    pub state: RenditionState,
    /// How many times its making was begun.
    pub attempt: u32,
    /// Present exactly in the state [`RenditionState::Ready`].
    pub output: Option<Output>,
    /// Present exactly in the state [`RenditionState::Failed`].
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it became ready or failed.
    pub finished_at: Option<Timestamp>,
}

/// A finished rendition's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where it is.
    pub blob: BlobKey,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
    /// What was drawn.
    pub picture: Picture,
    /// How its colours are kept; `None` when it was made before that was noted.
    pub colours: Option<Colours>,
}

/// The geometry of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames in it.
    pub frame_count: u32,
    /// The original has more frames, of which only the first is shown.
    pub first_frame_only: bool,
}

/// Why a rendition could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub reason: FailureReason,
    /// One sentence for people.
    pub message: String,
}

/// The kinds of failure of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The pixels cannot be decoded.
    CorruptInput,
    /// The input uses something that is known by name but not read here.
    UnsupportedInput,
    /// The result does not fit into the format asked for.
    UnsupportedOutput,
    /// Decoding took more memory, pixels or frames than allowed.
    ResourceLimit,
    /// Decoding took longer than allowed.
    DecoderTimeout,
    /// The converter died.
    DecoderCrash,
    /// Every attempt ended without a result.
    AttemptsExhausted,
    /// The stored original is missing or damaged.
    OriginalDamaged,
    /// It was asked for, and when its turn came the owner's quota was used up.
    QuotaExceeded,
    /// What only a newer version knows, whose rows this one reads.
    Unknown,
}

impl FailureReason {
    /// Every reason that is known.
    pub const ALL: [Self; 9] = [
        Self::CorruptInput,
        Self::UnsupportedInput,
        Self::UnsupportedOutput,
        Self::ResourceLimit,
        Self::DecoderTimeout,
        Self::DecoderCrash,
        Self::AttemptsExhausted,
        Self::OriginalDamaged,
        Self::QuotaExceeded,
    ];

    /// The protobuf name without its prefix, as catalogs store it and people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CorruptInput => "CORRUPT_INPUT",
            Self::UnsupportedInput => "UNSUPPORTED_INPUT",
            Self::UnsupportedOutput => "UNSUPPORTED_OUTPUT",
            Self::ResourceLimit => "RESOURCE_LIMIT",
            Self::DecoderTimeout => "DECODER_TIMEOUT",
            Self::DecoderCrash => "DECODER_CRASH",
            Self::AttemptsExhausted => "ATTEMPTS_EXHAUSTED",
            Self::OriginalDamaged => "ORIGINAL_DAMAGED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Which images a list shows; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Whose they are.
    pub owners: Owners,
    /// The original has one of these formats; empty: any.
    pub formats: Vec<Format>,
    /// At least one rendition is in one of these states; empty: any.
    pub rendition_states: Vec<RenditionState>,
    /// The file name contains this text, cases told apart.
    pub file_name_contains: Option<String>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
    /// It has all these labels.
    pub labels: Labels,
}
