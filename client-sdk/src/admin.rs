//! How the service is doing, for administrators.

use std::time::SystemTime;

use futures_util::stream::BoxStream;
use tintype_proto::v1::{
    FailureFilter, FailureReason, GetStatsRequest, ListFailuresRequest, RetryFailuresRequest, RetryFailuresResponse,
    admin_service_client::AdminServiceClient,
};

use crate::{Client, Error, Failure, Result, Stats, Verify, list, wire};

/// Renditions that are named in one call: as many as any server takes.
const IDS: usize = 100;

/// Counts and failures of all users; from [`Client::admin`]. For anybody but an administrator every call is the error `NOT_PERMITTED`.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before one of its calls"]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// Counts everything, exactly and at one moment, however much there is.
    pub async fn stats(&self) -> Result<Stats> {
        let call = |channel, request| async move { AdminServiceClient::new(channel).get_stats(request).await };
        Ok(self.client.repeatable_call(GetStatsRequest {}, call).await?.into())
    }

    /// The failed renditions of all users: a builder to list them or to retry them.
    pub fn failures(&self) -> Failures {
        Failures { client: self.client.clone(), page_size: 0, filter: FailureFilter::default() }
    }

    /// Checks that everything is as it was stored, and puts right what is asked for: a builder.
    pub fn verify(&self) -> Verify {
        Verify::new(self.client.clone())
    }

    /// Puts failed renditions, of any users, back into the queue, with all their attempts. Returns those that it put there: what is not failed
    /// or not there is passed over.
    ///
    /// Not repeated when the connection breaks: retry them again to see which are left.
    pub async fn retry(&self, rendition_ids: &[i64]) -> Result<Vec<i64>> {
        let mut retried = Vec::new();
        for ids in rendition_ids.chunks(IDS) {
            let request = RetryFailuresRequest { rendition_ids: ids.to_vec(), ..RetryFailuresRequest::default() };
            retried.extend(retry(&self.client, request).await?.rendition_ids);
        }
        Ok(retried)
    }
}

/// Which failures to list or to retry; from [`Admin::failures`]. Every choice must hold; without one, all are meant.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `stream`, `page` or `retry`"]
pub struct Failures {
    client: Client,
    page_size: i32,
    filter: FailureFilter,
}

/// Some of the failures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailurePage {
    /// The latest first.
    pub failures: Vec<Failure>,
    /// For the page after this one; `None` on the last page.
    pub next_page_token: Option<String>,
}

impl Failures {
    /// They failed for this reason. Said more than once: for one of these.
    pub fn reason(mut self, reason: FailureReason) -> Failures {
        self.filter.reasons.push(reason.into());
        self
    }

    /// They failed at this time or later.
    pub fn failed_from(mut self, time: SystemTime) -> Failures {
        self.filter.failed_from = Some(wire::timestamp(time));
        self
    }

    /// They failed before this time.
    pub fn failed_before(mut self, time: SystemTime) -> Failures {
        self.filter.failed_before = Some(wire::timestamp(time));
        self
    }

    /// How many failures a page holds at most. The server chooses if it is not said.
    pub fn page_size(mut self, failures: u32) -> Failures {
        self.page_size = i32::try_from(failures).unwrap_or(i32::MAX);
        self
    }

    /// All of them, the latest first, a page at a time as the stream is read. Ends after the first error.
    pub fn stream(self) -> BoxStream<'static, Result<Failure>> {
        list::walk(move |token| {
            let failures = self.clone();
            async move { failures.page(&token).await.map(|page| (page.failures, page.next_page_token)) }
        })
    }

    /// One page: the first for an empty token, else the one after the page that gave it.
    pub async fn page(&self, token: &str) -> Result<FailurePage> {
        let request = ListFailuresRequest { page_size: self.page_size, page_token: token.to_owned(), filter: Some(self.filter.clone()) };
        let call = |channel, request| async move { AdminServiceClient::new(channel).list_failures(request).await };
        let answer = self.client.repeatable_call(request, call).await?;
        Ok(FailurePage {
            failures: answer.failures.into_iter().map(Failure::try_from).collect::<Result<_>>()?,
            next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
        })
    }

    /// Puts all of them back into the queue, with all their attempts, a page at a time as the stream is read, which tells their ids. What fails
    /// again meanwhile is not met again. Ends after the first error; nothing is repeated when the connection breaks.
    pub fn retry(self) -> BoxStream<'static, Result<i64>> {
        list::walk(move |page_token| {
            let Failures { client, filter, .. } = self.clone();
            let request = RetryFailuresRequest { filter: Some(filter), page_token, ..RetryFailuresRequest::default() };
            async move {
                let answer = retry(&client, request).await?;
                Ok((answer.rendition_ids, Some(answer.next_page_token).filter(|token| !token.is_empty())))
            }
        })
    }
}

async fn retry(client: &Client, request: RetryFailuresRequest) -> Result<RetryFailuresResponse> {
    let mut call = client.call();
    loop {
        let request = call.request(request.clone()).await?;
        match AdminServiceClient::new(client.channel()).retry_failures(request).await.map_err(Error::from) {
            Ok(answer) => return Ok(answer.into_inner()),
            // What was retried would be passed over the next time, and missing in the answer.
            Err(error) if error.leaves_open() => return Err(error),
            Err(error) => call.failed(error).await?,
        }
    }
}
