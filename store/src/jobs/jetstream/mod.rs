//! The queue on NATS JetStream.
//!
//! One work-queue stream with one durable consumer for all workers. Each rendition has a subject of its own, of which the stream keeps one
//! message: telling of a rendition again replaces the hint that waits, or makes another one of the hint that a lost worker holds.

mod credentials;
mod events;
mod mute;
mod nudges;

use std::{collections::HashMap, fmt, sync::atomic::AtomicBool, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, ServerAddr,
    connection::State,
    jetstream::{
        self, AckKind, Context, ErrorCode, Message,
        consumer::{AckPolicy, PullConsumer, pull},
        context::{ConsumerInfoErrorKind, ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, PublishError, PublishErrorKind},
        stream::{self, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::Mutex,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use self::{
    credentials::Credentials,
    mute::{PROBE, Publishes},
};
use super::{Delivery, JobQueue, LEASE_WAIT};
use crate::{Kind, RenditionId, StoreError};

/// The oldest nats-server that keeps every setting made here.
const OLDEST_SERVER: (i64, i64) = (2, 10);
/// Uploads wait for a publish: it must be over quickly, whatever the server does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a ping takes in all: whoever asks has 2 s, and wants to hear what is wrong.
const PING_TIMEOUT: Duration = Duration::from_millis(1_800);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Bounds of the stream, for which the server sets the room aside. A hint beyond them is refused, and told again by the sweeper.
const MAX_MESSAGES: i64 = 1_000_000;
const MAX_BYTES: i64 = 128 << 20;
/// Hints that workers hold or that wait for their delay.
const MAX_ACK_PENDING: i64 = 100_000;
/// Messages sent before their acknowledgements are awaited.
const PUBLISH_BATCH: usize = 1000;

/// A work queue on a NATS server with JetStream. It need not be reachable: calls fail quickly until it is, and it is found again without
/// a restart. A stream or consumer that vanishes is made again.
pub struct JetStream {
    context: Context,
    settings: Settings,
    /// Where the servers are, without the secrets of their URLs.
    servers: String,
    /// The consumer, once the server, the stream and the consumer were looked at. Emptied when one of them turns out to be gone.
    prepared: Mutex<Option<PullConsumer>>,
    /// What became of the last publishes.
    publishes: std::sync::Mutex<Publishes>,
    /// Whether the stream of events was looked at.
    events_prepared: AtomicBool,
}

#[derive(Debug, Clone)]
struct Settings {
    stream: String,
    /// What every subject begins with.
    subjects: String,
    /// The subject of nudges.
    nudges: String,
    events_stream: String,
    /// What every subject of an event begins with.
    events: String,
    ack_wait: Duration,
    /// How long a message that this version cannot read is left alone before the next worker, maybe a newer one, gets it.
    unread_delay: Duration,
    /// Deliveries after which such a message counts as rubbish.
    unread_deliveries: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream: "TINTYPE_JOBS".into(),
            subjects: "tintype.jobs.v1".into(),
            nudges: "tintype.nudge.v1".into(),
            events_stream: "TINTYPE_EVENTS".into(),
            events: "tintype.events.v1".into(),
            ack_wait: Duration::from_mins(1),
            unread_delay: Duration::from_secs(10),
            // For about an hour, in which a roll-out should have ended.
            unread_deliveries: 360,
        }
    }
}

impl JetStream {
    const CONSUMER: &'static str = "tintype-workers";

    /// Connects to `nats://…` or `tls://…`, or several of these with commas between them. `USER:PASSWORD@` or `TOKEN@` before a host,
    /// percent-encoded, is how it signs in at all of them.
    ///
    /// Goes on in the background when the server cannot be reached. `Kind::Misconfigured` when it is reached and refuses the sign-in, is
    /// too old, has no JetStream, or has another stream in the place of this one.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_as(url, Settings::default()).await
    }

    async fn connect_as(url: &str, settings: Settings) -> Result<Self, StoreError> {
        let addresses = url.split(',').map(|part| part.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>();
        let addresses =
            addresses.map_err(|error| StoreError::caused_by(Kind::Misconfigured, "this is not the URL of a NATS server", error))?;
        let servers = addresses.iter().map(|address| format!("{}:{}", address.host(), address.port())).collect::<Vec<_>>().join(", ");
        let (credentials, addresses) = Credentials::taken_from(addresses)?;
        let client = connect(addresses, &credentials, &servers).await?;
        let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client);
        let queue = Self {
            context,
            settings,
            servers,
            prepared: Mutex::default(),
            publishes: std::sync::Mutex::default(),
            events_prepared: AtomicBool::default(),
        };
        match queue.prepared().await {
            Err(error) if error.kind() == Kind::Misconfigured => Err(error),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the queue cannot be used yet, hints wait in the catalog");
                Ok(queue)
            }
            Ok(_) => Ok(queue),
        }
    }

    fn subject(&self, id: RenditionId) -> String {
        format!("{}.convert.{id}", self.settings.subjects)
    }

    /// Fails at once when there is no connection: requests would only pile up in the client.
    fn check_connected(&self) -> Result<Client, StoreError> {
        let client = self.context.client();
        if client.connection_state() == State::Connected {
            return Ok(client);
        }
        Err(StoreError::new(Kind::Unavailable, format!("the NATS server at {} cannot be reached", self.servers)))
    }

    /// The consumer, after making sure that there are a fitting server, the stream and the consumer.
    async fn prepared(&self) -> Result<PullConsumer, StoreError> {
        let client = self.check_connected()?;
        let mut prepared = self.prepared.lock().await;
        if let Some(consumer) = &*prepared {
            return Ok(consumer.clone());
        }
        let version = client.server_info().version;
        if !client.is_server_compatible(OLDEST_SERVER.0, OLDEST_SERVER.1, 0) {
            let (major, minor) = OLDEST_SERVER;
            let message = format!("nats-server {version} at {} is too old, {major}.{minor} or newer is needed", self.servers);
            return Err(StoreError::new(Kind::Misconfigured, message));
        }
        self.prepare_jobs().await?;
        let config = pull::Config {
            durable_name: Some(Self::CONSUMER.into()),
            description: Some("Tintype's workers".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.settings.ack_wait,
            // Attempts are counted in the catalog.
            max_deliver: -1,
            max_ack_pending: MAX_ACK_PENDING,
            ..Default::default()
        };
        let consumer = self.context.create_consumer_on_stream(config, &self.settings.stream).await.map_err(|error| {
            let code = if let ConsumerErrorKind::JetStream(error) = error.kind() { Some(error.error_code()) } else { None };
            self.failed("make the consumer", code, error)
        })?;
        info!(queue.stream = self.settings.stream, queue.version = version, "the queue at {} is ready", self.servers);
        Ok(prepared.insert(consumer).clone())
    }

    async fn prepare_jobs(&self) -> Result<(), StoreError> {
        let config = stream::Config {
            name: self.settings.stream.clone(),
            description: Some("Tintype's renditions to look at".into()),
            subjects: vec![format!("{}.>", self.settings.subjects)],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_messages: MAX_MESSAGES,
            max_bytes: MAX_BYTES,
            max_messages_per_subject: 1,
            metadata: HashMap::from([("made-by".into(), concat!("tintype ", env!("CARGO_PKG_VERSION")).into())]),
            ..Default::default()
        };
        let fits = |found: &stream::Config| {
            found.retention == RetentionPolicy::WorkQueue
                && found.subjects == config.subjects
                && found.max_messages_per_subject == 1
                && !found.discard_new_per_subject
        };
        self.prepare_stream(&config, fits, "work queue").await
    }

    /// Makes the stream where there is none. One that is there and `fits` keeps what an operator changed, its bounds and replicas.
    async fn prepare_stream(
        &self,
        config: &stream::Config,
        fits: impl Fn(&stream::Config) -> bool + Send,
        what: &str,
    ) -> Result<(), StoreError> {
        let name = &config.name;
        match self.context.get_stream(name).await {
            Ok(stream) if fits(&stream.cached_info().config) => return Ok(()),
            Ok(_) => {
                let message = format!("the stream {name} at {} is not the {what} of Tintype; remove or rename it", self.servers);
                return Err(StoreError::new(Kind::Misconfigured, message));
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                GetStreamErrorKind::JetStream(cause) => return Err(self.failed("find the stream", Some(cause.error_code()), error)),
                _ => return Err(self.failed("find the stream", None, error)),
            },
        }
        self.context.create_stream(config).await.map(drop).map_err(|error| {
            let code = if let CreateStreamErrorKind::JetStream(error) = error.kind() { Some(error.error_code()) } else { None };
            self.failed("make the stream", code, error)
        })
    }

    async fn forget_prepared(&self) {
        self.prepared.lock().await.take();
    }

    fn failed(&self, what: &str, code: Option<ErrorCode>, error: impl Into<async_nats::Error>) -> StoreError {
        let kind = match code {
            Some(ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT) => Kind::Misconfigured,
            Some(
                ErrorCode::STREAM_STORE_FAILED
                | ErrorCode::INSUFFICIENT_RESOURCES
                | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
            ) => Kind::Full,
            // Without JetStream nobody answers its requests.
            None if !self.context.client().server_info().jetstream => Kind::Misconfigured,
            _ => Kind::Unavailable,
        };
        let hint = if kind == Kind::Misconfigured { "; JetStream must be enabled there (nats-server --jetstream)" } else { "" };
        StoreError::caused_by(kind, format!("cannot {what} at {}{hint}", self.servers), error)
    }

    /// Sends everything, then awaits all acknowledgements.
    async fn send(&self, ids: &[RenditionId]) -> Result<(), PublishError> {
        for batch in ids.chunks(PUBLISH_BATCH) {
            let mut acks = Vec::with_capacity(batch.len());
            for id in batch {
                acks.push(self.context.publish(self.subject(*id), id.to_string().into()).await?);
            }
            for ack in acks {
                ack.await?;
            }
        }
        Ok(())
    }

    async fn publish_prepared(&self, ids: &[RenditionId]) -> Result<(), StoreError> {
        self.prepared().await?;
        self.replace_if_mute().await?;
        let sent = match self.send(ids).await {
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                self.forget_prepared().await;
                self.prepared().await?;
                self.send(ids).await
            }
            sent => sent,
        };
        match sent {
            Err(error) if error.kind() == PublishErrorKind::TimedOut => {
                self.not_heard();
                Err(self.publish_failed(error))
            }
            Err(error) => {
                self.refused();
                Err(self.publish_failed(error))
            }
            Ok(()) => {
                self.heard();
                Ok(())
            }
        }
    }

    /// Finds the consumer, or makes it and its stream again.
    async fn check_consumer(&self) -> Result<(), StoreError> {
        let consumer = self.prepared().await?;
        let Err(error) = consumer.get_info().await else { return Ok(()) };
        self.forget_prepared().await;
        match error.kind() {
            ConsumerInfoErrorKind::JetStream(_) | ConsumerInfoErrorKind::NotFound => self.prepared().await.map(drop),
            _ => Err(self.failed("find the consumer", None, error)),
        }
    }

    fn silent(&self, waited: Duration, late: Elapsed) -> StoreError {
        let message = format!("the NATS server at {} did not answer within {waited:?}", self.servers);
        StoreError::caused_by(Kind::Unavailable, message, late)
    }

    fn publish_failed(&self, error: PublishError) -> StoreError {
        let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<jetstream::Error>());
        // Any code will do that is not the lack of JetStream, which was there a moment ago.
        let code = cause.map_or(ErrorCode::CLUSTER_NOT_AVAILABLE, jetstream::Error::error_code);
        self.failed("publish", Some(code), error)
    }

    /// What one request of the consumer gives. Hints in hand when it fails are returned.
    async fn pull(&self, consumer: &PullConsumer, max: usize) -> Result<Vec<Box<dyn Delivery>>, async_nats::Error> {
        let mut deliveries: Vec<Box<dyn Delivery>> = Vec::new();
        // The server ends the wait; the deadline is for one that went away.
        let deadline = Instant::now() + LEASE_WAIT + Duration::from_secs(1);
        let mut messages = consumer.fetch().max_messages(max).expires(LEASE_WAIT).messages().await?;
        while let Ok(Some(message)) = timeout_at(deadline, messages.next()).await {
            match message {
                Ok(message) => deliveries.extend(self.read_hint(message).await),
                Err(error) if deliveries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(deliveries)
    }

    /// The hint in a message: the id of a rendition; words after it are for newer versions. A message that begins with anything else may be one
    /// of theirs, so it is given back a number of times, with pauses, and removed then: what it told of, the sweeper tells again.
    async fn read_hint(&self, message: Message) -> Option<Box<dyn Delivery>> {
        let id = std::str::from_utf8(&message.payload).ok().and_then(|text| text.split(' ').next()?.parse().ok());
        let id = id.map(RenditionId);
        if let Some(id) = id.filter(|id| *id != PROBE) {
            return Some(Box::new(NatsDelivery { id, message: Some(message) }));
        }
        let is_rubbish = message.info().map_or(true, |info| info.delivered >= self.settings.unread_deliveries);
        let answer = if id == Some(PROBE) {
            AckKind::Ack
        } else if is_rubbish {
            warn!(queue.subject = %message.subject, "removed a message from the queue that is not the id of a rendition");
            AckKind::Ack
        } else {
            debug!(queue.subject = %message.subject, "left a message in the queue that only a newer worker may be able to read");
            AckKind::Nak(Some(self.settings.unread_delay))
        };
        if let Err(error) = message.ack_with(answer).await {
            warn!(error = &*error as &dyn std::error::Error, "cannot answer a message from the queue");
        }
        None
    }
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").field("servers", &self.servers).field("stream", &self.settings.stream).finish_non_exhaustive()
    }
}

async fn connect(addresses: Vec<ServerAddr>, credentials: &Credentials, servers: &str) -> Result<Client, StoreError> {
    let options = || {
        credentials
            .given_to(ConnectOptions::new())
            .name("tintype")
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .reconnect_delay_callback(|attempts| Duration::from_millis(50 * attempts as u64).min(MAX_RECONNECT_DELAY))
    };
    let refused = |error| StoreError::caused_by(Kind::Misconfigured, format!("cannot connect to NATS at {servers}"), error);
    match options().connect(&addresses).await {
        Ok(client) => Ok(client),
        Err(error) => match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Tls => Err(refused(error)),
            _ => {
                warn!(error = &error as &dyn std::error::Error, "cannot reach NATS at {servers} yet, trying on in the background");
                options().retry_on_initial_connect().connect(addresses).await.map_err(refused)
            }
        },
    }
}

#[async_trait]
impl JobQueue for JetStream {
    async fn publish(&self, ids: &[RenditionId]) -> Result<(), StoreError> {
        match timeout(REQUEST_TIMEOUT, self.publish_prepared(ids)).await {
            Ok(published) => published,
            Err(late) => {
                self.not_heard();
                Err(self.silent(REQUEST_TIMEOUT, late))
            }
        }
    }

    async fn lease(&self, max: usize) -> Result<Vec<Box<dyn Delivery>>, StoreError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let consumer = self.prepared().await?;
        match self.pull(&consumer, max).await {
            Ok(deliveries) => Ok(deliveries),
            Err(error) => {
                // Looked at anew by the next call, not at once: waiting calls are told of a stream that is deleted while the server still removes
                // its files, and what is made in their place meanwhile loses its own.
                self.forget_prepared().await;
                Err(self.failed("lease", Some(ErrorCode::CLUSTER_NOT_AVAILABLE), error))
            }
        }
    }

    fn ack_wait(&self) -> Option<Duration> {
        Some(self.settings.ack_wait)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + PING_TIMEOUT;
        timeout_at(deadline, self.check_consumer()).await.unwrap_or_else(|late| Err(self.silent(PING_TIMEOUT, late)))?;
        self.check_not_mute(deadline).await
    }
}

/// A hint of [`JetStream`].
struct NatsDelivery {
    id: RenditionId,
    /// `None` once it is answered.
    message: Option<Message>,
}

impl NatsDelivery {
    fn failed(&self, what: &str, error: async_nats::Error) -> StoreError {
        StoreError::caused_by(Kind::Unavailable, format!("cannot {what} the hint of rendition {}", self.id), error)
    }
}

#[async_trait]
impl Delivery for NatsDelivery {
    fn rendition(&self) -> RenditionId {
        self.id
    }

    async fn in_progress(&self) -> Result<(), StoreError> {
        let Some(message) = &self.message else { return Ok(()) };
        message.ack_with(AckKind::Progress).await.map_err(|error| self.failed("hold", error))
    }

    async fn ack(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(message) = self.message.take() else { return Ok(()) };
        message.double_ack().await.map_err(|error| self.failed("ack", error))
    }

    async fn retry(mut self: Box<Self>, delay: Duration) -> Result<(), StoreError> {
        let Some(message) = self.message.take() else { return Ok(()) };
        message.ack_with(AckKind::Nak(Some(delay))).await.map_err(|error| self.failed("give back", error))
    }
}

impl Drop for NatsDelivery {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            // Sending is done at once unless the client's buffer is full; then the ack wait does the same later.
            let _ = message.ack_with(AckKind::Nak(None)).now_or_never();
        }
    }
}

impl fmt::Debug for NatsDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsDelivery").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
