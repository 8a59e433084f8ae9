//! No picture, and no end of a converter, harms anything but its own conversion.

use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tintype_proto::v1::{ImageFormat, RenditionState};
use tintype_tests::{Tintype, Upload, pictures};

const CONTAINED: &str = "process+landlock+seccomp";

fn converters(tintype: &Tintype) -> Vec<Pid> {
    tintype.server.as_ref().expect("it runs").children()
}

fn watched(pid: Pid) -> OwnedFd {
    pidfd_open(pid, PidfdFlags::empty()).expect("it runs")
}

fn wait_until_gone(process: &OwnedFd) {
    let patience = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)).expect("a process can be waited for");
    assert_eq!(ended, 1, "it still runs");
}

#[tokio::test]
async fn workers_tell_how_they_contain_conversions() {
    let mut tintype = Tintype::cluster(0).await;
    tintype.start_worker();
    let server = tintype.server.as_mut().expect("it runs");
    let told = format!("\"sandbox\":[\"{CONTAINED}\"]");
    server.line(|line| (line.contains("health changed") && line.contains(&told)).then_some(())).await;
    let (_, body) = tintype.healthz().await;
    assert!(body.contains(&told), "{body}");
}

#[tokio::test]
async fn a_converter_that_hangs_costs_one_attempt_and_is_replaced() {
    let more = [("TINTYPE_CONVERSION_SECS", "5"), ("TINTYPE_EMBEDDED_WORKERS", "1")];
    let tintype = Tintype::embedded_with(&more).await;
    let client = tintype.client().await;
    let [converter] = converters(&tintype)[..] else { panic!("one slot, one converter") };
    let hanging = watched(converter);
    // Stopped like this it answers nobody and ends by no polite signal.
    kill_process(converter, Signal::STOP).expect("it runs");
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    let settled = client.settled(image.id).await;
    assert_eq!((settled.renditions[0].state(), settled.renditions[0].attempt_count), (RenditionState::Ready, 2));
    wait_until_gone(&hanging);
    assert_eq!(client.original(&image).await.expect("the original").bytes, pictures::png(64, 48, 1));
}

#[tokio::test]
async fn converters_that_are_killed_harm_no_image() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_EMBEDDED_WORKERS", "2")]).await;
    let client = tintype.client().await;
    let files = (0..8).map(|seed| Upload::new("photo.png", pictures::png(1_200, 900, seed))).collect();
    let images = client.upload_each(files).await.expect("the stream ends well");
    let images: Vec<_> = images.into_iter().map(|outcome| outcome.expect("an image").id).collect();
    client.rendition(images[0], ImageFormat::Jpeg).await.expect("they are at it");
    for converter in converters(&tintype) {
        // One that was just replaced is gone already.
        let _ = kill_process(converter, Signal::KILL);
    }
    for id in images {
        let settled = client.settled(id).await;
        assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "{settled:?}");
    }
}

#[tokio::test]
async fn a_killed_server_leaves_no_converter_behind() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut left = Vec::new();
    // One that took longer than usual ends after its picture: with the next picture there is another one.
    for seed in 0..10 {
        let image = client.upload(Upload::new("a.png", pictures::png(64, 48, seed))).await.expect("an image");
        client.settled(image.id).await;
        left.extend(converters(&tintype).into_iter().filter_map(|converter| pidfd_open(converter, PidfdFlags::empty()).ok()));
        if !left.is_empty() {
            break;
        }
    }
    assert!(!left.is_empty());
    tintype.kill_server().await;
    for converter in &left {
        wait_until_gone(converter);
    }
}

#[tokio::test]
async fn without_a_sandbox_conversions_run_inside() {
    let mut tintype = Tintype::embedded_with(&[("TINTYPE_SANDBOX", "off")]).await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    assert_eq!(client.settled(image.id).await.renditions[0].state(), RenditionState::Ready);
    assert_eq!(converters(&tintype), []);
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| line.contains("conversions are not contained").then_some(())).await;
}

#[tokio::test]
async fn a_picture_that_needs_more_than_the_budget_is_refused_by_name() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_CONVERSION_BUDGET_BYTES", "4194304")]).await;
    let client = tintype.client().await;
    let (large, small) = (Upload::new("large.png", pictures::png(640, 480, 1)), Upload::new("small.png", pictures::png(64, 48, 1)));
    let large = client.upload(large).await.expect("an image");
    let settled = client.settled(large.id).await;
    let failure = settled.renditions[0].failure.as_ref().expect("it failed");
    assert_eq!(failure.reason(), tintype_proto::v1::FailureReason::ResourceLimit);
    assert!(failure.message.contains("4194304") && failure.message.contains("conversion_budget_bytes"), "{}", failure.message);
    let small = client.upload(small).await.expect("an image");
    assert_eq!(client.settled(small.id).await.renditions[0].state(), RenditionState::Ready);
}
