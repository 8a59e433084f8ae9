//! What the service takes and makes.

use std::time::Duration;

use crate::Format;

/// The limits in force and the formats that are taken and made. A request beyond a limit is refused with its name and value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Size of a file in bytes.
    pub max_file_bytes: u64,
    /// Width and height of an image in pixels.
    pub max_side_pixels: u32,
    /// Pixels of one frame.
    pub max_frame_pixels: u64,
    /// Pixels of all frames of an image together.
    pub max_total_pixels: u64,
    /// Frames of an image.
    pub max_frames: u32,
    /// Wall-clock time of one conversion.
    pub conversion_timeout: Duration,
    /// Memory of one conversion in bytes.
    pub conversion_memory_bytes: u64,
    /// How often the making of a rendition is begun before it counts as failed.
    pub max_attempts: u32,
    /// Length of a file name in bytes of UTF-8.
    pub max_file_name_bytes: u32,
    /// Open streams of one connection.
    pub max_streams_per_connection: u32,
    /// Chunk size in bytes that serves best.
    pub advised_chunk_bytes: u32,
    /// Largest chunk in bytes.
    pub max_chunk_bytes: u32,
    /// How long a client may be silent while the server waits for it.
    pub stream_idle_timeout: Duration,
    /// Bytes a second that a client must send or take while the server waits for it; 0: any.
    pub min_stream_bytes_per_second: u64,
    /// Images on a page when none is asked for.
    pub default_page_size: u32,
    /// Images on a page at most.
    pub max_page_size: u32,
    /// How long the server holds a download that waits for a rendition.
    pub max_wait: Duration,
    /// Quota in bytes that new users get; a [`User`](crate::User) has the own one.
    pub user_quota_bytes: u64,
    /// Calls of one user that each server lets through in a second over time; 0: as many as come.
    pub requests_per_second: u32,
    /// Calls of one user that each server lets through at once after a pause.
    pub request_burst: u32,
    /// Calls of one user that each server has under way at once, with watches.
    pub max_calls_per_user: u32,
    /// Images that can be named in one watch.
    pub max_watched_images: u32,
    /// A watch is silent for this long at most.
    pub watch_heartbeat: Duration,
    /// Renditions of one image beyond which none can be asked for.
    pub max_renditions_per_image: u32,
    /// Keys and values of an image's labels together, in bytes.
    pub max_labels_bytes: u32,
    /// Shares of one image.
    pub max_shares_per_image: u32,
    /// How long what is durable of an unfinished upload is kept.
    pub upload_expiry: Duration,
    /// How long a link by which a file comes is good at most.
    pub max_upload_url_ttl: Duration,
    /// How long a link at which anybody gets a picture is good at most.
    pub max_download_url_ttl: Duration,
    /// Pictures of one bulk download: images times formats.
    pub max_bulk_pictures: u32,
    /// Formats that are taken.
    pub input_formats: Vec<Format>,
    /// Formats that the workers alive now can make; empty when none is alive.
    pub output_formats: Vec<Format>,
    /// Formats that every uploaded image gets, apart from the one it has.
    pub automatic_formats: Vec<Format>,
}
