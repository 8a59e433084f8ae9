use serde_json::{Value, json};
use tintype_client::{Party, Share, ShareRole};

use crate::{
    args::{Common, ShareWith, Unshare},
    output::utc,
};

/// A line for each share, of the one that was made or of all: name or `everyone`, role, time.
pub(super) async fn share(common: &Common, wanted: ShareWith) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let shares = match party(wanted.with, wanted.everyone) {
        Some(party) => {
            let role = if wanted.editor { ShareRole::Editor } else { ShareRole::Viewer };
            vec![client.share(wanted.id, party, role).await?]
        }
        None => client.shares(wanted.id).await?,
    };
    for share in shares {
        common.output.line(|| format!("{}\t{}\t{}", share.party, share.role, utc(share.created_at)), || share_json(&share))?;
    }
    Ok(())
}

/// Says nothing.
pub(super) async fn unshare(common: &Common, unshare: Unshare) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    if let Some(party) = party(unshare.with, unshare.everyone) {
        client.unshare(unshare.id, party).await?;
    }
    Ok(())
}

fn party(user_name: Option<String>, everyone: bool) -> Option<Party> {
    if everyone { Some(Party::Everyone) } else { user_name.map(Party::User) }
}

fn share_json(share: &Share) -> Value {
    let user_name = match &share.party {
        Party::User(name) => Some(name),
        Party::Everyone => None,
    };
    json!({
        "username": user_name,
        "everyone": share.party == Party::Everyone,
        "role": share.role.to_string(),
        "create_time": utc(share.created_at),
    })
}
