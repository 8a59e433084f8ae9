//! What comes back: ranges, caching, and never a wrong byte.

use std::{fs, os::unix::fs::FileExt};

use tintype_proto::v1::{DeleteImageRequest, DownloadImageRequest, Image, ImageFormat};
use tintype_tests::{Client, Tintype, Upload, pictures};
use tonic::Code;

/// Three blocks of 256 KiB and a bit.
fn several_blocks() -> Vec<u8> {
    pictures::bmp(600, 450, 3)
}

fn original(image: &Image) -> DownloadImageRequest {
    DownloadImageRequest { image_id: image.id, format: image.format, ..DownloadImageRequest::default() }
}

async fn stored(client: &Client, bytes: &[u8]) -> Image {
    client.upload(Upload::new("picture.bmp", bytes.to_vec())).await.expect("an image")
}

#[tokio::test]
async fn any_range_is_exactly_those_bytes() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = several_blocks();
    let image = stored(&client, &bytes).await;
    let size = bytes.len() as i64;
    let block = 256 << 10;
    let edges = [0, 1, 53, block - 1, block, block + 1, 2 * block, 3 * block - 1, size - 1, size];
    for offset in edges {
        for limit in [0, 1, 2, block - 1, block, block + 1, size, size * 2] {
            let request = DownloadImageRequest { offset_bytes: offset, limit_bytes: limit, ..original(&image) };
            let download = client.download(request).await.expect("a range within the file");
            let end = if limit == 0 { size } else { (offset + limit).min(size) };
            assert_eq!(download.bytes, bytes[offset as usize..end as usize], "{offset} + {limit}");
            assert_eq!((download.info.offset_bytes, download.info.length_bytes), (offset, end - offset));
            assert_eq!(download.info.size_bytes, size);
        }
    }
    let request = DownloadImageRequest { offset_bytes: size + 1, ..original(&image) };
    let refused = client.download(request).await.expect_err("past the end");
    assert_eq!(refused.kind(), (Code::OutOfRange, "OFFSET_PAST_END"));
    assert_eq!(refused.metadata["size_bytes"], size.to_string());
}

#[tokio::test]
async fn bytes_that_the_client_has_are_not_sent_again() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = stored(&client, &several_blocks()).await;
    let known = DownloadImageRequest { if_none_match_sha256: image.sha256.clone(), ..original(&image) };
    let download = client.download(known).await.expect("an answer");
    assert!(download.info.not_modified);
    assert!(download.bytes.is_empty());
    let other = DownloadImageRequest { if_none_match_sha256: vec![7; 32].into(), ..original(&image) };
    let download = client.download(other).await.expect("an answer");
    assert!(!download.info.not_modified);
    assert_eq!(download.bytes, several_blocks());
}

#[tokio::test]
async fn a_flipped_bit_is_data_loss_and_never_a_wrong_byte() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = several_blocks();
    let image = client.settled(stored(&client, &bytes).await.id).await;
    let [file] = tintype
        .blob_files("user_1")
        .into_iter()
        .filter(|path| path.ends_with("original.bmp"))
        .collect::<Vec<_>>()
        .try_into()
        .expect("one original");
    let flipped_at = 300_000;
    let file = fs::File::options().write(true).open(file).expect("the blob is a file");
    file.write_all_at(&[bytes[flipped_at] ^ 1], flipped_at as u64).expect("it can be damaged");

    let download = client.download_parts(original(&image)).await.expect("it begins well");
    let broken = download.broken.expect("it must not end as if all were well");
    assert_eq!(broken.kind(), (Code::DataLoss, "STORED_BYTES_CORRUPT"));
    assert!(download.bytes.len() <= flipped_at, "nothing of the damaged block is sent");
    assert_eq!(download.bytes, bytes[..download.bytes.len()]);

    // What is whole can still be had.
    let whole = DownloadImageRequest { offset_bytes: 2 << 18, ..original(&image) };
    assert_eq!(client.download(whole).await.expect("the blocks after it").bytes, bytes[2 << 18..]);
}

#[tokio::test]
async fn a_missing_or_shortened_file_is_data_loss() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = several_blocks();
    for damage in [
        |path: &std::path::Path| fs::remove_file(path),
        |path: &std::path::Path| fs::File::options().write(true).open(path)?.set_len(300_000),
    ] {
        let before = tintype.blob_files("user_1");
        let image = client.settled(stored(&client, &bytes).await.id).await;
        let path = tintype.blob_files("user_1").into_iter().find(|path| path.ends_with("original.bmp") && !before.contains(path));
        damage(&path.expect("a new original")).expect("it can be damaged");
        let refused = client.download(original(&image)).await.expect_err("the bytes are not all there");
        assert_eq!(refused.kind(), (Code::DataLoss, "STORED_BYTES_CORRUPT"));
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_every_byte() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = stored(&client, &several_blocks()).await;
    let kept = client.settled(stored(&client, &several_blocks()).await.id).await;
    client.settled(image.id).await;
    client.images().delete_image(DeleteImageRequest { id: image.id }).await.expect("mine to delete");
    assert_eq!(client.image(image.id).await.expect_err("gone").kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
    assert_eq!(client.rendition(image.id, ImageFormat::Jpeg).await.expect_err("gone").code, Code::NotFound);
    let again = client.images().delete_image(DeleteImageRequest { id: image.id }).await.expect_err("it is gone");
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(tintype.blob_files("user_1").len(), 1 + kept.renditions.len(), "only the other image's files are left");
    assert_eq!(client.original(&kept).await.expect("the other one").bytes, several_blocks());
}
