use std::time::Duration;

use tintype_store::ConversionLimits;

/// Every limit of the server. `GetLimits` publishes them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// What an image and its conversion may take.
    pub(crate) conversion: ConversionLimits,
    /// Open streams of one connection.
    pub(crate) max_streams_per_connection: u32,
    /// How long a client may be silent while the server waits for it.
    pub(crate) stream_idle: Duration,
    /// Bytes a second that a client must send or take while the server waits for it; 0: any.
    pub(crate) min_stream_bytes_per_second: u64,
    /// Calls under way at once, without watches and health.
    pub(crate) max_calls: usize,
    /// Calls of one user under way at once, with watches.
    pub(crate) max_calls_per_user: usize,
    /// Open connections of both ports.
    pub(crate) max_connections: usize,
    /// Open connections from one address.
    pub(crate) max_connections_per_source: usize,
    /// How long a connection may be without a call.
    pub(crate) connection_idle: Duration,
    /// How long `wait` holds a download.
    pub(crate) max_wait: Duration,
    /// Quota of new users in bytes.
    pub(crate) user_quota_bytes: u64,
    /// Calls of one user in a second over time; 0: as many as come.
    pub(crate) requests_per_second: u32,
    /// Calls of one user at once after a pause.
    pub(crate) request_burst: u32,
    /// Renditions of one image beyond which none can be asked for.
    pub(crate) max_renditions_per_image: u32,
    /// How long what is durable of an unfinished upload is kept.
    pub(crate) upload_expiry: Duration,
    /// How long a watch is silent at most.
    pub(crate) watch_heartbeat: Duration,
}

impl Limits {
    /// Length of a file name in bytes of UTF-8.
    pub(crate) const MAX_FILE_NAME_BYTES: usize = 255;
    /// Length of a request id in bytes.
    pub(crate) const MAX_REQUEST_ID_BYTES: usize = 64;
    /// Length of a user's name in bytes.
    pub(crate) const MAX_USERNAME_BYTES: usize = 64;
    /// Length of a password in bytes: hashing longer ones would only cost time.
    pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;
    /// Length of a token's label in bytes.
    pub(crate) const MAX_LABEL_BYTES: usize = 64;
    /// Length of the key of an image's label in bytes.
    pub(crate) const MAX_LABEL_KEY_BYTES: usize = 63;
    /// Length of the value of an image's label in bytes.
    pub(crate) const MAX_LABEL_VALUE_BYTES: usize = 255;
    /// Longest life of a token that has an end.
    pub(crate) const MAX_TTL: Duration = Duration::from_hours(24 * 3650);
    /// How long a link is good when nothing is said.
    pub(crate) const DEFAULT_LINK_TTL: Duration = Duration::from_mins(15);
    /// Longest life of a link by which a file comes.
    pub(crate) const MAX_UPLOAD_LINK_TTL: Duration = Duration::from_mins(15);
    /// Longest life of a link by which a picture goes out.
    pub(crate) const MAX_DOWNLOAD_LINK_TTL: Duration = Duration::from_hours(7 * 24);
    /// Length of the content type with which a file comes by a link, in bytes.
    pub(crate) const MAX_CONTENT_TYPE_BYTES: usize = 255;
    /// Chunk size that serves best: the unit of storage and checksums.
    pub(crate) const ADVISED_CHUNK_BYTES: usize = tintype_store::blobs::CHECKSUM_BLOCK_BYTES;
    /// Largest chunk.
    pub(crate) const MAX_CHUNK_BYTES: usize = 1 << 20;
    /// Largest message: a chunk and what stands around it. A message's announced length is reserved before it arrives.
    pub(crate) const MAX_MESSAGE_BYTES: usize = Self::MAX_CHUNK_BYTES + (64 << 10);
    /// Largest message of the services that carry no images: the most takes an old and a new password.
    pub(crate) const MAX_PLAIN_MESSAGE_BYTES: usize = 16 << 10;
    /// Largest message that asks for health: the name of a service.
    pub(crate) const MAX_HEALTH_MESSAGE_BYTES: usize = 4 << 10;
    /// Largest message that asks for reflection: the name of a file or a symbol.
    pub(crate) const MAX_REFLECTION_MESSAGE_BYTES: usize = 64 << 10;
    /// Images on a page when none is asked for.
    pub(crate) const DEFAULT_PAGE_SIZE: u32 = 100;
    /// Images on a page at most.
    pub(crate) const MAX_PAGE_SIZE: u32 = 1000;
    /// Shares of one image: each makes every change of the image a line longer.
    pub(crate) const MAX_SHARES_PER_IMAGE: u32 = 100;
    /// Images that can be named in one watch.
    pub(crate) const MAX_WATCHED_IMAGES: usize = 1000;
    /// Pictures of one bulk download: of each an archive keeps a few hundred bytes in memory until its end.
    pub(crate) const MAX_BULK_PICTURES: usize = 20_000;
    /// Watches of this server at once.
    pub(crate) const MAX_WATCHES: usize = 10_000;
    /// Questions for the health of this server under way at once.
    pub(crate) const MAX_HEALTH_CALLS: usize = 1000;
    /// Watches of the health of this server at once. Each of them may stay for ever: they take no place of those who only ask.
    pub(crate) const MAX_HEALTH_WATCHES: usize = 1000;
    /// Integrity checks of one server at once.
    pub(crate) const MAX_CHECKS: usize = 4;
}
