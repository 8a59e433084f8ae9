//! TLS of both ports: the files are read again when they change, without a restart.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tintype_process::Shutdown;
use tokio::{sync::watch, time::sleep};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at. By their bytes: what mounts secrets may swap whole folders and keep times.
const INTERVAL: Duration = Duration::from_secs(2);
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where certificates and keys are, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The server's chain, its own certificate first.
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities one of which must have signed a client's certificate; `None`: clients show none.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The bytes of all files.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What the files say now. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Tls(watch::Receiver<Configs>);

/// One for each port, which differ in what they offer.
#[derive(Debug, Clone)]
struct Configs {
    http2: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files, and again whenever they change. What cannot be used is an error at first; later the log tells of it, and what was
    /// there before stays in use. Connections that are open keep what they began with.
    pub(crate) fn follow(files: TlsFiles, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let mut seen = files.read()?;
        let (sender, receiver) = watch::channel(files.configs(&seen)?);
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(INTERVAL) => {}
                    () = stop.draining() => return,
                }
                let contents = match files.read() {
                    Ok(contents) if contents != seen => contents,
                    Ok(_) => continue,
                    // They are being replaced.
                    Err(error) => {
                        tracing::debug!("{error:#}");
                        continue;
                    }
                };
                match files.configs(&contents) {
                    Ok(configs) => {
                        sender.send_replace(configs);
                        tracing::info!("the TLS files changed and are in use");
                    }
                    // Of several files perhaps one was written so far: the next look finds the rest.
                    Err(error) => tracing::error!("the TLS files changed and cannot be used; those before stay in use: {error:#}"),
                }
                seen = contents;
            }
        });
        Ok(Self(receiver))
    }

    /// Takes connections as the files say now.
    pub(super) fn acceptor(&self, http1: bool) -> TlsAcceptor {
        let configs = self.0.borrow();
        Arc::clone(if http1 { &configs.both } else { &configs.http2 }).into()
    }
}

impl TlsFiles {
    fn read(&self) -> anyhow::Result<Contents> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("TLS file {}", path.display()));
        Ok(Contents { cert: read(&self.cert)?, key: read(&self.key)?, client_ca: self.client_ca.as_deref().map(read).transpose()? })
    }

    fn configs(&self, contents: &Contents) -> anyhow::Result<Configs> {
        let named = |path: &Path| format!("TLS file {}", path.display());
        let chain = certificates(&contents.cert).with_context(|| named(&self.cert))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).with_context(|| named(&self.key))?;
        let verifier: Arc<dyn ClientCertVerifier> = match (&contents.client_ca, &self.client_ca) {
            (Some(pem), Some(path)) => client_verifier(pem).with_context(|| named(path))?,
            _ => Arc::new(NoClientAuth),
        };
        let builder = ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions()?;
        let config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).with_context(|| named(&self.key))?;
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Configs { http2: offering(&[HTTP2]), both: offering(&[HTTP2, HTTP1]) })
    }
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!certificates.is_empty(), "there is no certificate in it");
    Ok(certificates)
}

fn client_verifier(pem: &[u8]) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(roots.into(), default_provider().into()).build()?)
}
