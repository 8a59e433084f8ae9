//! Counts and failures as plain values.

use std::time::{Duration, SystemTime};

use tintype_proto::v1;

use crate::{
    Error, Format, Rendition, Result,
    wire::{duration, failure_reason, format, rendition, time, unsigned, unsigned_32},
};

/// How the service is doing; from [`Admin::stats`](crate::Admin::stats).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Users who are not deleted.
    pub user_count: u64,
    /// Those of them who are disabled.
    pub disabled_user_count: u64,
    /// Images of all users.
    pub image_count: u64,
    /// Size of their originals.
    pub original_bytes: u64,
    /// Size of their renditions.
    pub rendition_bytes: u64,
    /// What has arrived of unfinished uploads at the server that answered.
    pub arriving_bytes: u64,
    /// Renditions that wait for a worker: the depth of the queue.
    pub pending_count: u64,
    /// How long the one waits that waits longest.
    pub oldest_pending_age: Option<Duration>,
    /// Renditions that are being made.
    pub running_count: u64,
    /// When the first of their leases ends, unless its worker renews it.
    pub first_lease_ends_at: Option<SystemTime>,
    /// Renditions that are ready.
    pub ready_count: u64,
    /// Renditions that failed.
    pub failed_count: u64,
    /// Those by their reasons, as in [`RenditionFailure::reason`](crate::RenditionFailure); reasons without any are left out.
    pub failures: Vec<FailureCount>,
    /// Images of deleted users that wait to be removed.
    pub deleted_user_image_count: u64,
    /// Blobs of deleted images whose bytes wait to be removed.
    pub doomed_blob_count: u64,
    /// For how long the first of them waits.
    pub oldest_doomed_blob_age: Option<Duration>,
    /// Writes to a bucket that are under way or were broken off.
    pub open_write_count: u64,
    /// How long ago the first of them was begun.
    pub oldest_open_write_age: Option<Duration>,
    /// The workers that are alive.
    pub workers: Vec<WorkerInfo>,
    /// The server that answered.
    pub server: ServerInfo,
}

/// How many renditions failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureCount {
    /// The reason, such as `CORRUPT_INPUT`.
    pub reason: String,
    /// How many, from 1.
    pub count: u64,
}

/// A worker that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Random, new at each start.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// How many conversions it makes at once.
    pub slot_count: u32,
    /// The formats that it reads.
    pub input_formats: Vec<Format>,
    /// The formats that it makes.
    pub output_formats: Vec<Format>,
    /// How conversions are contained; `none` when they are not.
    pub sandbox: String,
    /// When it started.
    pub started_at: SystemTime,
    /// When it gave its last sign of life.
    pub last_seen_at: SystemTime,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started_at: SystemTime,
    /// Where metadata is: `sqlite` or `postgres`.
    pub catalog: String,
    /// Where bytes are: `file` or `s3`.
    pub blobs: String,
    /// The queue: `local` or `nats`.
    pub jobs: String,
}

/// A failed rendition and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The rendition, with its [`failure`](Rendition::failure).
    pub rendition: Rendition,
    /// The file name of its image.
    pub file_name: String,
    /// Id of the user who uploaded the image.
    pub owner_id: i64,
    /// The name of that user.
    pub owner_name: String,
}

impl From<v1::GetStatsResponse> for Stats {
    fn from(answer: v1::GetStatsResponse) -> Stats {
        let (users, storage) = (answer.users.unwrap_or_default(), answer.storage.unwrap_or_default());
        let (renditions, cleanup) = (answer.renditions.unwrap_or_default(), answer.cleanup.unwrap_or_default());
        let age = |age: Option<prost_types::Duration>| age.as_ref().map(|age| duration(Some(age)));
        let failures = renditions.failures.into_iter();
        Stats {
            user_count: unsigned(users.count),
            disabled_user_count: unsigned(users.disabled_count),
            image_count: unsigned(storage.image_count),
            original_bytes: unsigned(storage.original_bytes),
            rendition_bytes: unsigned(storage.rendition_bytes),
            arriving_bytes: unsigned(storage.arriving_bytes),
            pending_count: unsigned(renditions.pending_count),
            oldest_pending_age: age(renditions.oldest_pending_age),
            running_count: unsigned(renditions.running_count),
            first_lease_ends_at: renditions.first_lease_end_time.as_ref().map(|end| time(Some(end))),
            ready_count: unsigned(renditions.ready_count),
            failed_count: unsigned(renditions.failed_count),
            failures: failures.map(|it| FailureCount { reason: failure_reason(it.reason), count: unsigned(it.count) }).collect(),
            deleted_user_image_count: unsigned(cleanup.deleted_user_image_count),
            doomed_blob_count: unsigned(cleanup.doomed_blob_count),
            oldest_doomed_blob_age: age(cleanup.oldest_doomed_blob_age),
            open_write_count: unsigned(cleanup.open_write_count),
            oldest_open_write_age: age(cleanup.oldest_open_write_age),
            workers: answer.workers.into_iter().map(WorkerInfo::from).collect(),
            server: answer.server.unwrap_or_default().into(),
        }
    }
}

impl From<v1::WorkerInfo> for WorkerInfo {
    fn from(worker: v1::WorkerInfo) -> WorkerInfo {
        WorkerInfo {
            id: worker.id,
            version: worker.version,
            slot_count: unsigned_32(worker.slot_count),
            input_formats: worker.input_formats.into_iter().map(format).collect(),
            output_formats: worker.output_formats.into_iter().map(format).collect(),
            sandbox: worker.sandbox,
            started_at: time(worker.start_time.as_ref()),
            last_seen_at: time(worker.last_seen_time.as_ref()),
        }
    }
}

impl From<v1::ServerInfo> for ServerInfo {
    fn from(server: v1::ServerInfo) -> ServerInfo {
        ServerInfo {
            version: server.version,
            started_at: time(server.start_time.as_ref()),
            catalog: server.catalog,
            blobs: server.blobs,
            jobs: server.jobs,
        }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = Error;

    fn try_from(failure: v1::Failure) -> Result<Failure> {
        Ok(Failure {
            rendition: rendition(failure.rendition)?,
            file_name: failure.file_name,
            owner_id: failure.owner_id,
            owner_name: failure.owner_username,
        })
    }
}
