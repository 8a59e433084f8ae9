//! `tintype upload` that was ended in the middle of a file, and started again.

use std::fs;

use tintype_tests::{Breaker, Program, Tintype, pictures};

use crate::command_line::Person;

const MIB: u64 = 1 << 20;

/// A person with a large file of which a run that was killed sent a part, whose server tells what becomes of uploads.
async fn killed_in_the_middle(file: &[u8]) -> (Tintype, Breaker, Person) {
    let mut tintype = Tintype::embedded().await;
    tintype.stop_server().await;
    tintype.set("TINTYPE_LOG", "info,tintype_server=debug");
    tintype.start_server().await;
    let server = tintype.grpc_url.trim_start_matches("http://").to_owned();
    let breaker = Breaker::before(&server, vec![14 * MIB]).await;
    // From the break on the run finds nobody, so it is surely in the middle when it is killed.
    breaker.lead_after_cut_to("127.0.0.1:1");
    let person = Person::by_way_of(&tintype, format!("http://{}", breaker.address));
    person.file("large.bmp", file);
    person.told(&["login"]).await;
    let path = person.path("large.bmp").to_string_lossy().into_owned();
    let run = Program::own("tintype", &["upload", &path], person.environment().map(|(name, value)| (name.into(), value)));
    breaker.sent(14 * MIB).await;
    let suspended = |line: &str| line.contains("an upload was interrupted").then_some(());
    tintype.server.as_mut().expect("it runs").line(suspended).await;
    run.kill().await;
    breaker.lead_to(&server);
    (tintype, breaker, person)
}

fn notes(person: &Person) -> usize {
    fs::read_dir(person.path(".config/tintype/uploads")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_started_again_sends_only_the_rest() {
    let file = pictures::bmp(2_048, 4_096, 9);
    let size = file.len() as u64;
    let (tintype, breaker, person) = killed_in_the_middle(&file).await;
    assert_eq!(notes(&person), 1);
    let before = breaker.counts().0;
    let output = person.tintype(&["upload", "large.bmp"]).await;
    assert!(output.status.success(), "{output:?}");
    let sent = breaker.counts().0 - before;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = stderr.lines().find_map(|line| line.strip_prefix("tintype: large.bmp: goes on from byte "));
    let (from, total) = told.and_then(|told| told.split_once(" of ")).unwrap_or_else(|| panic!("{stderr}"));
    let from: u64 = from.parse().expect("a number");
    assert_eq!(total, size.to_string());
    assert!(from >= 8 * MIB && sent < size - from + MIB, "{sent} bytes sent for those from {from} on");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\tlarge.bmp\tpending\n");
    let client = tintype.client().await;
    let image = client.image(1).await.expect("the image");
    assert!(client.original(&image).await.expect("the original").bytes == file, "bytes differ");
    assert_eq!(notes(&person), 0, "there is nothing left to go on with");

    let again = person.told(&["upload", "large.bmp"]).await;
    assert!(again.starts_with("2\t"), "what is finished is uploaded anew: {again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_can_be_given_up() {
    let file = pictures::bmp(2_048, 4_096, 9);
    let (tintype, _breaker, person) = killed_in_the_middle(&file).await;
    let client = tintype.client().await;
    assert!(client.current_user().await.expect("a user").used_bytes >= 8 * MIB as i64);
    assert_eq!(person.told(&["upload", "--cancel", "large.bmp"]).await, "large.bmp\tcancelled\n");
    assert_eq!(client.current_user().await.expect("a user").used_bytes, 0);
    assert_eq!((notes(&person), tintype.blob_files("staging").len()), (0, 0));
    let output = person.tintype(&["upload", "--cancel", "large.bmp"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
