use std::{fmt, process::ExitCode};

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tintype_client::{Client, Role, User};

use super::{Tally, new_password};
use crate::{
    account_args::{RoleArg, UserAdd, UserRm, UserSet, UsersCommand},
    args::Common,
    output::utc,
};

/// There is no user of this name.
#[derive(Debug)]
pub(crate) struct NoSuchUser(String);

impl fmt::Display for NoSuchUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no user named {}", self.0)
    }
}

impl std::error::Error for NoSuchUser {}

pub(super) async fn run(common: &Common, command: UsersCommand) -> anyhow::Result<ExitCode> {
    match command {
        UsersCommand::List => list(common).await?,
        UsersCommand::Add(add) => self::add(common, add).await?,
        UsersCommand::Set(set) => self::set(common, set).await?,
        UsersCommand::Rm(rm) => return remove(common, rm).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let mut users = super::signed_in(common)?.build()?.users().stream();
    while let Some(user) = users.try_next().await? {
        print(common, &user)?;
    }
    Ok(())
}

async fn add(common: &Common, add: UserAdd) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let password = new_password(&add.name).await?;
    let mut create = client.users().create(add.name, password).role(add.role.into());
    if let Some(bytes) = add.quota {
        create = create.quota_bytes(bytes);
    }
    print(common, &create.send().await?)
}

async fn set(common: &Common, set: UserSet) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let user = user_named(&client, &set.name).await?;
    let mut update = client.users().update(user.id);
    if let Some(role) = set.role {
        update = update.role(role.into());
    }
    if set.disable || set.enable {
        update = update.disabled(set.disable);
    }
    if let Some(bytes) = set.quota {
        update = update.quota_bytes(bytes);
    }
    if set.password {
        update = update.password(new_password(&set.name).await?);
    }
    print(common, &update.send().await?)
}

/// Says nothing of whom it deleted.
async fn remove(common: &Common, rm: UserRm) -> anyhow::Result<ExitCode> {
    let client = super::signed_in(common)?.build()?;
    let mut tally = Tally::default();
    for name in rm.names {
        tally.count(delete(&client, &name).await)?;
    }
    Ok(tally.exit_code())
}

async fn delete(client: &Client, name: &str) -> anyhow::Result<()> {
    let user = user_named(client, name).await?;
    Ok(client.users().delete(user.id).await?)
}

/// The user of this name, found among all.
pub(super) async fn user_named(client: &Client, name: &str) -> anyhow::Result<User> {
    let mut users = client.users().stream();
    while let Some(user) = users.try_next().await? {
        if user.user_name == name {
            return Ok(user);
        }
    }
    Err(NoSuchUser(name.to_owned()).into())
}

fn print(common: &Common, user: &User) -> anyhow::Result<()> {
    let state = if user.disabled { "disabled" } else { "enabled" };
    let text = || {
        let (id, name, role) = (user.id, &user.user_name, user.role);
        format!("{id}\t{name}\t{role}\t{state}\t{}\t{}\t{}", user.used_bytes, user.quota_bytes, utc(user.created_at))
    };
    common.output.line(text, || user_json(user))
}

fn user_json(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "username": user.user_name,
        "role": user.role.to_string(),
        "disabled": user.disabled,
        "used_bytes": user.used_bytes.to_string(),
        "quota_bytes": user.quota_bytes.to_string(),
        "create_time": utc(user.created_at),
    })
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Role {
        match role {
            RoleArg::User => Role::User,
            RoleArg::Admin => Role::Admin,
        }
    }
}
