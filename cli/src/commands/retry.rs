use std::process::ExitCode;

use super::Tally;
use crate::{
    args::{Common, Retry},
    output::{rendition_json, rendition_line},
};

pub(super) async fn run(common: &Common, retry: Retry) -> anyhow::Result<ExitCode> {
    let client = super::signed_in(common)?.build()?;
    let mut tally = Tally::default();
    for id in retry.rendition_ids {
        let printed = match client.retry_rendition(id).await {
            Ok(rendition) => common.output.line(|| rendition_line(&rendition), || rendition_json(&rendition)),
            Err(error) => Err(error.into()),
        };
        tally.count(printed)?;
    }
    Ok(tally.exit_code())
}
