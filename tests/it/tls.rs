//! TLS on both ports: who gets in, and files that change under a running server.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tintype_client::{Client, ErrorKind, RetryPolicy, TlsOptions};
use tintype_tests::{ADMIN_PASSWORD, Program, Tintype, pictures};
use tonic::Code;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// Certificate and key, as PEM.
fn issued(authority: &Authority, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    params.extended_key_usages = vec![purpose];
    (params.signed_by(&key, authority).expect("a certificate").pem(), key.serialize_pem())
}

/// The files of a server.
struct Files(TempDir);

impl Files {
    fn of(server: &Authority) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.put(server);
        files
    }

    fn put(&self, server: &Authority) {
        let (cert, key) = issued(server, ExtendedKeyUsagePurpose::ServerAuth);
        fs::write(self.path("cert.pem"), cert).expect("a file can be written");
        fs::write(self.path("key.pem"), key).expect("a file can be written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary folders have plain names").to_owned()
    }

    async fn serve(&self, more: &[(&str, &str)]) -> Tintype {
        let (cert, key) = (self.text("cert.pem"), self.text("key.pem"));
        let mut settings = vec![("TINTYPE_TLS_CERT", cert.as_str()), ("TINTYPE_TLS_KEY", &key)];
        settings.extend(more);
        Tintype::embedded_with(&settings).await
    }
}

fn client(tintype: &Tintype, trusted: &Authority, identity: Option<&(String, String)>) -> Client {
    let mut tls = TlsOptions::new().ca_pem(trusted.pem());
    if let Some((cert, key)) = identity {
        tls = tls.client_identity(cert.clone(), key.clone());
    }
    let client = Client::builder(&tintype.grpc_url).tls(tls).retry(RetryPolicy::never()).password("admin", ADMIN_PASSWORD);
    client.build().expect("settings that make sense")
}

#[tokio::test]
async fn only_who_has_a_certificate_of_the_client_authority_gets_in_and_a_token_is_needed_all_the_same() {
    let (server, clients) = (authority(), authority());
    let files = Files::of(&server);
    fs::write(files.path("clients.pem"), clients.pem()).expect("a file can be written");
    let tintype = files.serve(&[("TINTYPE_TLS_CLIENT_CA", &files.text("clients.pem"))]).await;

    let identity = issued(&clients, ExtendedKeyUsagePurpose::ClientAuth);
    let admitted = client(&tintype, &server, Some(&identity));
    admitted.current_user().await.expect("a certificate and a password");
    admitted.upload_direct(admitted.upload(pictures::png(8, 8, 1))).await.expect("a link leads through the same door");
    let forged = issued(&authority(), ExtendedKeyUsagePurpose::ClientAuth);
    for wrong in [None, Some(&forged)] {
        let refused = client(&tintype, &server, wrong).current_user().await.expect_err("nobody gets in without");
        assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused:?}");
    }
    let no_token = TlsOptions::new().ca_pem(server.pem()).client_identity(identity.0.clone(), identity.1.clone());
    let no_token = Client::builder(&tintype.grpc_url).tls(no_token).build().expect("settings that make sense");
    assert_eq!(no_token.current_user().await.expect_err("a certificate is no token").code(), Some(Code::Unauthenticated));

    fs::write(files.path("ca.pem"), server.pem()).expect("a file can be written");
    fs::write(files.path("client.pem"), &identity.0).expect("a file can be written");
    fs::write(files.path("client.key"), &identity.1).expect("a file can be written");
    let (ca, cert, key) = (files.text("ca.pem"), files.text("client.pem"), files.text("client.key"));
    let arguments = ["login", "--server", &tintype.grpc_url, "--tls-ca", &ca, "--tls-client-cert", &cert, "--tls-client-key", &key];
    let home = files.text("home");
    let mut login = Program::own("tintype", &arguments, [("TINTYPE_PASSWORD", ADMIN_PASSWORD), ("XDG_CONFIG_HOME", &home)]);
    assert!(login.ended().await.success(), "{}", login.output());
}

#[tokio::test]
async fn changed_files_are_in_use_without_a_restart_unless_they_are_bad() {
    let (old, new) = (authority(), authority());
    let files = Files::of(&old);
    let mut tintype = files.serve(&[]).await;
    let open = client(&tintype, &old, None);
    open.current_user().await.expect("the certificate from the start");

    files.put(&new);
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| line.contains("changed and are in use").then_some(())).await;
    client(&tintype, &new, None).current_user().await.expect("the new certificate");
    client(&tintype, &old, None).current_user().await.expect_err("it is no more the old one");
    open.current_user().await.expect("connections from before go on");

    fs::write(files.path("cert.pem"), "no certificate").expect("a file can be written");
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| line.contains("those before stay in use").then_some(())).await;
    client(&tintype, &new, None).current_user().await.expect("the last good one");
}

#[tokio::test]
async fn plaintext_on_a_public_address_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("temporary folders have plain names");
    let settings = [("TINTYPE_DATA", data), ("TINTYPE_GRPC_ADDR", "0.0.0.0:0"), ("TINTYPE_ADMIN_PASSWORD", "a password of mine")];
    let mut server = Program::own("tintype-server", &[], settings);
    assert!(!server.ended().await.success());
    server.line(|line| line.contains("refusing to serve plaintext").then_some(())).await;
}
