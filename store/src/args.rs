//! The settings that every binary on the stores shares, as clap arguments: `--help` is their reference.

use std::{fs, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, builder::FalseyValueParser};

use crate::{
    ConversionLimits, ImageLimits, Kind, StoreError,
    blobs::s3::S3Config,
    open::{BlobsUrl, JobsUrl, StoreConfig},
};

const CATALOG: &str = "sqlite:catalog.db";
const JOBS: &str = "local:";

/// Where everything is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stores")]
pub struct StoreArgs {
    /// Folder for whatever is kept locally.
    #[arg(long, env = "TINTYPE_DATA", default_value = "tintype-data", value_name = "FOLDER", global = true)]
    pub data: PathBuf,

    /// Metadata: `sqlite:PATH` (within the data folder, the default is `sqlite:catalog.db`) or `postgres://…`.
    #[arg(long, env = "TINTYPE_CATALOG", value_name = "URL", hide_env_values = true, global = true)]
    catalog: Option<String>,

    /// File that holds the URL of the catalog, where that is a secret.
    #[arg(long, env = "TINTYPE_CATALOG_FILE", value_name = "FILE", conflicts_with = "catalog", global = true)]
    catalog_file: Option<PathBuf>,

    /// Image bytes: `file:PATH` (within the data folder, or absolute) or `s3://BUCKET/PREFIX`.
    #[arg(long, env = "TINTYPE_BLOBS", default_value = "file:blobs", value_name = "URL", global = true)]
    blobs: BlobsUrl,

    /// The queue: `local:` (the default) or `nats://HOST:PORT`, with `USER:PASSWORD@` or `TOKEN@` before the host where the server asks for it; several
    /// servers of one cluster separated by commas.
    #[arg(long, env = "TINTYPE_JOBS", value_name = "URL", hide_env_values = true, global = true)]
    jobs: Option<String>,

    /// File that holds the URL of the queue, where that is a secret.
    #[arg(long, env = "TINTYPE_JOBS_FILE", value_name = "FILE", conflicts_with = "jobs", global = true)]
    jobs_file: Option<PathBuf>,

    #[command(flatten)]
    s3: S3Args,
}

impl StoreArgs {
    /// The settings as types. `Kind::Misconfigured` when a URL or a file cannot be read.
    pub fn config(&self) -> Result<StoreConfig, StoreError> {
        let catalog = secret(self.catalog.as_deref(), self.catalog_file.as_ref(), CATALOG)?;
        let jobs = secret(self.jobs.as_deref(), self.jobs_file.as_ref(), JOBS)?;
        Ok(StoreConfig {
            data: self.data.clone(),
            catalog: catalog.parse().map_err(|error: String| StoreError::new(Kind::Misconfigured, error))?,
            blobs: self.s3.applied_to(self.blobs.clone()),
            jobs: jobs.parse::<JobsUrl>().map_err(|error: String| StoreError::new(Kind::Misconfigured, error))?,
        })
    }
}

/// The value itself, or what the file holds without its line end, or the default.
fn secret(value: Option<&str>, file: Option<&PathBuf>, default: &str) -> Result<String, StoreError> {
    let Some(file) = file else { return Ok(value.unwrap_or(default).to_owned()) };
    let text = fs::read_to_string(file)
        .map_err(|error| StoreError::caused_by(Kind::Misconfigured, format!("cannot read {}", file.display()), error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What an image and its conversion may take. Servers and workers of one catalog want the same.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Size of a file in bytes.
    #[arg(long, env = "TINTYPE_MAX_FILE_BYTES", default_value_t = ImageLimits::default().max_file_bytes, value_name = "N")]
    max_file_bytes: u64,
    /// Width and height of an image in pixels.
    #[arg(long, env = "TINTYPE_MAX_SIDE_PIXELS", default_value_t = ImageLimits::default().max_side_pixels, value_name = "N")]
    max_side_pixels: u32,
    /// Pixels of one frame.
    #[arg(long, env = "TINTYPE_MAX_FRAME_PIXELS", default_value_t = ImageLimits::default().max_frame_pixels, value_name = "N")]
    max_frame_pixels: u64,
    /// Pixels of all frames of an image together.
    #[arg(long, env = "TINTYPE_MAX_TOTAL_PIXELS", default_value_t = ImageLimits::default().max_total_pixels, value_name = "N")]
    max_total_pixels: u64,
    /// Frames of an image.
    #[arg(long, env = "TINTYPE_MAX_FRAMES", default_value_t = ImageLimits::default().max_frames, value_name = "N")]
    max_frames: u32,
    /// Wall-clock time of one conversion in seconds.
    #[arg(long, env = "TINTYPE_CONVERSION_SECS", default_value_t = ConversionLimits::default().timeout.as_secs(), value_name = "SECONDS")]
    conversion_secs: u64,
    /// Memory of one conversion in bytes.
    #[arg(long, env = "TINTYPE_CONVERSION_BYTES", default_value_t = ConversionLimits::default().memory_bytes, value_name = "N")]
    conversion_bytes: u64,
    /// How often the making of a rendition is begun before it counts as failed.
    #[arg(long, env = "TINTYPE_MAX_ATTEMPTS", default_value_t = ConversionLimits::default().max_attempts, value_name = "N")]
    max_attempts: u32,
}

impl LimitArgs {
    /// The settings as types.
    pub fn limits(&self) -> ConversionLimits {
        ConversionLimits {
            image: ImageLimits {
                max_file_bytes: self.max_file_bytes,
                max_side_pixels: self.max_side_pixels,
                max_frame_pixels: self.max_frame_pixels,
                max_total_pixels: self.max_total_pixels,
                max_frames: self.max_frames,
            },
            timeout: Duration::from_secs(self.conversion_secs),
            memory_bytes: self.conversion_bytes,
            max_attempts: self.max_attempts,
        }
    }
}

/// How to reach a bucket. Credentials are no settings of ours: they come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a web identity, a
/// container or the machine.
#[derive(Debug, Args)]
struct S3Args {
    /// URL of the S3 server, when it is not Amazon's. Default: `AWS_ENDPOINT_URL`. Credentials come from `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, or from the role of the container or the machine.
    #[arg(long = "s3-endpoint", help_heading = "S3", env = "TINTYPE_S3_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// URL under which clients reach that server with signed URLs, when it is another than the server's own.
    #[arg(long = "s3-public-endpoint", help_heading = "S3", env = "TINTYPE_S3_PUBLIC_ENDPOINT", value_name = "URL")]
    public_endpoint: Option<String>,
    /// Region of the bucket. Default: `AWS_REGION`, else `us-east-1`.
    #[arg(long = "s3-region", help_heading = "S3", env = "TINTYPE_S3_REGION", value_name = "NAME")]
    region: Option<String>,
    /// Whether the bucket is named in the path of a URL; `false`: in the name of the host.
    #[arg(long = "s3-path-style", help_heading = "S3", env = "TINTYPE_S3_PATH_STYLE", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    path_style: bool,
    /// Allows an `http://` endpoint on another machine, over which image bytes go in plaintext.
    #[arg(long = "s3-allow-http", help_heading = "S3", env = "TINTYPE_S3_ALLOW_HTTP", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    allow_http: bool,
}

impl S3Args {
    fn applied_to(&self, blobs: BlobsUrl) -> BlobsUrl {
        let BlobsUrl::S3(config) = blobs else { return blobs };
        BlobsUrl::S3(S3Config {
            endpoint: self.endpoint.clone(),
            public_endpoint: self.public_endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            allow_http: self.allow_http,
            ..config
        })
    }
}
