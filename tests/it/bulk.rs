//! Many pictures at once, as archives and one after the other.

use std::{
    fs,
    os::unix::fs::{FileExt, symlink},
    path::Path,
};

use serde_json::Value;
use tintype_client::Fetched;
use tintype_proto::v1::{
    ArchiveKind, DownloadImagesRequest, ImageFormat, ShareImageRequest, ShareParty, UnshareImageRequest, download_images_response::Message,
    share_party::Party,
};
use tintype_tests::{Breaker, Client, Program, Refused, Tintype, Upload, number, pictures};
use tokio::process::Command;
use tonic::Code;

use crate::command_line::Person;

/// What Python's own modules make of an archive: every name with the SHA-256 of its bytes, after all checksums were compared.
const LIST: &str = r"
import hashlib, json, sys, tarfile, zipfile
path, files = sys.argv[1], {}
if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                files[name] = hashlib.file_digest(file, 'sha256').hexdigest()
        manifest = archive.read('manifest.json')
else:
    with tarfile.open(path, 'r:') as archive:
        for member in archive:
            files[member.name] = hashlib.file_digest(archive.extractfile(member), 'sha256').hexdigest()
        manifest = archive.extractfile('manifest.json').read()
print(json.dumps({'files': files, 'manifest': json.loads(manifest)}))
";

/// Reads an archive and compares what is in it with its manifest, which is returned. A ZIP must please `unzip`, too.
async fn manifest(path: &Path) -> Value {
    let mut magic = [0; 2];
    fs::File::open(path).expect("the archive is a file").read_exact_at(&mut magic, 0).expect("it has a beginning");
    if &magic == b"PK" {
        let tested = Command::new("unzip").args(["-tqq"]).arg(path).output().await.expect("there is unzip: scripts/install-tools");
        assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    }
    let listed = Command::new("python3").arg("-c").arg(LIST).arg(path).output().await.expect("there is Python");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let mut listed: Value = serde_json::from_slice(&listed.stdout).expect("it prints JSON");
    let manifest = listed["manifest"].take();
    let pictures = manifest["pictures"].as_array().expect("a list");
    let files = listed["files"].as_object().expect("names");
    assert_eq!(files.len(), pictures.len() + 1);
    for picture in pictures {
        assert_eq!(files[picture["name"].as_str().expect("a name")], picture["sha256"]);
    }
    manifest
}

/// All bytes of an archive, how many pictures it was told to lack, and why it ended too soon, if it did.
async fn archive(client: &Client, request: DownloadImagesRequest) -> Result<(Vec<u8>, usize, Option<Refused>), Refused> {
    let mut messages = client.images().download_images(request).await?.into_inner();
    let (mut bytes, mut missing) = (Vec::new(), 0);
    loop {
        match messages.message().await {
            Ok(Some(message)) => match message.message {
                Some(Message::Chunk(chunk)) => bytes.extend_from_slice(&chunk.data),
                Some(Message::Missing(_)) => missing += 1,
                other => panic!("{other:?} in an archive"),
            },
            Ok(None) => return Ok((bytes, missing, None)),
            Err(status) => return Ok((bytes, missing, Some(status.into()))),
        }
    }
}

fn zip(image_ids: &[i64]) -> DownloadImagesRequest {
    DownloadImagesRequest { image_ids: image_ids.to_vec(), archive: ArchiveKind::Zip.into(), ..DownloadImagesRequest::default() }
}

fn damage(tintype: &Tintype, name: &str, at: u64) {
    let path = tintype.blob_files("user_1").into_iter().find(|path| path.ends_with(name)).expect("a blob of that name");
    let file = fs::File::options().write(true).read(true).open(path).expect("the blob is a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 1], at).expect("it can be damaged");
}

#[tokio::test]
async fn an_archive_holds_what_can_be_had_and_names_what_cannot() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut ids = Vec::new();
    for seed in 0..3 {
        let id = client.upload(Upload::new("dog.png", pictures::png(64, 48, seed))).await.expect("an image").id;
        client.settled(id).await;
        ids.push(id);
    }
    let bmp = client.upload(Upload::new("small.bmp", pictures::bmp(9, 9, 1))).await.expect("an image").id;
    client.settled(bmp).await;
    damage(&tintype, "original.bmp", 60);
    ids.extend([bmp, bmp + 1000]);

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for kind in [ArchiveKind::Zip, ArchiveKind::Tar] {
        let formats = vec![ImageFormat::Jpeg.into(), ImageFormat::Webp.into()];
        let request = DownloadImagesRequest { formats, originals: true, archive: kind.into(), ..zip(&ids) };
        let (bytes, told_missing, broken) = archive(&client, request).await.expect("it begins");
        assert!(broken.is_none(), "{broken:?}");
        let path = folder.path().join("archive");
        fs::write(&path, bytes).expect("a file can be written");
        let manifest = manifest(&path).await;
        let names: Vec<_> = manifest["pictures"].as_array().expect("a list").iter().map(|picture| picture["name"].clone()).collect();
        assert_eq!(names[..3], ["dog.png", "converted_img.jpeg", "dog-2.png"], "{names:?}");
        assert_eq!(names.len(), 7, "three originals, four JPEGs");
        let missing = manifest["missing"].as_array().expect("a list");
        assert_eq!(missing.len(), told_missing);
        let files = manifest["pictures"].as_array().expect("a list").iter().map(|picture| picture["file_name"].as_str());
        assert!(files.eq([Some("dog.png"); 6].into_iter().chain([Some("small.bmp")])), "of the uploads: {manifest:?}");
        let reasons = |reason: &str| missing.iter().filter(|missing| missing["reason"] == reason).count();
        assert_eq!((reasons("RENDITION_NOT_FOUND"), reasons("STORED_BYTES_CORRUPT"), reasons("IMAGE_NOT_FOUND")), (4, 1, 3), "{missing:?}");
    }
}

#[tokio::test]
async fn damage_in_the_middle_ends_the_stream_with_data_loss() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let id = client.upload(Upload::new("a.bmp", pictures::bmp(600, 450, 3))).await.expect("an image").id;
    client.settled(id).await;
    damage(&tintype, "original.bmp", 300_000);
    let (bytes, _, broken) = archive(&client, zip(&[id])).await.expect("it begins well");
    assert_eq!(broken.expect("it must not look whole").kind(), (Code::DataLoss, "STORED_BYTES_CORRUPT"));
    assert!(bytes.len() < 300_000 && !bytes.windows(4).any(|window| window == b"PK\x05\x06"), "no end of an archive");
    let rest = tintype.http_of("admin").await.get(&format!("/api/images/archive?ids={id}"), &[]).await;
    assert!(!rest.whole, "{} bytes", rest.body.len());
}

#[tokio::test]
async fn only_what_the_caller_sees_is_in_it() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let (admin, ada) = (tintype.client().await, tintype.client_of("ada").await);
    let id = admin.upload(Upload::new("a.png", pictures::png(8, 8, 1))).await.expect("an image").id;
    let missing = async || {
        let messages = ada.images().download_images(DownloadImagesRequest { archive: 0, ..zip(&[id]) }).await.expect("it begins");
        let first = messages.into_inner().message().await.expect("it goes on").and_then(|message| message.message);
        matches!(first, Some(Message::Missing(missing)) if missing.status.as_ref().is_some_and(|status| status.code == Code::NotFound as i32))
    };
    assert!(missing().await);
    let party = || Some(ShareParty { party: Some(Party::Username("ada".to_owned())) });
    let share = ShareImageRequest { image_id: id, party: party(), ..ShareImageRequest::default() };
    admin.images().share_image(share).await.expect("mine to share");
    assert!(!missing().await);
    admin.images().unshare_image(UnshareImageRequest { image_id: id, party: party() }).await.expect("mine to withdraw");
    assert!(missing().await);
}

#[tokio::test]
async fn a_request_that_means_nothing_is_refused() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let many: Vec<i64> = (1..=20_001).collect();
    for (request, reason) in [
        (zip(&[0]), "INVALID_FIELD"),
        (zip(&many), "LIMIT_EXCEEDED"),
        (DownloadImagesRequest { formats: vec![ImageFormat::Png.into()], originals: true, ..zip(&many[..10_001]) }, "LIMIT_EXCEEDED"),
        (DownloadImagesRequest { filter: Some(tintype_proto::v1::ImageFilter::default()), ..zip(&[1]) }, "INVALID_FIELD"),
        (DownloadImagesRequest { formats: vec![0], ..zip(&[1]) }, "INVALID_FIELD"),
        (DownloadImagesRequest { archive: 9, ..zip(&[1]) }, "INVALID_FIELD"),
    ] {
        assert_eq!(archive(&client, request).await.expect_err("it makes no sense").kind(), (Code::InvalidArgument, reason));
    }
}

#[tokio::test]
async fn the_command_line_fetches_many_into_folders_and_archives() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.told(&["login"]).await;
    for (name, seed) in [("a.png", 1), ("b.png", 2)] {
        person.file(name, &pictures::png(32, 24, seed));
    }
    person.told(&["upload", "a.png", "b.png", "--wait"]).await;
    person.told(&["get", "--all", "--original", "-o", "photos.zip"]).await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("photos.zip");
    fs::write(&path, person.read("photos.zip")).expect("a file can be written");
    assert_eq!(manifest(&path).await["pictures"].as_array().map(Vec::len), Some(2));
    symlink("/dev/stdout", person.path("pipe.zip")).expect("a link can be made");
    let piped = person.tintype(&["get", "--all", "--original", "-o", "pipe.zip"]).await;
    assert!(piped.status.success() && person.path("pipe.zip").is_symlink(), "{piped:?}");
    fs::write(&path, piped.stdout).expect("a file can be written");
    assert_eq!(manifest(&path).await["pictures"].as_array().map(Vec::len), Some(2), "it went through the pipe, and nothing else did");
    let lacking = person.tintype(&["get", "1", "9", "--original", "-o", "photos.zip"]).await;
    assert_eq!(lacking.status.code(), Some(1), "one of them is missing: {lacking:?}");
    assert!(String::from_utf8_lossy(&lacking.stderr).contains("1 of the pictures could not be had"), "{lacking:?}");
    fs::write(&path, person.read("photos.zip")).expect("a file can be written");
    assert_eq!(manifest(&path).await["missing"].as_array().map(Vec::len), Some(1), "the others are there all the same");
    let saved = person.told(&["get", "1", "2", "--original", "-o", "photos"]).await;
    assert_eq!(saved.lines().collect::<Vec<_>>(), ["photos/a.png", "photos/b.png"]);
    assert_eq!(person.read("photos/b.png"), pictures::png(32, 24, 2));
    let output = person.tintype(&["get", "1", "9", "--force", "-o", "photos"]).await;
    assert_eq!(output.status.code(), Some(1), "one of them is missing: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("image 9 was not found"));
}

#[tokio::test]
async fn an_archive_takes_the_place_of_another_only_when_it_is_whole() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let id = client.upload(Upload::new("a.bmp", pictures::bmp(600, 450, 3))).await.expect("an image").id;
    client.settled(id).await;
    damage(&tintype, "original.bmp", 300_000);
    let breaker = Breaker::before(tintype.grpc_url.trim_start_matches("http://"), Vec::new()).await;
    let server = format!("http://{}", breaker.address);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("photos.zip");
    fs::write(&path, "the one before").expect("a file can be written");
    let get = |server: &str| {
        let arguments = ["get", "--all", "--original", "-o", path.to_str().expect("temporary folders have plain names")];
        let token = client.token.as_deref().expect("signed in");
        Program::own("tintype", &arguments, [("TINTYPE_SERVER", server), ("TINTYPE_TOKEN", token)])
    };
    let nothing_has_changed = || {
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "the one before");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder can be read").count(), 1, "nothing lies beside it");
    };
    assert_eq!(get(&tintype.grpc_url).ended().await.code(), Some(1), "it breaks off in the middle");
    nothing_has_changed();

    tintype.server.as_ref().expect("it runs").pause();
    let mut stopped = get(&server);
    // It asks for the archive by now, and nobody answers.
    breaker.sent(1).await;
    stopped.terminate();
    assert_eq!(stopped.ended().await.code(), Some(143));
    nothing_has_changed();
}

/// Also in a build without optimisation.
const MAX_GROWTH_BYTES: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_many_images_takes_no_more_memory_than_a_few() {
    let count = number("TINTYPE_TEST_ARCHIVED_IMAGES", 200);
    let side = number("TINTYPE_TEST_ARCHIVED_SIDE", 256) as u32;
    let tintype = Tintype::cluster(0).await;
    let client = tintype.client().await;
    let picture = pictures::bmp(side, side, 1);
    // A few first, in every form, so that what any archive takes is there before the many come.
    for numbers in [0..10, 10..count] {
        let files: Vec<_> = numbers.map(|number| Upload::new(&format!("{number}.bmp"), picture.clone())).collect();
        for files in files.chunks(100) {
            client
                .upload_each(files.to_vec())
                .await
                .expect("the stream ends well")
                .into_iter()
                .for_each(|image| drop(image.expect("an image")));
        }
        fetch_all(&tintype, &client).await;
    }
}

async fn fetch_all(tintype: &Tintype, client: &Client) {
    let server = tintype.server.as_ref().expect("it runs");
    let before = server.peak_memory_bytes();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = client.token.clone().expect("signed in");
    let sdk = tintype_client::Client::builder(&tintype.grpc_url).token(token.as_str()).build().expect("an address");
    let file = |name: &str| folder.path().join(name);
    let begin = std::time::Instant::now();
    sdk.images().download().zip(tokio::fs::File::create(file("a.zip")).await.expect("a file")).await.expect("a whole ZIP file");
    sdk.images().download().tar(tokio::fs::File::create(file("a.tar")).await.expect("a file")).await.expect("a whole tar file");
    let archived = begin.elapsed();
    let zipped = manifest(&file("a.zip")).await;
    assert_eq!(manifest(&file("a.tar")).await, zipped);
    let images = zipped["pictures"].as_array().expect("a list").len();
    let size_bytes = fs::metadata(file("a.zip")).expect("it is there").len();
    fs::remove_file(file("a.zip")).expect("it is there");
    fs::remove_file(file("a.tar")).expect("it is there");
    let mut saved = 0;
    let mut fetched = sdk.images().download().to_folder(folder.path());
    while let Some(fetched) = futures_util::StreamExt::next(&mut fetched).await {
        match fetched.expect("it goes on") {
            Fetched::Saved { path, .. } => fs::remove_file(path).expect("it is there"),
            other => panic!("{other:?}"),
        }
        saved += 1;
    }
    assert_eq!(saved, images);
    let peak = server.peak_memory_bytes();
    println!(
        "{images} images, {} MiB; ZIP and tar took {archived:?}; peak memory {} MiB, before {} MiB",
        size_bytes >> 20,
        peak >> 20,
        before >> 20
    );
    assert!(images <= 10 || peak <= before + MAX_GROWTH_BYTES, "{} MiB after {} MiB", peak >> 20, before >> 20);
}
