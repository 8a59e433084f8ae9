//! What happens to images, as it happens.

use std::time::{Duration, SystemTime};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tintype_proto::v1::{WatchImagesRequest, WatchImagesResponse};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{Client, Error, Image, RenditionState, Result, client::Call, wire};

/// A server says something every 15 s unless it is told otherwise: after this time the connection is as good as lost.
const SILENCE: Duration = Duration::from_mins(1);

/// Which images to watch; from [`Client::watch`]. Without a choice, all images of the caller and all that are shared with the
/// caller by name, also future ones.
#[derive(Debug, Clone)]
#[must_use = "nothing is watched before `start` or `stream`"]
pub struct Watch {
    client: Client,
    request: WatchImagesRequest,
}

/// Something that a watch tells. An image in it is as it was when the server told it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An image that was there when the watch began.
    Existing(Image),
    /// An image was uploaded, or is shared with the caller from now on.
    Created {
        /// The image.
        image: Image,
        /// When.
        at: SystemTime,
    },
    /// A rendition was asked for, or went from one state to another.
    RenditionChanged {
        /// The image with all its renditions.
        image: Image,
        /// The rendition that changed.
        rendition_id: i64,
        /// The state it went to; in `image` it may already be in another.
        state: RenditionState,
        /// When.
        at: SystemTime,
    },
    /// The file name or labels of an image were changed, or what the caller may do with it.
    Updated {
        /// The image.
        image: Image,
        /// When.
        at: SystemTime,
    },
    /// An image was deleted, with all its renditions, or is not shared with the caller any more.
    Deleted {
        /// The image.
        image_id: i64,
        /// When.
        at: SystemTime,
    },
    /// Everything up to now was told: once after the images that exist, and from time to time while nothing happens.
    CaughtUp,
}

impl Event {
    /// The image, unless it is deleted.
    pub fn image(&self) -> Option<&Image> {
        match self {
            Event::Existing(image)
            | Event::Created { image, .. }
            | Event::RenditionChanged { image, .. }
            | Event::Updated { image, .. } => Some(image),
            Event::Deleted { .. } | Event::CaughtUp => None,
        }
    }
}

impl Watch {
    pub(crate) fn new(client: Client) -> Watch {
        Watch { client, request: WatchImagesRequest::default() }
    }

    /// Watches this image. Said more than once: all of these, and no others.
    pub fn image(mut self, image_id: i64) -> Watch {
        self.request.image_ids.push(image_id);
        self
    }

    /// Goes on after the event that came with this token: see [`Watching::resume_token`]. Needs the same images as that watch.
    pub fn resume(mut self, token: impl Into<String>) -> Watch {
        self.request.resume_token = token.into();
        self
    }

    /// Begins. Nothing is sent before the first [`Watching::next`].
    pub fn start(self) -> Watching {
        let call = self.client.call();
        Watching { client: self.client, request: self.request, call, answers: None }
    }

    /// The events as a stream. Ends after the first error.
    pub fn stream(self) -> BoxStream<'static, Result<Event>> {
        stream::unfold(Some(self.start()), |watching| async {
            let mut watching = watching?;
            let event = watching.next().await;
            let rest = event.is_ok().then_some(watching);
            Some((event, rest))
        })
        .boxed()
    }
}

/// A watch under way. It connects again by itself when the connection is lost or the server shuts down, as patiently as the
/// [`RetryPolicy`](crate::RetryPolicy) says, and goes on where it was: no event is missing and none comes twice.
#[derive(Debug)]
pub struct Watching {
    client: Client,
    request: WatchImagesRequest,
    call: Call,
    answers: Option<Streaming<WatchImagesResponse>>,
}

impl Watching {
    /// The next event; waits for it. Never ends by itself.
    ///
    /// The error `RESUME_TOKEN_TOO_OLD` means that changes in between are not kept any more: begin a new watch. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            match self.message().await {
                Ok(message) => {
                    self.call.achieved();
                    let token = message.resume_token.clone();
                    let event = wire::event(message)?;
                    self.request.resume_token = token;
                    // What is newer than this crate is passed by.
                    if let Some(event) = event {
                        return Ok(event);
                    }
                }
                Err(error) => {
                    self.answers = None;
                    self.call.failed(error).await?;
                }
            }
        }
    }

    /// Continues after the latest event, also in another process: see [`Watch::resume`]. Empty before the first one.
    pub fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    async fn message(&mut self) -> Result<WatchImagesResponse> {
        if self.answers.is_none() {
            let request = self.call.streaming_request(self.request.clone()).await?;
            self.answers = Some(self.client.images_service().watch_images(request).await?.into_inner());
        }
        let Some(answers) = &mut self.answers else { return Err(Error::bad_answer("there is no stream")) };
        match timeout(SILENCE, answers.message()).await {
            Ok(message) => message?.ok_or_else(|| Error::from(Status::unavailable("the watch ended"))),
            Err(_) => Err(Error::from(Status::unavailable("the server has fallen silent"))),
        }
    }
}
