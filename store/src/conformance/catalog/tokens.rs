use super::support::{BEGIN, Fresh, at_once, second, user};
use crate::{NewToken, Scope, Timestamp, Token, TokenId, UserChange, UserId, UserWrite, catalog::Catalog};

/// The hash that `support::user` gives everyone.
const HASH: &str = "$argon2id$";

fn new(user: UserId, secret: u8) -> NewToken {
    NewToken {
        user,
        password_hash: HASH.to_owned(),
        secret_sha256: [secret; 32],
        label: String::new(),
        scopes: Vec::new(),
        expires_at: None,
    }
}

async fn create(catalog: &dyn Catalog, new: NewToken, now: Timestamp) -> Token {
    catalog.create_token(new, now).await.expect("an answer").expect("the password is right")
}

/// Whether the token signs anybody in: the two ways to ask agree.
async fn is_valid(catalog: &dyn Catalog, id: TokenId, secret: u8, now: Timestamp) -> bool {
    let signed_in = catalog.signed_in(&[secret; 32], now).await.expect("an answer");
    let valid = catalog.valid_tokens(&[TokenId(i64::MAX), id], now).await.expect("an answer");
    assert_eq!(signed_in.map(|signed_in| signed_in.token.id).into_iter().collect::<Vec<_>>(), valid);
    !valid.is_empty()
}

pub(super) async fn a_token_signs_its_user_in(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let first = create(&*catalog, new(ada, 1), BEGIN).await;
    let asked = NewToken { label: "the CI ☂".to_owned(), scopes: vec![Scope::Write, Scope::Admin], ..new(ada, 2) };
    let second_token = create(&*catalog, NewToken { expires_at: Some(second(60)), ..asked }, second(3)).await;
    assert_ne!(first.id, second_token.id);
    assert_eq!((first.label.as_str(), first.scopes.as_slice(), first.created_at, first.expires_at), ("", &[][..], BEGIN, None));
    let expected = Token {
        id: second_token.id,
        user: ada,
        label: "the CI ☂".to_owned(),
        scopes: vec![Scope::Write, Scope::Admin],
        created_at: second(3),
        expires_at: Some(second(60)),
    };
    assert_eq!(second_token, expected);
    let signed_in = catalog.signed_in(&[2; 32], second(4)).await.expect("an answer").expect("signed in");
    assert_eq!((signed_in.token, Some(signed_in.user)), (expected, catalog.user(ada).await.expect("an answer")));
    assert_eq!(catalog.signed_in(&[3; 32], BEGIN).await.expect("an answer"), None);
    assert_eq!(catalog.valid_tokens(&[], BEGIN).await.expect("an answer"), []);
}

pub(super) async fn a_token_ends_at_its_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let token = create(&*catalog, NewToken { expires_at: Some(second(10)), ..new(ada, 1) }, BEGIN).await.id;
    assert!(is_valid(&*catalog, token, 1, second(9)).await);
    assert!(!is_valid(&*catalog, token, 1, second(10)).await);
    assert_eq!(catalog.list_tokens(ada, None, 10, second(9)).await.expect("a page").len(), 1);
    assert_eq!(catalog.list_tokens(ada, None, 10, second(10)).await.expect("a page"), []);
    catalog.prune(second(10), 10).await.expect("pruned");
    assert_eq!(catalog.list_tokens(ada, None, 10, second(9)).await.expect("a page").len(), 1, "it is not from before then");
    catalog.prune(second(11), 10).await.expect("pruned");
    assert_eq!(catalog.list_tokens(ada, None, 10, second(9)).await.expect("a page"), []);
}

pub(super) async fn a_token_of_a_disabled_user_signs_nobody_in(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let token = create(&*catalog, new(ada, 1), BEGIN).await.id;
    let disable = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    catalog.update_user(ada, &disable(true)).await.expect("an answer");
    assert!(!is_valid(&*catalog, token, 1, BEGIN).await);
    assert_eq!(catalog.create_token(new(ada, 2), BEGIN).await.expect("an answer"), None);
    assert!(catalog.user_by_name("ada").await.expect("an answer").is_some_and(|user| user.disabled));
    catalog.update_user(ada, &disable(false)).await.expect("an answer");
    assert!(is_valid(&*catalog, token, 1, BEGIN).await);
    catalog.delete_user(ada, BEGIN).await.expect("an answer");
    assert!(!is_valid(&*catalog, token, 1, BEGIN).await);
    assert_eq!(catalog.create_token(new(ada, 2), BEGIN).await.expect("an answer"), None);
}

pub(super) async fn tokens_are_listed_newest_first_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let mut made = Vec::new();
    for secret in 1..=3 {
        made.insert(0, create(&*catalog, new(ada, secret), BEGIN).await);
        create(&*catalog, new(bob, 100 + secret), BEGIN).await;
    }
    assert_eq!(catalog.list_tokens(ada, None, 10, BEGIN).await.expect("a page"), made);
    assert_eq!(catalog.list_tokens(ada, None, 2, BEGIN).await.expect("a page"), made[..2]);
    assert_eq!(catalog.list_tokens(ada, Some(made[1].id), 2, BEGIN).await.expect("a page"), made[2..]);
}

pub(super) async fn a_token_is_revoked_by_its_user_alone(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let token = create(&*catalog, new(ada, 1), BEGIN).await.id;
    assert!(!catalog.revoke_token(bob, token).await.expect("an answer"));
    assert!(is_valid(&*catalog, token, 1, BEGIN).await);
    assert!(catalog.revoke_token(ada, token).await.expect("an answer"));
    assert!(!is_valid(&*catalog, token, 1, BEGIN).await);
    assert!(!catalog.revoke_token(ada, token).await.expect("an answer"));
}

fn password(hash: &str) -> UserChange {
    UserChange { password_hash: Some(hash.to_owned()), ..UserChange::default() }
}

pub(super) async fn a_new_password_revokes_all_tokens_of_its_user(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let (mine, others) = (create(&*catalog, new(ada, 1), BEGIN).await.id, create(&*catalog, new(bob, 2), BEGIN).await.id);
    catalog.update_user(ada, &UserChange { quota_bytes: Some(1), ..UserChange::default() }).await.expect("an answer");
    assert!(is_valid(&*catalog, mine, 1, BEGIN).await, "no other change does");
    catalog.update_user(ada, &password("another")).await.expect("an answer");
    assert!(!is_valid(&*catalog, mine, 1, BEGIN).await);
    assert!(is_valid(&*catalog, others, 2, BEGIN).await);
    assert_eq!(catalog.create_token(new(ada, 3), BEGIN).await.expect("an answer"), None, "the password is another one by now");
}

pub(super) async fn no_token_outlives_a_password_that_changes_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    for round in 0..20 {
        let ada = user(&*catalog, &format!("ada {round}")).await;
        at_once(6, |index| {
            let catalog = catalog.clone();
            async move {
                if index == 5 {
                    let changed = catalog.update_user(ada, &password("another")).await.expect("an answer");
                    assert!(matches!(changed, UserWrite::Done(_)));
                } else {
                    let mut new = new(ada, 0);
                    new.secret_sha256[..2].copy_from_slice(&[round, index as u8]);
                    catalog.create_token(new, BEGIN).await.expect("an answer");
                }
            }
        })
        .await;
        assert_eq!(catalog.list_tokens(ada, None, 10, BEGIN).await.expect("a page"), []);
    }
}
