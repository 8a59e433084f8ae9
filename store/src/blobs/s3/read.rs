use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{Shared, bucket::is_silent};
use crate::{BlobKey, Kind, StoreError, blobs::CHECKSUM_BLOCK_BYTES};

/// A download on its way: one request, cut into pieces as it comes in. Holds a piece, and what came with its end.
struct Download {
    shared: Arc<Shared>,
    key: BlobKey,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    /// Came and belongs to the next piece.
    ahead: Bytes,
    left: Range<u64>,
}

pub(super) async fn read(
    shared: Arc<Shared>,
    key: &BlobKey,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
    let path = shared.bucket.path(key)?;
    if range.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    let found = match shared.bucket.soon(shared.bucket.client.get_opts(&path, options)).await {
        Ok(found) => found,
        Err(error) => return Err(why(&shared, key, range.end, error).await),
    };
    let download = Download { key: key.clone(), body: found.into_stream(), ahead: Bytes::new(), left: range, shared };
    let pieces = stream::try_unfold(download, |mut download| async move {
        let piece = download.next_piece().await?;
        Ok(piece.map(|piece| (piece, download)))
    });
    Ok(pieces.boxed())
}

impl Download {
    async fn next_piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let block = CHECKSUM_BLOCK_BYTES as u64;
        let end = self.left.end.min((self.left.start / block + 1) * block);
        let size = (end - self.left.start) as usize;
        let mut piece = BytesMut::with_capacity(size);
        loop {
            let now = self.ahead.split_to(self.ahead.len().min(size - piece.len()));
            piece.extend_from_slice(&now);
            if piece.len() == size {
                self.left.start = end;
                return Ok(Some(piece.freeze()));
            }
            let too_soon = || Error::Generic { store: "S3", source: "the answer ended too soon".into() };
            let next = async { self.body.next().await.unwrap_or_else(|| Err(too_soon())) };
            match self.shared.bucket.soon(next).await {
                Ok(bytes) => self.ahead = bytes,
                Err(error) => return Err(why(&self.shared, &self.key, self.left.end, error).await),
            }
        }
    }
}

/// Why a blob could not be read up to `end`: a second, small question tells a blob that is gone or too short from a bucket that is away.
async fn why(shared: &Shared, key: &BlobKey, end: u64, error: Error) -> StoreError {
    let bucket = &shared.bucket;
    let found = match (&error, bucket.path(key)) {
        (Error::NotFound { .. }, _) => Ok(None),
        // Whoever waited that long does not want to wait for another answer.
        (error, _) if is_silent(error) => Err(()),
        (_, Ok(path)) => match bucket.soon(bucket.client.head(&path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(_) => Err(()),
        },
        (_, Err(refused)) => return refused,
    };
    match found {
        Ok(None) => match bucket.check_same_bucket().await {
            Ok(()) => StoreError::caused_by(Kind::Corrupt, format!("blob {key} is missing"), error),
            Err(other) => other,
        },
        Ok(Some(size_bytes)) if size_bytes < end => {
            StoreError::caused_by(Kind::Corrupt, format!("blob {key} ends after {size_bytes} bytes, before byte {end}"), error)
        }
        _ => bucket.failed(format_args!("read blob {key} from"), error),
    }
}
