//! Between protobuf and the domain, for integrity checks.

use tintype_proto::v1::{self, VerifyFindingKind as Kind, VerifyRepair};
use tintype_store::{CheckProgress, Damage, Finding, verify::VerifyOptions};

use crate::status::Refusal;

/// How fast a check reads when it is not said.
const DEFAULT_BYTES_PER_SECOND: u64 = 32 << 20;
/// Less than a block a second would not even tell how far it is.
const MIN_BYTES_PER_SECOND: u64 = 256 << 10;

/// What a check may do.
pub(crate) fn options(request: &v1::VerifyRequest) -> Result<VerifyOptions, Refusal> {
    const RATE: &str = "bytes_per_second";
    let bytes_per_second = match u64::try_from(request.bytes_per_second) {
        Ok(0) => DEFAULT_BYTES_PER_SECOND,
        Ok(rate) if rate >= MIN_BYTES_PER_SECOND => rate,
        _ => {
            let problem = format_args!("must be 0, or {MIN_BYTES_PER_SECOND} or more, not {}", request.bytes_per_second);
            return Err(Refusal::field(RATE, problem));
        }
    };
    let mut options = VerifyOptions { remake_renditions: false, remove_orphans: false, bytes_per_second };
    for value in &request.repairs {
        match VerifyRepair::try_from(*value) {
            Ok(VerifyRepair::OrphanBlobs) => options.remove_orphans = true,
            Ok(VerifyRepair::Renditions) => options.remake_renditions = true,
            _ => return Err(Refusal::field("repairs", format_args!("has no repair {value}"))),
        }
    }
    Ok(options)
}

pub(crate) fn proto_progress(progress: &CheckProgress, resume_token: String) -> v1::VerifyProgress {
    v1::VerifyProgress {
        resume_token,
        checked_count: progress.checked_rows as i64,
        checked_bytes: progress.checked_bytes as i64,
        checked_blob_count: progress.checked_blobs as i64,
        finding_count: progress.findings as i64,
    }
}

pub(crate) fn proto_finding(finding: Finding) -> v1::VerifyFinding {
    let bytes = |size_bytes: u64, sha256: &[u8]| v1::VerifiedBytes { size_bytes: size_bytes as i64, sha256: sha256.to_vec().into() };
    match finding {
        Finding::Orphan { key, size_bytes, repaired } => v1::VerifyFinding {
            kind: Kind::OrphanBlob.into(),
            blob_key: key.0,
            seen: Some(bytes(size_bytes, &[])),
            repaired,
            ..v1::VerifyFinding::default()
        },
        Finding::Damaged { recorded, damage, repaired } => {
            let digest = &recorded.blob.digest;
            let (kind, seen, blocks) = match damage {
                Damage::Missing => (Kind::Missing, None, Vec::new()),
                Damage::Size { seen_bytes } => (Kind::WrongSize, Some(bytes(seen_bytes, &[])), Vec::new()),
                Damage::Content { seen_sha256, blocks } => (Kind::WrongContent, Some(bytes(digest.size_bytes, &seen_sha256)), blocks),
            };
            v1::VerifyFinding {
                kind: kind.into(),
                image_id: recorded.image.0,
                rendition_id: recorded.rendition.map_or(0, |id| id.0),
                blob_key: recorded.blob.key.0,
                expected: Some(bytes(digest.size_bytes, &digest.sha256)),
                seen,
                damaged_blocks: blocks.into_iter().map(|block| block as i32).collect(),
                repaired,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_repairs_what_is_named_and_reads_at_a_rate_with_a_bound() {
        let request = |repairs: &[i32], bytes_per_second| v1::VerifyRequest {
            repairs: repairs.to_vec(),
            bytes_per_second,
            ..v1::VerifyRequest::default()
        };
        let nothing = options(&request(&[], 0)).expect("a dry run");
        assert!(!nothing.remove_orphans && !nothing.remake_renditions);
        assert_eq!(nothing.bytes_per_second, DEFAULT_BYTES_PER_SECOND);
        let both = options(&request(&[2, 1, 2], 262_144)).expect("both repairs");
        assert!(both.remove_orphans && both.remake_renditions);
        assert_eq!(both.bytes_per_second, MIN_BYTES_PER_SECOND);
        for bad in [request(&[0], 0), request(&[3], 0), request(&[], 262_143), request(&[], -1)] {
            assert!(options(&bad).is_err(), "{bad:?}");
        }
    }
}
