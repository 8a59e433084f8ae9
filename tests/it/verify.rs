//! The integrity check: what was removed, cut, flipped or added behind the service's back is found, and repaired where that is asked for.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tintype_client::{
    CheckEvent, CheckProgress, Client, ErrorReason, Finding, Format, Image, RenditionState, VerifyFindingKind as Kind, VerifyRepair,
};
use tintype_store::{
    CheckPosition, RecordedBlob, RenditionId, Timestamp, random_hex,
    verify::{Report, VerifyOptions, verify},
};
use tintype_tests::{ADMIN_PASSWORD, Bucket, Tintype, own_binary, pictures};
use tokio::{process::Command, sync::mpsc};
use tonic::Code;

/// Unit of checksums.
const BLOCK: usize = 256 << 10;
const DAYS: Duration = Duration::from_hours(49);

fn admin(tintype: &Tintype) -> Client {
    Client::builder(&tintype.grpc_url).password("admin", ADMIN_PASSWORD).build().expect("a client")
}

/// All findings of a check, and its last progress.
async fn findings(client: &Client, repairs: &[VerifyRepair]) -> (Vec<Finding>, CheckProgress) {
    let request = repairs.iter().fold(client.admin().verify(), |request, repair| request.repair(*repair));
    let mut verifying = request.start();
    let (mut found, mut latest) = (Vec::new(), CheckProgress::default());
    while let Some(event) = verifying.next().await.expect("the check goes on") {
        match event {
            CheckEvent::Finding(finding) => found.push(finding),
            CheckEvent::Progress(progress) => latest = progress,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((latest.finding_count, verifying.resume_token()), (found.len() as u64, ""));
    (found, latest)
}

/// Where the blobs are, to be damaged.
enum Place<'a> {
    Folder(PathBuf),
    Bucket(&'a Bucket),
}

impl Place<'_> {
    async fn remove(&self, key: &str) {
        match self {
            Self::Folder(root) => fs::remove_file(root.join(key)).expect("a blob can be removed"),
            Self::Bucket(bucket) => bucket.remove(key).await,
        }
    }

    async fn edit(&self, key: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = match self {
            Self::Folder(root) => fs::read(root.join(key)).expect("a blob can be read"),
            Self::Bucket(bucket) => bucket.get(key).await,
        };
        edit(&mut bytes);
        match self {
            Self::Folder(root) => fs::write(root.join(key), bytes).expect("a blob can be written"),
            Self::Bucket(bucket) => bucket.put(key, bytes).await,
        }
    }
}

/// Images that are settled, each with its recorded original and JPEG.
async fn images(tintype: &Tintype, client: &Client, count: u32) -> Vec<(Image, RecordedBlob, RecordedBlob)> {
    let catalog = tintype.catalog().await;
    let mut images = Vec::new();
    for number in 0..count {
        // Three blocks and a bit.
        let bytes = pictures::bmp(512, 520, number as u8);
        let image = client.upload(bytes).file_name("a.bmp").send().await.expect("an image");
        let image = client.wait_ready(image.id).await.expect("it settles");
        let original = catalog.originals_after(tintype_store::ImageId(image.id - 1), 1).await.expect("an answer").remove(0);
        let jpeg = image.renditions.iter().find(|rendition| rendition.format == Format::Jpeg).expect("a BMP gets one").id;
        let output = catalog.outputs_after(RenditionId(jpeg - 1), 1).await.expect("an answer").remove(0);
        images.push((image, original, output));
    }
    images
}

async fn what_is_damaged_is_found_and_renditions_are_made_again(tintype: &Tintype, place: Place<'_>) {
    let client = admin(tintype);
    let images = images(tintype, &client, 6).await;
    let (none, seen) = findings(&client, &[]).await;
    assert_eq!(none, []);
    assert_eq!((seen.checked_count, seen.checked_blob_count), (18, 18), "originals, JPEGs and PNGs");
    let recorded: u64 =
        images.iter().map(|(image, ..)| image.size_bytes + image.renditions.iter().map(|it| it.size_bytes).sum::<u64>()).sum();
    assert_eq!(seen.checked_bytes, recorded);

    let key = |recorded: &RecordedBlob| recorded.blob.key.0.clone();
    place.remove(&key(&images[0].1)).await;
    place.edit(&key(&images[1].1), |bytes| bytes.truncate(1_000)).await;
    place
        .edit(&key(&images[2].1), |bytes| {
            bytes[5] ^= 1;
            bytes[2 * BLOCK + 7] ^= 128;
        })
        .await;
    place.remove(&key(&images[3].2)).await;
    place.edit(&key(&images[4].2), |bytes| bytes.push(0)).await;
    place.edit(&key(&images[5].2), |bytes| bytes[0] ^= 1).await;
    // Of this one nothing is left to make it of.
    place.remove(&key(&images[0].2)).await;

    let (found, _) = findings(&client, &[]).await;
    let facts =
        |finding: &Finding| (finding.kind, finding.image_id, finding.rendition_id, finding.damaged_blocks.clone(), finding.repaired);
    let id = |number: usize| Some(images[number].0.id);
    let jpeg = |number: usize| images[number].2.rendition.map(|id| id.0);
    let expected = |repaired| {
        [
            (Kind::Missing, id(0), None, vec![], false),
            (Kind::WrongSize, id(1), None, vec![], false),
            (Kind::WrongContent, id(2), None, vec![0, 2], false),
            (Kind::Missing, id(0), jpeg(0), vec![], false),
            (Kind::Missing, id(3), jpeg(3), vec![], repaired),
            (Kind::WrongSize, id(4), jpeg(4), vec![], repaired),
            (Kind::WrongContent, id(5), jpeg(5), vec![0], repaired),
        ]
    };
    assert_eq!(found.iter().map(facts).collect::<Vec<_>>(), expected(false));
    let damaged = &found[2];
    let (wanted, seen) = (damaged.expected.as_ref().expect("a row"), damaged.seen.as_ref().expect("bytes"));
    assert_eq!((wanted.sha256, wanted.size_bytes), (Some(images[2].0.sha256), images[2].0.size_bytes));
    assert!(seen.sha256.is_some() && seen.sha256 != wanted.sha256);
    assert_eq!(damaged.blob_key, images[2].1.blob.key.0);
    assert_eq!(found[1].seen.as_ref().map(|seen| seen.size_bytes), Some(1_000));
    assert_eq!(found[0].seen, None);

    let (repaired, _) = findings(&client, &[VerifyRepair::Renditions]).await;
    assert_eq!(repaired.iter().map(facts).collect::<Vec<_>>(), expected(true));
    for (image, ..) in &images[3..] {
        let settled = client.wait_ready(image.id).await.expect("it settles");
        assert!(settled.renditions.iter().all(|rendition| rendition.state == RenditionState::Ready), "{settled:?}");
        let (before, after) = (image.renditions.iter(), settled.renditions.iter());
        assert!(before.map(|it| it.sha256).eq(after.map(|it| it.sha256)), "the same picture again");
    }
    let (left, _) = findings(&client, &[VerifyRepair::Renditions]).await;
    assert_eq!(left.iter().map(facts).collect::<Vec<_>>(), expected(true)[..4], "originals and what cannot be made again");
}

#[tokio::test]
async fn what_is_damaged_is_found_and_renditions_are_made_again_in_a_folder() {
    let tintype = Tintype::embedded().await;
    let place = Place::Folder(tintype.blobs());
    what_is_damaged_is_found_and_renditions_are_made_again(&tintype, place).await;
}

async fn cluster_on(bucket: &Bucket, worker_count: usize) -> Tintype {
    let variables = bucket.variables();
    Tintype::cluster_with(worker_count, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}

#[tokio::test]
async fn what_is_damaged_is_found_and_renditions_are_made_again_in_a_bucket() {
    let bucket = Bucket::new().await;
    let tintype = cluster_on(&bucket, 1).await;
    what_is_damaged_is_found_and_renditions_are_made_again(&tintype, Place::Bucket(&bucket)).await;
}

/// Writes a blob that nothing names and returns its key.
fn plant(root: &Path, age: Duration) -> String {
    let key = format!("user_1/{}/original.png", random_hex());
    let path = root.join(&key);
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
    fs::write(&path, b"left behind").expect("a file can be written");
    let file = File::options().write(true).open(&path).expect("it is there");
    #[expect(clippy::disallowed_methods, reason = "the age of a file is told by the clock of the machine")]
    file.set_modified(SystemTime::now() - age).expect("its time can be set");
    key
}

#[tokio::test]
async fn a_blob_that_nothing_names_is_found_and_removed_in_a_folder() {
    let mut tintype = Tintype::embedded().await;
    assert!(tintype.stop_server().await.success());
    // The sweeper removes what is there when the server starts; after that it rests for an hour.
    let swept = plant(&tintype.blobs(), DAYS);
    tintype.start_server().await;
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("removing blob") && line.contains(&swept)).then_some(())).await;

    let client = admin(&tintype);
    images(&tintype, &client, 1).await;
    let (old, young) = (plant(&tintype.blobs(), DAYS), plant(&tintype.blobs(), Duration::from_hours(47)));
    for (repairs, repaired) in [(vec![], false), (vec![VerifyRepair::Renditions], false), (vec![VerifyRepair::OrphanBlobs], true)] {
        let (found, _) = findings(&client, &repairs).await;
        let [orphan] = &found[..] else { panic!("one is old: {found:?}") };
        assert_eq!(
            (orphan.kind, orphan.image_id, orphan.blob_key.as_str(), orphan.repaired),
            (Kind::OrphanBlob, None, old.as_str(), repaired)
        );
        assert_eq!(orphan.seen.as_ref().map(|seen| seen.size_bytes), Some(11));
    }
    assert!(!tintype.blobs().join(old).exists() && tintype.blobs().join(young).exists());
    assert_eq!(findings(&client, &[]).await.0, []);
}

#[tokio::test]
async fn a_blob_that_nothing_names_is_found_and_removed_in_a_bucket() {
    let bucket = Bucket::new().await;
    let tintype = cluster_on(&bucket, 1).await;
    let client = admin(&tintype);
    images(&tintype, &client, 1).await;
    let key = format!("user_1/{}/original.png", random_hex());
    bucket.put(&key, b"left behind".to_vec()).await;
    assert_eq!(findings(&client, &[VerifyRepair::OrphanBlobs]).await.0, [], "it is young");
    let before = bucket.objects().await.len();
    // No bucket lets its clock be set, so the check itself is made two days later.
    let (sender, mut reports) = mpsc::channel(100);
    let options = VerifyOptions { remake_renditions: false, remove_orphans: true, bytes_per_second: 1 << 30 };
    let stores = tintype.stores(&bucket).await;
    verify(&stores, options, CheckPosition::BEGIN, || Timestamp::now().plus(DAYS), sender).await.expect("a check");
    let mut found = Vec::new();
    while let Some(report) = reports.recv().await {
        if let Report::Finding(finding) = report {
            found.push(finding);
        }
    }
    assert_eq!(found, [tintype_store::Finding::Orphan { key: tintype_store::BlobKey(key), size_bytes: 11, repaired: true }]);
    assert_eq!(bucket.objects().await.len(), before - 1);
}

async fn nothing_is_found_while_images_come_and_go(tintype: Tintype) {
    const LANES: u32 = 3;
    let client = admin(&tintype);
    let (sender, mut finished) = mpsc::channel::<()>(1);
    for lane in 0..LANES {
        let (client, sender) = (client.clone(), sender.clone());
        tokio::spawn(async move {
            for number in 0..12 {
                let image = client.upload(pictures::png(90, 60, lane * 100 + number)).file_name("a.png").send().await.expect("an image");
                if number % 2 == 0 {
                    client.wait_ready(image.id).await.expect("it settles");
                }
                if number % 3 != 0 {
                    client.delete(image.id).await.expect("mine to delete");
                }
            }
            drop(sender);
        });
    }
    drop(sender);
    let mut checks = 0;
    while finished.try_recv() != Err(mpsc::error::TryRecvError::Disconnected) {
        let (found, _) = findings(&client, &[VerifyRepair::Renditions, VerifyRepair::OrphanBlobs]).await;
        assert_eq!(found, []);
        checks += 1;
    }
    let (found, seen) = findings(&client, &[]).await;
    assert_eq!(found, []);
    println!("{checks} checks meanwhile; at the end {seen:?}");
    assert!(checks > 0 && seen.checked_count >= u64::from(LANES) * 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_while_images_come_and_go_embedded() {
    nothing_is_found_while_images_come_and_go(Tintype::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_while_images_come_and_go_in_a_bucket() {
    let bucket = Bucket::new().await;
    nothing_is_found_while_images_come_and_go(cluster_on(&bucket, 1).await).await;
}

#[tokio::test]
async fn a_check_goes_on_where_it_was_also_at_a_server_that_was_killed() {
    let mut tintype = Tintype::embedded().await;
    let client = admin(&tintype);
    let images = images(&tintype, &client, 3).await;
    let place = Place::Folder(tintype.blobs());
    for (_, original, output) in &images {
        place.remove(&original.blob.key.0).await;
        place.remove(&output.blob.key.0).await;
    }
    let mut verifying = client.admin().verify().start();
    let first = verifying.next().await.expect("the check goes on").expect("there is more");
    assert!(matches!(&first, CheckEvent::Finding(finding) if finding.image_id == Some(images[0].0.id)), "{first:?}");
    assert!(matches!(verifying.next().await.expect("it goes on"), Some(CheckEvent::Progress(_))));
    let token = verifying.resume_token().to_owned();
    assert!(!token.is_empty());
    drop(verifying);
    tintype.kill_server().await;
    tintype.start_server().await;

    let mut resumed = admin(&tintype).admin().verify().resume(token.as_str()).start();
    let mut found = Vec::new();
    while let Some(event) = resumed.next().await.expect("the check goes on") {
        if let CheckEvent::Finding(finding) = event {
            found.push((finding.image_id, finding.rendition_id));
        }
    }
    let originals = images[1..].iter().map(|(image, ..)| (Some(image.id), None));
    let outputs = images.iter().map(|(image, _, output)| (Some(image.id), output.rendition.map(|id| id.0)));
    assert_eq!(found, originals.chain(outputs).collect::<Vec<_>>(), "the first one is not met again");
    let error = client_error(&admin(&tintype), "bm90IGEgdG9rZW4").await;
    assert_eq!(error, (Some(Code::InvalidArgument), Some(ErrorReason::InvalidField)));
}

async fn client_error(client: &Client, token: &str) -> (Option<Code>, Option<ErrorReason>) {
    let error = client.admin().verify().resume(token).start().next().await.expect_err("refused");
    (error.code(), error.reason())
}

#[tokio::test]
async fn a_check_of_another_store_is_refused_and_changes_nothing() {
    let tintype = Tintype::embedded().await;
    let client = admin(&tintype);
    let images = images(&tintype, &client, 1).await;
    fs::write(tintype.blobs().join("store-id"), random_hex()).expect("the name can be written");
    assert_eq!(client_error(&client, "").await, (Some(Code::FailedPrecondition), Some(ErrorReason::StoreMismatch)));
    assert!(tintype.blobs().join(&images[0].1.blob.key.0).exists());
}

#[tokio::test]
async fn a_check_reads_no_faster_than_it_is_told() {
    let tintype = Tintype::embedded().await;
    let client = admin(&tintype);
    images(&tintype, &client, 1).await;
    let begin = std::time::Instant::now();
    let mut verifying = client.admin().verify().bytes_per_second(BLOCK as u64).start();
    let (mut latest, mut told) = (CheckProgress::default(), 0);
    while let Some(event) = verifying.next().await.expect("the check goes on") {
        let CheckEvent::Progress(progress) = event else { panic!("{event:?}") };
        (latest, told) = (progress, told + 1);
    }
    let least = Duration::from_secs_f64(latest.checked_bytes as f64 / BLOCK as f64);
    println!("{latest:?} in {:?}, told {told} times", begin.elapsed());
    assert!(latest.checked_bytes > 2 * BLOCK as u64 && begin.elapsed() >= least, "{:?} is less than {least:?}", begin.elapsed());
    assert!(told > 3, "it says so while it waits");
}

#[tokio::test]
async fn people_check_on_the_command_line() {
    let tintype = Tintype::embedded().await;
    let client = admin(&tintype);
    let images = images(&tintype, &client, 1).await;
    let token = tintype.client().await.token.expect("signed in");
    let run = async |arguments: &str| {
        let mut command = Command::new(own_binary("tintype"));
        command.env_clear().env("TINTYPE_SERVER", &tintype.grpc_url).env("TINTYPE_TOKEN", &token);
        let output = command.args(arguments.split(' ')).output().await.expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, out, told) = run("admin verify").await;
    assert_eq!((code, out.as_str()), (Some(0), ""), "{told}");
    assert!(told.starts_with("checked 3 originals and renditions"), "{told}");
    let (image, _, output) = &images[0];
    let key = &output.blob.key.0;
    fs::remove_file(tintype.blobs().join(key)).expect("a blob can be removed");
    let line = format!("missing\t{}\t{}\t{key}\t", image.id, output.rendition.expect("a rendition"));
    let (code, out, _) = run("admin verify").await;
    assert!(code == Some(1) && out.starts_with(&line) && out.ends_with("\tfound\n"), "{code:?} {out}");
    let (code, out, _) = run("admin verify --repair renditions --output json").await;
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["kind"], &json["repaired"]), (Some(0), &"MISSING".into(), &true.into()));
    client.wait_ready(image.id).await.expect("it settles");
    assert_eq!(run("admin verify").await.0, Some(0));
}
