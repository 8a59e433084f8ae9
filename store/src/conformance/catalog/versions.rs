//! Programs of one version on the catalog of a newer one.

use super::support::{BEGIN, Fresh, LEASE, claim, create, png, second, user};
use crate::{
    Access, ChangeKind, Claim, FailureFilter, FailureReason, Format, ImageFilter, Kind, NewImage, NewToken, Owners, Party, RenditionState,
    Role, Scope, ShareRole, Timestamp, Worker,
};

/// A migration of a newer version: something new, and the note that it is there.
pub(crate) const NEWER: &str = "CREATE TABLE albums (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    ALTER TABLE images ADD COLUMN album_id INTEGER;
    ALTER TABLE images ADD COLUMN rating TEXT NOT NULL DEFAULT 'none';
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'albums', TRUE, '', 0);";

pub(super) async fn a_newer_schema_that_allows_it_is_worked_with(Fresh { catalog, database }: Fresh) {
    let owner = user(&*catalog, "ada").await;
    let before = create(&*catalog, png(owner), BEGIN).await;
    database.change(NEWER).await;
    let reopened = database.open().await.expect("it is newer, and fits");
    for catalog in [catalog, reopened] {
        assert_eq!(catalog.image(before.id).await.expect("an answer"), Some(before.clone()));
        create(&*catalog, png(owner), BEGIN).await;
    }
}

pub(super) async fn a_newer_schema_that_needs_newer_programs_is_refused_by_its_numbers(Fresh { database, .. }: Fresh) {
    database.change(NEWER).await;
    database.change("UPDATE compatibility SET oldest_program = 9000").await;
    let error = database.open().await.expect_err("it needs a newer one");
    assert_eq!(error.kind(), Kind::Misconfigured);
    let message = error.to_string();
    assert!(message.contains("schema version 9999, which needs a program that knows version 9000 or newer"), "{message}");
    assert!(message.contains("this one knows version "), "{message}");
}

pub(super) async fn an_image_of_a_newer_version_takes_nothing_from_lists(Fresh { catalog, database }: Fresh) {
    let owner = user(&*catalog, "ada").await;
    let mut images = Vec::new();
    for _ in 0..3 {
        images.push(create(&*catalog, png(owner), BEGIN).await);
    }
    let [strange, held, _] = &images[..] else { panic!("{images:?}") };
    let [shimmering, jxl, waiting] = [strange.renditions[0].id, strange.renditions[1].id, held.renditions[0].id];
    database
        .change(&format!(
            "UPDATE images SET format = 'heic' WHERE id = {};
             UPDATE renditions SET spec = 'webp shimmer=3' WHERE id = {shimmering};
             UPDATE renditions SET spec = 'jxl', format = 'jxl' WHERE id = {jxl};
             UPDATE renditions SET state = 'held' WHERE id = {waiting}",
            strange.id
        ))
        .await;
    let ids: Vec<_> = images.iter().map(|image| image.id).collect();
    let mut listed = catalog.list_images(owner, &ImageFilter::default(), None, 10).await.expect("a page");
    listed.reverse();
    assert_eq!(listed, catalog.seen_images(owner, &ids).await.expect("images"));
    assert_eq!(listed, catalog.watched_images(owner, crate::ImageId(0), 10).await.expect("images"));
    let seen: Vec<_> = listed.into_iter().map(|seen| seen.image).collect();
    assert_eq!(seen, catalog.images(&ids).await.expect("images"));
    assert_eq!(seen.iter().map(|image| image.header.format).collect::<Vec<_>>(), [Format::Unknown, Format::Png, Format::Png]);
    let [shimmering, jxl] = &seen[0].renditions[..] else { panic!("{:?}", seen[0]) };
    assert_eq!((shimmering.format, shimmering.spec.format, shimmering.state), (Format::WebP, Format::Unknown, RenditionState::Pending));
    assert_eq!((jxl.format, jxl.spec.format), (Format::Unknown, Format::Unknown));
    assert_eq!(seen[1].renditions[0].state, RenditionState::Unknown);
    assert_eq!(seen[2], images[2]);
    for image in &images {
        assert!(catalog.delete_image(image.id, second(1)).await.expect("an answer"), "it is deleted like any other");
    }
}

pub(super) async fn what_only_newer_workers_can_make_is_left_as_it_is(Fresh { catalog, database }: Fresh) {
    let owner = user(&*catalog, "ada").await;
    let strange = create(&*catalog, NewImage { renditions: vec![Format::Jpeg], ..png(owner) }, BEGIN).await;
    let plain = create(&*catalog, png(owner), BEGIN).await;
    let (of_strange, shimmering) = (strange.renditions[0].id, plain.renditions[0].id);
    database
        .change(&format!(
            "UPDATE images SET format = 'heic' WHERE id = {}; UPDATE renditions SET spec = 'webp shimmer=3' WHERE id = {shimmering}",
            strange.id
        ))
        .await;
    let last = catalog.last_position().await.expect("a position");
    for id in [of_strange, shimmering] {
        for _ in 0..20 {
            assert_eq!(catalog.claim(id, "old worker", LEASE, second(1)).await.expect("an answer"), Claim::TooNew);
        }
        let rendition = catalog.rendition(id).await.expect("an answer").expect("it is there");
        assert_eq!((rendition.state, rendition.attempt), (RenditionState::Pending, 0));
    }
    assert_eq!(catalog.last_position().await.expect("a position"), last, "nothing was written");
    claim(&*catalog, plain.renditions[1].id, second(1)).await;
    database.change(&format!("UPDATE renditions SET spec = 'webp' WHERE id = {shimmering}")).await;
    claim(&*catalog, shimmering, second(1)).await;
}

pub(super) async fn a_change_of_a_newer_version_is_another_look_at_the_image(Fresh { catalog, database }: Fresh) {
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, NewImage { renditions: vec![Format::Jpeg], ..png(owner) }, BEGIN).await;
    claim(&*catalog, image.renditions[0].id, BEGIN).await;
    create(&*catalog, png(owner), BEGIN).await;
    database
        .change(&format!(
            "UPDATE changes SET rendition_format = 'jxl', rendition_state = 'held' WHERE kind = 'rendition_changed';
             UPDATE changes SET kind = 'blessed' WHERE kind = 'created' AND image_id = {}",
            image.id
        ))
        .await;
    let all = catalog.changes_after(0, 10).await.expect("changes");
    assert_eq!(
        all.iter().map(|change| change.kind).collect::<Vec<_>>(),
        [ChangeKind::Updated, ChangeKind::RenditionChanged, ChangeKind::Created]
    );
    let rendition = all[1].rendition.expect("it is about one");
    assert_eq!((rendition.format, rendition.state), (Format::Unknown, RenditionState::Unknown));
    assert_eq!(catalog.changes_of(owner, 0, 10).await.expect("changes"), Some(all));
}

pub(super) async fn a_role_or_scope_of_a_newer_version_is_good_for_nothing(Fresh { catalog, database }: Fresh) {
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let mut tokens = Vec::new();
    for (secret, user) in [(1, ada), (2, ada), (3, bob)] {
        let new = NewToken {
            user,
            password_hash: "$argon2id$".to_owned(),
            secret_sha256: [secret; 32],
            label: String::new(),
            scopes: Vec::new(),
            expires_at: None,
        };
        tokens.push(catalog.create_token(new, BEGIN).await.expect("an answer").expect("a token").id);
    }
    database
        .change(&format!(
            "UPDATE users SET role = 'auditor' WHERE id = {bob};
             UPDATE tokens SET scopes = 'paint' WHERE id = {};
             UPDATE tokens SET scopes = 'paint,read' WHERE id = {}",
            tokens[0], tokens[1]
        ))
        .await;
    let roles: Vec<_> = catalog.list_users(None, 10).await.expect("a page").iter().map(|user| user.role).collect();
    assert_eq!(roles, [Role::User, Role::Unknown]);
    let listed: Vec<_> = catalog.list_tokens(ada, None, 10, BEGIN).await.expect("a page").into_iter().map(|token| token.scopes).collect();
    assert_eq!(listed, [vec![Scope::Unknown, Scope::Read], vec![Scope::Unknown]]);
    for (secret, good_for) in [(1, vec![]), (2, vec![Scope::Read]), (3, vec![])] {
        let signed_in = catalog.signed_in(&[secret; 32], BEGIN).await.expect("an answer").expect("it is valid");
        let may: Vec<_> = Scope::ALL.into_iter().filter(|scope| signed_in.may(*scope)).collect();
        assert_eq!(may, good_for, "token {secret}");
    }
}

pub(super) async fn a_share_of_a_newer_version_lets_look(Fresh { catalog, database }: Fresh) {
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let image = create(&*catalog, png(ada), BEGIN).await.id;
    let named = Party::User("bob".to_owned());
    catalog.share_image(image, &named, ShareRole::Viewer, 9, BEGIN).await.expect("an answer");
    // Before an editor by its name.
    database.change("UPDATE shares SET role = 'commenter'").await;
    let access = async || catalog.seen_images(bob, &[image]).await.expect("an answer")[0].access;
    assert_eq!(access().await, Access::Viewer);
    assert_eq!(catalog.shares(image).await.expect("shares")[0].role, ShareRole::Viewer);
    catalog.share_image(image, &Party::Everyone, ShareRole::Editor, 9, BEGIN).await.expect("an answer");
    assert_eq!(access().await, Access::Editor, "the most counts");
    let filter = ImageFilter { owners: Owners::Others, ..ImageFilter::default() };
    assert_eq!(catalog.list_images(bob, &filter, None, 10).await.expect("a page").len(), 1);
}

pub(super) async fn a_worker_of_a_newer_version_counts_with_what_is_known_of_it(Fresh { catalog, database }: Fresh) {
    let worker = Worker {
        id: "w".to_owned(),
        version: "9.0.0".to_owned(),
        input_formats: vec![Format::Jpeg],
        output_formats: vec![Format::WebP],
        sandbox: "none".to_owned(),
        slots: 4,
        started_at: BEGIN,
        seen_at: BEGIN,
    };
    catalog.heartbeat(&worker).await.expect("a heartbeat");
    database.change("UPDATE workers SET input_formats = 'heic,jpeg', output_formats = 'webp,jxl', sandbox = 'enclave'").await;
    let known = Worker { sandbox: "enclave".to_owned(), ..worker };
    assert_eq!(catalog.workers(BEGIN).await.expect("workers"), [known]);
}

pub(super) async fn a_failure_of_a_newer_version_is_listed_and_counted(Fresh { catalog, database }: Fresh) {
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, NewImage { renditions: vec![Format::Jpeg, Format::WebP, Format::Bmp], ..png(owner) }, BEGIN).await;
    for (rendition, reason) in image.renditions.iter().zip(["SOLAR_FLARE", "CORRUPT_INPUT", "BIT_ROT"]) {
        let job = claim(&*catalog, rendition.id, BEGIN).await;
        let failure = crate::Failure { reason: FailureReason::DecoderCrash, message: "m".to_owned() };
        assert_eq!(catalog.fail(&job, &failure, Timestamp(BEGIN.0 + rendition.id.0)).await.expect("a commit"), crate::Commit::Done);
        database.change(&format!("UPDATE renditions SET failure_reason = '{reason}' WHERE id = {}", rendition.id)).await;
    }
    let failures = catalog.list_failures(&FailureFilter::default(), None, 10).await.expect("a page");
    let reasons: Vec<_> = failures.iter().map(|failed| failed.rendition.failure.as_ref().expect("it failed").reason).collect();
    assert_eq!(reasons, [FailureReason::Unknown, FailureReason::CorruptInput, FailureReason::Unknown]);
    let totals = catalog.totals().await.expect("totals");
    assert_eq!(totals.failed_counts, [(FailureReason::CorruptInput, 1), (FailureReason::Unknown, 2)]);
}
