//! Clocks that are set while programs run: only times of day jump, as on a machine whose clock is put right.

use tintype_proto::v1::{Image, RenditionState};
use tintype_tests::{Client, Tintype, Upload, pictures, required};

/// The clock of all programs of a test, in the file that libfaketime reads.
struct Clock(tempfile::TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().expect("a temporary folder can be made"));
        clock.set("+0");
        clock
    }

    fn path(&self) -> String {
        self.0.path().join("offset").to_str().expect("temporary folders have plain names").to_owned()
    }

    /// Sets it to so much beside the machine's.
    fn set(&self, offset: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, format!("{offset}\n")).expect("a file can be written");
        // Read at any moment, it is never half written.
        std::fs::rename(next, self.path()).expect("a file can be renamed");
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", required("TINTYPE_TEST_FAKETIME")),
            ("FAKETIME_TIMESTAMP_FILE", self.path()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}

async fn uploaded(client: &Client, seed: u32) -> Image {
    let upload = Upload::new("a.png", pictures::png(900, 700, seed)).request_id(&format!("request-{seed}"));
    client.upload(upload).await.expect("an image")
}

/// Sets the clock at once after each upload, when conversions have begun or wait.
async fn jumps_change_nothing(tintype: Tintype, clock: Clock) {
    let client = tintype.client().await;
    let mut images = vec![uploaded(&client, 0).await];
    for (seed, offset) in [(1, "+1h"), (2, "+0"), (3, "-1h"), (4, "+1h"), (5, "-1h"), (6, "+0")] {
        images.push(uploaded(&client, seed).await);
        clock.set(offset);
        let newest = images.last().expect("just now");
        assert_eq!(client.original(newest).await.expect("it is there").bytes, pictures::png(900, 700, seed));
        let settled = client.settled(newest.id).await;
        assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "at {offset}: {settled:?}");
    }
    let times: Vec<_> = images.iter().map(|image| image.create_time.as_ref().expect("it has one").seconds).collect();
    let jump = times.windows(2).map(|pair| pair[1].abs_diff(pair[0])).max().expect("there are some");
    assert!(jump > 3_000, "the clock of the server was set: {times:?}");
    for (seed, image) in (0..).zip(&images) {
        assert_eq!(uploaded(&client, seed).await.id, image.id, "a request is remembered at any time of day");
        let settled = client.settled(image.id).await;
        assert!(settled.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{settled:?}");
    }
    let sizes = async |image: &Image| {
        let image = client.image(image.id).await.expect("it is there");
        image.size_bytes + image.renditions[0].size_bytes
    };
    let mut seen = 0;
    for image in &images {
        seen += sizes(image).await;
    }
    assert_eq!(client.current_user().await.expect("a user").used_bytes, seen);
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_delays_and_loses_nothing_embedded() {
    let clock = Clock::new();
    let variables = clock.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    jumps_change_nothing(Tintype::embedded_with(&variables).await, clock).await;
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_delays_and_loses_nothing_in_a_cluster() {
    let clock = Clock::new();
    let variables = clock.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    jumps_change_nothing(Tintype::cluster_with(1, &variables).await, clock).await;
}
