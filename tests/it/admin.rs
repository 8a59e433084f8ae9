//! What administrators see of the whole service, and do about what failed.

use std::process::Output;

use futures_util::TryStreamExt as _;
use tintype_client::{Client, ErrorReason, Failure, FailureReason, RenditionState};
use tintype_tests::{ADMIN_PASSWORD, Tintype, own_binary, pictures};
use tokio::process::Command;
use tonic::Code;

fn client(tintype: &Tintype, user_name: &str) -> Client {
    Client::builder(&tintype.grpc_url).password(user_name, ADMIN_PASSWORD).build().expect("a client")
}

/// A PNG with a true header, then nothing that could be a picture.
fn broken_png(seed: u32) -> Vec<u8> {
    let mut png = pictures::png(300, 200, seed);
    let end = png.len();
    png[end / 2..end - 20].fill(0xA5);
    png
}

/// Uploads a picture that no rendition can be made of, and returns the id of the one that failed.
async fn failure(client: &Client, name: &str, seed: u32) -> i64 {
    let image = client.upload(broken_png(seed)).file_name(name).send().await.expect("the header is fine");
    let settled = client.wait_ready(image.id).await.expect("it settles");
    assert_eq!(settled.renditions[0].state, RenditionState::Failed, "{settled:?}");
    settled.renditions[0].id
}

async fn all_failures(client: &Client) -> Vec<Failure> {
    client.admin().failures().page_size(1).stream().try_collect().await.expect("a list")
}

fn reason<T: std::fmt::Debug>(result: Result<T, tintype_client::Error>) -> (Code, ErrorReason) {
    let error = result.expect_err("refused");
    (error.code().expect("a code"), error.reason().expect("a reason"))
}

async fn counts_are_those_of_what_is_there(tintype: Tintype, backends: [&str; 3]) {
    tintype.add_user("ada").await;
    let (admin, ada) = (client(&tintype, "admin"), client(&tintype, "ada"));
    let empty = admin.admin().stats().await.expect("stats");
    assert_eq!((empty.user_count, empty.image_count, empty.original_bytes, empty.oldest_pending_age), (2, 0, 0, None));
    let server = &empty.server;
    assert_eq!([&server.catalog, &server.blobs, &server.jobs], backends);

    let mut made = Vec::new();
    for seed in 0..3 {
        let image = ada.upload(pictures::png(60, 40, seed)).file_name("hers.png").send().await.expect("an image");
        made.push(ada.wait_ready(image.id).await.expect("it settles"));
    }
    failure(&admin, "broken.png", 9).await;
    ada.delete(made[0].id).await.expect("deleted");

    let stats = admin.admin().stats().await.expect("stats");
    assert_eq!((stats.image_count, stats.ready_count, stats.failed_count, stats.pending_count, stats.running_count), (3, 2, 1, 0, 0));
    assert_eq!(stats.failures.iter().map(|it| (it.reason.as_str(), it.count)).collect::<Vec<_>>(), [("CORRUPT_INPUT", 1)]);
    let renditions: u64 = made[1..].iter().flat_map(|image| &image.renditions).map(|rendition| rendition.size_bytes).sum();
    assert_eq!(stats.rendition_bytes, renditions);
    let users: Vec<_> = admin.users().stream().try_collect().await.expect("a list");
    let used: u64 = users.iter().map(|user| user.used_bytes).sum();
    assert_eq!(stats.original_bytes + stats.rendition_bytes + stats.arriving_bytes, used);
    let [worker] = &stats.workers[..] else { panic!("one worker: {:?}", stats.workers) };
    assert!(worker.slot_count >= 1 && worker.last_seen_at >= worker.started_at, "{worker:?}");
    assert_eq!(worker.version, server.version);
    for formats in [&worker.input_formats, &worker.output_formats] {
        assert!(formats.contains(&tintype_client::Format::Jpeg), "{worker:?}");
    }
    assert_eq!(stats.server, empty.server, "the same server since the same time");
}

#[tokio::test]
async fn counts_are_those_of_what_is_there_embedded() {
    counts_are_those_of_what_is_there(Tintype::embedded().await, ["sqlite", "file", "local"]).await;
}

#[tokio::test]
async fn counts_are_those_of_what_is_there_in_a_cluster() {
    counts_are_those_of_what_is_there(Tintype::cluster(1).await, ["postgres", "file", "nats"]).await;
}

#[tokio::test]
async fn what_waits_for_a_worker_has_an_age() {
    let tintype = Tintype::cluster(0).await;
    let admin = client(&tintype, "admin");
    admin.upload(pictures::png(60, 40, 1)).file_name("a.png").send().await.expect("an image");
    let stats = admin.admin().stats().await.expect("stats");
    assert_eq!((stats.pending_count, stats.workers.len()), (1, 0));
    let first = stats.oldest_pending_age.expect("one waits");
    admin.upload(pictures::png(60, 40, 2)).file_name("b.png").send().await.expect("an image");
    let stats = admin.admin().stats().await.expect("stats");
    assert_eq!(stats.pending_count, 2);
    assert!(stats.oldest_pending_age.expect("two wait") > first, "the age is that of the older one, and grows");
}

async fn failures_of_everybody_are_listed_and_retried(tintype: Tintype) {
    tintype.add_user("ada").await;
    let (admin, ada) = (client(&tintype, "admin"), client(&tintype, "ada"));
    let ids = [failure(&ada, "first.png", 1).await, failure(&admin, "second.png", 2).await, failure(&ada, "third.png", 3).await];
    let listed = all_failures(&admin).await;
    let seen: Vec<_> = listed.iter().map(|it| (it.rendition.id, it.owner_name.as_str(), it.file_name.as_str())).collect();
    assert_eq!(seen, [(ids[2], "ada", "third.png"), (ids[1], "admin", "second.png"), (ids[0], "ada", "first.png")]);
    let why = listed[0].rendition.failure.as_ref().expect("a reason");
    assert_eq!((why.reason.as_str(), listed[0].rendition.attempt_count), ("CORRUPT_INPUT", 1));
    assert_eq!(listed[0].owner_id, ada.current_user().await.expect("a user").id);

    let of = |failed: FailureReason| admin.admin().failures().reason(failed).stream().try_collect::<Vec<_>>();
    assert_eq!(of(FailureReason::CorruptInput).await.expect("a list"), listed);
    assert_eq!(of(FailureReason::DecoderTimeout).await.expect("a list"), []);
    let since = listed[1].rendition.finished_at.expect("it failed");
    let failures = admin.admin().failures();
    let later: Vec<_> = failures.clone().failed_from(since).stream().try_collect().await.expect("a list");
    assert_eq!(later, listed[..2]);
    let before: Vec<_> = failures.clone().failed_before(since).stream().try_collect().await.expect("a list");
    assert_eq!(before, listed[2..]);
    let token = failures.clone().page_size(1).page("").await.expect("a page").next_page_token.expect("there is more");
    let elsewhere = failures.clone().reason(FailureReason::CorruptInput).page(&token).await;
    assert_eq!(reason(elsewhere), (Code::InvalidArgument, ErrorReason::InvalidField), "a page of another list");

    // They are as broken as before: the owner's watch tells of the second end, too.
    let mut watching = ada.watch().image(listed[0].rendition.image_id).start();
    while !matches!(watching.next().await.expect("an event"), tintype_client::Event::CaughtUp) {}
    assert_eq!(admin.admin().retry(&[ids[2], 4_711]).await.expect("retried"), [ids[2]], "what is not there is passed over");
    let mut states = Vec::new();
    while states.last() != Some(&RenditionState::Failed) {
        if let tintype_client::Event::RenditionChanged { state, .. } = watching.next().await.expect("an event") {
            states.push(state);
        }
    }
    assert_eq!(states, [RenditionState::Pending, RenditionState::Running, RenditionState::Failed]);

    // However quickly they fail again, each is met once.
    let mut retried: Vec<_> = admin.admin().failures().retry().try_collect().await.expect("retried");
    retried.sort_unstable();
    assert_eq!(retried, ids);
    let crashed: Vec<i64> = admin.admin().failures().reason(FailureReason::DecoderCrash).retry().try_collect().await.expect("an answer");
    assert!(crashed.is_empty());
    for failure in &listed {
        let owner = if failure.owner_name == "ada" { &ada } else { &admin };
        let settled = owner.wait_ready(failure.rendition.image_id).await.expect("it settles");
        assert_eq!(settled.renditions[0].state, RenditionState::Failed);
    }
    assert_eq!(all_failures(&admin).await.len(), 3);
}

#[tokio::test]
async fn failures_of_everybody_are_listed_and_retried_embedded() {
    failures_of_everybody_are_listed_and_retried(Tintype::embedded().await).await;
}

#[tokio::test]
async fn failures_of_everybody_are_listed_and_retried_in_a_cluster() {
    failures_of_everybody_are_listed_and_retried(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn nobody_else_sees_counts_or_failures() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let ada = client(&tintype, "ada");
    let own = failure(&ada, "hers.png", 1).await;
    let denied = (Code::PermissionDenied, ErrorReason::NotPermitted);
    assert_eq!(reason(ada.admin().stats().await), denied);
    assert_eq!(reason(ada.admin().failures().page("").await), denied);
    assert_eq!(reason(ada.admin().retry(&[own]).await), denied, "not even of one's own");
    assert_eq!(reason(ada.admin().failures().retry().try_next().await), denied);
    let sign_in = client(&tintype, "admin").sign_in("admin", ADMIN_PASSWORD);
    let reader = sign_in.scope(tintype_client::Scope::Read).send().await.expect("a token");
    assert_eq!(reason(ada.with_token(reader.secret).admin().stats().await), denied, "the scope is missing");
    assert_eq!(all_failures(&client(&tintype, "admin")).await.len(), 1);
}

/// Runs the command line as the administrator.
async fn tintype(service: &Tintype, token: &str, arguments: &str) -> Output {
    let mut command = Command::new(own_binary("tintype"));
    command.env_clear().env("TINTYPE_SERVER", &service.grpc_url).env("TINTYPE_TOKEN", token);
    command.args(arguments.split(' ')).output().await.expect("it runs")
}

#[tokio::test]
async fn people_look_after_the_service_on_the_command_line() {
    let service = Tintype::embedded().await;
    let admin = client(&service, "admin");
    let id = failure(&admin, "broken.png", 1).await;
    let token = service.client().await.token.expect("signed in");
    let says = async |arguments: &str| {
        let output = tintype(&service, &token, arguments).await;
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    };
    let stats = says("admin stats").await;
    for line in ["images\t1", "failed\t1\tCORRUPT_INPUT"] {
        assert!(stats.lines().any(|seen| seen == line), "{line}: {stats}");
    }
    let json: serde_json::Value = serde_json::from_str(&says("admin stats --output json").await).expect("JSON");
    assert_eq!((&json["renditions"]["failed_count"], &json["server"]["catalog"]), (&"1".into(), &"sqlite".into()));

    let listed = says("admin failures --reason corrupt_input --within 1h").await;
    let columns: Vec<_> = listed.split('\t').collect();
    assert_eq!((columns[0], columns[2], columns[3]), (id.to_string().as_str(), "admin", "broken.png"));
    assert!(columns[7].starts_with("CORRUPT_INPUT: "), "{listed}");
    assert_eq!(says("admin failures --reason decoder_crash").await, "");

    assert_eq!(says("admin retry --all").await, format!("{id}\tpending"));
    admin.wait_ready(columns[1].parse().expect("an id")).await.expect("it settles");
    assert_eq!(says(&format!("admin retry {id}")).await, format!("{id}\tpending"));
    let missing = tintype(&service, &token, "admin retry 4711").await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("4711"), "{missing:?}");
}
