use std::process::ExitCode;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tintype_client::{Client, Scope, TokenInfo, Tokens};

use super::{Tally, current_password, users::user_named};
use crate::{
    account_args::{ScopeArg, Token, TokenCommand, TokenList, TokenNew, TokenRm},
    args::Common,
    output::utc,
};

pub(super) async fn run(common: &Common, token: Token) -> anyhow::Result<ExitCode> {
    match token.command {
        TokenCommand::List(list) => show(common, list).await?,
        TokenCommand::New(new) => make(common, new).await?,
        TokenCommand::Rm(rm) => return remove(common, rm).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(common: &Common, list: TokenList) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let mut tokens = tokens_of(&client, list.user.as_deref()).await?.stream();
    while let Some(token) = tokens.try_next().await? {
        common.output.line(|| line(&token), || token_json(&token))?;
    }
    Ok(())
}

/// A token is made from the password, never from another token.
async fn make(common: &Common, new: TokenNew) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let user = client.current_user().await?.user_name;
    let password = current_password(&user, &common.server).await?;
    let mut sign_in = client.sign_in(&user, password).label(new.label);
    for scope in new.scope {
        sign_in = sign_in.scope(scope.into());
    }
    if let Some(ttl) = new.ttl {
        sign_in = sign_in.ttl(ttl);
    }
    let token = sign_in.send().await?;
    common.output.line(
        || token.secret.expose().to_owned(),
        || {
            let mut json = token_json(&token.info);
            json["token"] = token.secret.expose().into();
            json
        },
    )
}

/// Says nothing of what it revoked.
async fn remove(common: &Common, rm: TokenRm) -> anyhow::Result<ExitCode> {
    let client = super::signed_in(common)?.build()?;
    let tokens = tokens_of(&client, rm.user.as_deref()).await?;
    let mut tally = Tally::default();
    for id in rm.ids {
        tally.count(tokens.revoke(id).await.map_err(Into::into))?;
    }
    Ok(tally.exit_code())
}

async fn tokens_of(client: &Client, user: Option<&str>) -> anyhow::Result<Tokens> {
    Ok(match user {
        Some(name) => client.tokens().of(user_named(client, name).await?.id),
        None => client.tokens(),
    })
}

fn line(token: &TokenInfo) -> String {
    let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
    let scopes = if scopes.is_empty() { "all".to_owned() } else { scopes.join(",") };
    let expires = token.expires_at.map_or_else(|| "never".to_owned(), utc);
    format!("{}\t{}\t{scopes}\t{}\t{expires}", token.id, token.label, utc(token.created_at))
}

fn token_json(token: &TokenInfo) -> Value {
    json!({
        "id": token.id.to_string(),
        "user_id": token.user_id.to_string(),
        "label": token.label,
        "scopes": token.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "create_time": utc(token.created_at),
        "expire_time": token.expires_at.map(utc),
    })
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Scope {
        match scope {
            ScopeArg::Read => Scope::Read,
            ScopeArg::Write => Scope::Write,
            ScopeArg::Admin => Scope::Admin,
        }
    }
}
