use std::sync::Arc;

use tintype_store::{Image, ImageId, Rendition, RenditionId, Scope, catalog::Catalog};

use super::Caller;
use crate::status::Refusal;

/// The one place that decides whether a caller may see or change a thing. Rpcs get images and renditions only from here, so none can
/// forget to ask. What the caller may not see is not found, exactly as if it did not exist.
#[derive(Debug, Clone)]
pub(crate) struct Authorizer {
    catalog: Arc<dyn Catalog>,
}

impl Authorizer {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog }
    }

    /// The image, if it is the caller's.
    pub(crate) async fn image(&self, caller: &Caller, id: ImageId) -> Result<Image, Refusal> {
        self.visible(caller, id).await?.ok_or_else(|| Refusal::image_not_found(id))
    }

    /// These images, in the order of their ids, if all of them are the caller's.
    pub(crate) async fn images(&self, caller: &Caller, ids: &[ImageId]) -> Result<Vec<Image>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut images = self.catalog.images(ids).await?;
        images.retain(|image| image.owner == caller.0.user.id);
        match ids.iter().find(|id| images.binary_search_by_key(*id, |image| image.id).is_err()) {
            Some(missing) => Err(Refusal::image_not_found(*missing)),
            None => Ok(images),
        }
    }

    /// The rendition and its image, if that is the caller's.
    pub(crate) async fn rendition(&self, caller: &Caller, id: RenditionId) -> Result<(Image, Rendition), Refusal> {
        let not_found = || Refusal::rendition_not_found(id);
        let rendition = self.catalog.rendition(id).await?.ok_or_else(not_found)?;
        let image = self.visible(caller, rendition.image).await?.ok_or_else(not_found)?;
        Ok((image, rendition))
    }

    /// The catalog itself, with what is everybody's, if the caller is an administrator with a token for that.
    pub(crate) fn everything(&self, caller: &Caller) -> Result<&dyn Catalog, Refusal> {
        caller.needs(Scope::Admin)?;
        Ok(&*self.catalog)
    }

    async fn visible(&self, caller: &Caller, id: ImageId) -> Result<Option<Image>, Refusal> {
        let image = self.catalog.image(id).await?;
        Ok(image.filter(|image| image.owner == caller.0.user.id))
    }
}
