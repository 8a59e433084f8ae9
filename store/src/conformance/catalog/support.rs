//! Catalogs to run cases on, and what cases put into them.

use std::{future::Future, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions, raw_sql, sqlite::SqliteConnectOptions,
};

use crate::{
    AnnouncedFile, BlobKey, Claim, ColourType, Colours, ContentDigest, Created, Drawn, Format, Image, ImageFilter, ImageHeader, Job,
    Labels, NewImage, NewUser, Picture, RenditionId, Role, StoreError, StoredBlob, Timestamp, UserId,
    blobs::ContentHasher,
    catalog::{Catalog, postgres::Postgres, sqlite::Sqlite},
    random_hex,
};

/// When cases begin.
pub(crate) const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000);
pub(super) const LEASE: Duration = Duration::from_mins(1);
pub(super) const PICTURE: Drawn = Drawn {
    picture: Picture { width: 640, height: 480, frame_count: 1, first_frame_only: true },
    colours: Some(Colours { kind: ColourType::GreyAlpha, channel_bits: 16 }),
    thumbhash: None,
};

/// That many seconds after [`BEGIN`].
pub(super) fn second(seconds: u64) -> Timestamp {
    BEGIN.plus(Duration::from_secs(seconds))
}

/// A new, empty catalog.
pub(super) struct Fresh {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) database: Database,
}

/// Drops what the tables in PostgreSQL say of values.
const UNCHECKED: &str = "DO $$ DECLARE c RECORD; BEGIN
    FOR c IN SELECT conrelid::regclass AS of, conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.of, c.conname);
    END LOOP;
END $$";

/// Where a catalog is.
pub(super) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    /// Opens it once more, as a server does when it starts.
    pub(super) async fn open(&self) -> Result<Arc<dyn Catalog>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(Sqlite::open(path).await?),
            Self::Postgres(url) => Arc::new(Postgres::connect(url, true).await?),
        })
    }

    /// Does what a program of another version might do there: these statements, whatever values the constraints of this one allow.
    pub(super) async fn change(&self, statements: &str) {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).pragma("ignore_check_constraints", "ON");
                let mut connection = options.connect().await.expect("the file can be opened");
                connection.execute(raw_sql(AssertSqlSafe(statements))).await.expect("the statements are done");
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.expect("the database answers");
                connection.execute(raw_sql(UNCHECKED)).await.expect("constraints can be dropped");
                connection.execute(raw_sql(AssertSqlSafe(statements))).await.expect("the statements are done");
            }
        }
    }
}

/// Runs a case on a catalog in a file of its own.
pub(super) fn sqlite<C: Future<Output = ()>>(case: impl FnOnce(Fresh) -> C) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("catalog.db");
    block_on(async {
        let catalog = Sqlite::open(&path).await.expect("a new catalog");
        case(Fresh { catalog: Arc::new(catalog), database: Database::Sqlite(path) }).await;
    });
}

/// Runs a case on a catalog in a database of its own.
pub(super) fn postgres<C: Future<Output = ()>>(case: impl FnOnce(Fresh) -> C) {
    block_on(with_database(async |url| {
        let catalog = Postgres::connect(&url, true).await.expect("a new catalog");
        case(Fresh { catalog: Arc::new(catalog), database: Database::Postgres(url) }).await;
    }));
}

/// Calls `test` with the URL of a new database, and drops that at the end, however it ends.
pub(crate) async fn with_database(test: impl AsyncFnOnce(String)) {
    let server = test_server();
    let admin: PgConnectOptions = server.parse().expect("TINTYPE_TEST_POSTGRES is a URL");
    let name = format!("tintype_test_{}", random_hex());
    let mut connection = admin.connect().await.expect("the test server answers");
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
    let url = admin.clone().database(&name).to_url_lossy().to_string();
    let outcome = AssertUnwindSafe(test(url)).catch_unwind().await;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.expect("the database is dropped");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no command line")]
fn test_server() -> String {
    std::env::var("TINTYPE_TEST_POSTGRES").expect("TINTYPE_TEST_POSTGRES names a server: run scripts/test, which starts one")
}

/// On threads, so that what runs at once does so on the catalog too.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

/// What comes of `count` calls at once.
pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(count: usize, call: impl Fn(usize) -> F) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let calls = (0..count).map(|index| {
        let (barrier, call) = (barrier.clone(), call(index));
        tokio::spawn(async move {
            barrier.wait().await;
            call.await
        })
    });
    join_all(calls).await.into_iter().map(|result| result.expect("no call panics")).collect()
}

/// A user of this name.
pub(crate) async fn user(catalog: &dyn Catalog, name: &str) -> UserId {
    let new = NewUser {
        name: name.to_owned(),
        role: Role::User,
        password_hash: "$argon2id$".to_owned(),
        quota_bytes: NewUser::DEFAULT_QUOTA_BYTES,
    };
    catalog.create_user(new, BEGIN).await.expect("a new user").id
}

/// A blob of an original, unlike any other.
pub(super) fn original(owner: UserId, format: Format) -> StoredBlob {
    stored(BlobKey::original(owner, format))
}

/// A blob of a rendition, unlike any other.
pub(super) fn output(job: &Job) -> StoredBlob {
    stored(BlobKey::rendition(job.owner, job.spec.format))
}

fn stored(key: BlobKey) -> StoredBlob {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(&key.0.as_bytes()[key.0.len() - 32..]);
    StoredBlob { key, digest: ContentDigest { size_bytes: 600_000, sha256, block_crc32c: vec![0, 0xffff_ffff, 0x1234_5678] } }
}

/// What is told of a file with these bytes.
pub(crate) fn announced(bytes: &[u8]) -> AnnouncedFile {
    let mut hasher = ContentHasher::default();
    hasher.update(bytes);
    AnnouncedFile {
        file_name: "Grüße.png".to_owned(),
        labels: Labels::from([("a".to_owned(), "ä \"b\"".to_owned())]),
        content_type: "image/png".to_owned(),
        size_bytes: bytes.len() as u64,
        sha256: hasher.finish().sha256,
    }
}

/// A PNG that wants a JPEG and a WebP.
pub(crate) fn png(owner: UserId) -> NewImage {
    NewImage {
        owner,
        file_name: "Grüße 🐈.png".to_owned(),
        labels: Labels::new(),
        header: ImageHeader { format: Format::Png, width: 4000, height: 3000, frame_count: 2 },
        original: original(owner, Format::Png),
        renditions: vec![Format::WebP, Format::Jpeg],
        request_id: None,
    }
}

/// The image that is made of `new`.
pub(crate) async fn create(catalog: &dyn Catalog, new: NewImage, now: Timestamp) -> Image {
    match catalog.create_image(new, now).await.expect("an image can be created") {
        Created::New(image) => image,
        other => panic!("not new: {other:?}"),
    }
}

/// All images of a user, the largest id first.
pub(super) async fn owned(catalog: &dyn Catalog, user: UserId) -> Vec<Image> {
    let listed = catalog.list_images(user, &ImageFilter::default(), None, 10_000).await.expect("a page");
    listed.into_iter().map(|seen| seen.image).collect()
}

/// A PNG of a new user with one pending JPEG.
pub(super) async fn pending(catalog: &dyn Catalog) -> RenditionId {
    let owner = user(catalog, &random_hex()).await;
    let new = NewImage { renditions: vec![Format::Jpeg], ..png(owner) };
    create(catalog, new, BEGIN).await.renditions[0].id
}

/// The job that is granted at `now`.
pub(super) async fn claim(catalog: &dyn Catalog, id: RenditionId, now: Timestamp) -> Job {
    match catalog.claim(id, "worker", LEASE, now).await.expect("a claim") {
        Claim::Granted(job) => *job,
        other => panic!("not granted: {other:?}"),
    }
}

/// Fills a catalog of schema version 1 with a user of two images and a ready rendition: 7, 20 and 300 bytes. `digest` is 32 bytes in SQL.
pub(crate) fn rows_of_version_1(digest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "INSERT INTO users (name, role, password_hash, created_at) VALUES ('ada', 'admin', 'x', 0), ('bob', 'user', 'x', 0);
         INSERT INTO tokens (user_id, secret_sha256, created_at) VALUES (1, {digest}, 5);
         INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at, doomed_at) VALUES
             ('a', 7, {digest}, {digest}, 0, NULL), ('b', 20, {digest}, {digest}, 0, NULL), ('c', 300, {digest}, {digest}, 0, NULL),
             ('d', 4000, {digest}, {digest}, 0, 1);
         INSERT INTO images (owner_id, file_name, format, width, height, frame_count, original_key, created_at) VALUES
             (1, 'a', 'png', 1, 1, 1, 'a', 0), (1, 'b', 'png', 1, 1, 1, 'b', 0);
         INSERT INTO renditions (image_id, spec, format, state, created_at, finished_at, output_key, output_width, output_height,
                 output_frame_count, first_frame_only) VALUES (1, 'jpeg', 'jpeg', 'ready', 0, 1, 'c', 1, 1, 1, FALSE);"
    ))
}

/// What the migrations make of [`rows_of_version_1`].
pub(crate) async fn check_migrated(catalog: &dyn Catalog) {
    let users = catalog.list_users(None, 10).await.expect("a page");
    let seen: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.used_bytes, user.quota_bytes)).collect();
    assert_eq!(seen, [("ada", 327, NewUser::DEFAULT_QUOTA_BYTES), ("bob", 0, NewUser::DEFAULT_QUOTA_BYTES)]);
    let images = owned(catalog, users[0].id).await;
    let sizes: Vec<_> = images.iter().map(|image| (image.size_bytes, image.sha256)).collect();
    assert_eq!(sizes, [(20, [0; 32]), (7, [0; 32])]);
    let output = images[1].renditions[0].output.as_ref().expect("it is ready");
    assert_eq!((output.size_bytes, output.sha256), (300, [0; 32]));
    let totals = catalog.totals().await.expect("totals");
    assert_eq!((totals.image_count, totals.original_bytes, totals.rendition_bytes, totals.ready_count), (2, 27, 300, 1));
    let tokens = catalog.list_tokens(users[0].id, None, 10, BEGIN).await.expect("a page");
    assert_eq!(tokens.iter().map(|token| (token.scopes.len(), token.expires_at)).collect::<Vec<_>>(), [(0, None)]);
}
