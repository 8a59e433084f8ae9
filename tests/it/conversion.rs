//! From a file to all of its renditions.

use image::{GenericImageView, ImageFormat as Codec};
use tintype_client::Format;
use tintype_proto::v1::{ColourType, DownloadImageRequest, FailureReason, ImageFormat, RenditionState, RetryRenditionRequest};
use tintype_tests::{Tintype, Upload, pictures};
use tonic::Code;

use crate::requested;

async fn both_formats_come_back_in_the_other(tintype: Tintype) {
    let client = tintype.client().await;
    let (png, jpeg) = (pictures::png(321, 123, 1), pictures::jpeg(200, 100, 2));
    let files = vec![Upload::new("a.png", png.clone()), Upload::new("b.jpg", jpeg.clone())];
    let outcomes = client.upload_each(files).await.expect("the stream ends well");
    let images: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("both are images")).collect();

    let expected = [
        ("a.png", ImageFormat::Png, png, (321, 123), ImageFormat::Jpeg, Codec::Jpeg, pictures::picture(321, 123, 1)),
        ("b.jpg", ImageFormat::Jpeg, jpeg, (200, 100), ImageFormat::Png, Codec::Png, pictures::picture(200, 100, 2)),
    ];
    for (image, (name, format, bytes, size, other, codec, source)) in images.iter().zip(expected) {
        assert_eq!((image.file_name.as_str(), image.format()), (name, format));
        assert_eq!((image.width, image.height), size);
        assert_eq!(image.size_bytes, bytes.len() as i64);
        assert_eq!(client.original(image).await.expect("the original").bytes, bytes, "byte for byte");

        let converted = client.rendition(image.id, other).await.expect("the rendition");
        assert_eq!(converted.info.format(), other);
        assert_eq!(converted.info.file_name, format!("converted_img.{}", if other == ImageFormat::Png { "png" } else { "jpeg" }));
        assert_eq!((converted.info.width, converted.info.height), size);
        let decoded = image::load_from_memory_with_format(&converted.bytes, codec).expect("what is ready can be decoded");
        assert_eq!(decoded.dimensions(), (size.0 as u32, size.1 as u32));
        let difference = mean_difference(&decoded.to_rgb8(), &source);
        assert!(difference < 4.0, "it is the same picture: the mean difference is {difference}");

        let settled = client.settled(image.id).await;
        assert_eq!(settled.renditions.len(), 1, "only the format that it does not have");
        assert_eq!(settled.renditions[0].state(), RenditionState::Ready);
        assert_eq!(settled.renditions[0].size_bytes, converted.bytes.len() as i64);
        assert_eq!(settled.renditions[0].attempt_count, 1);
        assert_eq!((settled.renditions[0].colour_type(), settled.renditions[0].bits_per_channel), (ColourType::Rgb, 8));
        assert_eq!(settled.renditions[0].frame_count, 1);
        assert!((6..=25).contains(&settled.thumbhash.len()), "{:?}", settled.thumbhash);
        assert!(image.thumbhash.is_empty(), "nobody had seen it yet");
    }
    // Left out, the format is JPEG: the rendition of the one, the original of the other.
    for (image, own) in images.iter().zip([false, true]) {
        let request = DownloadImageRequest { image_id: image.id, ..DownloadImageRequest::default() };
        let info = client.download(request).await.expect("ready by now").info;
        assert_eq!((info.format(), info.rendition_id == 0), (ImageFormat::Jpeg, own));
    }
}

fn mean_difference(left: &image::RgbImage, right: &image::RgbImage) -> f64 {
    let sum: u64 = left.iter().zip(right.iter()).map(|(left, right)| u64::from(left.abs_diff(*right))).sum();
    sum as f64 / left.len() as f64
}

#[tokio::test]
async fn both_formats_come_back_in_the_other_embedded() {
    both_formats_come_back_in_the_other(Tintype::embedded().await).await;
}

#[tokio::test]
async fn both_formats_come_back_in_the_other_from_two_workers() {
    both_formats_come_back_in_the_other(Tintype::cluster(2).await).await;
}

#[tokio::test]
async fn any_other_format_gets_both() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("c.bmp", pictures::bmp(33, 21, 5))).await.expect("an image");
    let mut formats: Vec<_> = client.settled(image.id).await.renditions.iter().map(|it| (it.format(), it.state())).collect();
    formats.sort();
    assert_eq!(formats, [(ImageFormat::Jpeg, RenditionState::Ready), (ImageFormat::Png, RenditionState::Ready)]);
}

#[tokio::test]
async fn work_is_shared_among_workers() {
    let tintype = Tintype::cluster(2).await;
    let client = tintype.client().await;
    let files = (0..16).map(|seed| Upload::new(&format!("{seed}.png"), pictures::png(700, 500, seed))).collect();
    for outcome in client.upload_each(files).await.expect("the stream ends well") {
        let image = client.settled(outcome.expect("an image").id).await;
        assert!(image.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{image:?}");
    }
    let limits = client.images().get_limits(tintype_proto::v1::GetLimitsRequest {}).await.expect("limits").into_inner();
    assert!(limits.output_formats.contains(&ImageFormat::Jpeg.into()), "what living workers make is told: {limits:?}");
}

#[tokio::test]
async fn broken_pixels_keep_the_original_and_fail_the_rendition_with_its_cause() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut png = pictures::png(300, 200, 3);
    let end = png.len();
    // A true header, then nothing that could be a picture.
    png[end / 2..end - 20].fill(0xA5);
    let image = client.upload(Upload::new("broken.png", png.clone())).await.expect("the header is fine");
    let refused = client.rendition(image.id, ImageFormat::Jpeg).await.expect_err("no picture can be made of it");
    assert_eq!(refused.kind(), (Code::FailedPrecondition, "RENDITION_FAILED"));
    assert_eq!(refused.metadata["cause"], "CORRUPT_INPUT");

    let settled = client.settled(image.id).await;
    let rendition = settled.renditions.first().expect("it was asked for");
    assert_eq!(rendition.state(), RenditionState::Failed);
    assert_eq!(rendition.failure.as_ref().expect("why").reason(), FailureReason::CorruptInput);
    assert_eq!(client.original(&image).await.expect("the original").bytes, png);

    // A retry starts anew, and ends the same way.
    let retried = client.images().retry_rendition(RetryRenditionRequest { rendition_id: rendition.id }).await.expect("a retry");
    assert_eq!(retried.into_inner().rendition.expect("the rendition").state(), RenditionState::Pending);
    assert_eq!(client.settled(image.id).await.renditions[0].state(), RenditionState::Failed);
}

#[tokio::test]
async fn only_a_failed_rendition_is_retried() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(20, 20, 1))).await.expect("an image");
    let rendition_id = client.settled(image.id).await.renditions[0].id;
    let status = client.images().retry_rendition(RetryRenditionRequest { rendition_id }).await.expect_err("it is ready");
    assert_eq!(tintype_tests::Refused::from(status).kind(), (Code::FailedPrecondition, "RENDITION_NOT_FAILED"));
}

#[tokio::test]
async fn a_pending_rendition_says_when_to_ask_again() {
    let tintype = Tintype::cluster_with(0, &[("TINTYPE_MAX_WAIT_SECS", "1")]).await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(20, 20, 1))).await.expect("an image");
    let request = DownloadImageRequest { image_id: image.id, ..DownloadImageRequest::default() };
    let refused = client.download(request.clone()).await.expect_err("nobody makes it");
    assert_eq!(refused.kind(), (Code::FailedPrecondition, "RENDITION_PENDING"));
    assert!(refused.retry_after.is_some(), "{refused:?}");
    let refused = client.download(DownloadImageRequest { wait: true, ..request }).await.expect_err("nobody makes it");
    assert_eq!(refused.kind(), (Code::DeadlineExceeded, "WAIT_TOO_LONG"));
}

#[tokio::test]
async fn avif_is_made_and_read_where_it_is_built_in() {
    let tintype = Tintype::embedded().await;
    let client = requested::client(&tintype.grpc_url, "admin");
    let png = client.upload(pictures::png(64, 48, 3)).file_name("a.png").send().await.expect("an image");
    client.wait_ready(png.id).await.expect("a worker is there");
    if !client.limits().await.expect("limits").output_formats.contains(&Format::Avif) {
        println!("nothing is shown: the server was built without AVIF");
        return;
    }
    let asked = client.create_rendition(png.id, Format::Avif).quality(90).send().await.expect("it is asked for");
    let avif = client.download_rendition(asked.id).wait().bytes().await.expect("it is made");
    assert_eq!(&avif[4..12], b"ftypavif");

    let image = client.upload(avif).file_name("b.avif").send().await.expect("it is an image");
    assert_eq!((image.format, image.width, image.height), (Format::Avif, 64, 48));
    for format in [Format::Png, Format::Jpeg] {
        let bytes = client.download(image.id).format(format).wait().bytes().await.expect("it is made by itself");
        let shown = image::load_from_memory(&bytes).expect("it can be decoded").to_rgb8();
        let difference = mean_difference(&shown, &pictures::picture(64, 48, 3));
        assert!(difference < 6.0, "it is the same picture: the mean difference is {difference}");
    }
}
