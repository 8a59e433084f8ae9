//! The user `admin`: made by the first start, kept from having a password that everybody knows, let in again by `reset-admin`.

use anyhow::bail;
use secrecy::{ExposeSecret, SecretString};
use tintype_store::{
    Kind, NewUser, Role, Timestamp, UserChange, UserWrite,
    catalog::Catalog,
    open::{CatalogUrl, Opener, Stores},
    random_hex,
};

use crate::{
    auth::{DEVELOPMENT_PASSWORD, Passwords},
    config::Config,
    limits::Limits,
    status::Refusal,
};

/// Name of the first user.
const ADMIN: &str = "admin";

/// Creates the admin in a new catalog, and keeps the development password away from public addresses. Returns how to sign in.
pub(crate) async fn admit(config: &Config, catalog: &dyn Catalog, passwords: &Passwords) -> anyhow::Result<String> {
    let public = config.is_public() && !config.dev;
    if catalog.has_users().await? {
        let admin = catalog.user_by_name(ADMIN).await?;
        let hash = admin.map(|admin| admin.password_hash);
        let turn = passwords.turn().await.map_err(refused)?;
        let development = hash.is_some() && turn.verify(DEVELOPMENT_PASSWORD.to_owned(), hash).await.map_err(refused)?;
        if development && public {
            bail!(
                "refusing to serve a public address while the password of {ADMIN} is the development password; set TINTYPE_DEV=1 to allow it"
            );
        }
        return Ok(if development { format!("{ADMIN} / {DEVELOPMENT_PASSWORD}") } else { format!("{ADMIN}, with the password you chose") });
    }
    let chosen = chosen_password(config)?;
    let password = chosen.clone().unwrap_or_else(|| SecretString::from(DEVELOPMENT_PASSWORD));
    if public && password.expose_secret() == DEVELOPMENT_PASSWORD {
        bail!("refusing to serve a public address with the development password: set TINTYPE_ADMIN_PASSWORD, or TINTYPE_DEV=1 to allow it");
    }
    match catalog.create_user(new_admin(config, passwords, &password).await?, Timestamp::now()).await {
        Ok(_) => tracing::info!("created the user {ADMIN}"),
        // Another server of the same catalog was quicker.
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    Ok(match chosen {
        Some(_) => format!("{ADMIN}, with the password you chose"),
        None => format!("{ADMIN} / {DEVELOPMENT_PASSWORD}"),
    })
}

/// Lets the admin in again, with the password of the settings or else a random one, which is printed. Safe beside servers on PostgreSQL; a
/// catalog in a file must be nobody else's meanwhile.
pub(crate) async fn reset(config: &Config) -> anyhow::Result<()> {
    let stores = config.stores.config()?;
    let in_file = match &stores.catalog {
        // Opening it would make one, and whoever mistyped a folder would wonder why the password does not work.
        CatalogUrl::Sqlite(path) if !stores.data.join(path).exists() => bail!("there is no catalog {}", stores.data.join(path).display()),
        CatalogUrl::Sqlite(_) => true,
        CatalogUrl::Postgres(_) => false,
    };
    // A server migrates a catalog that is shared: it may be an older one that is running.
    let opener = if in_file { Opener::Server } else { Opener::Worker };
    let (catalog, _lock) = Stores::open_catalog(&stores, opener).await.map_err(|error| {
        let advice =
            if in_file && error.kind() == Kind::Unavailable { "stop the server first, which alone may use a SQLite catalog" } else { "" };
        let error = anyhow::Error::new(error);
        if advice.is_empty() { error } else { error.context(advice) }
    })?;
    let passwords = Passwords::new().map_err(refused)?;
    let chosen = chosen_password(config)?;
    let password = chosen.clone().unwrap_or_else(|| SecretString::from(random_hex()));
    let new = new_admin(config, &passwords, &password).await?;
    match catalog.user_by_name(ADMIN).await? {
        None => drop(catalog.create_user(new, Timestamp::now()).await?),
        Some(admin) => {
            let change =
                UserChange { role: Some(Role::Admin), disabled: Some(false), quota_bytes: None, password_hash: Some(new.password_hash) };
            match catalog.update_user(admin.id, &change).await? {
                UserWrite::Done(_) => {}
                UserWrite::LastAdmin | UserWrite::Missing => bail!("the user {ADMIN} was deleted meanwhile; run this again"),
            }
        }
    }
    match chosen {
        Some(_) => println!("{ADMIN} has the password that the settings say, and must sign in anew"),
        None => println!("{ADMIN} / {}", password.expose_secret()),
    }
    Ok(())
}

async fn new_admin(config: &Config, passwords: &Passwords, password: &SecretString) -> anyhow::Result<NewUser> {
    let password_hash = passwords.hash(password.expose_secret().to_owned()).await.map_err(refused)?;
    Ok(NewUser { name: ADMIN.to_owned(), role: Role::Admin, password_hash, quota_bytes: config.limits().user_quota_bytes })
}

fn chosen_password(config: &Config) -> anyhow::Result<Option<SecretString>> {
    let chosen = config.admin_password.clone();
    if chosen.as_ref().is_some_and(|chosen| !(1..=Limits::MAX_PASSWORD_BYTES).contains(&chosen.expose_secret().len())) {
        bail!("the admin's password must have 1 to {} bytes", Limits::MAX_PASSWORD_BYTES);
    }
    Ok(chosen)
}

pub(crate) fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::Error::new(tonic::Status::from(refusal)).context("a password cannot be hashed")
}
