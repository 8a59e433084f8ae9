//! What people have at hand works without files of ours.

use std::process::Output;

use tintype_tests::{ADMIN_PASSWORD, Tintype, required};
use tokio::process::Command;

async fn grpcurl(tintype: &Tintype, arguments: &[&str], method: &[&str]) -> Output {
    let address = tintype.grpc_url.trim_start_matches("http://");
    let mut command = Command::new(required("TINTYPE_GRPCURL"));
    command.arg("-plaintext").args(arguments).arg(address).args(method);
    command.output().await.expect("grpcurl is where TINTYPE_GRPCURL says")
}

#[tokio::test]
async fn grpcurl_needs_no_proto_files_and_shows_the_details_of_errors() {
    let tintype = Tintype::embedded().await;
    let services = grpcurl(&tintype, &[], &["list"]).await;
    let listed = String::from_utf8_lossy(&services.stdout).into_owned();
    for service in ["tintype.v1.AuthService", "tintype.v1.ImageService", "grpc.health.v1.Health"] {
        assert!(listed.lines().any(|line| line == service), "{service} in {listed} {services:?}");
    }

    let sign_in = format!(r#"{{"username": "admin", "password": "{ADMIN_PASSWORD}"}}"#);
    let answer = grpcurl(&tintype, &["-d", &sign_in], &["tintype.v1.AuthService/CreateToken"]).await;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let token = answer.split('"').find(|word| word.starts_with("tt_")).unwrap_or_else(|| panic!("a token in {answer}"));

    let authorization = format!("authorization: Bearer {token}");
    let missing = ["-H", &authorization, "-d", r#"{"id": "40"}"#];
    let refused = grpcurl(&tintype, &missing, &["tintype.v1.ImageService/GetImage"]).await;
    assert!(!refused.status.success());
    let details = String::from_utf8_lossy(&refused.stderr).into_owned();
    for readable in ["NotFound", r#""reason":"IMAGE_NOT_FOUND""#, r#""domain":"tintype""#, "google.rpc.ResourceInfo"] {
        // Its spaces differ from one version to the next.
        assert!(details.replace("\": ", "\":").contains(readable), "{readable} in {details}");
    }
}
