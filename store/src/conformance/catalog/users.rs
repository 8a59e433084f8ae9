use super::support::{BEGIN, Fresh, second, user};
use crate::{Kind, NewToken, NewUser, Role};

fn ada() -> NewUser {
    NewUser { name: "Ada".to_owned(), role: Role::Admin, password_hash: "$argon2id$v=19$secret".to_owned() }
}

pub(super) async fn a_user_reads_back_as_created(fresh: Fresh) {
    let catalog = fresh.catalog;
    assert!(!catalog.has_users().await.expect("an answer"));
    let created = catalog.create_user(ada(), second(7)).await.expect("a new user");
    assert!(created.id.0 >= 1);
    assert_eq!((created.name.as_str(), created.role, created.disabled, created.created_at), ("Ada", Role::Admin, false, second(7)));
    assert_eq!(created.password_hash, ada().password_hash);
    assert_eq!(catalog.user_by_name("Ada").await.expect("an answer"), Some(created));
    assert!(catalog.has_users().await.expect("an answer"));
}

pub(super) async fn user_names_are_told_apart_by_case(fresh: Fresh) {
    let catalog = fresh.catalog;
    let upper = user(&*catalog, "Ada").await;
    let lower = user(&*catalog, "ada").await;
    assert_ne!(upper, lower);
    assert_eq!(catalog.user_by_name("ada").await.expect("an answer").map(|user| user.id), Some(lower));
    for absent in ["ADA", "", "Ada ", "Ada\0"] {
        assert_eq!(catalog.user_by_name(absent).await.expect("an answer"), None, "{absent:?}");
    }
}

pub(super) async fn a_taken_name_is_refused(fresh: Fresh) {
    let catalog = fresh.catalog;
    let first = catalog.create_user(ada(), BEGIN).await.expect("a new user");
    let error = catalog.create_user(NewUser { role: Role::User, ..ada() }, second(1)).await.expect_err("the name is taken");
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert_eq!(catalog.user_by_name("Ada").await.expect("an answer"), Some(first));
}

pub(super) async fn a_token_signs_its_user_in(fresh: Fresh) {
    let catalog = fresh.catalog;
    let user = catalog.create_user(ada(), BEGIN).await.expect("a new user");
    let first = catalog.create_token(NewToken { user: user.id, secret_sha256: [1; 32] }, BEGIN).await.expect("a token");
    let second = catalog.create_token(NewToken { user: user.id, secret_sha256: [2; 32] }, BEGIN).await.expect("a token");
    assert_ne!(first, second);
    let signed_in = catalog.signed_in(&[2; 32]).await.expect("an answer").expect("signed in");
    assert_eq!((signed_in.token, signed_in.user), (second, user));
    assert_eq!(catalog.signed_in(&[3; 32]).await.expect("an answer"), None);
}

pub(super) async fn a_token_of_a_disabled_user_signs_nobody_in(fresh: Fresh) {
    let catalog = &fresh.catalog;
    let user = user(&**catalog, "ada").await;
    catalog.create_token(NewToken { user, secret_sha256: [1; 32] }, BEGIN).await.expect("a token");
    fresh.execute("UPDATE users SET disabled = TRUE").await;
    assert_eq!(catalog.signed_in(&[1; 32]).await.expect("an answer"), None);
    assert!(catalog.user_by_name("ada").await.expect("an answer").is_some_and(|user| user.disabled));
}
