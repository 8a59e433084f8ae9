use anyhow::Context as _;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{
    args::{Common, Login},
    credentials::Credentials,
    environment,
};

pub(super) async fn run(common: &Common, login: Login) -> anyhow::Result<()> {
    let client = super::client(common).build()?;
    let password = match environment::password()? {
        Some(password) => password,
        None => ask(&login.user, &common.server).await?,
    };
    let token = client.sign_in(&login.user, password).await?;
    let credentials = Credentials::of_user()?;
    credentials.keep(&common.server, &token.user.user_name, token.secret.expose())?;
    common.output.line(
        || format!("signed in to {} as {}", common.server, token.user.user_name),
        || json!({ "server": common.server, "user": { "id": token.user.id.to_string(), "username": token.user.user_name } }),
    )
}

async fn ask(user: &str, server: &str) -> anyhow::Result<String> {
    let prompt = format!("password of {user} at {server}: ");
    spawn_blocking(move || rpassword::prompt_password(prompt)).await?.context("cannot ask for the password; TINTYPE_PASSWORD can hold it")
}
