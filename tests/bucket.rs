use std::time::Duration;

use object_store::{
    ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use tintype_store::{blobs::s3::S3Config, random_hex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Gate, Http, required};

/// A part of the bucket of the tests, a test's own. Programs get there through the gate, the test itself goes around it.
#[derive(Debug)]
pub struct Bucket {
    /// The way of servers and workers to the bucket.
    pub gate: Gate,
    url: String,
    endpoint: String,
    client: AmazonS3,
}

impl Bucket {
    /// A new, empty one.
    pub async fn new() -> Self {
        let (bucket, endpoint) = (required("TINTYPE_TEST_S3"), required("TINTYPE_TEST_S3_ENDPOINT"));
        // The client wants one even for plaintext. Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = AmazonS3Builder::from_env().with_url(&bucket).with_endpoint(&endpoint).with_allow_http(true).build();
        Self {
            gate: Gate::before(endpoint.trim_start_matches("http://")).await,
            url: format!("{bucket}/it/{}", random_hex()),
            endpoint,
            client: client.expect("the variables of the tests are right"),
        }
    }

    /// What programs need to know.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("TINTYPE_BLOBS", self.url.clone()),
            ("TINTYPE_S3_ENDPOINT", format!("http://{}", self.gate.address)),
            ("AWS_ACCESS_KEY_ID", required("AWS_ACCESS_KEY_ID")),
            ("AWS_SECRET_ACCESS_KEY", required("AWS_SECRET_ACCESS_KEY")),
        ]
    }

    /// How the test itself gets there.
    pub fn config(&self) -> S3Config {
        let config: S3Config = self.url.parse().expect("it is the URL of a bucket");
        S3Config { endpoint: Some(self.endpoint.clone()), ..config }
    }

    /// Makes a whole bucket with these rules for browsers, in the words of the protocol, and returns its URL.
    pub async fn with_rules(rules: &str) -> String {
        let (name, endpoint) = (format!("tintype-{}", random_hex()), required("TINTYPE_TEST_S3_ENDPOINT"));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = AmazonS3Builder::from_env().with_bucket_name(&name).with_endpoint(&endpoint).with_allow_http(true).build();
        let client = client.expect("the variables of the tests are right");
        let http = Http::new(&endpoint, None);
        for (query, body) in [(&[][..], ""), (&[("cors", "")][..], rules)] {
            let options = SignedUrlOptions::default().with_query(query.iter().copied());
            let url = client.signed_url_opts("PUT".parse().expect("a method"), &Path::default(), Duration::from_mins(1), &options).await;
            let url = url.expect("a URL can be signed").to_string();
            let answer = http.send("PUT", url.strip_prefix(&endpoint).expect("it leads there"), &[], body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        format!("{endpoint}/{name}")
    }

    /// Names of all objects in it.
    pub async fn objects(&self) -> Vec<String> {
        self.listed(&[("list-type", "2")]).await
    }

    /// Puts these bytes in the place of an object, or beside all others: `key` is the blob's.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.client.put(&self.path(key), bytes.into()).await.expect("an object can be put");
    }

    /// The bytes of a blob.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        let found = self.client.get(&self.path(key)).await.expect("the object is there");
        found.bytes().await.expect("it can be read").to_vec()
    }

    /// Removes a blob behind everybody's back.
    pub async fn remove(&self, key: &str) {
        self.client.delete(&self.path(key)).await.expect("an object can be removed");
    }

    fn path(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.config().prefix))
    }

    /// Names of all multipart uploads to it that are open.
    pub async fn open_uploads(&self) -> Vec<String> {
        self.listed(&[("uploads", "")]).await
    }

    /// Asks the server itself, with a signed URL and as plain as can be.
    async fn listed(&self, query: &[(&str, &str)]) -> Vec<String> {
        let prefix = format!("{}/", self.config().prefix);
        let query = query.iter().copied().chain([("prefix", prefix.as_str())]);
        let options = SignedUrlOptions::default().with_query(query);
        let url = self.client.signed_url_opts("GET".parse().expect("a method"), &Path::default(), Duration::from_mins(1), &options).await;
        let url = url.expect("a URL can be signed").to_string();
        let place = url.strip_prefix(&self.endpoint).expect("it leads to the server of the tests");
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("the server of the tests answers");
        // An old version, whose answers are in one piece.
        let request = format!("GET {place} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer comes");
        assert!(answer.lines().next().is_some_and(|line| line.contains(" 200 ")), "{answer}");
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.strip_prefix(&prefix).expect("only what was asked for is listed").to_owned()).collect()
    }
}
