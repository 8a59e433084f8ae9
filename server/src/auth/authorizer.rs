use std::sync::Arc;

use tintype_store::{Access, ImageId, Rendition, RenditionId, Scope, SeenImage, catalog::Catalog};

use super::Caller;
use crate::status::Refusal;

/// The one place that decides whether a caller may see or change a thing. Rpcs get images and renditions only from here, and say what for, so
/// none can forget to ask. What the caller may not see is not found, exactly as if it did not exist, and after the same one query; what the
/// caller may see but not do this with is not permitted.
#[derive(Debug, Clone)]
pub(crate) struct Authorizer {
    catalog: Arc<dyn Catalog>,
}

impl Authorizer {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog }
    }

    /// The image, if the caller has that access to it.
    pub(crate) async fn image(&self, caller: &Caller, id: ImageId, needed: Access) -> Result<SeenImage, Refusal> {
        let seen = self.catalog.seen_images(caller.0.user.id, &[id]).await?.pop();
        permitted(seen.ok_or_else(|| Refusal::image_not_found(id))?, needed)
    }

    /// These images, in the order of their ids, if the caller has that access to all of them.
    pub(crate) async fn images(&self, caller: &Caller, ids: &[ImageId], needed: Access) -> Result<Vec<SeenImage>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let seen = self.catalog.seen_images(caller.0.user.id, ids).await?;
        match ids.iter().find(|id| seen.binary_search_by_key(*id, |seen| seen.image.id).is_err()) {
            Some(missing) => Err(Refusal::image_not_found(*missing)),
            None => seen.into_iter().map(|seen| permitted(seen, needed)).collect(),
        }
    }

    /// The rendition and its image, if the caller has that access to it.
    pub(crate) async fn rendition(&self, caller: &Caller, id: RenditionId, needed: Access) -> Result<(SeenImage, Rendition), Refusal> {
        let seen = self.catalog.seen_image_of(caller.0.user.id, id).await?;
        let found = seen.and_then(|seen| {
            let rendition = seen.image.renditions.iter().find(|rendition| rendition.id == id)?.clone();
            Some((seen, rendition))
        });
        let (seen, rendition) = found.ok_or_else(|| Refusal::rendition_not_found(id))?;
        Ok((permitted(seen, needed)?, rendition))
    }

    /// The catalog itself, with what is everybody's, if the caller is an administrator with a token for that.
    pub(crate) fn everything(&self, caller: &Caller) -> Result<&dyn Catalog, Refusal> {
        caller.needs(Scope::Admin)?;
        Ok(&*self.catalog)
    }
}

fn permitted(seen: SeenImage, needed: Access) -> Result<SeenImage, Refusal> {
    if seen.access >= needed { Ok(seen) } else { Err(Refusal::not_permitted(seen.image.id, needed)) }
}
