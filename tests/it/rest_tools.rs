//! What people and programs do with the HTTP port by its descriptions.

use std::{fs, path::Path};

use serde_json::Value;
use tintype_tests::{Http, Tintype, Upload, pictures, required};
use tokio::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the repository")
}

#[tokio::test]
async fn the_walk_with_curl_works_word_for_word() {
    let tintype = Tintype::embedded().await;
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let walk = readme.split_once("## A walk with curl").and_then(|(_, rest)| rest.split_once("```sh\n")?.1.split_once("```"));
    let walk = walk.expect("the README has the walk").0.replace("http://127.0.0.1:7771", &tintype.http_url);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::os::unix::fs::symlink(root().join("docs"), folder.path().join("docs")).expect("a link can be made");
    let mut shell = Command::new("bash");
    let walked = shell.args(["-euo", "pipefail", "-c", &walk]).current_dir(folder.path()).output().await.expect("there is a shell");
    let said = String::from_utf8_lossy(&walked.stdout).into_owned();
    assert!(walked.status.success(), "{said} {}", String::from_utf8_lossy(&walked.stderr));
    assert!(said.contains(r#"[{"id":1,"images":[{"name":"tintype.png"},{"name":"converted_img.jpeg"}]}]"#), "{said}");
    let original = fs::read(root().join("docs/tintype.png")).expect("the picture");
    assert_eq!(fs::read(folder.path().join("tintype.png")).expect("it was fetched under its name"), original);
    let jpeg = fs::read(folder.path().join("picture.jpeg")).expect("it was fetched");
    assert!(image::load_from_memory(&jpeg).is_ok());
    let left = tintype.http_of("admin").await.get("/api/images/list", &[]).await;
    assert_eq!(left.text(), "[]", "the last line deletes it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_description_allows_is_answered_as_it_says() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(8, 8, 1))).await.expect("an image");
    client.settled(image.id).await;
    let description = Http::new(&tintype.http_url, None).get("/api/openapi.json", &[]).await;
    let description: Value = serde_json::from_str(description.text()).expect("it is JSON");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let header = format!("Authorization: Bearer {}", client.token.expect("signed in"));
    let url = format!("{}/api/openapi.json", tintype.http_url);
    let mut schemathesis = Command::new(required("TINTYPE_SCHEMATHESIS"));
    schemathesis.current_dir(folder.path()).env("NO_COLOR", "1").args(["run", &url, "--header", &header]);
    schemathesis.args(["--max-examples", "20", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--generation-database", "none"]);
    // Values that are not allowed are sent, too; whether one must be refused is not always to be seen in the description.
    schemathesis.args(["--exclude-checks", "positive_data_acceptance"]);
    let ran = schemathesis.output().await.expect("schemathesis is where TINTYPE_SCHEMATHESIS says");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    println!("{said}");
    assert!(ran.status.success(), "{said} {}", String::from_utf8_lossy(&ran.stderr));
    assert!(tintype.server.as_ref().is_some_and(|server| !server.output().contains("internal error")));
}
