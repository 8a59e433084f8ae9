use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{
    Format, UserId,
    blobs::BlobSink,
    conformance::blobs::{Damage, Fixture},
    random_hex,
};

struct FolderFixture {
    root: tempfile::TempDir,
    blobs: Folder,
}

impl FolderFixture {
    async fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        Self { blobs: Folder::open(&root.path().join("deep/blobs")).await.expect("a folder can be opened"), root }
    }

    fn root(&self) -> PathBuf {
        self.root.path().join("deep/blobs")
    }

    async fn store(&self, bytes: &'static [u8]) -> BlobKey {
        let mut sink = BlobSink::create(&self.blobs, BlobKey::original(UserId(7), Format::Png)).await.expect("a blob can be begun");
        sink.write(Bytes::from_static(bytes)).await.expect("bytes can be written");
        sink.publish().await.expect("a blob can be published").key
    }
}

#[async_trait]
impl Fixture for FolderFixture {
    fn blobs(&self) -> &dyn Blobs {
        &self.blobs
    }

    async fn damage(&self, key: &BlobKey, damage: Damage) {
        let path = self.root().join(&key.0);
        let mut bytes = fs::read(&path).expect("the blob is there");
        match damage {
            Damage::FlipBit(offset) => bytes[offset as usize] ^= 4,
            Damage::Truncate(size) => bytes.truncate(size as usize),
            Damage::Remove => return fs::remove_file(&path).expect("the blob is there"),
        }
        fs::write(&path, bytes).expect("the file can be written");
    }
}

crate::blobs_suite!(conformance, FolderFixture::new());

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_can_read_anything() {
    let fixture = FolderFixture::new().await;
    let key = fixture.store(b"secret").await;
    let file = fixture.root().join(&key.0);
    assert_eq!(mode(&file), 0o600);
    for folder in file.ancestors().skip(1).take(3) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    assert_eq!(mode(&fixture.root().join("staging")), 0o700);
}

#[tokio::test]
async fn a_key_is_never_written_twice() {
    let fixture = FolderFixture::new().await;
    let key = fixture.store(b"first").await;
    let mut sink = BlobSink::create(&fixture.blobs, key.clone()).await.expect("a blob can be begun");
    sink.write(Bytes::from_static(b"second")).await.expect("bytes can be written");
    sink.publish().await.expect_err("the key is taken");
    assert_eq!(fs::read(fixture.root().join(&key.0)).expect("the first one stays"), b"first");
    assert_eq!(fixture.blobs.sweep_unpublished(Timestamp(i64::MAX)).await.expect("sweeping works"), 0);
}

#[tokio::test]
async fn deleting_leaves_no_folder_of_the_blob() {
    let fixture = FolderFixture::new().await;
    let key = fixture.store(b"bytes").await;
    let folder = fixture.root().join(&key.0).parent().expect("a blob is in a folder").to_owned();
    fs::remove_file(fixture.root().join(&key.0)).expect("as if the machine had died in the middle");
    fixture.blobs.delete(&key).await.expect("a blob can be deleted");
    assert!(!folder.exists());
}

#[tokio::test]
async fn an_empty_folder_in_the_place_of_the_store_does_not_look_fine() {
    let fixture = FolderFixture::new().await;
    let key = fixture.store(b"bytes").await;
    fixture.blobs.set_store_id(&StoreId(random_hex())).await.expect("it can be named");
    fixture.blobs.store_id().await.expect("it answers");
    fs::rename(fixture.root(), fixture.root.path().join("away")).expect("as if it were not mounted");
    fs::create_dir_all(fixture.root().join("staging")).expect("as if it were not mounted");
    assert_eq!(fixture.blobs.ping().await.map_err(|error| error.kind()), Err(Kind::Unavailable));
    assert_eq!(fixture.blobs.delete(&key).await.map_err(|error| error.kind()), Err(Kind::Unavailable), "the blob is not deleted");
    assert_eq!(fixture.blobs.read(&key, 0..5).await.err().map(|error| error.kind()), Some(Kind::Unavailable), "the blob is not lost");
    fs::remove_dir_all(fixture.root()).expect("as if the folder were away");
    assert_eq!(fixture.blobs.ping().await.map_err(|error| error.kind()), Err(Kind::Unavailable));
    assert_eq!(fixture.blobs.create(&key).await.err().map(|error| error.kind()), Some(Kind::Unavailable));
    fs::rename(fixture.root.path().join("away"), fixture.root()).expect("as if it were mounted again");
    fixture.blobs.ping().await.expect("it is back without a restart");
    assert!(fixture.blobs.read(&key, 0..5).await.is_ok());
}

#[test]
fn a_folder_that_hangs_is_away_and_holds_one_thread_however_often_it_is_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let fixture = FolderFixture::new().await;
        let id = StoreId(random_hex());
        fixture.blobs.set_store_id(&id).await.expect("it can be named");
        // Whoever opens a pipe to read waits for somebody who writes.
        let (file, aside) = (fixture.root().join("store-id"), fixture.root().join("aside"));
        fs::rename(&file, &aside).expect("it can be renamed");
        let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo runs");
        assert!(made.success());
        for _ in 0..3 {
            let answer = timeout(2 * PING_TIMEOUT, fixture.blobs.ping()).await.expect("a ping has an end");
            assert_eq!(answer.map_err(|error| error.kind()), Err(Kind::Unavailable));
        }
        timeout(PING_TIMEOUT, blocking(|| Ok(()))).await.expect("a thread is free for others").expect("nothing to do");
        let mut writer = File::options().write(true).open(&file).expect("one waits for it");
        fs::rename(&aside, &file).expect("it can be renamed");
        io::Write::write_all(&mut writer, id.0.as_bytes()).expect("one reads it");
        drop(writer);
        fixture.blobs.ping().await.expect("it is back without a restart");
    });
}

#[tokio::test]
async fn a_store_id_that_is_none_is_not_taken_for_a_new_store() {
    let fixture = FolderFixture::new().await;
    fs::write(fixture.root().join("store-id"), "").expect("the file can be written");
    assert_eq!(fixture.blobs.store_id().await.map_err(|error| error.kind()), Err(Kind::Misconfigured));
}
