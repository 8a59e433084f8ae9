//! Places to write that are taken, or too small.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use prost_types::FieldMask;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tintype_proto::v1::{DeleteImageRequest, Image, ImageFormat, RenditionState, UpdateImageRequest};
use tintype_tests::{Client, Refused, Tintype, Upload, pictures};
use tonic::Code;

fn file(seed: u32) -> Upload {
    Upload::new("a.png", pictures::png(64, 48, seed)).request_id(&format!("request-{seed}"))
}

/// A backup program, or a person with a shell, holds the catalog's write lock for ten seconds.
#[tokio::test]
async fn a_catalog_file_that_is_locked_delays_writes_and_loses_nothing() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let before = client.upload(file(1)).await.expect("an image");
    client.settled(before.id).await;
    let options = SqliteConnectOptions::new().filename(tintype.data().join("catalog.db"));
    let mut other = SqliteConnection::connect_with(&options).await.expect("it is a file");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("nobody writes now");
    let begin = Instant::now();
    let mut refusals = 0;
    while begin.elapsed() < Duration::from_secs(10) {
        let asked = Instant::now();
        let refused = client.upload(file(2)).await.expect_err("nothing can be recorded");
        assert_eq!(refused.kind(), (Code::Unavailable, "STORE_UNAVAILABLE"));
        assert!(refused.retry_after.is_some(), "{refused:?}");
        assert!(asked.elapsed() < Duration::from_secs(30), "nobody waits for long: {:?}", asked.elapsed());
        assert_eq!(client.original(&before).await.expect("reading goes on").bytes, file(1).bytes);
        refusals += 1;
    }
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("it lets go");
    println!("{refusals} uploads were refused meanwhile");
    let after = client.upload(file(2)).await.expect("it is free again");
    assert_eq!(client.upload(file(2)).await.expect("a repeat").id, after.id);
    let settled = client.settled(after.id).await;
    assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "{settled:?}");
    let used = client.current_user().await.expect("a user").used_bytes;
    let both = [client.image(before.id).await.expect("it is there"), settled];
    let seen: i64 = both.iter().map(|image| image.size_bytes + image.renditions[0].size_bytes).sum();
    assert_eq!(used, seen);
}

/// Takes all the room that a disk has left.
fn fill(path: &Path) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a file of no bytes finds room");
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// Changes the image, which only the catalog has to do with, until that is refused.
async fn changed_until_refused(client: &Client, id: i64) -> Refused {
    for number in 0.. {
        let labels = BTreeMap::from([("number".to_owned(), number.to_string())]);
        let image = Some(Image { id, labels, ..Image::default() });
        let update_mask = Some(FieldMask { paths: vec!["labels".to_owned()] });
        if let Err(refused) = client.images().update_image(UpdateImageRequest { image, update_mask }).await {
            return refused.into();
        }
    }
    unreachable!("there is no end of numbers")
}

/// A data folder, catalog and all, on a disk of 32 MiB in mounts of the server's own, which somebody else fills.
#[tokio::test]
async fn a_catalog_whose_disk_was_full_is_written_again_as_soon_as_there_is_room() {
    let mount = "mount -t tmpfs -o size=32m,mode=700 none \"$TINTYPE_DATA\" && exec \"$0\"";
    let arguments = ["--user", "--map-root-user", "--mount", "sh", "-c", mount];
    let tintype = Tintype::embedded_under("unshare", &arguments, &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]).await;
    let client = tintype.client().await;
    let large = |seed| Upload::new("large.bmp", pictures::bmp(2_000, 1_000, seed));
    let first = client.upload(file(1)).await.expect("there is room");
    client.settled(first.id).await;
    let other = tintype.server.as_ref().expect("it runs").path(&format!("{}/other", tintype.variable("TINTYPE_DATA")));
    for round in 0..3 {
        fill(&other);
        let refusals = [
            client.upload(large(round)).await.expect_err("there is no room for its bytes"),
            changed_until_refused(&client, first.id).await,
            client.upload(large(round)).await.expect_err("there is no room for its bytes"),
        ];
        for refused in refusals {
            assert!(
                matches!(refused.kind(), (Code::ResourceExhausted, "STORE_FULL") | (Code::Unavailable, "STORE_UNAVAILABLE")),
                "{refused:?}"
            );
        }
        assert_eq!(client.original(&first).await.expect("reading goes on").bytes, file(1).bytes);

        std::fs::remove_file(&other).expect("it is there");
        let image = client.upload(large(round)).await.expect("there is room again");
        client.settled(image.id).await;
        client.images().delete_image(DeleteImageRequest { id: image.id }).await.expect("it goes");
    }
}

/// A NATS server whose disk, 2 MiB in mounts of its own, is full before the stream's bound is reached.
#[tokio::test]
async fn a_queue_whose_disk_is_full_holds_up_no_upload_and_nothing_is_forgotten() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    tintype.kill_nats().await;
    tintype.start_nats_on_a_disk_of(2).await;
    // Of its own accord somebody else fills it.
    let context = async_nats::jetstream::new(async_nats::connect(tintype.nats_url()).await.expect("the NATS server answers"));
    let hog = async_nats::jetstream::stream::Config { name: "HOG".into(), subjects: vec!["hog".into()], ..Default::default() };
    context.create_stream(hog).await.expect("there is room for a stream");
    let full = async {
        while let Ok(sent) = context.publish("hog", vec![0; 64 << 10].into()).await
            && sent.await.is_ok()
        {}
    };
    full.await;
    let image = client.upload(file(1)).await.expect("uploads do not need the queue");
    assert_eq!(client.original(&image).await.expect("nor do downloads").bytes, file(1).bytes);
    tintype.kill_nats().await;
    tintype.start_nats().await;
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made on another disk");
}
