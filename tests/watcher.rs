use tintype_proto::v1::{WatchImagesRequest, WatchImagesResponse, watch_images_response::Message};
use tonic::Streaming;

use crate::{Client, Refused};

/// A watch under way.
#[derive(Debug)]
pub struct Watcher {
    messages: Streaming<WatchImagesResponse>,
    /// Goes on after the last message.
    pub resume_token: String,
}

/// What a message of a watch says, without the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// An image that was there, by its id.
    Existing(i64),
    /// An image was uploaded.
    Created(i64),
    /// A rendition of the image went to this state, by its number.
    Rendition(i64, i32),
    /// File name or labels of an image were changed.
    Updated(i64),
    /// An image was deleted.
    Deleted(i64),
    /// Everything was told.
    CaughtUp,
}

impl Watcher {
    /// Begins to watch these images, all if there is none; goes on after `resume_token` unless it is empty.
    pub async fn start(client: &Client, image_ids: &[i64], resume_token: &str) -> Result<Self, Refused> {
        let request = WatchImagesRequest { image_ids: image_ids.to_vec(), resume_token: resume_token.to_owned() };
        let messages = client.images().watch_images(request).await?.into_inner();
        Ok(Self { messages, resume_token: resume_token.to_owned() })
    }

    /// The next message. Panics when the stream ends without a status.
    pub async fn next(&mut self) -> Result<Told, Refused> {
        let message = self.messages.message().await?.expect("a watch never ends well");
        assert!(!message.resume_token.is_empty(), "every message carries a token: {message:?}");
        self.resume_token = message.resume_token;
        let id = |image: Option<tintype_proto::v1::Image>| image.expect("the message has the image").id;
        Ok(match message.message.expect("a message says something") {
            Message::Existing(existing) => Told::Existing(id(existing.image)),
            Message::Created(created) => Told::Created(id(created.image)),
            Message::RenditionChanged(changed) => Told::Rendition(id(changed.image), changed.state),
            Message::Updated(updated) => Told::Updated(id(updated.image)),
            Message::Deleted(deleted) => Told::Deleted(deleted.image_id),
            Message::CaughtUp(_) => Told::CaughtUp,
        })
    }

    /// Everything through the next message that is `last`.
    pub async fn through(&mut self, last: Told) -> Vec<Told> {
        let mut told = Vec::new();
        while told.last() != Some(&last) {
            told.push(self.next().await.expect("the watch goes on"));
        }
        told
    }
}
