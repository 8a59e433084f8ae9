//! Programs of two versions on one catalog, as in the middle of a roll-out.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use sqlx::{AssertSqlSafe, migrate::Migrator, raw_sql};
use tintype_proto::v1::{Image, ImageFormat, ListImagesRequest, RenditionSpec, RenditionState};
use tintype_tests::{Client, Program, Tintype, Upload, own_binary, pictures};

/// What a newer server does to a catalog that older programs work with: new tables, and columns with defaults, also with names that other
/// tables have.
const NEWER: &str = "CREATE TABLE albums (id BIGINT PRIMARY KEY, title TEXT NOT NULL);
    ALTER TABLE images ADD COLUMN album_id BIGINT, ADD COLUMN state TEXT NOT NULL DEFAULT 'new', ADD COLUMN access TEXT, ADD COLUMN named TEXT;
    ALTER TABLE renditions ADD COLUMN owner_id BIGINT, ADD COLUMN file_name TEXT NOT NULL DEFAULT '', ADD COLUMN again BOOLEAN;
    ALTER TABLE users ADD COLUMN image_id BIGINT, ADD COLUMN label TEXT NOT NULL DEFAULT '', ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN name TEXT, ADD COLUMN role TEXT, ADD COLUMN disabled TEXT;
    ALTER TABLE blobs ADD COLUMN owner_id BIGINT, ADD COLUMN spec TEXT, ADD COLUMN attempt BIGINT;
    ALTER TABLE shares ADD COLUMN owner_id BIGINT, ADD COLUMN kind TEXT, ADD COLUMN position BIGINT;
    ALTER TABLE changes ADD COLUMN user_id BIGINT, ADD COLUMN state TEXT NOT NULL DEFAULT '';
    ALTER TABLE workers ADD COLUMN zone TEXT NOT NULL DEFAULT 'a';
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'albums', TRUE, '', 0);";

async fn change(tintype: &Tintype, statements: &str) {
    raw_sql(AssertSqlSafe(statements)).execute(&mut tintype.database().await).await.expect("the statements are done");
}

/// An image that was uploaded, converted and downloaded, both ways.
async fn converted(client: &Client, seed: u8) -> Image {
    let bytes = pictures::png(80, 60, seed.into());
    let image = client.upload(Upload::new("a.png", bytes.clone())).await.expect("an image");
    assert_eq!(client.original(&image).await.expect("the original").bytes, bytes);
    let jpeg = client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is converted");
    assert_eq!((jpeg.info.width, jpeg.info.height), (80, 60));
    image
}

async fn ended_well(mut program: Program) {
    program.terminate();
    assert!(program.ended().await.success());
}

#[tokio::test]
async fn programs_go_on_while_a_newer_server_migrates_and_come_back_after_it() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let before = converted(&client, 1).await;
    change(&tintype, NEWER).await;
    converted(&client, 2).await;
    assert_eq!(client.original(&before).await.expect("the original").bytes, pictures::png(80, 60, 1));

    assert!(tintype.stop_server().await.success());
    ended_well(tintype.workers.remove(0)).await;
    tintype.start_server().await;
    tintype.start_worker();
    for program in [tintype.server.as_mut().expect("it runs"), &mut tintype.workers[0]] {
        program.line(|line| line.contains("the catalog has schema version 9999, newer than").then_some(())).await;
    }
    let client = tintype.client().await;
    converted(&client, 3).await;
    let listed = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner().images;
    assert_eq!(listed.len(), 3);
}

#[tokio::test]
async fn programs_too_old_for_the_schema_refuse_to_start_and_name_its_numbers() {
    let mut tintype = Tintype::cluster(1).await;
    // Both are there.
    converted(&tintype.client().await, 1).await;
    change(&tintype, NEWER).await;
    change(&tintype, "UPDATE compatibility SET oldest_program = 9000").await;
    assert!(tintype.stop_server().await.success());
    ended_well(tintype.workers.remove(0)).await;
    tintype.start_worker();
    for mut program in [tintype.run_server(&[]), tintype.workers.remove(0)] {
        assert_eq!(program.ended().await.code(), Some(1), "{}", program.output());
        let refusal =
            "the catalog has schema version 9999, which needs a program that knows version 9000 or newer; this one knows version ";
        program.line(|line| line.contains(refusal).then_some(())).await;
    }
}

#[tokio::test]
async fn what_only_newer_programs_know_is_shown_as_far_as_it_can_be_and_left_for_newer_workers() {
    let mut tintype = Tintype::cluster_with(1, &[("TINTYPE_LOG", "info,tintype_worker=debug")]).await;
    let client = tintype.client().await;
    let (strange, plain) = (converted(&client, 1).await, converted(&client, 2).await);
    change(
        &tintype,
        &format!(
            "UPDATE images SET format = 'heic' WHERE id = {};
             INSERT INTO renditions (image_id, spec, format, state, created_at, due_at, told_at) VALUES
                 ({}, 'webp shimmer=3', 'webp', 'pending', 0, 0, 0)",
            strange.id, plain.id
        ),
    )
    .await;
    tintype.workers[0].line(|line| line.contains("is left for a newer worker").then_some(())).await;
    converted(&client, 3).await;

    let listed = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner().images;
    let formats: Vec<_> = listed.iter().map(Image::format).collect();
    assert_eq!(formats, [ImageFormat::Png, ImageFormat::Png, ImageFormat::Unspecified], "the newest first");
    client.rendition(strange.id, ImageFormat::Jpeg).await.expect("what was made of it is there");
    let image = client.image(plain.id).await.expect("the image");
    let [jpeg, shimmering] = &image.renditions[..] else { panic!("{image:?}") };
    assert_eq!(jpeg.state(), RenditionState::Ready);
    assert_eq!((shimmering.state(), shimmering.format(), shimmering.attempt_count), (RenditionState::Pending, ImageFormat::Webp, 0));
    assert_eq!(
        shimmering.spec.as_ref().map(RenditionSpec::format),
        Some(ImageFormat::Unspecified),
        "nobody takes it for the automatic one"
    );
}

#[tokio::test]
async fn a_worker_started_before_the_server_of_its_version_takes_part_once_that_has_migrated() {
    let mut tintype = Tintype::cluster(0).await;
    assert!(tintype.stop_server().await.success());
    change(&tintype, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/migrations/postgres");
    let migrator = Migrator::new(migrations).await.expect("the migrations can be read");
    let newest = migrator.iter().map(|migration| migration.version).max().expect("there are some");
    migrator.run_to(newest - 1, &mut tintype.database().await).await.expect("the version before");

    tintype.start_worker();
    let waits = format!("the catalog has schema version {} and needs {newest}", newest - 1);
    tintype.workers[0].line(|line| (line.contains("waiting for the catalog") && line.contains(&waits)).then_some(())).await;
    tintype.start_server().await;
    tintype.workers[0].line(|line| line.contains("no longer waiting for the catalog").then_some(())).await;
    converted(&tintype.client().await, 1).await;
}

#[tokio::test]
async fn a_worker_whose_file_is_replaced_goes_on_with_its_own_version() {
    let mut tintype = Tintype::cluster(0).await;
    let installed = tintype.data().join("tintype-worker");
    fs::copy(own_binary("tintype-worker"), &installed).expect("a program can be copied");
    tintype.start_worker_at(&installed);
    let client = tintype.client().await;
    converted(&client, 1).await;

    let newer = tintype.data().join("newer");
    fs::write(&newer, "#!/bin/sh\nexit 3\n").expect("a file can be written");
    fs::set_permissions(&newer, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
    fs::rename(&newer, &installed).expect("an upgrade puts the new file in the place of the old one");
    // So that a converter has to be started.
    let killed = tintype.workers[0].children();
    for converter in &killed {
        // One that took longer than usual ends after its picture, and is gone already.
        let _ = rustix::process::kill_process(*converter, rustix::process::Signal::KILL);
    }
    let mut programs = Vec::new();
    for seed in 2..12 {
        converted(&client, seed).await;
        let started = tintype.workers[0].children().into_iter().filter(|child| !killed.contains(child));
        programs.extend(started.filter_map(|converter| fs::read_link(format!("/proc/{}/exe", converter.as_raw_nonzero())).ok()));
        if !programs.is_empty() {
            break;
        }
    }
    assert!(!programs.is_empty(), "new converters are processes of the worker");
    for program in programs {
        assert!(program.to_string_lossy().ends_with("tintype-worker (deleted)"), "{}", program.display());
    }
}
