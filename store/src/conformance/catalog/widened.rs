//! Cases of other families on a catalog in which a newer version gave every table the columns of all others: a statement that does not say whose
//! column it means would find two of them there, or another one than before.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{ConnectOptions, Connection, PgConnection, query_as, sqlite::SqliteConnectOptions};

use super::{
    edits, integrity, leases, links, overview, shares,
    support::{Database, Fresh},
    tokens, uploads, usage, users, writes,
};

/// What statements call things that are no columns.
const ALIASES: [&str; 6] = ["access", "again", "freed", "given", "named", "place"];

/// Every column of every table.
async fn columns(database: &Database) -> Vec<(String, String)> {
    let columns = match database {
        Database::Sqlite(path) => {
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("the file can be opened");
            let columns = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_xinfo(t.name) c
                WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> '_sqlx_migrations'";
            query_as(columns).fetch_all(&mut connection).await
        }
        Database::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.expect("the database answers");
            let columns = "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns
                WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
            query_as(columns).fetch_all(&mut connection).await
        }
    };
    columns.expect("the database tells")
}

async fn widen(Fresh { database, .. }: &Fresh) {
    let mut tables: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (table, column) in columns(database).await {
        tables.entry(table).or_default().insert(column);
    }
    let all: BTreeSet<_> = tables.values().flatten().cloned().chain(ALIASES.map(str::to_owned)).collect();
    let mut statements = String::from("BEGIN;");
    for (table, own) in &tables {
        for column in all.difference(own) {
            statements.extend(["ALTER TABLE ", table, " ADD COLUMN \"", column, "\" TEXT NOT NULL DEFAULT 'newer';"]);
        }
    }
    database.change(&(statements + "COMMIT;")).await;
}

macro_rules! widened {
    ($($family:ident::$case:ident)+) => {
        $(pub(super) async fn $case(fresh: Fresh) {
            widen(&fresh).await;
            $family::$case(fresh).await;
        })+
    };
}

widened! {
    edits::a_requested_rendition_is_pending_and_made_as_its_spec_says
    integrity::a_remade_rendition_is_pending_and_counts_no_more
    leases::leases_that_ran_out_begin_again_until_attempts_are_exhausted
    links::a_link_reads_back_as_recorded_and_counts
    overview::totals_are_the_sums_of_what_is_there_after_anything
    shares::lists_and_walks_show_all_that_is_seen_once
    shares::those_it_is_shared_with_are_told_of_every_change
    tokens::a_token_of_a_disabled_user_signs_nobody_in
    uploads::a_finished_upload_is_an_image_and_no_more_an_upload
    usage::usage_is_the_sum_of_what_is_there_after_anything
    users::a_deleted_user_is_gone_and_the_name_is_free
    writes::unrecorded_are_the_keys_without_a_row
}
