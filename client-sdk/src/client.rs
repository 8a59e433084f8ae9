//! The client and its calls with a single answer.

use std::{fmt, sync::Arc, time::Duration};

use tintype_proto::v1::{
    ChangePasswordRequest, DeleteImageRequest, ErrorReason, GetCurrentUserRequest, GetImageRequest, GetLimitsRequest,
    RetryRenditionRequest, auth_service_client::AuthServiceClient, image_service_client::ImageServiceClient,
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    Admin, ClientBuilder, CreateRendition, DownloadImages, DownloadRequest, Error, ErrorKind, Event, Format, Image, ImageState, Limits,
    ListImages, Rendition, Result, RetryPolicy, Secret, SignIn, Source, TokenProvider, Tokens, UpdateImage, Upload, User, Users, Watch,
    retry::Attempts, token, transfers::Transfers, wire,
};

/// A connection to a Tintype service.
///
/// Cheap to clone: clones share the connection, which carries many calls at once and is made anew when it is lost.
/// Reads, deletions and uploads that fail for a passing reason are repeated as the [`RetryPolicy`] says.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    channel: Channel,
    tokens: Option<Arc<dyn TokenProvider>>,
    retry: RetryPolicy,
    call_timeout: Duration,
    transfers: Arc<Transfers>,
}

impl Client {
    /// Connects to `url` without a token, which is enough to [sign in](Client::sign_in) and little else.
    ///
    /// Waits for the connection, so a wrong address shows at once.
    pub async fn connect(url: impl Into<String>) -> Result<Client> {
        let client = Client::builder(url).build()?;
        // Any answer proves that somebody is there, also the refusal of a call without a token.
        match client.current_user().await {
            Err(error) if error.kind() != ErrorKind::Refused => Err(error),
            _ => Ok(client),
        }
    }

    /// Makes a client for the server at `url`, `http://…` or `https://…`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn new(
        channel: Channel,
        tokens: Option<Arc<dyn TokenProvider>>,
        retry: RetryPolicy,
        call_timeout: Duration,
        transfers: Arc<Transfers>,
    ) -> Client {
        Client(Arc::new(Shared { channel, tokens, retry, call_timeout, transfers }))
    }

    /// The same connection and settings with another token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<Secret>) -> Client {
        let tokens: Arc<dyn TokenProvider> = Arc::new(token::StaticToken(token.into()));
        Client::new(self.0.channel.clone(), Some(tokens), self.0.retry, self.0.call_timeout, self.0.transfers.clone())
    }

    /// Exchanges a user's name and password for a token: a builder, see [`SignIn`]. This client goes on as before: see
    /// [`Client::with_token`].
    pub fn sign_in(&self, user_name: &str, password: impl Into<Secret>) -> SignIn {
        SignIn::new(self.clone(), user_name.to_owned(), &password.into())
    }

    /// Who this client is signed in as, and how much that user stores.
    pub async fn current_user(&self) -> Result<User> {
        let request = GetCurrentUserRequest {};
        let answer = self
            .repeatable_call(request, |channel, request| async move { AuthServiceClient::new(channel).get_current_user(request).await });
        wire::user(answer.await?.user)
    }

    /// The caller's tokens.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.clone())
    }

    /// Changes the caller's password and revokes all tokens of the caller, this client's included. Not repeated when the connection breaks.
    pub async fn change_password(&self, old: impl Into<Secret>, new: impl Into<Secret>) -> Result<()> {
        let (old, new) = (old.into(), new.into());
        let request = ChangePasswordRequest { old_password: old.expose().to_owned(), new_password: new.expose().to_owned() };
        let request = self.call().request(request).await?;
        AuthServiceClient::new(self.channel()).change_password(request).await?;
        Ok(())
    }

    /// The users of the service, for administrators.
    pub fn users(&self) -> Users {
        Users::new(self.clone())
    }

    /// How the service is doing and what failed, for administrators.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Everything about one image but its bytes.
    pub async fn image(&self, image_id: i64) -> Result<Image> {
        let request = GetImageRequest { id: image_id };
        let answer = self.images_call(request, |mut service, request| async move { service.get_image(request).await }).await?;
        wire::image(answer.image)
    }

    /// Returns the image as soon as all its renditions are final, ready or failed. Bound it with [`tokio::time::timeout`] where needed.
    pub async fn wait_ready(&self, image_id: i64) -> Result<Image> {
        let mut watching = self.watch().image(image_id).start();
        loop {
            match watching.next().await? {
                // The refusal of what is not there any more.
                Event::Deleted { .. } => return self.image(image_id).await,
                Event::Existing(image) | Event::Created { image, .. } | Event::RenditionChanged { image, .. }
                    if image.state() != ImageState::Pending =>
                {
                    return Ok(image);
                }
                _ => {}
            }
        }
    }

    /// What happens to images, as it happens: a builder, see [`Watch`].
    pub fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    /// The caller's images, or those that are shared with the caller, newest first: a builder for a lazy stream.
    pub fn images(&self) -> ListImages {
        ListImages::new(self.clone())
    }

    /// Deletes an image with all its renditions. An image that is not there is the error `IMAGE_NOT_FOUND`.
    pub async fn delete(&self, image_id: i64) -> Result<()> {
        let mut call = self.call();
        let mut answer_was_lost = false;
        loop {
            let request = call.request(DeleteImageRequest { id: image_id }).await?;
            match self.images_service().delete_image(request).await.map_err(Error::from) {
                Ok(_) => return Ok(()),
                // The attempt before did it, and its answer never came.
                Err(error) if answer_was_lost && error.is(ErrorReason::ImageNotFound) => return Ok(()),
                Err(error) => {
                    answer_was_lost |= error.leaves_open();
                    call.failed(error).await?;
                }
            }
        }
    }

    /// Asks for an image in a format, in any size and quality: a builder, see [`CreateRendition`].
    pub fn create_rendition(&self, image_id: i64, format: Format) -> CreateRendition {
        CreateRendition::new(self.clone(), image_id, format)
    }

    /// Changes an image's file name or labels: a builder, see [`UpdateImage`].
    pub fn update_image(&self, image_id: i64) -> UpdateImage {
        UpdateImage::new(self.clone(), image_id)
    }

    /// Puts a failed rendition back into the queue, with all its attempts, and returns it as it is then.
    ///
    /// Repeated when the connection breaks or the server is away: when it took all the same, this returns how the rendition is by then.
    pub async fn retry_rendition(&self, rendition_id: i64) -> Result<Rendition> {
        let mut call = self.call();
        let mut answer_was_lost = false;
        loop {
            let request = call.request(RetryRenditionRequest { rendition_id }).await?;
            match self.images_service().retry_rendition(request).await.map_err(Error::from) {
                Ok(answer) => return wire::rendition(answer.into_inner().rendition),
                // The attempt before did it, and its answer never came.
                Err(error) if answer_was_lost && error.is(ErrorReason::RenditionNotFailed) => {
                    return self.rendition_of(&error, rendition_id).await?.ok_or(error);
                }
                Err(error) => {
                    answer_was_lost |= error.leaves_open();
                    call.failed(error).await?;
                }
            }
        }
    }

    /// The rendition of the image that a refusal names; `None` when it names none, or the rendition is gone.
    async fn rendition_of(&self, refusal: &Error, rendition_id: i64) -> Result<Option<Rendition>> {
        let Some(image_id) = refusal.metadata("image_id").and_then(|id| id.parse().ok()) else { return Ok(None) };
        let renditions = self.image(image_id).await?.renditions;
        Ok(renditions.into_iter().find(|rendition| rendition.id == rendition_id))
    }

    /// Every limit in force, and the formats that are taken and made.
    pub async fn limits(&self) -> Result<Limits> {
        let request = GetLimitsRequest {};
        wire::limits(self.images_call(request, |mut service, request| async move { service.get_limits(request).await }).await?)
    }

    /// Uploads a file, bytes in memory, a reader or a stream: a builder, see [`Upload`].
    pub fn upload(&self, source: impl Into<Source>) -> Upload {
        Upload::new(self.clone(), source.into())
    }

    /// Downloads an image, as JPEG unless another format is asked for: a builder, see [`DownloadRequest`].
    pub fn download(&self, image_id: i64) -> DownloadRequest {
        DownloadRequest::image(self.clone(), image_id)
    }

    /// Downloads many images: a builder, see [`DownloadImages`]. Of all images that a list would show see [`ListImages::download`].
    pub fn download_images(&self, image_ids: impl IntoIterator<Item = i64>) -> DownloadImages {
        DownloadImages::of(self.clone(), image_ids.into_iter().collect())
    }

    /// Downloads one certain rendition: a builder, see [`DownloadRequest`].
    pub fn download_rendition(&self, rendition_id: i64) -> DownloadRequest {
        DownloadRequest::rendition(self.clone(), rendition_id)
    }

    /// A call with a single answer that may be repeated without harm.
    pub(crate) async fn images_call<Q: Clone, A, F>(
        &self,
        message: Q,
        send: impl Fn(ImageServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.repeatable_call(message, |channel, request| send(ImageServiceClient::new(channel), request)).await
    }

    /// A call with a single answer, of any service, that may be repeated without harm.
    pub(crate) async fn repeatable_call<Q: Clone, A, F>(&self, message: Q, send: impl Fn(Channel, Request<Q>) -> F) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut call = self.call();
        loop {
            let request = call.request(message.clone()).await?;
            match send(self.channel(), request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => call.failed(status.into()).await?,
            }
        }
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.0.transfers
    }

    pub(crate) fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    pub(crate) fn images_service(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.0.channel.clone())
    }

    pub(crate) fn attempts(&self) -> Attempts {
        self.0.retry.start()
    }

    pub(crate) fn call(&self) -> Call {
        Call { client: self.clone(), attempts: self.attempts(), sent: None, asked_again: false }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tokens", &self.0.tokens).field("retry", &self.0.retry).finish_non_exhaustive()
    }
}

/// One call with all its attempts: puts the token on, and decides whether and when there is another attempt.
#[derive(Debug)]
pub(crate) struct Call {
    client: Client,
    attempts: Attempts,
    /// The token of the last attempt.
    sent: Option<Secret>,
    /// Whether the provider was already told that its token is invalid.
    asked_again: bool,
}

impl Call {
    /// The request of a call with a single answer.
    pub(crate) async fn request<T>(&mut self, message: T) -> Result<Request<T>> {
        let mut request = self.streaming_request(message).await?;
        request.set_timeout(self.client.0.call_timeout);
        Ok(request)
    }

    /// The request of a call that may take as long as it needs.
    pub(crate) async fn streaming_request<T>(&mut self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if self.sent.is_none()
            && let Some(provider) = &self.client.0.tokens
        {
            self.sent = Some(provider.token(None).await?);
        }
        if let Some(token) = &self.sent {
            request.metadata_mut().insert("authorization", bearer(token)?);
        }
        Ok(request)
    }

    /// Returns when it is time for the next attempt, or gives `error` back if there shall be none.
    pub(crate) async fn failed(&mut self, error: Error) -> Result<()> {
        if error.is(ErrorReason::TokenInvalid) && self.renew_token().await? {
            return Ok(());
        }
        self.attempts.wait(error).await
    }

    /// Something was achieved: what fails next fails for the first time.
    pub(crate) fn achieved(&mut self) {
        self.attempts.reset();
        self.asked_again = false;
    }

    /// Whether another attempt would follow on `error`.
    pub(crate) fn would_repeat(&self, error: &Error) -> bool {
        let renews = error.is(ErrorReason::TokenInvalid) && !self.asked_again && self.sent.is_some();
        renews || self.attempts.would_wait(error)
    }

    /// Whether the provider had another token.
    async fn renew_token(&mut self) -> Result<bool> {
        let (Some(refused), Some(provider), false) = (self.sent.take(), &self.client.0.tokens, self.asked_again) else { return Ok(false) };
        self.asked_again = true;
        let token = provider.token(Some(&refused)).await?;
        let renewed = token != refused;
        self.sent = Some(token);
        Ok(renewed)
    }
}

fn bearer(token: &Secret) -> Result<MetadataValue<Ascii>> {
    let parsed = format!("Bearer {}", token.expose()).parse::<MetadataValue<Ascii>>();
    let mut value = parsed.map_err(|_| Error::bad_setting("the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}
