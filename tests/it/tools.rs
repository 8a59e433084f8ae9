//! What people have at hand works without files of ours.

use std::process::Output;

use tintype_proto::v1::DeleteImageRequest;
use tintype_tests::{ADMIN_PASSWORD, Program, Tintype, Upload, pictures, required};
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

#[tokio::test]
async fn the_command_line_tells_a_line_for_each_change() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let token = client.token.clone().expect("signed in");
    let environment = [("TINTYPE_SERVER", tintype.grpc_url.as_str()), ("TINTYPE_TOKEN", &token)];
    let before = client.upload(Upload::new("before.png", pictures::png(8, 8, 1))).await.expect("an image").id;
    client.settled(before).await;
    let mut lines = Program::own("tintype", &["watch"], environment);
    let mut json = Program::own("tintype", &["watch", "--output", "json"], environment);
    json.line(|line| line.contains("caught_up").then_some(())).await;
    lines.line(|line| (line == format!("{before}\tbefore.png\texists\tready")).then_some(())).await;
    let id = client.upload(Upload::new("new.png", pictures::png(8, 8, 2))).await.expect("an image").id;
    for wanted in ["created\t", "converted_img.jpeg\tready"] {
        lines.line(|line| line.starts_with(&format!("{id}\tnew.png\t{wanted}")).then_some(())).await;
    }
    client.settled(id).await;
    client.images().delete_image(DeleteImageRequest { id }).await.expect("it is deleted");
    lines.line(|line| (line == format!("{id}\tnew.png\tdeleted\tdeleted")).then_some(())).await;
    let deleted = json.line(|line| line.contains(r#""event":"deleted""#).then(|| line.to_owned())).await;
    assert!(deleted.contains(&format!(r#""image_id":"{id}""#)) && deleted.contains(r#""resume_token":""#), "{deleted}");
}
