//! What a starting server prints: where it is, how to sign in, and three commands to try.

use std::{
    env,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tintype_store::open::{BlobsUrl, CatalogUrl, JobsUrl, StoreConfig};

use crate::auth::DEVELOPMENT_PASSWORD;

/// Where the command line looks for a server by itself.
const DEFAULT_GRPC: &str = "127.0.0.1:50051";
/// A picture of the repository to try things with.
const SAMPLE: &str = "docs/tintype.png";

/// Where the server listens.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) tls: bool,
}

impl Addresses {
    fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls { "https" } else { "http" })
    }

    /// Where this machine reaches the HTTP port.
    pub(crate) fn http_url(&self) -> String {
        self.url(reached_at(self.http))
    }
}

/// Prints to stdout; scripts read the two address lines. Whether anybody reads them is no matter of the server.
pub(crate) fn print(addresses: &Addresses, stores: &StoreConfig, sign_in: &str) {
    let _ = io::stdout().write_all(text(addresses, stores, sign_in).as_bytes());
}

fn text(addresses: &Addresses, stores: &StoreConfig, sign_in: &str) -> String {
    let url = |address| addresses.url(address);
    let version = env!("CARGO_PKG_VERSION");
    let (grpc, http) = (url(addresses.grpc), url(addresses.http));
    let (catalog, blobs) = (catalog(stores), blobs(stores));
    let jobs = if stores.jobs == JobsUrl::Local { "local:" } else { "nats:" };
    let reached = reached_at(addresses.grpc);
    let server = if reached.to_string() == DEFAULT_GRPC { String::new() } else { format!(" --server {}", url(reached)) };
    let tintype = command_line();
    let sample = if Path::new(SAMPLE).exists() { SAMPLE } else { "FILE.png" };
    let password =
        if sign_in.ends_with(DEVELOPMENT_PASSWORD) { format!("TINTYPE_PASSWORD={DEVELOPMENT_PASSWORD} ") } else { String::new() };
    format!(
        "Tintype {version} is ready.

  gRPC     {grpc}
  HTTP     {http}  (REST, gRPC-Web, /healthz, /metrics)
  catalog  {catalog}
  blobs    {blobs}
  jobs     {jobs}
  sign in  {sign_in}

Try, in another terminal:

  {password}{tintype} login{server}
  {tintype} upload {sample} --wait{server}
  {tintype} ls{server}

"
    )
}

/// An address at which this machine reaches the listener: nobody can connect to "all interfaces".
pub(crate) fn reached_at(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        let loopback = if listener.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        listener.set_ip(loopback);
    }
    listener
}

/// How to call the command line from here: the binary beside this one, or cargo, which builds it first.
fn command_line() -> String {
    let beside = env::current_exe().ok().and_then(|server| Some(server.parent()?.join("tintype"))).filter(|path| path.is_file());
    match beside {
        Some(path) => from_here(path).display().to_string(),
        None => "cargo run --release --quiet -p tintype-cli --".to_owned(),
    }
}

fn from_here(path: PathBuf) -> PathBuf {
    let here = env::current_dir().ok();
    match here.as_deref().and_then(|here| path.strip_prefix(here).ok()) {
        Some(relative) => Path::new(".").join(relative),
        None => path,
    }
}

fn catalog(stores: &StoreConfig) -> String {
    match &stores.catalog {
        CatalogUrl::Sqlite(path) => format!("sqlite:{}", stores.data.join(path).display()),
        // The URL may hold a password.
        CatalogUrl::Postgres(_) => "postgres:".to_owned(),
    }
}

fn blobs(stores: &StoreConfig) -> String {
    match &stores.blobs {
        BlobsUrl::Folder(path) => format!("file:{}", stores.data.join(path).display()),
        BlobsUrl::S3(place) => format!("s3://{}/{}", place.bucket, place.prefix),
    }
}
