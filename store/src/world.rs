//! Stores in a temporary folder with one user, for tests of what works on all three.

use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    BlobKey, Created, Format, Image, ImageHeader, Labels, NewImage, NewUser, Role, StoredBlob, Timestamp, UserId,
    blobs::BlobSink,
    open::{BlobsUrl, CatalogUrl, JobsUrl, Opener, StoreConfig, Stores},
};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) stores: Stores,
    pub(crate) user: UserId,
    /// When everything in it came.
    pub(crate) start: Timestamp,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = StoreConfig {
            data: folder.path().to_owned(),
            catalog: CatalogUrl::Sqlite("catalog.db".into()),
            blobs: BlobsUrl::Folder("blobs".into()),
            jobs: JobsUrl::Local,
        };
        let stores = Stores::open(&config, Opener::Server).await.expect("it opens");
        let start = Timestamp::now();
        let new = NewUser { name: "ada".into(), password_hash: "none".into(), role: Role::User, quota_bytes: NewUser::DEFAULT_QUOTA_BYTES };
        let user = stores.catalog.create_user(new, start).await.expect("the name is free").id;
        Self { folder, stores, user, start }
    }

    /// A blob that is being written.
    pub(crate) async fn sink(&self) -> BlobSink {
        BlobSink::create(&*self.stores.blobs, BlobKey::original(self.user, Format::Png)).await.expect("a blob can be begun")
    }

    /// A blob that nothing refers to.
    pub(crate) async fn blob(&self) -> StoredBlob {
        let mut sink = self.sink().await;
        sink.write(Bytes::from_static(b"bytes")).await.expect("bytes can be written");
        sink.publish().await.expect("a blob can be published")
    }

    /// An image with one pending rendition.
    pub(crate) async fn image(&self) -> Image {
        let new = NewImage {
            owner: self.user,
            file_name: "a.png".into(),
            labels: Labels::new(),
            header: ImageHeader { format: Format::Png, width: 1, height: 1, frame_count: 1 },
            original: self.blob().await,
            renditions: vec![Format::Jpeg],
            request_id: None,
        };
        match self.stores.catalog.create_image(new, self.start).await.expect("an image can be recorded") {
            Created::New(image) => image,
            other => panic!("not created: {other:?}"),
        }
    }

    pub(crate) async fn deleted_image(&self) -> Image {
        let image = self.image().await;
        assert!(self.stores.catalog.delete_image(image.id, self.start).await.expect("an image can be deleted"));
        image
    }

    pub(crate) fn has(&self, key: &BlobKey) -> bool {
        self.folder.path().join("blobs").join(&key.0).exists()
    }
}
