//! Passwords: guessing them is slow, changing them ends what they opened, and an operator gets in again.

use std::time::{Duration, Instant};

use tintype_client::{Client, ErrorReason};
use tintype_proto::v1::ChangePasswordRequest;
use tintype_tests::{ADMIN_PASSWORD, Refused, Tintype, sign_in};
use tonic::Code;

/// Wrong sign-ins that are let through before the first pause.
const FREE: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

fn is_throttled(outcome: &Result<String, Refused>) -> bool {
    outcome.as_ref().is_err_and(|refused| refused.kind() == (Code::ResourceExhausted, "SIGN_IN_THROTTLED"))
}

/// What repeated wrong sign-ins answer, and at last the right one.
async fn guesses(username: &str) -> Vec<(Code, String, String, bool)> {
    let outcomes = loop {
        let tintype = Tintype::embedded().await;
        let channel = tintype.stranger().await.channel;
        let mut last_free = Instant::now();
        let mut outcomes = Vec::new();
        for attempt in 0..FREE + 2 {
            if attempt < FREE {
                last_free = Instant::now();
            }
            let password = if attempt > FREE { ADMIN_PASSWORD } else { "not it" };
            outcomes.push(sign_in(channel.clone(), username, password).await);
        }
        // Somebody else from the same address waits as well.
        let neighbour = sign_in(channel, "somebody", "else").await;
        let all_waited = outcomes[FREE..].iter().all(is_throttled) && is_throttled(&neighbour);
        // On a busy machine the pause may be over before all have asked.
        if all_waited || last_free.elapsed() < FIRST_PAUSE {
            assert!(is_throttled(&neighbour), "{neighbour:?}");
            break outcomes;
        }
    };
    let answers = outcomes.into_iter().map(|outcome| {
        let refused = outcome.expect_err("refused, whatever the password");
        if let Some(pause) = refused.retry_after {
            assert!(pause > Duration::ZERO && pause <= FIRST_PAUSE, "{pause:?}");
        }
        (refused.code, refused.reason, refused.message, refused.retry_after.is_some())
    });
    answers.collect()
}

#[tokio::test]
async fn guessing_is_slowed_down_the_same_for_users_who_are_there_and_who_are_not() {
    let known = guesses("admin").await;
    let kinds: Vec<_> = known.iter().map(|(code, reason, _, _)| (*code, reason.as_str())).collect();
    let failed = (Code::Unauthenticated, "SIGN_IN_FAILED");
    let throttled = (Code::ResourceExhausted, "SIGN_IN_THROTTLED");
    assert_eq!(kinds, [failed, failed, failed, failed, failed, throttled, throttled]);
    assert_eq!(known, guesses("nobody").await);
}

#[tokio::test]
async fn who_waited_as_told_is_let_in() {
    let tintype = Tintype::embedded().await;
    let channel = tintype.stranger().await.channel;
    for _ in 0..5 {
        sign_in(channel.clone(), "admin", "not it").await.expect_err("a wrong password");
    }
    // The client library waits as long as the server says.
    let client = Client::builder(&tintype.grpc_url).build().expect("a client");
    assert_eq!(client.sign_in("admin", ADMIN_PASSWORD).await.expect("signed in").user.user_name, "admin");
}

#[tokio::test]
async fn a_new_password_ends_every_token_and_the_old_password() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let (first, second) = (tintype.client_of("ada").await, tintype.client_of("ada").await);
    let change = |old: &str| ChangePasswordRequest { old_password: old.to_owned(), new_password: "sesame".to_owned() };
    let refused = first.auth().change_password(change("not it")).await.expect_err("a wrong password");
    assert_eq!(Refused::from(refused).kind(), (Code::Unauthenticated, "SIGN_IN_FAILED"));
    second.current_user().await.expect("nothing has changed");
    first.auth().change_password(change(ADMIN_PASSWORD)).await.expect("changed");
    for client in [&first, &second] {
        let refused = loop {
            if let Err(refused) = client.current_user().await {
                break refused;
            }
        };
        assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    }
    let refused = sign_in(first.channel.clone(), "ada", ADMIN_PASSWORD).await.expect_err("the old password");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "SIGN_IN_FAILED"));
    sign_in(first.channel, "ada", "sesame").await.expect("the new password");
}

/// The password in `admin / <password>`.
fn printed_password(line: &str) -> Option<String> {
    line.trim().strip_prefix("admin / ").map(str::to_owned)
}

#[tokio::test]
async fn an_operator_resets_the_administrator_beside_running_servers() {
    let tintype = Tintype::cluster(0).await;
    let before = tintype.client().await;
    let catalog = tintype.catalog().await;
    let admin = catalog.user_by_name("admin").await.expect("the catalog answers").expect("it is there");
    // Kept out by another administrator, who then left.
    tintype.add_user("other").await;
    let other = catalog.user_by_name("other").await.expect("the catalog answers").expect("it is there");
    let role = |role, disabled| tintype_store::UserChange { role: Some(role), disabled: Some(disabled), ..Default::default() };
    catalog.update_user(other.id, &role(tintype_store::Role::Admin, false)).await.expect("promoted");
    catalog.update_user(admin.id, &role(tintype_store::Role::User, true)).await.expect("kept out");

    let mut reset = tintype.run_server(&["reset-admin"]);
    let password = reset.line(printed_password).await;
    assert!(reset.ended().await.success(), "{}", reset.output());
    let token = sign_in(before.channel.clone(), "admin", &password).await.expect("the printed password works");
    let client = Client::builder(&tintype.grpc_url).token(token).build().expect("a client");
    assert_eq!(client.users().get(other.id.0).await.expect("an administrator again").user_name, "other");
    while let Ok(user) = before.current_user().await {
        assert_eq!(user.username, "admin", "its old token ends within a second");
    }
}

#[tokio::test]
async fn with_a_catalog_in_a_file_the_server_must_be_stopped_for_a_reset() {
    let mut tintype = Tintype::embedded().await;
    let mut reset = tintype.run_server(&["reset-admin"]);
    let advice = reset.line(|line| line.contains("stop the server").then(|| line.to_owned())).await;
    assert!(advice.contains("is in use by another process"), "{advice}");
    assert!(!reset.ended().await.success());

    let mut elsewhere = tintype.run_server(&["reset-admin", "--data", "no/such/folder"]);
    elsewhere.line(|line| line.contains("there is no catalog").then_some(())).await;
    assert!(!elsewhere.ended().await.success());

    assert!(tintype.stop_server().await.success());
    tintype.set("TINTYPE_ADMIN_PASSWORD", "chosen by hand");
    let mut reset = tintype.run_server(&["reset-admin"]);
    assert!(reset.ended().await.success(), "{}", reset.output());
    assert!(!reset.output().contains("chosen by hand"), "what is known is not shown: {}", reset.output());
    tintype.start_server().await;
    let channel = tintype.stranger().await.channel;
    let refused = sign_in(channel.clone(), "admin", ADMIN_PASSWORD).await.expect_err("the password before");
    assert_eq!(Refused::kind(&refused), (Code::Unauthenticated, "SIGN_IN_FAILED"));
    sign_in(channel, "admin", "chosen by hand").await.expect("the password of the settings");
    let client = Client::builder(&tintype.grpc_url).password("admin", ADMIN_PASSWORD).build().expect("a client");
    assert_eq!(client.current_user().await.expect_err("the password before").reason(), Some(ErrorReason::SignInFailed));
}
