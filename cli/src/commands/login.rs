use serde_json::json;

use super::current_password;
use crate::{
    args::{Common, Login},
    credentials::Credentials,
};

pub(super) async fn run(common: &Common, login: Login) -> anyhow::Result<()> {
    let client = super::client(common).build()?;
    let password = current_password(&login.user, &common.server).await?;
    let token = client.sign_in(&login.user, password).await?;
    let credentials = Credentials::of_user()?;
    credentials.keep(&common.server, &token.user.user_name, token.secret.expose())?;
    common.output.line(
        || format!("signed in to {} as {}", common.server, token.user.user_name),
        || json!({ "server": common.server, "user": { "id": token.user.id.to_string(), "username": token.user.user_name } }),
    )
}
