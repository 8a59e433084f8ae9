//! Plain HTTP, for what goes by a signed URL instead of a call.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::stream;
use reqwest::{
    Body, Certificate, Identity, StatusCode,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER},
};
use tintype_proto::v1::HttpHeader;
use tonic::{Code, Status};

use crate::{Error, Result, TlsOptions, source::Parts, upload::Progress};

/// What of an answer that is no success becomes part of the message.
const MAX_MESSAGE_CHARS: usize = 500;

/// Sends files by signed URLs. The client that does so is made when it is first needed.
pub(crate) struct Transfers {
    tls: TlsOptions,
    user_agent: String,
    connect_timeout: Duration,
    client: OnceLock<reqwest::Client>,
}

/// What became of a file that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Received,
    /// It was received before, or comes with another request, of which nothing may come in the end.
    Before,
}

impl Transfers {
    pub(crate) fn new(tls: TlsOptions, user_agent: String, connect_timeout: Duration) -> Transfers {
        Transfers { tls, user_agent, connect_timeout, client: OnceLock::new() }
    }

    /// Sends a file of this size. What the other side has no use for again is not an error.
    pub(crate) async fn put(
        &self,
        url: &str,
        headers: &[HttpHeader],
        parts: Parts,
        size_bytes: u64,
        progress: Option<Arc<Progress>>,
    ) -> Result<Sent> {
        let bytes = stream::try_unfold((parts, progress), |(mut parts, progress)| async move {
            let part = parts.next().await?;
            if let (Some(part), Some(progress)) = (&part, &progress) {
                progress.update(|at| at.sent_bytes += part.len() as u64);
            }
            Ok::<_, std::io::Error>(part.map(|part| (part, (parts, progress))))
        });
        let mut request = self.client()?.put(url).header(CONTENT_LENGTH, size_bytes);
        for HttpHeader { name, value } in headers {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                return Err(Error::bad_answer(format!("{name:?} cannot be a header")));
            };
            request = request.header(name, value);
        }
        let unreachable = |error: reqwest::Error| Error::from(Status::from_error(Box::new(error.without_url())));
        let answer = request.body(Body::wrap_stream(bytes)).send().await.map_err(unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(Sent::Received),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(Sent::Before),
            status => {
                let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                Err(refused(status, &answer.text().await.unwrap_or_default(), seconds.map(Duration::from_secs)))
            }
        }
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // The one that carries the calls too; whoever was first has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let refused = |error| Error::bad_setting_from("the TLS settings cannot be used", error);
        let mut builder = reqwest::Client::builder().user_agent(&self.user_agent).connect_timeout(self.connect_timeout);
        if let Some(pem) = self.tls.ca() {
            // A bucket may be somebody else's, with a certificate that the system trusts.
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(refused)?);
        }
        if let Some((certificate, key)) = self.tls.identity() {
            let pem = [certificate, b"\n", key].concat();
            builder = builder.identity(Identity::from_pem(&pem).map_err(refused)?);
        }
        let client = builder.build().map_err(refused)?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// The answer of a server that may be none of Tintype's.
fn refused(status: StatusCode, text: &str, retry_after: Option<Duration>) -> Error {
    let code = match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 502..=504 => Code::Unavailable,
        429 | 507 => Code::ResourceExhausted,
        400..500 => Code::InvalidArgument,
        _ => Code::Unknown,
    };
    let told: String = text.chars().take(MAX_MESSAGE_CHARS).collect();
    Error::refused(code, format!("the file was answered with {status}: {told}"), retry_after)
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").field("tls", &self.tls).finish_non_exhaustive()
    }
}
