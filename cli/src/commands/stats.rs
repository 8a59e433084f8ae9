use std::time::Duration;

use serde_json::{Value, json};
use tintype_client::{Format, ServerInfo, Stats, WorkerInfo};

use crate::{args::Common, output::utc};

/// A line for each number with its name; then the workers, and the server that answered.
pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let stats = super::signed_in(common)?.build()?.admin().stats().await?;
    common.output.line(|| text(&stats), || stats_json(&stats))
}

fn text(stats: &Stats) -> String {
    let age = |age: Option<Duration>| age.map_or_else(|| "-".to_owned(), |age| format!("{} s", age.as_secs()));
    let mut lines = vec![
        format!("users\t{}\t{} disabled", stats.user_count, stats.disabled_user_count),
        format!("images\t{}", stats.image_count),
        format!("bytes of originals\t{}", stats.original_bytes),
        format!("bytes of renditions\t{}", stats.rendition_bytes),
        format!("bytes arriving\t{}", stats.arriving_bytes),
        format!("pending\t{}\toldest {}", stats.pending_count, age(stats.oldest_pending_age)),
        format!("running\t{}\tfirst lease ends {}", stats.running_count, stats.first_lease_ends_at.map_or_else(|| "-".to_owned(), utc)),
        format!("ready\t{}", stats.ready_count),
        format!("failed\t{}", stats.failed_count),
    ];
    lines.extend(stats.failures.iter().map(|failures| format!("failed\t{}\t{}", failures.count, failures.reason)));
    lines.extend([
        format!("images of deleted users\t{}", stats.deleted_user_image_count),
        format!("blobs to remove\t{}\toldest {}", stats.doomed_blob_count, age(stats.oldest_doomed_blob_age)),
        format!("open writes\t{}\toldest {}", stats.open_write_count, age(stats.oldest_open_write_age)),
    ]);
    lines.extend(stats.workers.iter().map(worker_text));
    let ServerInfo { version, started_at, catalog, blobs, jobs, .. } = &stats.server;
    lines.push(format!("server\t{version}\tsince {}\t{catalog} {blobs} {jobs}", utc(*started_at)));
    lines.join("\n")
}

fn worker_text(worker: &WorkerInfo) -> String {
    let WorkerInfo { id, version, slot_count, sandbox, .. } = worker;
    let (input, output) = (names(&worker.input_formats).join(","), names(&worker.output_formats).join(","));
    let (since, seen) = (utc(worker.started_at), utc(worker.last_seen_at));
    format!("worker\t{id}\t{version}\t{slot_count} slots\tsandbox {sandbox}\tsince {since}\tseen {seen}\tin {input}\tout {output}")
}

fn names(formats: &[Format]) -> Vec<String> {
    formats.iter().map(ToString::to_string).collect()
}

/// As in the JSON of protobuf: numbers of 64 bits are texts, a duration is one with `s` at its end.
fn stats_json(stats: &Stats) -> Value {
    let age = |age: Option<Duration>| age.map(|age| format!("{:.3}s", age.as_secs_f64()));
    json!({
        "users": { "count": stats.user_count.to_string(), "disabled_count": stats.disabled_user_count.to_string() },
        "storage": {
            "image_count": stats.image_count.to_string(),
            "original_bytes": stats.original_bytes.to_string(),
            "rendition_bytes": stats.rendition_bytes.to_string(),
            "arriving_bytes": stats.arriving_bytes.to_string(),
        },
        "renditions": {
            "pending_count": stats.pending_count.to_string(),
            "oldest_pending_age": age(stats.oldest_pending_age),
            "running_count": stats.running_count.to_string(),
            "first_lease_end_time": stats.first_lease_ends_at.map(utc),
            "ready_count": stats.ready_count.to_string(),
            "failed_count": stats.failed_count.to_string(),
            "failures": stats.failures.iter().map(|it| json!({ "reason": it.reason, "count": it.count.to_string() })).collect::<Vec<_>>(),
        },
        "cleanup": {
            "deleted_user_image_count": stats.deleted_user_image_count.to_string(),
            "doomed_blob_count": stats.doomed_blob_count.to_string(),
            "oldest_doomed_blob_age": age(stats.oldest_doomed_blob_age),
            "open_write_count": stats.open_write_count.to_string(),
            "oldest_open_write_age": age(stats.oldest_open_write_age),
        },
        "workers": stats.workers.iter().map(worker_json).collect::<Vec<_>>(),
        "server": {
            "version": stats.server.version,
            "start_time": utc(stats.server.started_at),
            "catalog": stats.server.catalog,
            "blobs": stats.server.blobs,
            "jobs": stats.server.jobs,
        },
    })
}

fn worker_json(worker: &WorkerInfo) -> Value {
    json!({
        "id": worker.id,
        "version": worker.version,
        "slot_count": worker.slot_count,
        "input_formats": names(&worker.input_formats),
        "output_formats": names(&worker.output_formats),
        "sandbox": worker.sandbox,
        "start_time": utc(worker.started_at),
        "last_seen_time": utc(worker.last_seen_at),
    })
}
