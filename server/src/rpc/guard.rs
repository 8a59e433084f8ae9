use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tintype_store::{Access, ImageId};
use tonic::Status;

use super::download::{Blocks, Wanted};
use crate::{
    auth::{Authorizer, Caller},
    changes::Listener,
    core::Core,
    status::Refusal,
};

/// Looks whether somebody else's image is still shared, whenever the image changed.
struct Guard {
    authorizer: Authorizer,
    caller: Caller,
    wanted: Wanted,
    image: ImageId,
    listener: Listener,
}

impl Guard {
    async fn check(&self) -> Result<(), Refusal> {
        match self.wanted {
            Wanted::Original(id) | Wanted::Of(id, _) => self.authorizer.image(&self.caller, id, Access::Viewer).await.map(|_| ()),
            Wanted::Rendition(id) => self.authorizer.rendition(&self.caller, id, Access::Viewer).await.map(|_| ()),
        }
    }
}

/// The bytes of a download of somebody else's image, as long as it is shared: it is withdrawn by a line of the change log, and once that
/// was read nothing more is sent.
pub(crate) async fn while_shared(core: &Core, caller: &Caller, wanted: Wanted, image: ImageId, blocks: Blocks) -> Result<Blocks, Refusal> {
    let (authorizer, listener) = (core.authorizer.clone(), core.changes.listen());
    let guard = Guard { authorizer, caller: caller.clone(), wanted, image, listener };
    // Once more, for what happened before anybody listened.
    guard.check().await?;
    let guarded = stream::unfold(Some((blocks, guard)), |state| async {
        let (mut blocks, mut guard) = state?;
        let block = next(&mut blocks, &mut guard).await?;
        let goes_on = block.is_ok();
        Some((block, goes_on.then_some((blocks, guard))))
    });
    Ok(guarded.boxed())
}

async fn next(blocks: &mut Blocks, guard: &mut Guard) -> Option<Result<Bytes, Status>> {
    loop {
        tokio::select! {
            // In this order: what is told comes before what is sent.
            biased;
            () = guard.listener.changed(guard.image) => {
                if let Err(refusal) = guard.check().await {
                    return Some(Err(refusal.into()));
                }
            }
            block = blocks.next() => return block,
        }
    }
}
