//! What every adapter of [`Blobs`] keeps.
#![expect(missing_docs, reason = "a case is called what it checks")]

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::{
    BlobKey, ContentDigest, Format, Kind, PartialBlob, StoreError, StoreId, StoredBlob, Timestamp, UserId,
    blobs::{BlobSink, Blobs, CHECKSUM_BLOCK_BYTES, ContentHasher, read_checked, read_partial_checked},
};

const BLOCK: u64 = CHECKSUM_BLOCK_BYTES as u64;
const END_OF_TIME: Timestamp = Timestamp(i64::MAX);
/// So many that every store has put something down before it knows the end.
const MANY_BYTES: usize = (20 << 20) + 77;

/// What can happen to stored bytes behind the store's back.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// One bit of the byte at this offset is another one.
    FlipBit(u64),
    /// Only so many bytes are left.
    Truncate(u64),
    /// The blob is gone.
    Remove,
}

/// An empty blob store of a test's own.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn blobs(&self) -> &dyn Blobs;

    /// Damages a published blob.
    async fn damage(&self, key: &BlobKey, damage: Damage);
}

/// Makes a module `$name` with a test for each promise; `$fixture` is awaited and gives a [`Fixture`].
#[macro_export]
macro_rules! blobs_suite {
    ($name:ident, $fixture:expr) => {
        $crate::blobs_suite!(@ $name, $fixture,
            nothing_can_be_read_before_it_is_published
            published_bytes_read_back_in_any_range
            pieces_end_at_blocks
            bytes_in_pieces_of_any_size_are_the_same_blob
            a_dropped_writer_leaves_nothing
            unpublished_bytes_are_swept_by_age
            damaged_bytes_are_never_given_out
            a_truncated_blob_is_corrupt
            a_missing_blob_is_corrupt
            deleting_is_idempotent
            an_open_stream_never_gives_wrong_bytes_of_a_deleted_blob
            keys_that_lead_elsewhere_are_refused
            the_store_is_named_once
            it_answers_pings
            more_than_a_part_is_one_blob
            what_is_published_is_listed
            the_size_of_a_blob_is_what_is_there
            what_was_kept_outlives_its_writer_until_it_is_discarded
            the_time_of_what_was_kept_begins_anew_when_it_is_read
            a_writer_adds_nothing_to_what_is_read_of_it
        );
    };
    (@ $name:ident, $fixture:expr, $($case:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let fixture = $fixture.await;
                    $crate::conformance::blobs::$case(&fixture).await;
                }
            )*
        }
    };
}

/// Bytes in which every block differs.
fn some_bytes(size: usize) -> Bytes {
    (0..size as u64).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}

fn fresh_key() -> BlobKey {
    BlobKey::original(UserId(1), Format::Png)
}

async fn stored(fixture: &dyn Fixture, bytes: &Bytes) -> StoredBlob {
    let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
    sink.write(bytes.clone()).await.expect("bytes can be written");
    sink.publish().await.expect("a blob can be published")
}

async fn read(blobs: &dyn Blobs, blob: &StoredBlob, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = read_checked(blobs, blob, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn read_partial(blobs: &dyn Blobs, partial: &PartialBlob) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = read_partial_checked(blobs, partial).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// All that can be had before the error, and the error.
async fn read_until_error(blobs: &dyn Blobs, blob: &StoredBlob) -> (Vec<u8>, StoreError) {
    let mut given = Vec::new();
    let mut pieces = match read_checked(blobs, blob, 0..u64::MAX).await {
        Ok(pieces) => pieces,
        Err(error) => return (given, error),
    };
    loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => given.extend_from_slice(&piece),
            Ok(None) => panic!("a damaged blob was read to its end"),
            Err(error) => return (given, error),
        }
    }
}

pub async fn nothing_can_be_read_before_it_is_published(fixture: &dyn Fixture) {
    let bytes = some_bytes(1000);
    let mut hasher = ContentHasher::default();
    hasher.update(&bytes);
    let blob = StoredBlob { key: fresh_key(), digest: hasher.finish() };
    let mut sink = BlobSink::create(fixture.blobs(), blob.key.clone()).await.expect("a blob can be begun");
    sink.write(bytes.clone()).await.expect("bytes can be written");
    sink.persist().await.expect("bytes can be made durable");
    let error = read(fixture.blobs(), &blob, 0..1000).await.expect_err("it is not published");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(sink.publish().await.expect("it can be published after that"), blob);
    assert_eq!(read(fixture.blobs(), &blob, 0..1000).await.expect("it is published"), bytes);
}

pub async fn published_bytes_read_back_in_any_range(fixture: &dyn Fixture) {
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
        let bytes = some_bytes(size as usize);
        let blob = stored(fixture, &bytes).await;
        let edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, size.saturating_sub(1), size, size + 1, u64::MAX];
        for start in edges {
            for end in edges.into_iter().filter(|end| *end >= start) {
                let wanted = &bytes[start.min(size) as usize..end.min(size) as usize];
                let given = read(fixture.blobs(), &blob, start..end).await.expect("a published blob can be read");
                assert!(given == wanted, "bytes {start}..{end} of {size} differ");
            }
        }
    }
}

pub async fn pieces_end_at_blocks(fixture: &dyn Fixture) {
    let blob = stored(fixture, &some_bytes(3 * CHECKSUM_BLOCK_BYTES)).await;
    let pieces = fixture.blobs().read(&blob.key, 10..2 * BLOCK + 5).await.expect("a published blob can be read");
    let lengths: Vec<usize> = pieces.map_ok(|piece| piece.len()).try_collect().await.expect("a published blob can be read");
    assert_eq!(lengths, [CHECKSUM_BLOCK_BYTES - 10, CHECKSUM_BLOCK_BYTES, 5]);
}

pub async fn bytes_in_pieces_of_any_size_are_the_same_blob(fixture: &dyn Fixture) {
    let bytes = some_bytes(2 * CHECKSUM_BLOCK_BYTES + 777);
    let whole = stored(fixture, &bytes).await;
    for piece in [1000, CHECKSUM_BLOCK_BYTES - 1, CHECKSUM_BLOCK_BYTES + 1] {
        let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
        for (index, part) in bytes.chunks(piece).enumerate() {
            sink.write(Bytes::copy_from_slice(part)).await.expect("bytes can be written");
            if index == 1 {
                sink.persist().await.expect("bytes can be made durable");
            }
        }
        assert_eq!(sink.size_bytes(), bytes.len() as u64);
        let blob = sink.publish().await.expect("a blob can be published");
        assert_eq!(blob.digest, whole.digest);
        assert!(read(fixture.blobs(), &blob, 0..u64::MAX).await.expect("it can be read") == bytes, "pieces of {piece} bytes differ");
    }
}

pub async fn a_dropped_writer_leaves_nothing(fixture: &dyn Fixture) {
    for size in [CHECKSUM_BLOCK_BYTES, MANY_BYTES] {
        let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
        sink.write(some_bytes(size)).await.expect("bytes can be written");
        sink.persist().await.expect("bytes can be made durable");
    }
    assert_eq!(fixture.blobs().sweep_unpublished(END_OF_TIME).await.expect("sweeping works"), 0);
}

pub async fn unpublished_bytes_are_swept_by_age(fixture: &dyn Fixture) {
    let published = stored(fixture, &some_bytes(100)).await;
    let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
    sink.write(some_bytes(MANY_BYTES)).await.expect("bytes can be written");
    sink.persist().await.expect("bytes can be made durable");
    assert_eq!(fixture.blobs().sweep_unpublished(Timestamp(0)).await.expect("sweeping works"), 0);
    assert_eq!(fixture.blobs().sweep_unpublished(END_OF_TIME).await.expect("sweeping works"), 1);
    assert_eq!(sink.publish().await.expect_err("its bytes were swept").kind(), Kind::Conflict);
    assert_eq!(read(fixture.blobs(), &published, 0..100).await.expect("published blobs are not swept"), some_bytes(100));
}

pub async fn damaged_bytes_are_never_given_out(fixture: &dyn Fixture) {
    let bytes = some_bytes(2 * CHECKSUM_BLOCK_BYTES + 10);
    for offset in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 9] {
        let blob = stored(fixture, &bytes).await;
        fixture.damage(&blob.key, Damage::FlipBit(offset)).await;
        let (given, error) = read_until_error(fixture.blobs(), &blob).await;
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        let whole_blocks_before = (offset / BLOCK * BLOCK) as usize;
        assert!(given == bytes[..whole_blocks_before], "exactly the blocks before byte {offset} are given out");
    }
}

pub async fn a_truncated_blob_is_corrupt(fixture: &dyn Fixture) {
    let bytes = some_bytes(2 * CHECKSUM_BLOCK_BYTES);
    for size in [0, 1, BLOCK, 2 * BLOCK - 1] {
        let blob = stored(fixture, &bytes).await;
        fixture.damage(&blob.key, Damage::Truncate(size)).await;
        let (given, error) = read_until_error(fixture.blobs(), &blob).await;
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(bytes.starts_with(&given), "no wrong byte is given out");
    }
}

pub async fn a_missing_blob_is_corrupt(fixture: &dyn Fixture) {
    let blob = stored(fixture, &some_bytes(10)).await;
    fixture.damage(&blob.key, Damage::Remove).await;
    let (given, error) = read_until_error(fixture.blobs(), &blob).await;
    assert_eq!((given.len(), error.kind()), (0, Kind::Corrupt), "{error}");
}

pub async fn deleting_is_idempotent(fixture: &dyn Fixture) {
    let (gone, kept) = (stored(fixture, &some_bytes(10)).await, stored(fixture, &some_bytes(10)).await);
    fixture.blobs().delete(&gone.key).await.expect("a blob can be deleted");
    fixture.blobs().delete(&gone.key).await.expect("it may be deleted again");
    fixture.blobs().delete(&fresh_key()).await.expect("it may never have been");
    let (_, error) = read_until_error(fixture.blobs(), &gone).await;
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(read(fixture.blobs(), &kept, 0..10).await.expect("other blobs stay"), some_bytes(10));
}

pub async fn an_open_stream_never_gives_wrong_bytes_of_a_deleted_blob(fixture: &dyn Fixture) {
    let bytes = some_bytes(3 * CHECKSUM_BLOCK_BYTES);
    let blob = stored(fixture, &bytes).await;
    let mut pieces = read_checked(fixture.blobs(), &blob, 0..u64::MAX).await.expect("a published blob can be read");
    let mut given = pieces.try_next().await.expect("a published blob can be read").expect("it has bytes").to_vec();
    fixture.blobs().delete(&blob.key).await.expect("a blob can be deleted while it is read");
    loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => given.extend_from_slice(&piece),
            Ok(None) => break assert!(given == bytes, "an end without an error is the end of the blob"),
            Err(error) => break assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
        }
    }
    assert!(bytes.starts_with(&given), "no wrong byte is given out");
}

pub async fn keys_that_lead_elsewhere_are_refused(fixture: &dyn Fixture) {
    let hex = "0123456789abcdef0123456789abcdef";
    let keys = [
        String::new(),
        "store-id".into(),
        "../x".into(),
        format!("user_1/{hex}"),
        format!("user_1/{hex}/"),
        format!("user_1/{hex}/.."),
        format!("user_1/{hex}/.hidden"),
        format!("user_1/{hex}/a/b"),
        format!("user_1/{hex}/a\0b"),
        format!("user_1/{}/a.png", &hex[1..]),
        format!("user_1/{}/a.png", hex.to_uppercase()),
        format!("user_1/../{hex}/a.png"),
        format!("user_/{hex}/a.png"),
        format!("user_1.5/{hex}/a.png"),
        format!("/user_1/{hex}/a.png"),
        format!("../{hex}/a.png"),
        format!("staging/{hex}/a.png"),
    ];
    for key in keys.map(BlobKey) {
        let digest = ContentDigest { size_bytes: 1, sha256: [0; 32], block_crc32c: vec![0] };
        let blob = StoredBlob { key: key.clone(), digest };
        assert!(fixture.blobs().create(&key).await.is_err(), "{key:?} cannot be written");
        assert!(read(fixture.blobs(), &blob, 0..1).await.is_err(), "{key:?} cannot be read");
        assert!(fixture.blobs().delete(&key).await.is_err(), "{key:?} cannot be deleted");
    }
}

pub async fn the_store_is_named_once(fixture: &dyn Fixture) {
    let blobs = fixture.blobs();
    assert_eq!(blobs.store_id().await.expect("a new store answers"), None);
    let ids: [StoreId; 8] = std::array::from_fn(|_| StoreId(crate::random_hex()));
    let named = futures_util::future::join_all(ids.iter().map(|id| blobs.set_store_id(id))).await;
    assert!(named.iter().all(Result::is_ok), "whoever is late does not fail: {named:?}");
    let id = blobs.store_id().await.expect("a named store answers").expect("it has a name");
    assert!(ids.contains(&id), "{id} is one of those that were given");
    blobs.set_store_id(&StoreId(crate::random_hex())).await.expect("whoever is late does not fail");
    assert_eq!(blobs.store_id().await.expect("a named store answers"), Some(id));
}

pub async fn it_answers_pings(fixture: &dyn Fixture) {
    fixture.blobs().ping().await.expect("a new store answers");
    fixture.blobs().set_store_id(&StoreId(crate::random_hex())).await.expect("it can be named");
    fixture.blobs().store_id().await.expect("it answers");
    fixture.blobs().ping().await.expect("a named store answers");
    assert_eq!(fixture.blobs().sweep_unpublished(END_OF_TIME).await.expect("sweeping works"), 0, "a ping leaves nothing behind");
}

pub async fn more_than_a_part_is_one_blob(fixture: &dyn Fixture) {
    let bytes = some_bytes(MANY_BYTES);
    let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
    let (mut written, mut durable) = (0, 0);
    for piece in bytes.chunks(1 << 20) {
        sink.write(Bytes::copy_from_slice(piece)).await.expect("bytes can be written");
        written += piece.len() as u64;
        let now = sink.persist().await.expect("bytes can be made durable");
        assert!(durable <= now && now <= written, "{now} of {written} bytes, after {durable}");
        durable = now;
    }
    assert!(durable > 0, "something is durable before the end");
    let blob = sink.publish().await.expect("a blob can be published");
    assert_eq!(blob.digest.size_bytes, bytes.len() as u64);
    assert!(read(fixture.blobs(), &blob, 0..u64::MAX).await.expect("it can be read") == bytes, "bytes differ");
    let part = 8 << 20;
    for range in [part - 1..part + 1, part..2 * part, 2 * part - 7..bytes.len() as u64] {
        let given = read(fixture.blobs(), &blob, range.clone()).await.expect("it can be read");
        assert!(given == bytes[range.start as usize..range.end as usize], "bytes {range:?} differ");
    }
    assert_eq!(fixture.blobs().sweep_unpublished(END_OF_TIME).await.expect("sweeping works"), 0, "nothing is left of the way it came");
}

pub async fn what_is_published_is_listed(fixture: &dyn Fixture) {
    let blobs = fixture.blobs();
    blobs.set_store_id(&StoreId(crate::random_hex())).await.expect("it can be named");
    assert_eq!(blobs.list().try_collect::<Vec<_>>().await.expect("an empty store can be listed"), []);
    let mut keys = Vec::new();
    for user in [1, 10, 2, 1] {
        let sink = BlobSink::create(blobs, BlobKey::rendition(UserId(user), Format::Jpeg)).await.expect("a blob can be begun");
        keys.push(sink.publish().await.expect("a blob can be published").key);
    }
    let mut unfinished = BlobSink::create(blobs, fresh_key()).await.expect("a blob can be begun");
    unfinished.write(some_bytes(MANY_BYTES)).await.expect("bytes can be written");
    let gone = keys.pop().expect("there are several");
    blobs.delete(&gone).await.expect("a blob can be deleted");

    let mut listed = blobs.list().try_collect::<Vec<_>>().await.expect("a store can be listed");
    listed.sort_by(|a, b| a.key.0.cmp(&b.key.0));
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(listed.iter().map(|blob| blob.key.clone()).collect::<Vec<_>>(), keys);
    let now = Timestamp::now();
    let minute = Duration::from_mins(1);
    for blob in &listed {
        assert_eq!(blobs.size_bytes(&blob.key).await.expect("an answer"), Some(blob.size_bytes));
        // Its clock may be another one, and may tick in seconds.
        assert!(now.minus(minute) < blob.written_at && blob.written_at < now.plus(minute), "{blob:?} at {now:?}");
    }
}

pub async fn the_size_of_a_blob_is_what_is_there(fixture: &dyn Fixture) {
    let blobs = fixture.blobs();
    let mut sink = BlobSink::create(blobs, fresh_key()).await.expect("a blob can be begun");
    sink.write(some_bytes(1000)).await.expect("bytes can be written");
    let blob = sink.publish().await.expect("a blob can be published");
    let size = async || blobs.size_bytes(&blob.key).await.expect("an answer");
    assert_eq!(size().await, Some(1000));
    fixture.damage(&blob.key, Damage::Truncate(7)).await;
    assert_eq!(size().await, Some(7));
    fixture.damage(&blob.key, Damage::Remove).await;
    assert_eq!(size().await, None);
    let unpublished = fresh_key();
    let mut sink = BlobSink::create(blobs, unpublished.clone()).await.expect("a blob can be begun");
    sink.write(some_bytes(1000)).await.expect("bytes can be written");
    assert_eq!(blobs.size_bytes(&unpublished).await.expect("an answer"), None, "it is not published");
}

/// A sink into which these bytes were written, and what of them was kept: enough that every store has put something down.
async fn kept(fixture: &dyn Fixture, bytes: &Bytes) -> (BlobSink, PartialBlob) {
    let mut sink = BlobSink::create(fixture.blobs(), fresh_key()).await.expect("a blob can be begun");
    let mut partial = None;
    for piece in bytes.chunks(1 << 20) {
        sink.write(Bytes::copy_from_slice(piece)).await.expect("bytes can be written");
        sink.persist().await.expect("bytes can be made durable");
        partial = sink.keep(0).await.expect("what is durable can be kept");
    }
    (sink, partial.expect("something is durable"))
}

pub async fn what_was_kept_outlives_its_writer_until_it_is_discarded(fixture: &dyn Fixture) {
    let (blobs, bytes) = (fixture.blobs(), some_bytes(MANY_BYTES));
    let (sink, partial) = kept(fixture, &bytes).await;
    drop(sink);
    for _ in 0..2 {
        let read = read_partial(blobs, &partial).await.expect("it was kept");
        assert!(!read.is_empty() && read == bytes[..partial.size_bytes as usize], "bytes differ");
    }
    let mut damaged = partial.clone();
    damaged.block_crc32c[1] ^= 1;
    assert_eq!(read_partial(blobs, &damaged).await.expect_err("a block differs").kind(), Kind::Corrupt);
    for _ in 0..2 {
        blobs.discard(&partial).await.expect("it can be discarded");
    }
    assert_eq!(read_partial(blobs, &partial).await.expect_err("it is gone").kind(), Kind::Corrupt);
    assert_eq!(blobs.list().try_collect::<Vec<_>>().await.expect("a store can be listed"), []);
    assert_eq!(blobs.sweep_unpublished(END_OF_TIME).await.expect("sweeping works"), 0, "nothing is left of it");
}

pub async fn the_time_of_what_was_kept_begins_anew_when_it_is_read(fixture: &dyn Fixture) {
    let (blobs, bytes) = (fixture.blobs(), some_bytes(MANY_BYTES));
    let (sink, partial) = kept(fixture, &bytes).await;
    drop(sink);
    let later = Timestamp::now().plus(Duration::from_micros(1));
    // So that a clock that is read again is later.
    while Timestamp::now() <= later {
        std::thread::yield_now();
    }
    read_partial(blobs, &partial).await.expect("it was kept");
    blobs.sweep_unpublished(later).await.expect("sweeping works");
    let read = read_partial(blobs, &partial).await.expect("it is kept on");
    assert!(read == bytes[..partial.size_bytes as usize], "bytes differ");
    blobs.discard(&partial).await.expect("it can be discarded");
}

pub async fn a_writer_adds_nothing_to_what_is_read_of_it(fixture: &dyn Fixture) {
    let (blobs, bytes) = (fixture.blobs(), some_bytes(MANY_BYTES));
    let (mut sink, partial) = kept(fixture, &bytes).await;
    read_partial(blobs, &partial).await.expect("it was kept");
    // Whether it can go on or not is the store's affair.
    let _ = sink.write(some_bytes(MANY_BYTES)).await;
    let _ = sink.publish().await;
    match read_partial(blobs, &partial).await {
        Ok(read) => assert!(read == bytes[..partial.size_bytes as usize], "bytes differ"),
        Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
    }
    blobs.discard(&partial).await.expect("it can be discarded");
    assert_eq!(
        blobs.list().try_collect::<Vec<_>>().await.expect("a store can be listed"),
        [],
        "neither what was kept nor what was published"
    );
}
