use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_proto::v1::{VerifyRequest, VerifyResponse, verify_response::Message};
use tintype_store::{
    CheckPosition, ImageId, Kind, RenditionId, StoreError, Timestamp, UserId,
    verify::{Report, verify},
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::page;
use crate::{auth::Caller, core::SharedCore, limits::Limits, status::Refusal, wire_verify};

/// What a check sends.
pub(crate) type Messages = BoxStream<'static, Result<VerifyResponse, Status>>;

/// What resume tokens are bound to, besides their user.
const CHECK: &str = "integrity check";
/// Reports that are ready before the client has room for them.
const AHEAD: usize = 1;

/// Begins a check, or goes on with one.
pub(crate) async fn start(core: &SharedCore, caller: &Caller, request: &VerifyRequest) -> Result<Messages, Refusal> {
    core.authorizer.everything(caller)?;
    let user = caller.0.user.id;
    let options = wire_verify::options(request)?;
    let position = decode(user, &request.resume_token)?;
    let place =
        Arc::clone(&core.checks).try_acquire_owned().map_err(|_| Refusal::busy("integrity checks", "max_checks", Limits::MAX_CHECKS))?;
    core.stores.check_same_store().await.map_err(refusal)?;
    let (sender, reports) = mpsc::channel(AHEAD);
    let (end_sender, end) = oneshot::channel();
    let (stores, shutdown, caller) = (core.stores.clone(), core.shutdown.clone(), caller.clone());
    core.shutdown.spawn(async move {
        let ended = tokio::select! {
            ended = verify(&stores, options, position, Timestamp::now, sender) => ended.map_err(refusal),
            () = shutdown.draining() => Err(Refusal::draining()),
            refusal = caller.signed_out() => Err(refusal),
        };
        drop(place);
        // Nobody is told who has gone.
        let _ = end_sender.send(ended);
    });
    let messages = ReceiverStream::new(reports).map(move |report| Ok(response(user, report)));
    let last = stream::once(end).filter_map(async |ended| match ended {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => Some(Err(refusal.into())),
        Err(broken) => Some(Err(Refusal::internal(&broken).into())),
    });
    Ok(messages.chain(last).boxed())
}

fn refusal(error: StoreError) -> Refusal {
    if error.kind() == Kind::Misconfigured { Refusal::store_mismatch(&error) } else { error.into() }
}

fn response(user: UserId, report: Report) -> VerifyResponse {
    let message = match report {
        Report::Progress(progress) => Message::Progress(wire_verify::proto_progress(&progress, encode(user, progress.position))),
        Report::Finding(finding) => Message::Finding(wire_verify::proto_finding(finding)),
    };
    VerifyResponse { message: Some(message) }
}

/// The token of a position; empty at the end.
fn encode(user: UserId, position: CheckPosition) -> String {
    let place = match position {
        CheckPosition::Originals(after) => [0, after.0],
        CheckPosition::Renditions(after) => [1, after.0],
        CheckPosition::Blobs => [2, 0],
        CheckPosition::End => return String::new(),
    };
    page::encode_key(user, &CHECK, place)
}

fn decode(user: UserId, token: &str) -> Result<CheckPosition, Refusal> {
    match page::decode_key(user, &CHECK, token) {
        Ok(None) => Ok(CheckPosition::BEGIN),
        Ok(Some([0, after])) => Ok(CheckPosition::Originals(ImageId(after))),
        Ok(Some([1, after])) => Ok(CheckPosition::Renditions(RenditionId(after))),
        Ok(Some([2, _])) => Ok(CheckPosition::Blobs),
        _ => Err(Refusal::field("resume_token", "is not one of a check of yours; leave it empty to begin anew")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_for_its_user_alone() {
        let places =
            [CheckPosition::BEGIN, CheckPosition::Originals(ImageId(7)), CheckPosition::Renditions(RenditionId(9)), CheckPosition::Blobs];
        for place in places {
            let token = encode(UserId(1), place);
            assert_eq!(decode(UserId(1), &token).expect("a place"), place);
            assert!(decode(UserId(2), &token).is_err());
        }
        assert_eq!(encode(UserId(1), CheckPosition::End), "");
        assert_eq!(decode(UserId(1), "").expect("the beginning"), CheckPosition::BEGIN);
        assert!(decode(UserId(1), "AAAA").is_err());
    }
}
