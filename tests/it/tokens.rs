//! What a token is good for, and its end.

use std::time::{Duration, Instant};

use tintype_proto::v1::{
    CreateTokenRequest, DownloadImageRequest, ImageFormat, ListTokensRequest, RevokeTokenRequest, TokenScope, UploadChunk,
    UploadImagesRequest, UploadImagesResponse, UploadStart, WatchImagesRequest, auth_service_client::AuthServiceClient,
    upload_images_request::Message,
};
use tintype_tests::{ADMIN_PASSWORD, Client, Refused, Tintype, Upload, pictures};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::access::{call_with, every_path};

/// Within this time the end of a token holds everywhere.
const PROMISED: Duration = Duration::from_secs(1);
/// How long the end of an open call is waited for, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn request(username: &str, scopes: &[TokenScope]) -> CreateTokenRequest {
    CreateTokenRequest {
        username: username.to_owned(),
        password: ADMIN_PASSWORD.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        ..CreateTokenRequest::default()
    }
}

async fn token(stranger: &Client, request: CreateTokenRequest) -> Result<Client, Refused> {
    let token = AuthServiceClient::new(stranger.channel.clone()).create_token(request).await?.into_inner().token;
    Ok(Client { channel: stranger.channel.clone(), token: Some(token) })
}

/// What a method needs, told by its name alone: new methods fit in, or this test wants to hear of them.
fn needed(path: &str) -> Option<TokenScope> {
    let (service, method) = path.trim_start_matches("/tintype.v1.").split_once('/').expect("a path");
    match (service, method) {
        (_, "GetCurrentUser" | "GetLimits") => None,
        ("AdminService" | "UserService", _) => Some(TokenScope::Admin),
        (_, "CreateDownloadUrl") => Some(TokenScope::Read),
        _ if ["Get", "List", "Download", "Watch"].iter().any(|verb| method.starts_with(verb)) => Some(TokenScope::Read),
        _ => Some(TokenScope::Write),
    }
}

#[tokio::test]
async fn every_method_takes_exactly_the_tokens_that_are_good_for_it() {
    use TokenScope::{Admin, Read, Write};
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let stranger = tintype.stranger().await;
    let mut paths = every_path(&stranger.channel).await;
    paths.retain(|path| path.starts_with("/tintype.v1.") && path != "/tintype.v1.AuthService/CreateToken");
    // An empty request revokes the token that comes with it, so this is the last one.
    paths.sort_by_key(|path| path.ends_with("/RevokeToken"));
    assert!(paths.len() >= 16, "{paths:?}");

    let all: [&[TokenScope]; 6] = [&[], &[Read], &[Write], &[Admin], &[Read, Write], &[Read, Write, Admin]];
    for username in ["admin", "ada"] {
        for scopes in all.iter().filter(|scopes| username == "admin" || !scopes.contains(&Admin)) {
            let client = token(&stranger, request(username, scopes)).await.expect("a token");
            for path in &paths {
                let allowed = needed(path)
                    .is_none_or(|needed| (username == "admin" || needed != Admin) && (scopes.is_empty() || scopes.contains(&needed)));
                let case = format!("{username} with {scopes:?} at {path}");
                match call_with(&stranger.channel, path, client.token.as_deref()).await {
                    Err(refused) if !allowed => {
                        assert_eq!(refused.kind(), (Code::PermissionDenied, "NOT_PERMITTED"), "{case}");
                        assert!(refused.metadata.contains_key("needed_scope"), "{case}: {refused:?}");
                    }
                    Err(refused) => {
                        let let_through = ![Code::PermissionDenied, Code::Unauthenticated].contains(&refused.code);
                        assert!(let_through, "{case}: {refused:?}");
                    }
                    Ok(()) => assert!(allowed, "{case}"),
                }
            }
        }
    }
    let refused = token(&stranger, request("ada", &[Admin])).await.expect_err("she is none");
    assert_eq!(refused.kind(), (Code::PermissionDenied, "NOT_PERMITTED"));
    let missing = call_with(&stranger.channel, "/tintype.v1.ImageService/NoSuchMethod", tintype.client().await.token.as_deref()).await;
    assert_eq!(missing.expect_err("there is none").code, Code::Unimplemented);
}

#[tokio::test]
async fn a_token_says_what_it_is_for_and_ends_at_its_time() {
    let tintype = Tintype::embedded().await;
    let stranger = tintype.stranger().await;
    let ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let short = CreateTokenRequest { ttl, label: "for a moment".to_owned(), ..request("admin", &[TokenScope::Read]) };
    let begin = Instant::now();
    let client = token(&stranger, short).await.expect("a token");
    let given = Instant::now();
    let (refused, last) = timeout(PATIENCE, first_refusal(&client)).await.expect("it ends");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    let late = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(given));
    assert!(late < Duration::from_secs(1) + PROMISED, "a call that began {late:?} after the sign-in was let through");

    let admin = tintype.client().await;
    let listed = admin.auth().list_tokens(ListTokensRequest::default()).await.expect("a list").into_inner().tokens;
    assert_eq!(listed.len(), 1, "what has ended is not listed: {listed:?}");
    let odd = prost_types::Duration { seconds: i64::MIN, nanos: -1 };
    for ttl in [odd, prost_types::Duration::default(), prost_types::Duration { seconds: 315_360_001, nanos: 0 }] {
        let refused = token(&stranger, CreateTokenRequest { ttl: Some(ttl), ..request("admin", &[]) }).await.expect_err("no such time");
        assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "{ttl:?}");
    }
}

#[tokio::test]
async fn tokens_are_seen_and_revoked_by_their_user_and_administrators_alone() {
    let tintype = Tintype::embedded().await;
    for name in ["ada", "bob"] {
        tintype.add_user(name).await;
    }
    let (admin, ada, bob) = (tintype.client().await, tintype.client_of("ada").await, tintype.client_of("bob").await);
    let ada_id = ada.current_user().await.expect("a user").id;
    let own = ada.auth().list_tokens(ListTokensRequest::default()).await.expect("a list").into_inner().tokens;
    assert_eq!((own.len(), own[0].user_id), (1, ada_id));

    for user_id in [ada_id, 4_711] {
        let list = bob.auth().list_tokens(ListTokensRequest { user_id, ..ListTokensRequest::default() }).await;
        assert_eq!(Refused::from(list.expect_err("not his")).kind(), (Code::PermissionDenied, "NOT_PERMITTED"));
        let revoke = bob.auth().revoke_token(RevokeTokenRequest { token_id: own[0].id, user_id }).await;
        assert_eq!(Refused::from(revoke.expect_err("not his")).kind(), (Code::PermissionDenied, "NOT_PERMITTED"));
    }
    let revoke = bob.auth().revoke_token(RevokeTokenRequest { token_id: own[0].id, user_id: 0 }).await;
    assert_eq!(Refused::from(revoke.expect_err("not his")).kind(), (Code::NotFound, "TOKEN_NOT_FOUND"));
    ada.current_user().await.expect("hers is good still");

    let of_ada = ListTokensRequest { user_id: ada_id, ..ListTokensRequest::default() };
    assert_eq!(admin.auth().list_tokens(of_ada).await.expect("a list").into_inner().tokens, own);
    let nobody = admin.auth().list_tokens(ListTokensRequest { user_id: 4_711, ..ListTokensRequest::default() }).await;
    assert_eq!(Refused::from(nobody.expect_err("nobody")).kind(), (Code::NotFound, "USER_NOT_FOUND"));
    admin.auth().revoke_token(RevokeTokenRequest { token_id: own[0].id, user_id: ada_id }).await.expect("revoked");

    bob.auth().revoke_token(RevokeTokenRequest::default()).await.expect("his own is revoked without its id");
    let left = admin.auth().list_tokens(ListTokensRequest::default()).await.expect("a list").into_inner().tokens;
    assert_eq!(left.len(), 1);
}

/// An upload that goes no further, and its answers.
async fn open_upload(client: &Client) -> (mpsc::Sender<UploadImagesRequest>, Streaming<UploadImagesResponse>) {
    let (sender, receiver) = mpsc::channel(4);
    let start = Message::Start(UploadStart { file_name: "half.bmp".to_owned(), ..UploadStart::default() });
    let chunk = Message::Chunk(UploadChunk { data: pictures::bmp(200, 200, 1)[..60_000].to_vec().into(), ..UploadChunk::default() });
    for message in [start, chunk] {
        sender.send(UploadImagesRequest { message: Some(message) }).await.expect("there is room");
    }
    let mut answers = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    answers.message().await.expect("an answer").expect("it has started");
    (sender, answers)
}

/// How the first call is refused that is, and when the last one began that was let through.
async fn first_refusal(client: &Client) -> (Refused, Option<Instant>) {
    let mut last = None;
    loop {
        let begin = Instant::now();
        match client.current_user().await {
            Ok(_) => last = Some(begin),
            Err(refused) => return (refused, last),
        }
    }
}

#[tokio::test]
async fn a_token_revoked_at_one_server_is_refused_at_the_other_within_a_second_and_its_open_calls_end() {
    let tintype = Tintype::cluster(0).await;
    let (_second, url) = tintype.another_server().await;
    let admin = tintype.client().await;
    tintype.add_user("ada").await;
    let here = tintype.client_of("ada").await;
    let there = Client { channel: Client::connect(&url).await.channel, token: here.token.clone() };
    let other = Client { channel: there.channel.clone(), token: tintype.client_of("ada").await.token };

    let image = here.upload(Upload::new("large.bmp", pictures::bmp(4_000, 3_500, 1))).await.expect("an image");
    let (sender, mut answers) = open_upload(&there).await;
    let (_other_sender, mut other_answers) = open_upload(&other).await;
    let whole = DownloadImageRequest { image_id: image.id, format: ImageFormat::Bmp.into(), ..DownloadImageRequest::default() };
    let mut download = there.images().download_image(whole).await.expect("a stream").into_inner();
    let waiting = DownloadImageRequest { image_id: image.id, wait: true, ..DownloadImageRequest::default() };
    let waiting = tokio::spawn({
        let there = there.clone();
        async move { there.download(waiting).await }
    });
    let mut watch = there.images().watch_images(WatchImagesRequest::default()).await.expect("a stream").into_inner();
    there.current_user().await.expect("it is good until now");

    // New calls come all the time, before and after.
    let calls = tokio::spawn({
        let there = there.clone();
        async move { first_refusal(&there).await }
    });

    here.auth().revoke_token(RevokeTokenRequest::default()).await.expect("revoked");
    let begin = Instant::now();
    let ended = timeout(PATIENCE, answers.message()).await.expect("it ends").expect_err("with a status");
    assert_eq!(Refused::from(ended).kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    let upload_ended = begin.elapsed();
    let ended = loop {
        match timeout(PATIENCE, watch.message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a watch does not end well"),
            Err(status) => break Refused::from(status),
        }
    };
    assert_eq!(ended.kind(), (Code::Unauthenticated, "TOKEN_INVALID"), "the watch");
    let watch_ended = begin.elapsed();
    let refused = timeout(PATIENCE, waiting).await.expect("it ends").expect("no panic").expect_err("it was not ready");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"), "a call that has not answered yet");
    let waiting_ended = begin.elapsed();
    let (refused, last) = timeout(PATIENCE, calls).await.expect("they are refused").expect("no panic");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    let late = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(begin));
    assert!(late < PROMISED, "a call that began {late:?} after the revocation was let through");
    println!(
        "after the answer to the revocation: the last call that was let through began within {late:?}, an open upload ended within \
         {upload_ended:?}, a watch within {watch_ended:?}, a waiting call within {waiting_ended:?}"
    );
    let ended = loop {
        match download.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the download came to its end"),
            Err(status) => break Refused::from(status),
        }
    };
    assert_eq!(ended.kind(), (Code::Unauthenticated, "TOKEN_INVALID"), "the download");
    // The server lets go of the upload, and nothing of it is left.
    sender.closed().await;

    // The user's other token, and its open call, do not even notice.
    other.current_user().await.expect("it is another token");
    let user_id = other.current_user().await.expect("a user").id;
    let disable = tintype_client::Client::builder(&tintype.grpc_url).token(admin.token.expect("signed in")).build().expect("a client");
    disable.users().update(user_id).disabled(true).send().await.expect("disabled");
    let begin = Instant::now();
    let ended = timeout(PATIENCE, other_answers.message()).await.expect("it ends").expect_err("with a status");
    assert_eq!(Refused::from(ended).kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    println!("after the user was disabled: an open upload ended within {:?}", begin.elapsed());
}
