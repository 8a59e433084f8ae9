use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tintype_store::{ImageId, UserId};

use crate::status::Refusal;

const BINDING_BYTES: usize = 8;
const TOKEN_BYTES: usize = 8 + 8 + BINDING_BYTES;
/// In the place of an image: the state was told whole.
const ALL_TOLD: i64 = -1;

/// How far a watch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Changes through here were told, or are part of the state.
    pub(crate) position: i64,
    /// The state was told through this image; `None` when all of it was.
    pub(crate) told: Option<ImageId>,
}

/// Whose watch of which images a token belongs to: taken elsewhere it is refused instead of silently leaving something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding([u8; BINDING_BYTES]);

impl Binding {
    /// For this user and these images, in order; none stands for all of them.
    pub(crate) fn new(user: UserId, images: &[ImageId]) -> Self {
        let mut digest = Sha256::new_with_prefix(user.0.to_be_bytes());
        for image in images {
            digest.update(image.0.to_be_bytes());
        }
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&digest.finalize()[..BINDING_BYTES]);
        Self(binding)
    }

    pub(crate) fn encode(self, cursor: Cursor) -> String {
        let mut token = [0; TOKEN_BYTES];
        token[..8].copy_from_slice(&cursor.position.to_be_bytes());
        token[8..16].copy_from_slice(&cursor.told.map_or(ALL_TOLD, |image| image.0).to_be_bytes());
        token[16..].copy_from_slice(&self.0);
        BASE64URL_NOPAD.encode(&token)
    }

    /// `None` for a watch that begins.
    pub(crate) fn decode(self, token: &str) -> Result<Option<Cursor>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let invalid =
            || Refusal::field("resume_token", "is not one of this watch: use it with the same user and images, or leave it empty");
        let token = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| invalid())?;
        let (position, rest) = token.split_first_chunk::<8>().ok_or_else(invalid)?;
        let (told, binding) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
        if binding != self.0 {
            return Err(invalid());
        }
        let told = Some(i64::from_be_bytes(*told)).filter(|told| *told != ALL_TOLD).map(ImageId);
        Ok(Some(Cursor { position: i64::from_be_bytes(*position), told }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_only_its_user_and_images() {
        let images = [ImageId(3), ImageId(4)];
        let binding = Binding::new(UserId(1), &images);
        for told in [None, Some(ImageId(0)), Some(ImageId(9))] {
            let cursor = Cursor { position: 7, told };
            assert_eq!(binding.decode(&binding.encode(cursor)).expect("valid"), Some(cursor));
        }
        assert_eq!(binding.decode("").expect("valid"), None);
        let token = binding.encode(Cursor { position: 7, told: None });
        for other in [Binding::new(UserId(2), &images), Binding::new(UserId(1), &[]), Binding::new(UserId(1), &images[..1])] {
            assert!(other.decode(&token).is_err());
        }
        for bad in ["AAAA", "no token", &token[1..]] {
            assert!(binding.decode(bad).is_err(), "{bad}");
        }
    }
}
