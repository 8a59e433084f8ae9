use std::{net::IpAddr, str::FromStr, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum},
    path::Path,
};

use crate::{Kind, StoreError};

/// How long a connection may take to come about; the client wants it as a text.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CLIENT_OPTIONS: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "1s"),
    // Idle connections are let go of before servers and balancers do so by themselves.
    (ClientConfigKey::PoolIdleTimeout, "15s"),
    // A total would end large parts and long downloads; the adapter bounds each step by itself.
    (ClientConfigKey::Timeout, "1day"),
];
/// A request is tried three times at most, within a time in which clients still want to hear of it.
const RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF: BackoffConfig = BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_millis(400), base: 2. };

/// A bucket and how to reach it. Credentials are none of it: they come from the usual `AWS_…` variables, a web identity, a container or the
/// machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// Names before every key, with `/` between them; empty for the bucket's root.
    pub prefix: String,
    /// URL of a server other than Amazon's. `None`: `AWS_ENDPOINT_URL`, else Amazon's.
    pub endpoint: Option<String>,
    /// URL under which clients reach that server with signed URLs, when it is another. Nothing is sent there from here.
    pub public_endpoint: Option<String>,
    /// `None`: `AWS_REGION`, else `us-east-1`, which servers other than Amazon's take as well as any.
    pub region: Option<String>,
    /// Whether the bucket is named in the path of a URL or in its host.
    pub path_style: bool,
    /// Whether plaintext is allowed to other machines.
    pub allow_http: bool,
}

impl FromStr for S3Config {
    type Err = String;

    /// Reads `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.strip_prefix("s3://").ok_or("the URL of a bucket begins with s3://")?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if bucket.len() < 3 || bucket.len() > 63 || !bucket.bytes().all(named) {
            return Err("the name of a bucket has 3 to 63 lower case letters, digits, dots and hyphens".to_owned());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        if !prefix.bytes().all(plain) || prefix.starts_with('/') || Path::parse(prefix).is_err() {
            return Err("the prefix in a bucket has letters, digits, '-', '_' and '.', with a '/' between its names".to_owned());
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok(Self { bucket, prefix, endpoint: None, public_endpoint: None, region: None, path_style: true, allow_http: false })
    }
}

impl S3Config {
    /// The client. `Kind::Misconfigured` when the settings contradict each other, or for plaintext to another machine.
    pub(super) fn client(&self) -> Result<AmazonS3, StoreError> {
        let wrong = |error| StoreError::caused_by(Kind::Misconfigured, "the settings of the bucket cannot be used", error);
        // Whoever was first has installed it; there is only this one in the binary.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_checksum_algorithm(Checksum::SHA256)
            // One request a blob works with every server, and says of each blob what became of it.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { backoff: BACKOFF, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT });
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        let known = |key| builder.get_config_value(&key);
        let endpoint =
            self.endpoint.clone().or_else(|| known(AmazonS3ConfigKey::S3Endpoint)).or_else(|| known(AmazonS3ConfigKey::Endpoint));
        let plaintext = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        if let Some(endpoint) = &endpoint {
            let Some((scheme, host)) = endpoint.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
                return Err(StoreError::new(Kind::Misconfigured, "the endpoint of the bucket must be an http:// or https:// URL"));
            };
            if plaintext && !self.allow_http && !is_loopback(host) {
                return Err(StoreError::new(
                    Kind::Misconfigured,
                    format!("refusing to send image bytes in plaintext to {endpoint}: use https://, or allow it with --s3-allow-http"),
                ));
            }
            let host = host.trim_end_matches('/');
            let host = if self.path_style { host.to_owned() } else { format!("{}.{host}", self.bucket) };
            let endpoint = format!("{scheme}://{host}");
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, &endpoint).with_endpoint(endpoint);
        }
        for (key, value) in CLIENT_OPTIONS {
            builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
        }
        builder.with_allow_http(plaintext).build().map_err(wrong)
    }

    /// A client that only signs: for the public endpoint if there is one.
    pub(super) fn signer(&self) -> Result<AmazonS3, StoreError> {
        match &self.public_endpoint {
            None => self.client(),
            // No byte goes there from here; whether plaintext will do is for those to decide who send some.
            Some(public) => Self { endpoint: Some(public.clone()), allow_http: true, ..self.clone() }.client(),
        }
    }

    /// Whether a PUT may carry a condition: `AWS_CONDITIONAL_PUT=disabled` says that the store knows none.
    pub(super) fn creates_once() -> bool {
        let setting = AmazonS3Builder::from_env().get_config_value(&AmazonS3ConfigKey::ConditionalPut);
        setting.is_none_or(|setting| !setting.eq_ignore_ascii_case("disabled"))
    }

    /// A client for signed URLs. It trusts whom [`client`](Self::client) trusts, which is made before it.
    pub(super) fn plain_client(&self) -> Result<reqwest::Client, StoreError> {
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).pool_max_idle_per_host(0).build();
        client.map_err(|error| StoreError::caused_by(Kind::Misconfigured, format!("no client for the bucket {}", self.bucket), error))
    }
}

/// Whether the authority of a URL, `host`, `host:port` or `[address]:port` and whatever follows it, is this machine.
fn is_loopback(authority: &str) -> bool {
    let authority = authority.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_bucket_and_prefix() {
        let place = |text: &str| text.parse::<S3Config>().map(|config| (config.bucket, config.prefix));
        let pair = |bucket: &str, prefix: &str| Ok((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(place("s3://pictures"), pair("pictures", ""));
        assert_eq!(place("s3://my.pictures-1/"), pair("my.pictures-1", ""));
        assert_eq!(place("s3://pictures/tintype/Blue_1/"), pair("pictures", "tintype/Blue_1"));
        for wrong in ["s3://", "s3://x", "s3:///prefix", "s3://Pictures", "s3://key:secret@host/", "s3://pictures//x", "s3://pictures/../x"]
        {
            let error = place(wrong).expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn plaintext_goes_to_this_machine_alone_unless_it_is_allowed() {
        let kind = |endpoint: &str, allow_http| {
            let config: S3Config = "s3://pictures".parse().expect("a URL");
            let client = S3Config { endpoint: Some(endpoint.to_owned()), allow_http, ..config }.client();
            client.err().map(|error| error.kind())
        };
        for own in ["http://127.0.0.1:9000", "http://localhost/", "http://[::1]:9000", "https://s3.example.org"] {
            assert_eq!(kind(own, false), None, "{own}");
        }
        for other in ["http://s3.example.org", "http://10.0.0.1:9000", "http://localhost.example.org", "http://[fe80::1]:9000"] {
            assert_eq!(kind(other, false), Some(Kind::Misconfigured), "{other}");
            assert_eq!(kind(other, true), None, "{other}");
        }
        assert_eq!(kind("ftp://127.0.0.1", true), Some(Kind::Misconfigured));
    }
}
