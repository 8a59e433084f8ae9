//! The integrity check.

use std::time::Duration;

use tintype_proto::v1::{
    self, VerifyFindingKind, VerifyRepair, VerifyRequest, VerifyResponse, admin_service_client::AdminServiceClient,
    verify_response::Message,
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{Client, Error, Result, client::Call, wire::unsigned};

/// A server says something every second: after this time the connection is as good as lost.
const SILENCE: Duration = Duration::from_mins(1);

/// Which check to make; from [`Admin::verify`](crate::Admin::verify). Without a choice it changes nothing.
#[derive(Debug, Clone)]
#[must_use = "nothing is checked before `start`"]
pub struct Verify {
    client: Client,
    request: VerifyRequest,
}

/// What a check tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckEvent {
    /// How far it is.
    Progress(CheckProgress),
    /// What it found.
    Finding(Finding),
}

/// How far a check is, since [`Verify::start`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// Originals and renditions that were looked at.
    pub checked_count: u64,
    /// Bytes that were read of them.
    pub checked_bytes: u64,
    /// Blobs of the store that were looked for among the names of images and renditions.
    pub checked_blob_count: u64,
    /// Findings.
    pub finding_count: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub kind: VerifyFindingKind,
    /// The image; `None` for an orphan blob.
    pub image_id: Option<i64>,
    /// The rendition; `None` for an original or an orphan blob.
    pub rendition_id: Option<i64>,
    /// Where the bytes are, or should be, in the blob store.
    pub blob_key: String,
    /// What should be there; `None` for an orphan blob.
    pub expected: Option<VerifiedBytes>,
    /// What is there; `None` when there is nothing.
    pub seen: Option<VerifiedBytes>,
    /// Blocks of 256 KiB, from 0, that do not match their checksums.
    pub damaged_blocks: Vec<u32>,
    /// Whether it was put right.
    pub repaired: bool,
}

/// Bytes by their measures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedBytes {
    /// How many.
    pub size_bytes: u64,
    /// Their SHA-256; `None` where they were not read.
    pub sha256: Option<[u8; 32]>,
}

impl Verify {
    pub(crate) fn new(client: Client) -> Verify {
        Verify { client, request: VerifyRequest::default() }
    }

    /// Puts this right, too. Said more than once: each of these.
    pub fn repair(mut self, repair: VerifyRepair) -> Verify {
        self.request.repairs.push(repair.into());
        self
    }

    /// How many bytes the server reads in a second at most, from 256 KiB. The server chooses if it is not said.
    pub fn bytes_per_second(mut self, bytes: u64) -> Verify {
        self.request.bytes_per_second = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }

    /// Goes on where another check was: see [`Verifying::resume_token`].
    pub fn resume(mut self, token: impl Into<String>) -> Verify {
        self.request.resume_token = token.into();
        self
    }

    /// Begins. Nothing is sent before the first [`Verifying::next`].
    pub fn start(self) -> Verifying {
        let call = self.client.call();
        let (before, latest) = (CheckProgress::default(), CheckProgress::default());
        Verifying { client: self.client, request: self.request, call, answers: None, before, latest, done: false }
    }
}

/// A check under way. It connects again by itself when the connection is lost or the server shuts down, as patiently as the
/// [`RetryPolicy`](crate::RetryPolicy) says, and goes on where it was. A finding may come twice then.
#[derive(Debug)]
pub struct Verifying {
    client: Client,
    request: VerifyRequest,
    call: Call,
    answers: Option<Streaming<VerifyResponse>>,
    /// What was seen on connections before this one.
    before: CheckProgress,
    latest: CheckProgress,
    done: bool,
}

impl Verifying {
    /// The next event; waits for it. `None` when everything was looked at.
    ///
    /// The error `STORE_MISMATCH` means that the server has a blob store of another catalog. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<CheckEvent>> {
        while !self.done {
            match self.message().await {
                Ok(Message::Progress(progress)) => {
                    self.call.achieved();
                    self.done = progress.resume_token.is_empty();
                    self.latest = self.before.plus(&progress);
                    self.request.resume_token = progress.resume_token;
                    return Ok(Some(CheckEvent::Progress(self.latest)));
                }
                Ok(Message::Finding(finding)) => return Ok(Some(CheckEvent::Finding(self::finding(finding)?))),
                Err(error) => {
                    self.answers = None;
                    self.before = self.latest;
                    self.call.failed(error).await?;
                }
            }
        }
        Ok(None)
    }

    /// Goes on from the latest progress, also in another process: see [`Verify::resume`]. Empty before the first one and at the end.
    pub fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    async fn message(&mut self) -> Result<Message> {
        if self.answers.is_none() {
            let request = self.call.streaming_request(self.request.clone()).await?;
            self.answers = Some(AdminServiceClient::new(self.client.channel()).verify(request).await?.into_inner());
        }
        let Some(answers) = &mut self.answers else { return Err(Error::bad_answer("there is no stream")) };
        match timeout(SILENCE, answers.message()).await {
            Ok(answer) => match answer? {
                Some(answer) => answer.message.ok_or_else(|| Error::bad_answer("a message of a check says nothing")),
                None => Err(Error::from(Status::unavailable("the check ended before its end"))),
            },
            Err(_) => Err(Error::from(Status::unavailable("the server has fallen silent"))),
        }
    }
}

impl CheckProgress {
    fn plus(self, more: &v1::VerifyProgress) -> CheckProgress {
        CheckProgress {
            checked_count: self.checked_count + unsigned(more.checked_count),
            checked_bytes: self.checked_bytes + unsigned(more.checked_bytes),
            checked_blob_count: self.checked_blob_count + unsigned(more.checked_blob_count),
            finding_count: self.finding_count + unsigned(more.finding_count),
        }
    }
}

fn finding(finding: v1::VerifyFinding) -> Result<Finding> {
    Ok(Finding {
        kind: finding.kind(),
        image_id: (finding.image_id != 0).then_some(finding.image_id),
        rendition_id: (finding.rendition_id != 0).then_some(finding.rendition_id),
        expected: finding.expected.as_ref().map(verified).transpose()?,
        seen: finding.seen.as_ref().map(verified).transpose()?,
        damaged_blocks: finding.damaged_blocks.iter().map(|block| crate::wire::unsigned_32(*block)).collect(),
        repaired: finding.repaired,
        blob_key: finding.blob_key,
    })
}

fn verified(bytes: &v1::VerifiedBytes) -> Result<VerifiedBytes> {
    let sha256 = match bytes.sha256.len() {
        0 => None,
        _ => Some(bytes.sha256.as_ref().try_into().map_err(|_| Error::bad_answer("a SHA-256 does not have 32 bytes"))?),
    };
    Ok(VerifiedBytes { size_bytes: unsigned(bytes.size_bytes), sha256 })
}
