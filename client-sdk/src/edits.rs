//! What is asked for images that are there: renditions, names and labels.

use tintype_proto::v1::{self, CreateRenditionRequest, RenditionSpec, UpdateImageRequest};

use crate::{Client, Effort, Fit, Format, Image, Rendition, Result, wire};

/// A rendition to ask for; from [`Client::create_rendition`]. What is not said is the format's default.
#[derive(Debug, Clone)]
#[must_use = "nothing is asked for before `send`"]
pub struct CreateRendition {
    client: Client,
    image_id: i64,
    spec: RenditionSpec,
}

impl CreateRendition {
    pub(crate) fn new(client: Client, image_id: i64, format: Format) -> CreateRendition {
        CreateRendition { client, image_id, spec: RenditionSpec { format: wire::format_number(format), ..RenditionSpec::default() } }
    }

    /// From 1 to 100, for JPEG, lossy WebP and AVIF.
    pub fn quality(mut self, quality: u32) -> CreateRendition {
        self.spec.quality = wire::signed_32(quality);
        self
    }

    /// Every pixel as it is, for WebP.
    pub fn lossless(mut self) -> CreateRendition {
        self.spec.lossless = true;
        self
    }

    /// Width in pixels of the upright picture, from 1. The height follows if it is not said.
    pub fn width(mut self, pixels: u32) -> CreateRendition {
        self.spec.width = wire::signed_32(pixels);
        self
    }

    /// Height in pixels of the upright picture, from 1. The width follows if it is not said.
    pub fn height(mut self, pixels: u32) -> CreateRendition {
        self.spec.height = wire::signed_32(pixels);
        self
    }

    /// What happens when the sides are of another ratio; [`Fit::Contain`] if it is not said. The others need width and height.
    pub fn fit(mut self, fit: Fit) -> CreateRendition {
        self.spec.fit = wire::fit_number(fit);
        self
    }

    /// Makes a small picture larger; needs a width or a height.
    pub fn enlarge(mut self) -> CreateRendition {
        self.spec.enlarge = true;
        self
    }

    /// What transparent pixels are drawn onto: `#` and six hexadecimal digits.
    pub fn background(mut self, colour: impl Into<String>) -> CreateRendition {
        self.spec.background = colour.into();
        self
    }

    /// How much time to spend on fewer bytes; [`Effort::Balanced`] if it is not said.
    pub fn effort(mut self, effort: Effort) -> CreateRendition {
        self.spec.effort = wire::effort_number(effort);
        self
    }

    /// Copies EXIF, XMP and text as far as the format can hold them.
    pub fn keep_metadata(mut self) -> CreateRendition {
        self.spec.keep_metadata = true;
        self
    }

    /// Asks for it, and returns it as it is then: pending, or what stands since it was asked for before, a failed one too.
    ///
    /// [`Client::download_rendition`] with [`wait`](crate::DownloadRequest::wait) brings it as soon as it is made.
    pub async fn send(self) -> Result<Rendition> {
        let request = CreateRenditionRequest { image_id: self.image_id, spec: Some(self.spec) };
        let call = self.client.images_call(request, |mut service, request| async move { service.create_rendition(request).await });
        wire::rendition(call.await?.rendition)
    }
}

/// A change to an image; from [`Client::update_image`]. What is not said stays.
#[derive(Debug, Clone)]
#[must_use = "nothing is changed before `send`"]
pub struct UpdateImage {
    client: Client,
    image: v1::Image,
    paths: Vec<String>,
}

impl UpdateImage {
    pub(crate) fn new(client: Client, image_id: i64) -> UpdateImage {
        UpdateImage { client, image: v1::Image { id: image_id, ..v1::Image::default() }, paths: Vec::new() }
    }

    /// Another file name.
    pub fn file_name(mut self, name: impl Into<String>) -> UpdateImage {
        self.image.file_name = name.into();
        self.named("file_name".to_owned())
    }

    /// Sets this label, whatever others there are.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> UpdateImage {
        let key = key.into();
        self.image.labels.insert(key.clone(), value.into());
        self.named(format!("labels.{key}"))
    }

    /// Removes this label if it is there.
    pub fn remove_label(mut self, key: &str) -> UpdateImage {
        self.image.labels.remove(key);
        self.named(format!("labels.{key}"))
    }

    /// Removes all labels but those that are set with [`label`](UpdateImage::label).
    pub fn clear_labels(self) -> UpdateImage {
        self.named("labels".to_owned())
    }

    /// Changes the image, and returns it as changed.
    pub async fn send(self) -> Result<Image> {
        let update_mask = Some(prost_types::FieldMask { paths: self.paths });
        let request = UpdateImageRequest { image: Some(self.image), update_mask };
        let call = self.client.images_call(request, |mut service, request| async move { service.update_image(request).await });
        wire::image(call.await?.image)
    }

    fn named(mut self, path: String) -> UpdateImage {
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
        self
    }
}
