use std::process::ExitCode;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tintype_client::{CheckEvent, CheckProgress, Finding, VerifiedBytes, Verifying};

use crate::{account_args::Verify, args::Common, exit, progress::Bar};

/// A line for each finding: what is wrong, image, rendition, key, what was expected, what was seen, whether it is repaired.
pub(super) async fn run(common: &Common, verify: Verify) -> anyhow::Result<ExitCode> {
    let mut request = super::signed_in(common)?.build()?.admin().verify();
    for repair in verify.repair {
        request = request.repair(repair.into());
    }
    if let Some(bytes) = verify.bytes_per_second {
        request = request.bytes_per_second(bytes);
    }
    if let Some(token) = verify.resume {
        request = request.resume(token);
    }
    let mut verifying = request.start();
    let bar = Bar::without_end();
    let shown = show(common, &mut verifying, &bar).await;
    bar.finish();
    let (progress, left) = shown.inspect_err(|_| {
        if !verifying.resume_token().is_empty() {
            eprintln!("tintype: to go on where it was: --resume {}", verifying.resume_token());
        }
    })?;
    eprintln!("{}", summary(&progress));
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// Shows everything to the end; what was seen, and how many findings are not repaired.
async fn show(common: &Common, verifying: &mut Verifying, bar: &Bar) -> anyhow::Result<(CheckProgress, u64)> {
    let (mut latest, mut left) = (CheckProgress::default(), 0);
    while let Some(event) = verifying.next().await? {
        match event {
            CheckEvent::Progress(progress) => {
                bar.say(summary(&progress));
                latest = progress;
            }
            CheckEvent::Finding(finding) => {
                left += u64::from(!finding.repaired);
                bar.above(|| common.output.line(|| line(&finding), || finding_json(&finding)))?;
            }
            _ => {}
        }
    }
    Ok((latest, left))
}

fn summary(progress: &CheckProgress) -> String {
    let CheckProgress { checked_count, checked_bytes, checked_blob_count, finding_count, .. } = progress;
    format!("checked {checked_count} originals and renditions, {checked_bytes} bytes; {checked_blob_count} blobs; {finding_count} findings")
}

fn kind(finding: &Finding) -> String {
    finding.kind.as_str_name().trim_start_matches("VERIFY_FINDING_KIND_").to_ascii_lowercase()
}

fn line(finding: &Finding) -> String {
    let id = |id: Option<i64>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let bytes = |bytes: &Option<VerifiedBytes>| match bytes {
        Some(VerifiedBytes { size_bytes, sha256: Some(sha256), .. }) => format!("{size_bytes} bytes {}", HEXLOWER.encode(sha256)),
        Some(VerifiedBytes { size_bytes, .. }) => format!("{size_bytes} bytes"),
        None => "-".to_owned(),
    };
    let blocks: Vec<String> = finding.damaged_blocks.iter().map(ToString::to_string).collect();
    let blocks = if blocks.is_empty() { String::new() } else { format!(" blocks {}", blocks.join(",")) };
    let (image, rendition, key) = (id(finding.image_id), id(finding.rendition_id), &finding.blob_key);
    let (expected, seen, state) = (bytes(&finding.expected), bytes(&finding.seen), if finding.repaired { "repaired" } else { "found" });
    format!("{}\t{image}\t{rendition}\t{key}\t{expected}\t{seen}{blocks}\t{state}", kind(finding))
}

fn finding_json(finding: &Finding) -> Value {
    let bytes = |bytes: &Option<VerifiedBytes>| {
        bytes.as_ref().map(
            |bytes| json!({ "size_bytes": bytes.size_bytes.to_string(), "sha256": bytes.sha256.map(|digest| HEXLOWER.encode(&digest)) }),
        )
    };
    json!({
        "kind": kind(finding).to_ascii_uppercase(),
        "image_id": finding.image_id.map(|id| id.to_string()),
        "rendition_id": finding.rendition_id.map(|id| id.to_string()),
        "blob_key": finding.blob_key,
        "expected": bytes(&finding.expected),
        "seen": bytes(&finding.seen),
        "damaged_blocks": finding.damaged_blocks,
        "repaired": finding.repaired,
    })
}
