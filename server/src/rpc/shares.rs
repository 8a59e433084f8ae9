use tintype_proto::v1::{
    ListSharesRequest, ListSharesResponse, ShareImageRequest, ShareImageResponse, UnshareImageRequest, UnshareImageResponse,
};
use tintype_store::{Access, Party, Sharing, Timestamp};

use crate::{
    auth::Caller,
    core::Core,
    limits::Limits,
    status::Refusal,
    wire,
    wire_shares::{party, proto_share, share_role},
};

/// Shares an image. Whether there is a user of that name makes no difference that the caller could tell.
pub(crate) async fn share(core: &Core, caller: &Caller, request: ShareImageRequest) -> Result<ShareImageResponse, Refusal> {
    let id = wire::image_id("image_id", request.image_id)?;
    let party = party(request.party)?;
    let role = share_role("role", request.role)?;
    core.authorizer.image(caller, id, Access::Owner).await?;
    if matches!(&party, Party::User(name) if *name == caller.0.user.name) {
        return Err(Refusal::field("party.username", "must not be the owner's own"));
    }
    match core.stores.catalog.share_image(id, &party, role, Limits::MAX_SHARES_PER_IMAGE, Timestamp::now()).await? {
        Sharing::Done(share) => {
            core.stores.nudges.nudge();
            tracing::info!(image.id = %id, role = role.name(), everyone = party == Party::Everyone, "shared image {id}");
            Ok(ShareImageResponse { share: Some(proto_share(share)) })
        }
        Sharing::TooMany => Err(Refusal::too_many_shares(id)),
        Sharing::Missing => Err(Refusal::image_not_found(id)),
    }
}

/// Withdraws a share.
pub(crate) async fn unshare(core: &Core, caller: &Caller, request: UnshareImageRequest) -> Result<UnshareImageResponse, Refusal> {
    let id = wire::image_id("image_id", request.image_id)?;
    let party = party(request.party)?;
    core.authorizer.image(caller, id, Access::Owner).await?;
    core.stores.catalog.unshare_image(id, &party, Timestamp::now()).await?;
    core.stores.nudges.nudge();
    tracing::info!(image.id = %id, everyone = party == Party::Everyone, "image {id} is shared no more");
    Ok(UnshareImageResponse {})
}

/// Lists with whom an image is shared.
pub(crate) async fn list(core: &Core, caller: &Caller, request: &ListSharesRequest) -> Result<ListSharesResponse, Refusal> {
    let id = wire::image_id("image_id", request.image_id)?;
    core.authorizer.image(caller, id, Access::Owner).await?;
    let shares = core.stores.catalog.shares(id).await?;
    Ok(ListSharesResponse { shares: shares.into_iter().map(proto_share).collect() })
}
