use std::{
    collections::HashSet,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tintype_client::{Admin, Failure, Failures};

use super::Tally;
use crate::{
    account_args::{FailureChoice, FailuresList, FailuresRetry},
    args::Common,
    output::{rendition_json, utc},
};

/// Id of the rendition, of its image, owner, file name, the rendition's file name, how often it was begun, when it failed, why.
pub(super) async fn list(common: &Common, list: FailuresList) -> anyhow::Result<()> {
    let mut failures = chosen(&super::signed_in(common)?.build()?.admin(), &list.choice);
    if let Some(limit) = list.limit.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| (1..100).contains(limit)) {
        failures = failures.page_size(limit);
    }
    let mut failures = failures.stream().take(list.limit.unwrap_or(usize::MAX));
    while let Some(failure) = failures.try_next().await? {
        common.output.line(|| line(&failure), || failure_json(&failure))?;
    }
    Ok(())
}

/// Prints the id of each rendition that waits again.
pub(super) async fn retry(common: &Common, retry: FailuresRetry) -> anyhow::Result<ExitCode> {
    let admin = super::signed_in(common)?.build()?.admin();
    let print = |id: i64| common.output.line(|| format!("{id}\tpending"), || json!({ "id": id.to_string(), "state": "pending" }));
    if retry.all {
        let mut retried = chosen(&admin, &retry.choice).retry();
        while let Some(id) = retried.try_next().await? {
            print(id)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let retried: HashSet<i64> = admin.retry(&retry.rendition_ids).await?.into_iter().collect();
    let mut tally = Tally::default();
    for id in retry.rendition_ids {
        let outcome = if retried.contains(&id) { print(id) } else { Err(anyhow!("rendition {id} is not failed, or not there")) };
        tally.count(outcome)?;
    }
    Ok(tally.exit_code())
}

fn chosen(admin: &Admin, choice: &FailureChoice) -> Failures {
    let failures = choice.reason.iter().fold(admin.failures(), |failures, reason| failures.reason(reason.0));
    match choice.within.and_then(ago) {
        Some(time) => failures.failed_from(time),
        None => failures,
    }
}

#[expect(clippy::disallowed_methods, reason = "what people call the last hour is that of their own clock")]
fn ago(duration: Duration) -> Option<SystemTime> {
    SystemTime::now().checked_sub(duration)
}

fn line(failure: &Failure) -> String {
    let Failure { rendition, file_name, owner_name, .. } = failure;
    let failed_at = rendition.finished_at.map_or_else(|| "-".to_owned(), utc);
    let why = rendition.failure.as_ref().map_or_else(String::new, |why| format!("{}: {}", why.reason, why.message));
    let (id, image_id, made, attempts) = (rendition.id, rendition.image_id, &rendition.file_name, rendition.attempt_count);
    format!("{id}\t{image_id}\t{owner_name}\t{file_name}\t{made}\t{attempts}\t{failed_at}\t{why}")
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "rendition": rendition_json(&failure.rendition),
        "file_name": failure.file_name,
        "owner_id": failure.owner_id.to_string(),
        "owner_username": failure.owner_name,
    })
}
