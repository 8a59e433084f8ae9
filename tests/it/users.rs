//! Users, through the client library.

use futures_util::TryStreamExt as _;
use tintype_client::{Client, ErrorReason, Role};
use tintype_tests::{ADMIN_PASSWORD, Tintype, Upload, pictures, sign_in};
use tonic::Code;

fn client(tintype: &Tintype, user_name: &str, password: &str) -> Client {
    Client::builder(&tintype.grpc_url).password(user_name, password).build().expect("a client")
}

fn reason<T: std::fmt::Debug>(result: Result<T, tintype_client::Error>) -> (Code, ErrorReason) {
    let error = result.expect_err("refused");
    (error.code().expect("a code"), error.reason().expect("a reason"))
}

async fn administrators_keep_users(tintype: Tintype) {
    let admin = client(&tintype, "admin", ADMIN_PASSWORD);
    let users = admin.users();
    let ada = users.create("ada", "sesame").quota_bytes(7_000_000).send().await.expect("a user");
    assert_eq!((ada.user_name.as_str(), ada.role, ada.disabled, ada.quota_bytes), ("ada", Role::User, false, 7_000_000));
    let bob = users.create("bob", "sesame").role(Role::Admin).send().await.expect("a user");
    assert_eq!((bob.role, bob.quota_bytes), (Role::Admin, admin.limits().await.expect("limits").user_quota_bytes));
    assert_eq!(reason(users.create("ada", "other").send().await), (Code::AlreadyExists, ErrorReason::UsernameTaken));
    for (name, password) in [("", "x"), ("a\nb", "x"), (&"x".repeat(65) as &str, "x"), ("eve", ""), ("eve", &"x".repeat(1_025))] {
        assert_eq!(reason(users.create(name, password).send().await), (Code::InvalidArgument, ErrorReason::InvalidField), "{name:?}");
    }
    assert_eq!(users.get(ada.id).await.expect("a user"), ada);
    let listed: Vec<_> = users.stream().map_ok(|user| user.user_name).try_collect().await.expect("a list");
    assert_eq!(listed, ["admin", "ada", "bob"]);

    let as_ada = client(&tintype, "ada", "sesame");
    let image = as_ada.upload(pictures::png(30, 20, 1)).file_name("hers.png").send().await.expect("an image");
    assert_eq!(reason(admin.image(image.id).await), (Code::NotFound, ErrorReason::ImageNotFound), "administrators see users, not images");
    for id in [ada.id, bob.id, 4_711] {
        let denied = (Code::PermissionDenied, ErrorReason::NotPermitted);
        assert_eq!(reason(as_ada.users().get(id).await), denied, "no id is looked at");
        assert_eq!(reason(as_ada.users().update(id).disabled(true).send().await), denied);
        assert_eq!(reason(as_ada.users().delete(id).await), denied);
    }

    let promoted = users.update(ada.id).role(Role::Admin).quota_bytes(0).send().await.expect("changed");
    assert_eq!((promoted.role, promoted.quota_bytes, promoted.disabled), (Role::Admin, 0, false));
    users.update(ada.id).role(Role::User).password("other").send().await.expect("changed");
    assert_eq!(reason(client(&tintype, "ada", "sesame").current_user().await), (Code::Unauthenticated, ErrorReason::SignInFailed));
    assert_eq!(client(&tintype, "ada", "other").current_user().await.expect("signed in").role, Role::User);
    for id in [4_711, i64::MAX] {
        assert_eq!(reason(users.get(id).await), (Code::NotFound, ErrorReason::UserNotFound));
        assert_eq!(reason(users.update(id).disabled(true).send().await), (Code::NotFound, ErrorReason::UserNotFound));
        assert_eq!(reason(users.delete(id).await), (Code::NotFound, ErrorReason::UserNotFound));
    }
}

#[tokio::test]
async fn administrators_keep_users_embedded() {
    administrators_keep_users(Tintype::embedded().await).await;
}

#[tokio::test]
async fn administrators_keep_users_in_a_cluster() {
    administrators_keep_users(Tintype::cluster(0).await).await;
}

#[tokio::test]
async fn the_last_administrator_cannot_go() {
    let tintype = Tintype::embedded().await;
    let admin = client(&tintype, "admin", ADMIN_PASSWORD);
    let (users, id) = (admin.users(), admin.current_user().await.expect("a user").id);
    let last = (Code::FailedPrecondition, ErrorReason::LastAdmin);
    assert_eq!(reason(users.update(id).role(Role::User).send().await), last);
    assert_eq!(reason(users.update(id).disabled(true).send().await), last);
    assert_eq!(reason(users.delete(id).await), last);
    let other = users.create("other", "sesame").role(Role::Admin).send().await.expect("a user");
    users.update(id).role(Role::User).send().await.expect("another one is left");
    let other_users = client(&tintype, "other", "sesame").users();
    assert_eq!(reason(other_users.delete(other.id).await), last);
    other_users.delete(id).await.expect("deleted");
}

async fn a_deleted_user_leaves_nothing_behind(tintype: Tintype) {
    tintype.add_user("ada").await;
    let ada = tintype.client_of("ada").await;
    let id = ada.current_user().await.expect("a user").id;
    let folder = format!("user_{id}");
    let image = ada.upload(Upload::new("a.png", pictures::png(40, 30, 1))).await.expect("an image");
    ada.settled(image.id).await;
    assert!(tintype.blob_files(&folder).len() >= 2);

    let admin = client(&tintype, "admin", ADMIN_PASSWORD);
    admin.users().delete(id).await.expect("deleted");
    assert_eq!(tintype.blob_files(&folder).len(), 0, "bytes and all");
    assert_eq!(reason(admin.users().get(id).await), (Code::NotFound, ErrorReason::UserNotFound));
    let refused = ada.current_user().await.expect_err("whoever is deleted is told of nobody");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"));
    let refused = sign_in(ada.channel.clone(), "ada", ADMIN_PASSWORD).await.expect_err("nobody has this name");
    assert_eq!(refused.kind(), (Code::Unauthenticated, "SIGN_IN_FAILED"));
    let again = admin.users().create("ada", "sesame").send().await.expect("the name is free");
    assert!(again.id > id);
    assert_eq!(again.used_bytes, 0);
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_behind_embedded() {
    a_deleted_user_leaves_nothing_behind(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_behind_in_a_cluster() {
    a_deleted_user_leaves_nothing_behind(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn lists_of_users_and_tokens_have_pages() {
    let tintype = Tintype::embedded().await;
    for number in 0..3 {
        tintype.add_user(&format!("user {number}")).await;
    }
    let admin = tintype.client().await;
    let mut users = tintype_proto::v1::user_service_client::UserServiceClient::new(admin.channel.clone());
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let mut request = tonic::Request::new(tintype_proto::v1::ListUsersRequest { page_size: 3, page_token });
        let bearer = format!("Bearer {}", admin.token.as_deref().expect("signed in"));
        request.metadata_mut().insert("authorization", bearer.parse().expect("a token is ASCII"));
        let page = users.list_users(request).await.expect("a page").into_inner();
        names.extend(page.users.into_iter().map(|user| user.username));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["admin", "user 0", "user 1", "user 2"]);

    tintype.client().await;
    let first = tintype_proto::v1::ListTokensRequest { page_size: 1, ..Default::default() };
    let first = admin.auth().list_tokens(first).await.expect("a page").into_inner();
    let second = tintype_proto::v1::ListTokensRequest { page_size: 5, page_token: first.next_page_token.clone(), user_id: 0 };
    let second = admin.auth().list_tokens(second).await.expect("a page").into_inner();
    assert_eq!((first.tokens.len(), second.tokens.len(), second.next_page_token.as_str()), (1, 1, ""));
    assert!(first.tokens[0].id > second.tokens[0].id);
    let elsewhere = tintype_proto::v1::ListTokensRequest { page_token: first.next_page_token, user_id: 2, ..Default::default() };
    let refused = admin.auth().list_tokens(elsewhere).await.expect_err("a page of another list");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
