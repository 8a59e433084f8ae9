//! Uploads that are to go on later: a multipart upload whose parts so far are put together, since parts alone cannot be read.

use std::fmt;

use object_store::{
    Error,
    multipart::{MultipartStore, PartId},
};

use super::Shared;
use crate::{Kind, OpenWrite, PartialBlob, StoreError};

/// What the catalog keeps of a multipart upload: its id and the entity tag of each part, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) multipart_id: String,
    pub(super) parts: Vec<String>,
}

impl Place {
    fn of(partial: &PartialBlob) -> Result<Self, StoreError> {
        let mut lines = partial.place.lines().map(str::to_owned);
        match lines.next() {
            Some(multipart_id) if !multipart_id.is_empty() => Ok(Self { multipart_id, parts: lines.collect() }),
            _ => Err(StoreError::new(Kind::Internal, format!("{:?} is not the place of a multipart upload", partial.place))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.multipart_id)?;
        self.parts.iter().try_for_each(|part| write!(f, "\n{part}"))
    }
}

impl Shared {
    /// Makes the parts that arrived readable under the key, which ends the multipart upload for whoever still sends. Also fine when that was done.
    pub(super) async fn put_together(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        let (bucket, path) = (&self.bucket, self.bucket.path(&partial.key)?);
        let Place { multipart_id, parts } = Place::of(partial)?;
        let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
        match bucket.rearrange(partial.size_bytes, bucket.client.complete_multipart(&path, &multipart_id, parts)).await {
            // Put together before, or gone: reading it will tell.
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(bucket.failed(format_args!("put the parts of blob {} together in", partial.key), error)),
        }
    }

    /// Ends the multipart upload and forgets it.
    pub(super) async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        let multipart_id = Some(Place::of(partial)?.multipart_id);
        self.give_up(&OpenWrite { key: partial.key.clone(), multipart_id }).await
    }
}
