//! Between protobuf and the domain, for administrators.

use std::time::Duration;

use prost_types::Duration as ProtoDuration;
use tintype_proto::v1;
use tintype_store::{FailedRendition, FailureFilter, FailureReason, RenditionId, Schemes, Timestamp, Totals, Worker};

use crate::{
    limits::Limits,
    status::Refusal,
    wire::{id, proto_format, proto_reason, proto_rendition, proto_time, time},
};

/// Which failures to retry.
#[derive(Debug)]
pub(crate) enum ToRetry {
    /// Those of these that are failed.
    These(Vec<RenditionId>),
    /// A page of all that match.
    Matching { filter: FailureFilter, page_token: String },
}

/// What is to be retried.
pub(crate) fn failures_to_retry(request: v1::RetryFailuresRequest) -> Result<ToRetry, Refusal> {
    const IDS: &str = "rendition_ids";
    match (request.rendition_ids.as_slice(), request.filter) {
        ([], None) => Err(Refusal::field(IDS, "must not be empty when there is no filter")),
        ([], Some(filter)) => Ok(ToRetry::Matching { filter: self::filter(filter)?, page_token: request.page_token }),
        (_, Some(_)) => Err(Refusal::field(IDS, "must be empty when there is a filter")),
        (_, None) if !request.page_token.is_empty() => Err(Refusal::field("page_token", "must be empty when there is no filter")),
        (ids, None) => {
            let (limit, seen) = (Limits::DEFAULT_PAGE_SIZE, ids.len());
            if seen > limit as usize {
                let refusal = Refusal::field(IDS, format_args!("must have {limit} ids at most, not {seen} (default_page_size)"));
                return Err(refusal.with("limit", "default_page_size").with("value", limit).with("seen", seen));
            }
            let ids = ids.iter().map(|value| id(IDS, *value).map(RenditionId));
            Ok(ToRetry::These(ids.collect::<Result<_, _>>()?))
        }
    }
}

/// A filter of failures.
pub(crate) fn filter(value: v1::FailureFilter) -> Result<FailureFilter, Refusal> {
    let reasons = value.reasons.into_iter().map(|value| {
        let known = FailureReason::ALL.into_iter().find(|reason| proto_reason(*reason) as i32 == value);
        known.ok_or_else(|| Refusal::field("filter.reasons", format_args!("has no reason {value}")))
    });
    Ok(FailureFilter {
        reasons: reasons.collect::<Result<_, _>>()?,
        failed_from: value.failed_from.map(|value| time("filter.failed_from", value)).transpose()?,
        failed_before: value.failed_before.map(|value| time("filter.failed_before", value)).transpose()?,
    })
}

pub(crate) fn proto_users(totals: &Totals) -> v1::UserStats {
    v1::UserStats { count: totals.user_count as i64, disabled_count: totals.disabled_user_count as i64 }
}

pub(crate) fn proto_storage(totals: &Totals, arriving_bytes: u64) -> v1::StorageStats {
    v1::StorageStats {
        image_count: totals.image_count as i64,
        original_bytes: totals.original_bytes as i64,
        rendition_bytes: totals.rendition_bytes as i64,
        arriving_bytes: (totals.unfinished_bytes + arriving_bytes) as i64,
    }
}

pub(crate) fn proto_renditions(totals: &Totals, now: Timestamp) -> v1::RenditionStats {
    let count = |(reason, count): &(FailureReason, u64)| v1::FailureCount { reason: proto_reason(*reason).into(), count: *count as i64 };
    v1::RenditionStats {
        pending_count: totals.pending_count as i64,
        oldest_pending_age: totals.pending_since.map(|since| age(since, now)),
        running_count: totals.running_count as i64,
        first_lease_end_time: totals.first_lease_until.map(proto_time),
        ready_count: totals.ready_count as i64,
        failed_count: totals.failed_count() as i64,
        failures: totals.failed_counts.iter().map(count).collect(),
    }
}

pub(crate) fn proto_cleanup(totals: &Totals, now: Timestamp) -> v1::CleanupStats {
    v1::CleanupStats {
        deleted_user_image_count: totals.images_of_deleted_users as i64,
        doomed_blob_count: totals.doomed_blob_count as i64,
        oldest_doomed_blob_age: totals.doomed_since.map(|since| age(since, now)),
        open_write_count: totals.open_write_count as i64,
        oldest_open_write_age: totals.open_write_since.map(|since| age(since, now)),
    }
}

pub(crate) fn proto_worker(worker: Worker) -> v1::WorkerInfo {
    let formats = |formats: Vec<_>| formats.into_iter().map(|format| proto_format(format).into()).collect();
    v1::WorkerInfo {
        id: worker.id,
        version: worker.version,
        slot_count: worker.slots as i32,
        input_formats: formats(worker.input_formats),
        output_formats: formats(worker.output_formats),
        sandbox: worker.sandbox,
        start_time: Some(proto_time(worker.started_at)),
        last_seen_time: Some(proto_time(worker.seen_at)),
    }
}

pub(crate) fn proto_server(started_at: Timestamp, schemes: Schemes) -> v1::ServerInfo {
    v1::ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(proto_time(started_at)),
        catalog: schemes.catalog.to_owned(),
        blobs: schemes.blobs.to_owned(),
        jobs: schemes.jobs.to_owned(),
    }
}

pub(crate) fn proto_failure(failure: FailedRendition) -> v1::Failure {
    v1::Failure {
        rendition: Some(proto_rendition(failure.rendition)),
        file_name: failure.file_name,
        owner_id: failure.owner.0,
        owner_username: failure.owner_name,
    }
}

fn age(since: Timestamp, now: Timestamp) -> ProtoDuration {
    let age: Duration = now.since(since);
    ProtoDuration { seconds: age.as_secs() as i64, nanos: age.subsec_nanos() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_says_what_it_means() {
        let ids = |count| v1::RetryFailuresRequest { rendition_ids: (1..=count).collect(), ..Default::default() };
        let filter = Some(v1::FailureFilter::default());
        assert!(matches!(failures_to_retry(ids(100)), Ok(ToRetry::These(ids)) if ids.len() == 100));
        let all = v1::RetryFailuresRequest { filter: filter.clone(), page_token: "x".to_owned(), ..ids(0) };
        assert!(matches!(failures_to_retry(all), Ok(ToRetry::Matching { page_token, .. }) if page_token == "x"));
        for bad in [
            ids(0),
            ids(101),
            v1::RetryFailuresRequest { rendition_ids: vec![0], ..ids(0) },
            v1::RetryFailuresRequest { filter, ..ids(1) },
            v1::RetryFailuresRequest { page_token: "x".to_owned(), ..ids(1) },
        ] {
            assert!(failures_to_retry(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reasons_are_known() {
        let reasons = |reasons: &[i32]| filter(v1::FailureFilter { reasons: reasons.to_vec(), ..Default::default() });
        let all: Vec<i32> = FailureReason::ALL.into_iter().map(|reason| proto_reason(reason).into()).collect();
        assert_eq!(reasons(&all).expect("known").reasons, FailureReason::ALL);
        assert!(reasons(&[0]).is_err() && reasons(&[99]).is_err());
    }
}
