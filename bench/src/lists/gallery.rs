//! A catalog of many images, and where it is.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tintype_store::{
    NewUser, Role, Timestamp, UserId,
    catalog::{Catalog, postgres::Postgres, sqlite::Sqlite},
    random_hex,
};

use super::fill;

/// A filled catalog.
#[derive(Debug)]
pub(super) struct Gallery {
    /// How many images it has.
    pub(super) images: u64,
    /// The catalog.
    pub(super) catalog: Arc<dyn Catalog>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File { path: PathBuf, _folder: TempDir },
    Database { server: String, name: String },
}

impl Gallery {
    /// In a SQLite file of its own.
    pub(super) async fn sqlite(images: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let path = folder.path().join("catalog.db");
        let catalog = Sqlite::open(&path).await?;
        add_users(&catalog).await?;
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await?;
        fill::sqlite(&mut connection, images).await.context("cannot fill the file")?;
        connection.close().await?;
        Ok(Self { images, catalog: Arc::new(catalog), place: Place::File { path, _folder: folder } })
    }

    /// In a database of its own on the PostgreSQL at `server`, the URL of a superuser.
    pub(super) async fn postgres(server: &str, images: u64) -> anyhow::Result<Self> {
        let name = format!("tintype_bench_{}", random_hex());
        let mut admin = PgConnection::connect(server).await.context("the PostgreSQL server does not answer")?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let url = database_url(server, &name)?;
        let catalog = Postgres::connect(&url, true).await?;
        add_users(&catalog).await?;
        let mut connection = PgConnection::connect(&url).await?;
        fill::postgres(&mut connection, images).await.context("cannot fill the database")?;
        connection.close().await?;
        Ok(Self { images, catalog: Arc::new(catalog), place: Place::Database { server: server.to_owned(), name } })
    }

    /// The plan of a statement of SQLite, in lines.
    pub(super) async fn sqlite_plan(&self, statement: &str) -> anyhow::Result<Vec<String>> {
        let Place::File { path, .. } = &self.place else { return Ok(Vec::new()) };
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
        let explain = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let rows: Vec<(i64, i64, i64, String)> = explain.fetch_all(&mut connection).await?;
        Ok(rows.into_iter().map(|(_, _, _, detail)| detail).collect())
    }

    /// The same catalog through connections on which PostgreSQL tells of each statement how it ran. `None` in a file.
    pub(super) async fn explained(&self) -> anyhow::Result<Option<Postgres>> {
        let Place::Database { server, name } = &self.place else { return Ok(None) };
        let mut admin = PgConnection::connect(server).await?;
        for setting in [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
            "auto_explain.log_level = 'notice'",
        ] {
            admin.execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET {setting}"))).await?;
        }
        Ok(Some(Postgres::connect(&database_url(server, name)?, false).await?))
    }

    /// Removes it.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        if let Place::Database { server, name } = self.place {
            let mut admin = PgConnection::connect(&server).await?;
            admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
        }
        Ok(())
    }
}

async fn add_users(catalog: &dyn Catalog) -> anyhow::Result<()> {
    for number in 1..=fill::USERS {
        let name = format!("user {number}");
        let new = NewUser { name, role: Role::User, password_hash: "none".to_owned(), quota_bytes: NewUser::DEFAULT_QUOTA_BYTES };
        let user = catalog.create_user(new, Timestamp(fill::BEGIN_MICROSECONDS)).await?;
        anyhow::ensure!(user.id == UserId(number as i64), "the ids of a new catalog's users count from 1");
    }
    Ok(())
}

fn database_url(server: &str, name: &str) -> anyhow::Result<String> {
    let (server, _) = server.rsplit_once('/').context("the URL of the PostgreSQL server names no database")?;
    Ok(format!("{server}/{name}"))
}
