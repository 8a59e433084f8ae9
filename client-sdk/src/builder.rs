//! From a URL and some choices to a client.

use std::{sync::Arc, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    Client, Error, Result, RetryPolicy, Secret, TokenProvider,
    token::{PasswordSignIn, StaticToken},
    transfers::Transfers,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection whose peer is silent this long while calls are open is pinged, and given up after `KEEP_ALIVE_TIMEOUT` without an answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
const USER_AGENT: &str = concat!("tintype-client/", env!("CARGO_PKG_VERSION"));

/// Makes a [`Client`]; from [`Client::builder`].
#[derive(Debug)]
#[must_use = "nothing happens before `build`"]
pub struct ClientBuilder {
    url: String,
    sign_in: SignIn,
    tls: TlsOptions,
    connect_timeout: Duration,
    call_timeout: Duration,
    retry: RetryPolicy,
    user_agent: Option<String>,
}

#[derive(Debug)]
enum SignIn {
    None,
    Provider(Arc<dyn TokenProvider>),
    Password { user_name: String, password: Secret },
}

/// Whom to trust and who to be on an `https` connection. By default the roots of the operating system are trusted.
#[derive(Clone, Default)]
#[must_use = "give it to `ClientBuilder::tls`"]
pub struct TlsOptions {
    ca_pem: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    domain: Option<String>,
}

impl TlsOptions {
    /// The defaults.
    pub fn new() -> TlsOptions {
        TlsOptions::default()
    }

    /// Trusts these authorities and no others: one or more certificates as PEM. A file that goes by a signed URL goes to whom the system trusts, too.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> TlsOptions {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows this certificate to a server that asks for one: certificate chain and private key as PEM.
    pub fn client_identity(mut self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> TlsOptions {
        self.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// The name that the server's certificate must carry, if it is not the host of the URL.
    pub fn domain(mut self, name: impl Into<String>) -> TlsOptions {
        self.domain = Some(name.into());
        self
    }

    pub(crate) fn ca(&self) -> Option<&[u8]> {
        self.ca_pem.as_deref()
    }

    pub(crate) fn identity(&self) -> Option<(&[u8], &[u8])> {
        self.identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()))
    }

    fn config(self) -> ClientTlsConfig {
        let mut config = match self.ca_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = self.domain {
            config = config.domain_name(name);
        }
        config
    }
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The identity holds a private key.
        f.debug_struct("TlsOptions").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> ClientBuilder {
        ClientBuilder {
            url,
            sign_in: SignIn::None,
            tls: TlsOptions::default(),
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            retry: RetryPolicy::default(),
            user_agent: None,
        }
    }

    /// Sends this token with every call.
    pub fn token(self, token: impl Into<Secret>) -> ClientBuilder {
        self.token_provider(StaticToken(token.into()))
    }

    /// Asks `provider` for the token of every call.
    pub fn token_provider(mut self, provider: impl TokenProvider) -> ClientBuilder {
        self.sign_in = SignIn::Provider(Arc::new(provider));
        self
    }

    /// Signs in with the first call, and again when the server no longer takes the token. The password stays in memory.
    pub fn password(mut self, user_name: impl Into<String>, password: impl Into<Secret>) -> ClientBuilder {
        self.sign_in = SignIn::Password { user_name: user_name.into(), password: password.into() };
        self
    }

    /// Whom to trust and who to be on an `https` connection.
    pub fn tls(mut self, options: TlsOptions) -> ClientBuilder {
        self.tls = options;
        self
    }

    /// How long it may take to connect. 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.connect_timeout = timeout;
        self
    }

    /// How long one attempt at a call with a single answer may take. 30 s by default. Uploads and downloads take as long as they need.
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.call_timeout = timeout;
        self
    }

    /// How patiently calls are repeated that failed for a passing reason.
    pub fn retry(mut self, policy: RetryPolicy) -> ClientBuilder {
        self.retry = policy;
        self
    }

    /// Name and version of the program, put before this crate's own in the `user-agent` of every call.
    pub fn user_agent(mut self, name: impl Into<String>) -> ClientBuilder {
        self.user_agent = Some(name.into());
        self
    }

    /// Makes the client. Connects with the first call, and again whenever the connection is lost.
    ///
    /// Must be called within a Tokio runtime.
    pub fn build(self) -> Result<Client> {
        let user_agent = match &self.user_agent {
            Some(name) => format!("{name} {USER_AGENT}"),
            None => USER_AGENT.to_owned(),
        };
        let bad_url = |error| Error::bad_setting_from(format!("`{}` is not the URL of a server", self.url), error);
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .and_then(|endpoint| endpoint.user_agent(user_agent.clone()))
            .map_err(bad_url)?
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => {
                let refused = |error| Error::bad_setting_from("the TLS settings cannot be used", error);
                endpoint = endpoint.tls_config(self.tls.clone().config()).map_err(refused)?;
            }
            _ => return Err(Error::bad_setting(format!("`{}` must begin with http:// or https://", self.url))),
        }
        let channel = endpoint.connect_lazy();
        let tokens: Option<Arc<dyn TokenProvider>> = match self.sign_in {
            SignIn::None => None,
            SignIn::Provider(provider) => Some(provider),
            SignIn::Password { user_name, password } => Some(Arc::new(PasswordSignIn::new(channel.clone(), user_name, password))),
        };
        let transfers = Transfers::new(self.tls, user_agent, self.connect_timeout);
        Ok(Client::new(channel, tokens, self.retry, self.call_timeout, Arc::new(transfers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn a_url_must_say_how_to_connect() {
        for url in ["127.0.0.1:50051", "ftp://host", "not a url", ""] {
            assert_eq!(ClientBuilder::new(url.to_owned()).build().unwrap_err().kind(), ErrorKind::BadSetting, "{url}");
        }
        ClientBuilder::new("http://127.0.0.1:50051".to_owned()).build().unwrap();
    }

    #[test]
    fn neither_keys_nor_passwords_show() {
        let builder = ClientBuilder::new("https://host".to_owned())
            .password("ada", "sesame")
            .tls(TlsOptions::new().client_identity("certificate", "private-key"));
        let text = format!("{builder:?}");
        assert!(!text.contains("sesame") && !text.contains("112"), "{text}");
        assert!(text.contains("ada"));
    }
}
