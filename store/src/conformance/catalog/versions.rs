//! Programs of one version on the catalog of a newer one.

use super::support::{BEGIN, Fresh, create, png, user};
use crate::Kind;

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
