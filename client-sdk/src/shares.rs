//! Who else sees an image.

use std::{fmt, time::SystemTime};

use tintype_proto::v1::{self, ListSharesRequest, ShareImageRequest, UnshareImageRequest, share_party};

use crate::{Client, Error, Result, wire};

/// With whom an image is shared. Displayed as the user's name, or `everyone`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// Everyone who can sign in, now or later.
    Everyone,
    /// The user of this name.
    User(String),
}

impl Party {
    /// The user of this name.
    pub fn user(name: impl Into<String>) -> Party {
        Party::User(name.into())
    }
}

/// What an image is shared for. Displayed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShareRole {
    /// To look and to download.
    Viewer,
    /// Also to have renditions made, and to change what is said of the image.
    Editor,
    /// A role that is newer than this crate, by its number in the protocol.
    Other(i32),
}

/// An image is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// With whom.
    pub party: Party,
    /// What for.
    pub role: ShareRole,
    /// When it was first shared with them.
    pub created_at: SystemTime,
}

/// What the caller may do with an image. Displayed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Everything.
    Owner,
    /// What [`ShareRole::Editor`] says.
    Editor,
    /// What [`ShareRole::Viewer`] says.
    Viewer,
    /// An access that is newer than this crate, by its number in the protocol; 0 from a server that does not tell.
    Other(i32),
}

/// Whose images are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The caller.
    Me,
    /// Others, who share them with the caller or with everyone.
    Others,
    /// Both.
    Anyone,
}

impl Client {
    /// Lets others see an image of the caller's. Sharing it with the same party again changes the role.
    ///
    /// A user name that nobody has is taken without a word and has no effect: the answer does not tell who has an account.
    pub async fn share(&self, image_id: i64, party: Party, role: ShareRole) -> Result<Share> {
        let request = ShareImageRequest { image_id, party: Some(party.into()), role: role_number(role) };
        let answer = self.images_call(request, |mut service, request| async move { service.share_image(request).await }).await?;
        share(answer.share.ok_or_else(|| Error::bad_answer("the answer holds no share"))?)
    }

    /// Withdraws a share. Also fine when there is none.
    pub async fn unshare(&self, image_id: i64, party: Party) -> Result<()> {
        let request = UnshareImageRequest { image_id, party: Some(party.into()) };
        self.images_call(request, |mut service, request| async move { service.unshare_image(request).await }).await?;
        Ok(())
    }

    /// With whom an image of the caller's is shared: everyone first, then users by name.
    pub async fn shares(&self, image_id: i64) -> Result<Vec<Share>> {
        let request = ListSharesRequest { image_id };
        let answer = self.images_call(request, |mut service, request| async move { service.list_shares(request).await }).await?;
        answer.shares.into_iter().map(share).collect()
    }
}

impl From<Party> for v1::ShareParty {
    fn from(party: Party) -> v1::ShareParty {
        let party = match party {
            Party::Everyone => share_party::Party::Everyone(v1::Everyone {}),
            Party::User(name) => share_party::Party::Username(name),
        };
        v1::ShareParty { party: Some(party) }
    }
}

fn share(share: v1::Share) -> Result<Share> {
    let party = match share.party.and_then(|party| party.party) {
        Some(share_party::Party::Everyone(v1::Everyone {})) => Party::Everyone,
        Some(share_party::Party::Username(name)) => Party::User(name),
        None => return Err(Error::bad_answer("the image is shared with somebody whom this client does not know how to name")),
    };
    let role = match v1::ShareRole::try_from(share.role) {
        Ok(v1::ShareRole::Viewer) => ShareRole::Viewer,
        Ok(v1::ShareRole::Editor) => ShareRole::Editor,
        Ok(v1::ShareRole::Unspecified) | Err(_) => ShareRole::Other(share.role),
    };
    Ok(Share { party, role, created_at: wire::time(share.create_time.as_ref()) })
}

fn role_number(role: ShareRole) -> i32 {
    match role {
        ShareRole::Viewer => v1::ShareRole::Viewer.into(),
        ShareRole::Editor => v1::ShareRole::Editor.into(),
        ShareRole::Other(number) => number,
    }
}

pub(crate) fn access(number: i32) -> Access {
    match v1::ImageAccess::try_from(number) {
        Ok(v1::ImageAccess::Owner) => Access::Owner,
        Ok(v1::ImageAccess::Editor) => Access::Editor,
        Ok(v1::ImageAccess::Viewer) => Access::Viewer,
        Ok(v1::ImageAccess::Unspecified) | Err(_) => Access::Other(number),
    }
}

pub(crate) fn owner_number(owner: Owner) -> i32 {
    match owner {
        Owner::Me => v1::ImageOwner::Me.into(),
        Owner::Others => v1::ImageOwner::Others.into(),
        Owner::Anyone => v1::ImageOwner::Anyone.into(),
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Everyone => f.pad("everyone"),
            Party::User(name) => f.pad(name),
        }
    }
}

impl fmt::Display for ShareRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShareRole::Viewer => f.pad("viewer"),
            ShareRole::Editor => f.pad("editor"),
            ShareRole::Other(number) => write!(f, "role-{number}"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Owner => f.pad("owner"),
            Access::Editor => f.pad("editor"),
            Access::Viewer => f.pad("viewer"),
            Access::Other(number) => write!(f, "access-{number}"),
        }
    }
}
