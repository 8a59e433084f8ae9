use super::support::{BEGIN, Fresh, at_once, create, png, second, user};
use crate::{Created, ImageFilter, Kind, NewImage, NewUser, Role, User, UserChange, UserId, UserWrite, catalog::Catalog};

fn ada() -> NewUser {
    NewUser { name: "Ada".to_owned(), role: Role::Admin, password_hash: "$argon2id$v=19$secret".to_owned(), quota_bytes: 7_000 }
}

async fn admin(catalog: &dyn Catalog, name: &str) -> User {
    catalog.create_user(NewUser { name: name.to_owned(), ..ada() }, BEGIN).await.expect("a new user")
}

fn done(write: UserWrite) -> User {
    match write {
        UserWrite::Done(user) => user,
        other => panic!("not done: {other:?}"),
    }
}

pub(super) async fn a_user_reads_back_as_created(fresh: Fresh) {
    let catalog = fresh.catalog;
    assert!(!catalog.has_users().await.expect("an answer"));
    let created = catalog.create_user(ada(), second(7)).await.expect("a new user");
    assert!(created.id.0 >= 1);
    assert_eq!((created.name.as_str(), created.role, created.disabled, created.created_at), ("Ada", Role::Admin, false, second(7)));
    assert_eq!(created.password_hash, ada().password_hash);
    assert_eq!((created.quota_bytes, created.used_bytes), (7_000, 0));
    assert_eq!(catalog.user(created.id).await.expect("an answer"), Some(created.clone()));
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

pub(super) async fn users_are_listed_in_order_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let mut made = Vec::new();
    for name in ["c", "a", "b"] {
        made.push(admin(&*catalog, name).await);
    }
    let deleted = user(&*catalog, "d").await;
    done(catalog.delete_user(deleted, BEGIN).await.expect("an answer"));
    assert_eq!(catalog.list_users(None, 10).await.expect("a page"), made);
    assert_eq!(catalog.list_users(None, 2).await.expect("a page"), made[..2]);
    assert_eq!(catalog.list_users(Some(made[1].id), 2).await.expect("a page"), made[2..]);
    assert_eq!(catalog.list_users(Some(made[2].id), 2).await.expect("a page"), []);
}

pub(super) async fn a_change_changes_what_it_names(fresh: Fresh) {
    let catalog = fresh.catalog;
    let before = admin(&*catalog, "ada").await;
    admin(&*catalog, "bob").await;
    let changes = [
        (UserChange { role: Some(Role::User), ..UserChange::default() }, User { role: Role::User, ..before.clone() }),
        (UserChange { role: Some(Role::Admin), ..UserChange::default() }, before.clone()),
        (UserChange { disabled: Some(true), ..UserChange::default() }, User { disabled: true, ..before.clone() }),
        (UserChange { disabled: Some(false), ..UserChange::default() }, before.clone()),
        (UserChange { quota_bytes: Some(0), ..UserChange::default() }, User { quota_bytes: 0, ..before.clone() }),
        (UserChange { quota_bytes: Some(7_000), ..UserChange::default() }, before.clone()),
        (
            UserChange { password_hash: Some("x".to_owned()), ..UserChange::default() },
            User { password_hash: "x".to_owned(), ..before.clone() },
        ),
    ];
    for (change, after) in changes {
        assert_eq!(done(catalog.update_user(before.id, &change).await.expect("an answer")), after, "{change:?}");
        assert_eq!(catalog.user(before.id).await.expect("an answer"), Some(after), "{change:?}");
    }
    let missing = catalog.update_user(UserId(i64::MAX), &UserChange::default()).await.expect("an answer");
    assert_eq!(missing, UserWrite::Missing);
}

pub(super) async fn the_last_administrator_stays(fresh: Fresh) {
    let catalog = fresh.catalog;
    let first = admin(&*catalog, "first").await;
    let second = admin(&*catalog, "second").await;
    user(&*catalog, "ada").await;
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let demote = UserChange { role: Some(Role::User), ..UserChange::default() };
    done(catalog.update_user(second.id, &disable).await.expect("an answer"));
    for change in [&disable, &demote] {
        assert_eq!(catalog.update_user(first.id, change).await.expect("an answer"), UserWrite::LastAdmin);
    }
    assert_eq!(catalog.delete_user(first.id, BEGIN).await.expect("an answer"), UserWrite::LastAdmin);
    assert_eq!(catalog.user(first.id).await.expect("an answer"), Some(first.clone()));
    done(catalog.delete_user(second.id, BEGIN).await.expect("a disabled one is not the last"));
    let quota = UserChange { quota_bytes: Some(1), ..UserChange::default() };
    done(catalog.update_user(first.id, &quota).await.expect("other changes are allowed"));
}

pub(super) async fn administrators_who_remove_each_other_at_once_leave_one(fresh: Fresh) {
    let catalog = fresh.catalog;
    let mut last = admin(&*catalog, "first").await.id;
    for round in 0..10 {
        let admins = [last, admin(&*catalog, &format!("a{round}")).await.id, admin(&*catalog, &format!("b{round}")).await.id];
        let outcomes = at_once(admins.len(), |index| {
            let (catalog, id) = (catalog.clone(), admins[index]);
            async move {
                match (round + index) % 3 {
                    0 => catalog.delete_user(id, BEGIN).await,
                    1 => catalog.update_user(id, &UserChange { disabled: Some(true), ..UserChange::default() }).await,
                    _ => catalog.update_user(id, &UserChange { role: Some(Role::User), ..UserChange::default() }).await,
                }
                .expect("an answer")
            }
        })
        .await;
        let left: Vec<_> = admins.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == UserWrite::LastAdmin).collect();
        assert_eq!(left.len(), 1, "{outcomes:?}");
        last = *left[0].0;
    }
}

pub(super) async fn a_deleted_user_is_gone_and_the_name_is_free(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let stays = create(&*catalog, png(ada), BEGIN).await;
    let before = catalog.user(ada).await.expect("an answer").expect("it is there");
    assert_eq!(done(catalog.delete_user(ada, second(1)).await.expect("an answer")), before);
    assert_eq!(catalog.delete_user(ada, second(1)).await.expect("an answer"), UserWrite::Missing);
    assert_eq!(catalog.update_user(ada, &UserChange::default()).await.expect("an answer"), UserWrite::Missing);
    assert_eq!(catalog.user(ada).await.expect("an answer"), None);
    assert_eq!(catalog.user_by_name("ada").await.expect("an answer"), None);
    assert_eq!(catalog.create_image(png(ada), second(2)).await.expect("an answer"), Created::OwnerMissing);
    let new = NewImage { request_id: Some("late".to_owned()), ..png(ada) };
    assert_eq!(catalog.create_image(new, second(2)).await.expect("an answer"), Created::OwnerMissing);

    let again = user(&*catalog, "ada").await;
    assert_ne!(again, ada);
    assert_eq!(catalog.images_of_deleted_users(10).await.expect("images"), [stays.id]);
    assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 0, "not while there are images");
    assert!(catalog.delete_image(stays.id, second(3)).await.expect("an answer"));
    assert_eq!(catalog.images_of_deleted_users(10).await.expect("images"), []);
    assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 1);
    assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 0);
    assert_eq!(catalog.list_users(None, 10).await.expect("a page").iter().map(|user| user.id).collect::<Vec<_>>(), [again]);
}

pub(super) async fn nothing_is_created_for_a_user_who_is_deleted_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    for round in 0..20 {
        let owner = user(&*catalog, &format!("user {round}")).await;
        let outcomes = at_once(4, |index| {
            let catalog = catalog.clone();
            let request_id = (index % 2 == 0).then(|| format!("request {index}"));
            async move {
                if index == 3 {
                    done(catalog.delete_user(owner, BEGIN).await.expect("an answer"));
                    return None;
                }
                Some(catalog.create_image(NewImage { request_id, ..png(owner) }, BEGIN).await.expect("an answer"))
            }
        })
        .await;
        let made = outcomes.iter().filter(|outcome| matches!(outcome, Some(Created::New(_)))).count();
        let left = catalog.images_of_deleted_users(100).await.expect("images");
        assert_eq!(left.len(), made, "what was recorded before the deletion is found after it");
        for image in left {
            assert!(catalog.delete_image(image, BEGIN).await.expect("an answer"));
        }
        assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 1);
        assert_eq!(catalog.list_images(owner, &ImageFilter::default(), None, 10).await.expect("a page"), []);
    }
}
