//! What must not be told: every secret of a run is looked for in everything that its programs have said.

use tintype_client::ErrorReason;
use tintype_tests::{ADMIN_PASSWORD, Bucket, Http, Tintype, Upload, pictures, sign_in};
use tonic::Code;

const PASSWORD: &str = "only-the-administrator-knows-7c1f";
const WRONG_PASSWORD: &str = "somebody-guesses-d2b9";
const DATABASE_PASSWORD: &str = "of-the-database-55e0";
const QUEUE_PASSWORD: &str = "of/the/queue-91ab";
const ENCODED_QUEUE_PASSWORD: &str = "of%2Fthe%2Fqueue-91ab";

#[tokio::test]
async fn no_secret_is_in_logs_errors_or_metrics() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // Everything that the programs can say.
    let log = "trace,h2=info,hyper=info,hyper_util=info,rustls=info";
    variables.extend([("TINTYPE_ADMIN_PASSWORD", PASSWORD), ("TINTYPE_LOG", log)]);
    let mut tintype = Tintype::cluster_with(0, &variables).await;
    tintype.kill_server().await;
    // The database of the tests asks for no password, and takes one all the same.
    let catalog = tintype.variable("TINTYPE_CATALOG").replace("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"));
    tintype.set("TINTYPE_CATALOG", &catalog);
    tintype.kill_nats().await;
    tintype.start_nats_with(&["--user", "tintype", "--pass", QUEUE_PASSWORD]).await;
    let jobs = tintype.variable("TINTYPE_JOBS").replace("nats://", &format!("nats://tintype:{ENCODED_QUEUE_PASSWORD}@"));
    tintype.set("TINTYPE_JOBS", &jobs);
    tintype.start_server().await;
    tintype.start_worker();

    let mut client = tintype.stranger().await;
    let token = sign_in(client.channel.clone(), "admin", PASSWORD).await.expect("it is the password");
    client.token = Some(token.clone());
    let mut said = Vec::new();
    let refused = sign_in(client.channel.clone(), "admin", WRONG_PASSWORD).await.expect_err("it is another one");
    said.push(format!("{refused:?}"));
    let refused = sign_in(client.channel.clone(), "admin", ADMIN_PASSWORD).await.expect_err("it was changed");
    said.push(format!("{refused:?}"));
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    client.settled(image.id).await;
    let false_token = format!("{}x", &token[..token.len() - 1]);
    let mut stranger = client.clone();
    stranger.token = Some(false_token.clone());
    let refused = stranger.image(image.id).await.expect_err("it is no token");
    assert_eq!(refused.code, Code::Unauthenticated);
    said.push(format!("{refused:?}"));
    let http = Http::new(&tintype.http_url, Some(&token));
    said.push(format!("{:?}", http.get("/v1/images/999999", &[]).await.text()));
    // Errors of every service, with their causes.
    tintype.catalog_gate().shut();
    said.push(format!("{:?}", client.image(image.id).await.expect_err("nobody knows")));
    tintype.catalog_gate().open();
    // Until the server knows that it is back.
    while client.image(image.id).await.is_err() {}
    bucket.gate.shut();
    said.push(format!("{:?}", client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect_err("nowhere to put it")));
    bucket.gate.open();
    tintype.kill_nats().await;
    while client.upload(Upload::new("c.png", pictures::png(64, 48, 3))).await.is_err() {}
    said.push(tintype.metrics().await);
    said.push(tintype.healthz().await.1);
    let library = tintype_client::Client::builder(&tintype.grpc_url).password("admin", WRONG_PASSWORD).build().expect("a client");
    // Until the server knows that its catalog is back.
    let error = loop {
        let error = library.current_user().await.expect_err("it is another one");
        if error.reason() != Some(ErrorReason::StoreUnavailable) {
            break error;
        }
    };
    assert_eq!(error.reason(), Some(ErrorReason::SignInFailed));
    said.push(format!("{error} {error:?} {library:?}"));

    let server = tintype.server.take().expect("it runs");
    let worker = tintype.workers.remove(0);
    said.extend([server.output(), worker.output()]);
    let signing_key = tintype.variable("AWS_SECRET_ACCESS_KEY");
    let secrets = [
        PASSWORD,
        WRONG_PASSWORD,
        DATABASE_PASSWORD,
        QUEUE_PASSWORD,
        ENCODED_QUEUE_PASSWORD,
        &token,
        &false_token,
        signing_key,
        "X-Amz-Signature=",
    ];
    for secret in secrets {
        for text in &said {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is told");
        }
    }
    let bytes: usize = said.iter().map(String::len).sum();
    println!("{} secrets in {bytes} bytes that were said: none", secrets.len());
    assert!(said.iter().any(|text| text.contains("stored image")), "what was said is what was looked at");
}
