//! Requests that others may make of the bucket without its credentials.

use std::time::Duration;

use data_encoding::BASE64;
use object_store::signer::{HeaderName, HeaderValue, SignedUrlOptions, Signer};
use reqwest::Method;

use super::bucket::Bucket;
use crate::{AnnouncedFile, BlobKey, Kind, StoreError, blobs::SignedPut};

impl Bucket {
    /// Signs a PUT of this file. The store refuses other bytes, by their SHA-256, another type, and, if it knows the condition, a second one.
    pub(super) async fn sign_put(&self, key: &BlobKey, file: &AnnouncedFile, ttl: Duration) -> Result<SignedPut, StoreError> {
        let path = self.path(key)?;
        let mut headers = vec![("content-type", file.content_type.clone()), ("x-amz-checksum-sha256", BASE64.encode(&file.sha256))];
        if self.creates_once {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let mut options = SignedUrlOptions::default();
        for (name, value) in &headers {
            let value = HeaderValue::from_str(value)
                .map_err(|error| StoreError::caused_by(Kind::Internal, format!("{value:?} cannot be a header"), error))?;
            options = options.with_signed_header(HeaderName::from_static(name), value);
        }
        let signed = self.soon(self.signer.signed_url_opts(Method::PUT, &path, ttl, &options)).await;
        let url = signed.map_err(|error| self.failed(format_args!("sign a URL of blob {key} in"), error))?;
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(SignedPut { url: url.into(), headers })
    }
}
