//! Lists, page by page.

use std::{collections::VecDeque, time::SystemTime};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tintype_proto::v1::{ImageFilter, ListImagesRequest};

use crate::{Client, DownloadImages, Format, Image, Owner, RenditionState, Result, shares, wire};

/// Which images to list; from [`Client::images`]. Every choice must hold; without one, all images of the caller are listed.
#[derive(Debug, Clone)]
#[must_use = "nothing is listed before `stream` or `page`"]
pub struct ListImages {
    client: Client,
    page_size: i32,
    filter: ImageFilter,
}

/// Some of the images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// Newest first.
    pub images: Vec<Image>,
    /// For the page after this one; `None` on the last page.
    pub next_page_token: Option<String>,
}

impl ListImages {
    pub(crate) fn new(client: Client) -> ListImages {
        ListImages { client, page_size: 0, filter: ImageFilter::default() }
    }

    /// Whose images; the caller's own if it is not said.
    pub fn owner(mut self, owner: Owner) -> ListImages {
        self.filter.owner = shares::owner_number(owner);
        self
    }

    /// The original has this format. Said more than once: one of these.
    pub fn format(mut self, format: Format) -> ListImages {
        self.filter.formats.push(wire::format_number(format));
        self
    }

    /// At least one rendition is in this state. Said more than once: in one of these.
    pub fn rendition_state(mut self, state: RenditionState) -> ListImages {
        self.filter.rendition_states.push(wire::rendition_state_number(state));
        self
    }

    /// The file name contains this text; upper and lower case differ.
    pub fn file_name_contains(mut self, text: impl Into<String>) -> ListImages {
        self.filter.file_name_contains = text.into();
        self
    }

    /// Created at this time or later.
    pub fn created_from(mut self, time: SystemTime) -> ListImages {
        self.filter.created_from = Some(wire::timestamp(time));
        self
    }

    /// Created before this time.
    pub fn created_before(mut self, time: SystemTime) -> ListImages {
        self.filter.created_before = Some(wire::timestamp(time));
        self
    }

    /// It has this label with this value. Said more than once: all of these.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> ListImages {
        self.filter.labels.insert(key.into(), value.into());
        self
    }

    /// How many images a page holds at most. The server chooses if it is not said.
    pub fn page_size(mut self, images: u32) -> ListImages {
        self.page_size = i32::try_from(images).unwrap_or(i32::MAX);
        self
    }

    /// All of them, a page at a time as the stream is read. Ends after the first error.
    pub fn stream(self) -> BoxStream<'static, Result<Image>> {
        walk(move |token| {
            let list = self.clone();
            async move { list.page(&token).await.map(|page| (page.images, page.next_page_token)) }
        })
    }

    /// Downloads all of them: a builder, see [`DownloadImages`].
    pub fn download(self) -> DownloadImages {
        DownloadImages::chosen(self.client, self.filter)
    }

    /// One page: the first for an empty token, else the one after the page that gave it.
    pub async fn page(&self, token: &str) -> Result<Page> {
        let request = ListImagesRequest { page_size: self.page_size, page_token: token.to_owned(), filter: Some(self.filter.clone()) };
        let answer = self.client.images_call(request, |mut service, request| async move { service.list_images(request).await }).await?;
        Ok(Page {
            images: answer.images.into_iter().map(|image| wire::image(Some(image))).collect::<Result<_>>()?,
            next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
        })
    }
}

/// The items of all pages, each page fetched when the one before is used up. Ends after the first error.
pub(crate) fn walk<T, F>(page: impl Fn(String) -> F + Send + 'static) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(Vec<T>, Option<String>)>> + Send + 'static,
{
    struct Walk<T, P> {
        page: P,
        ready: VecDeque<T>,
        /// Of the next page; `None` after the last one.
        token: Option<String>,
    }
    let walk = Walk { page, ready: VecDeque::new(), token: Some(String::new()) };
    stream::unfold(walk, |mut walk| async move {
        loop {
            if let Some(item) = walk.ready.pop_front() {
                return Some((Ok(item), walk));
            }
            match (walk.page)(walk.token.take()?).await {
                Ok((items, token)) => {
                    walk.ready.extend(items);
                    walk.token = token;
                }
                Err(error) => return Some((Err(error), walk)),
            }
        }
    })
    .boxed()
}
