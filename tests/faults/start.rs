//! Programs that are started before what they need: they wait, say for what, and come up by themselves.

use tintype_proto::v1::ImageFormat;
use tintype_tests::{Bucket, Program, Tintype, Upload, pictures};

async fn says(program: &mut Program, what: &str) {
    program.line(|line| line.contains(what).then_some(())).await;
}

#[tokio::test]
async fn programs_started_before_their_services_wait_say_so_and_come_up() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut tintype = Tintype::cluster_with(0, &variables).await;
    let before = tintype.client().await.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    tintype.kill_server().await;

    tintype.catalog_gate().shut();
    bucket.gate.shut();
    tintype.kill_nats().await;
    let mut server = tintype.run_server(&[]);
    tintype.start_worker();
    let mut worker = tintype.workers.remove(0);
    says(&mut server, "waiting for the catalog").await;
    says(&mut worker, "waiting for the catalog").await;
    tintype.catalog_gate().open();
    says(&mut server, "no longer waiting for the catalog").await;
    says(&mut worker, "no longer waiting for the catalog").await;
    says(&mut server, "waiting for the blob store").await;
    says(&mut worker, "waiting for the blob store").await;
    bucket.gate.open();
    says(&mut server, "no longer waiting for the blob store").await;
    says(&mut worker, "no longer waiting for the blob store").await;
    // Without the queue a server serves.
    says(&mut server, "hints wait in the catalog").await;
    tintype.served_by(server).await;
    let client = tintype.client().await;
    assert_eq!(client.original(&before).await.expect("it is there").bytes, pictures::png(64, 48, 1));
    let after = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect("uploads do not need the queue");

    tintype.start_nats().await;
    for image in [before, after] {
        client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made without a restart");
    }
}
