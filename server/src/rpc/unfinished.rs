//! What stays of an upload that does not come to its end, so that another stream can go on with it.

use tintype_proto::v1::{CancelUploadRequest, CancelUploadResponse, GetUploadRequest, GetUploadResponse};
use tintype_store::{Access, Hold, OpenUpload, PartialBlob, Recorded, Timestamp, UserId, blobs::BlobSink};

use crate::{
    auth::Caller,
    core::{Core, SharedCore},
    status::{Chain, Refusal},
    usage::Arriving,
    wire,
};

/// An upload with a name, in the hands of one stream.
pub(crate) struct Unfinished {
    core: SharedCore,
    owner: UserId,
    upload_id: String,
    hold: Hold,
    /// As the catalog has it; `None` before anything is durable.
    recorded: Option<PartialBlob>,
}

impl Unfinished {
    /// Takes hold of the upload: whoever had it can neither add to it nor finish it any more.
    pub(crate) async fn take(core: &SharedCore, owner: UserId, upload_id: String) -> Result<Self, Refusal> {
        let now = Timestamp::now();
        let taken = core.stores.catalog.take_upload(owner, &upload_id, now).await?;
        let hold = taken.as_ref().map_or(Hold(now.0), |taken| taken.hold);
        Ok(Self { core: core.clone(), owner, upload_id, hold, recorded: taken.map(|taken| taken.partial) })
    }

    pub(crate) fn upload_id(&self) -> &str {
        &self.upload_id
    }

    /// Under which the upload is finished, and whether the catalog knows nothing of it.
    pub(crate) fn hold(&self) -> (Hold, bool) {
        (self.hold, self.recorded.is_none())
    }

    pub(crate) fn recorded(&self) -> Option<&PartialBlob> {
        self.recorded.as_ref()
    }

    /// How many bytes are durable, whatever happens.
    pub(crate) fn persisted_bytes(&self) -> u64 {
        self.recorded.as_ref().map_or(0, |partial| partial.size_bytes)
    }

    /// Records what is durable of the bytes that went into `sink`, which are all of the upload. Returns how many are.
    pub(crate) async fn record(&mut self, sink: &mut BlobSink, arriving: &mut Arriving) -> Result<u64, Refusal> {
        let before = self.persisted_bytes();
        let Some(partial) = sink.keep(before).await? else { return Ok(before) };
        arriving.hand_over(partial.size_bytes - before);
        let upload = OpenUpload {
            owner: self.owner,
            upload_id: self.upload_id.clone(),
            hold: self.hold,
            partial: partial.clone(),
            updated_at: Timestamp::now(),
        };
        match self.core.stores.catalog.record_upload(&upload, self.recorded.is_none()).await? {
            Recorded::Done { replaced } => {
                self.recorded = Some(partial);
                // A stream that goes on with an upload writes it anew, and has now caught up with the one before.
                if let Some(replaced) = replaced {
                    discard(&self.core, &replaced).await;
                }
                Ok(self.persisted_bytes())
            }
            Recorded::TakenOver => {
                let theirs = self.core.stores.catalog.open_upload(self.owner, &self.upload_id).await?;
                // What both have is for the other one to read.
                if theirs.is_none_or(|theirs| theirs.partial.key != partial.key) {
                    discard(&self.core, &partial).await;
                }
                Err(Refusal::upload_taken_over(&self.upload_id))
            }
        }
    }

    /// Removes what there is of the upload, unless another stream has it.
    pub(crate) async fn give_up(&mut self) {
        let Some(partial) = self.recorded.take() else { return };
        match self.core.stores.catalog.drop_upload(self.owner, &self.upload_id, self.hold).await {
            Ok(true) => discard(&self.core, &partial).await,
            Ok(false) => {}
            Err(error) => tracing::warn!(upload.id = self.upload_id, error = %Chain(&error), "an upload is left until it expires"),
        }
    }
}

/// Removes bytes that nothing in the catalog names. What cannot be removed now is the sweeper's.
pub(super) async fn discard(core: &Core, partial: &PartialBlob) {
    if let Err(error) = core.stores.blobs.discard(partial).await {
        tracing::warn!(blob.key = %partial.key, error = %Chain(&error), "the beginning of an upload is left to the sweeper");
    }
}

fn required(upload_id: String) -> Result<String, Refusal> {
    wire::request_id("upload_id", upload_id)?.ok_or_else(|| Refusal::field("upload_id", "must not be empty"))
}

/// Gives an upload up, also one that a stream is at: that one can neither add to it nor finish it any more.
pub(crate) async fn cancel(core: &SharedCore, owner: UserId, request: CancelUploadRequest) -> Result<CancelUploadResponse, Refusal> {
    let upload_id = required(request.upload_id)?;
    let mut unfinished = Unfinished::take(core, owner, upload_id.clone()).await?;
    let Some(partial) = unfinished.recorded.take() else { return Err(Refusal::upload_not_found(&upload_id)) };
    // Somebody who took it in between goes on with it, and may finish it.
    if !core.stores.catalog.drop_upload(owner, &upload_id, unfinished.hold).await? {
        return Err(Refusal::upload_taken_over(&upload_id));
    }
    discard(core, &partial).await;
    Ok(CancelUploadResponse {})
}

/// How far an upload is.
pub(super) async fn get(core: &Core, caller: &Caller, request: GetUploadRequest) -> Result<GetUploadResponse, Refusal> {
    let (catalog, owner) = (&core.stores.catalog, caller.0.user.id);
    let upload_id = required(request.upload_id)?;
    // In this order: one that is finished in between is found as the image.
    if let Some(open) = catalog.open_upload(owner, &upload_id).await? {
        return Ok(GetUploadResponse {
            persisted_size_bytes: open.partial.size_bytes as i64,
            image: None,
            expire_time: Some(wire::proto_time(open.updated_at.plus(core.limits.upload_expiry))),
        });
    }
    let Some(Some(image)) = catalog.image_by_request(owner, &upload_id).await? else {
        return Err(Refusal::upload_not_found(&upload_id));
    };
    let persisted_size_bytes = image.size_bytes as i64;
    Ok(GetUploadResponse { persisted_size_bytes, image: Some(wire::proto_image(image, Access::Owner)), expire_time: None })
}
