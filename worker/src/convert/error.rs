use image::{ImageError, error::LimitErrorKind};
use tintype_store::{ConversionLimits, FailureReason, LimitExceeded};

/// Characters of a message that people get to see; decoders quote what they read.
const MAX_MESSAGE_CHARACTERS: usize = 200;

/// Why there is no result. Trying again gives the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConvertError {
    /// The kind.
    pub reason: FailureReason,
    /// One sentence for people.
    pub message: String,
}

impl ConvertError {
    pub(super) fn corrupt(cause: impl std::fmt::Display) -> Self {
        Self::new(FailureReason::CorruptInput, &format!("the image is damaged: {cause}"))
    }

    pub(super) fn unsupported_input(message: impl Into<String>) -> Self {
        Self::new(FailureReason::UnsupportedInput, &message.into())
    }

    pub(super) fn unsupported_output(message: impl Into<String>) -> Self {
        Self::new(FailureReason::UnsupportedOutput, &message.into())
    }

    pub(super) fn resource_limit(message: impl Into<String>) -> Self {
        Self::new(FailureReason::ResourceLimit, &message.into())
    }

    /// What a decoder says that was told how much memory it may take.
    pub(super) fn decoding_within(error: ImageError, limits: &ConversionLimits) -> Self {
        match error {
            ImageError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => Self::resource_limit(format!(
                "decoding needs more memory than the {} bytes that a picture with this header may take, at most conversion_memory_bytes",
                limits.memory_bytes
            )),
            other => Self::decoding(other),
        }
    }

    /// What a decoder says.
    pub(super) fn decoding(error: ImageError) -> Self {
        match error {
            ImageError::Limits(error) => Self::resource_limit(match error.kind() {
                LimitErrorKind::DimensionError => "a side is longer than allowed".to_owned(),
                LimitErrorKind::InsufficientMemory => "decoding needs more memory than allowed".to_owned(),
                _ => error.to_string(),
            }),
            ImageError::Unsupported(error) => Self::unsupported_input(error.to_string()),
            other => Self::corrupt(other),
        }
    }

    /// What an encoder says. It gets whole pictures, so what it refuses is that the format cannot hold them.
    pub(super) fn encoding(cause: impl std::fmt::Display) -> Self {
        Self::unsupported_output(format!("the format cannot hold the picture: {cause}"))
    }

    fn new(reason: FailureReason, message: &str) -> Self {
        let readable = message.chars().map(|character| if character.is_control() { ' ' } else { character });
        Self { reason, message: readable.take(MAX_MESSAGE_CHARACTERS).collect() }
    }
}

impl From<LimitExceeded> for ConvertError {
    fn from(limit: LimitExceeded) -> Self {
        Self::resource_limit(limit.to_string())
    }
}
