use serde_json::json;

use super::{current_password, new_password};
use crate::{args::Common, credentials::Credentials, environment};

/// Changes the password of whoever is signed in, which revokes all tokens, and signs in anew where a token was kept.
pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let user = client.current_user().await?.user_name;
    let old = current_password(&user, &common.server).await?;
    let new = new_password(&user).await?;
    client.change_password(old, new.as_str()).await?;
    let was_kept = environment::token()?.is_none();
    if was_kept {
        let token = client.sign_in(&user, new).await?;
        Credentials::of_user()?.keep(&common.server, &user, token.secret.expose())?;
    }
    let revoked = if was_kept {
        "all other tokens are revoked"
    } else {
        "all tokens are revoked, also the one in TINTYPE_TOKEN: unset it and run `tintype login`"
    };
    common.output.line(
        || format!("changed the password of {user}; {revoked}"),
        || json!({ "server": common.server, "user": { "username": user }, "is_signed_in": was_kept }),
    )
}
