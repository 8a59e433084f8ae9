//! Between protobuf and the domain: who else sees an image.

use tintype_proto::v1::{self, share_party};
use tintype_store::{Access, Owners, Party, SeenImage, Share, ShareRole};

use crate::{status::Refusal, wire};

/// With whom an image is shared.
pub(crate) fn party(value: Option<v1::ShareParty>) -> Result<Party, Refusal> {
    match value.and_then(|party| party.party) {
        Some(share_party::Party::Username(name)) => Ok(Party::User(wire::username("party.username", name)?)),
        Some(share_party::Party::Everyone(v1::Everyone {})) => Ok(Party::Everyone),
        None => Err(Refusal::field("party", "must be a username or everyone")),
    }
}

/// What an image is shared for: to look at, when it is left out.
pub(crate) fn share_role(field: &'static str, value: i32) -> Result<ShareRole, Refusal> {
    match v1::ShareRole::try_from(value) {
        Ok(v1::ShareRole::Unspecified | v1::ShareRole::Viewer) => Ok(ShareRole::Viewer),
        Ok(v1::ShareRole::Editor) => Ok(ShareRole::Editor),
        Err(_) => Err(Refusal::field(field, format_args!("has no role {value}"))),
    }
}

/// Whose images are listed: the caller's, when it is left out.
pub(crate) fn owners(field: &'static str, value: i32) -> Result<Owners, Refusal> {
    match v1::ImageOwner::try_from(value) {
        Ok(v1::ImageOwner::Unspecified | v1::ImageOwner::Me) => Ok(Owners::Mine),
        Ok(v1::ImageOwner::Others) => Ok(Owners::Others),
        Ok(v1::ImageOwner::Anyone) => Ok(Owners::Anyone),
        Err(_) => Err(Refusal::field(field, format_args!("has no owner {value}"))),
    }
}

pub(crate) fn proto_share(share: Share) -> v1::Share {
    let party = match share.party {
        Party::Everyone => share_party::Party::Everyone(v1::Everyone {}),
        Party::User(name) => share_party::Party::Username(name),
    };
    let role = match share.role {
        ShareRole::Viewer => v1::ShareRole::Viewer,
        ShareRole::Editor => v1::ShareRole::Editor,
    };
    v1::Share {
        party: Some(v1::ShareParty { party: Some(party) }),
        role: role.into(),
        create_time: Some(wire::proto_time(share.created_at)),
    }
}

pub(crate) fn proto_access(access: Access) -> v1::ImageAccess {
    match access {
        Access::Viewer => v1::ImageAccess::Viewer,
        Access::Editor => v1::ImageAccess::Editor,
        Access::Owner => v1::ImageAccess::Owner,
    }
}

/// An image as its user sees it.
pub(crate) fn proto_seen_image(seen: SeenImage) -> v1::Image {
    wire::proto_image(seen.image, seen.access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_somebody() {
        let of = |party| super::party(Some(v1::ShareParty { party }));
        assert_eq!(of(Some(share_party::Party::Username("ada".to_owned()))).expect("a name"), Party::User("ada".to_owned()));
        assert_eq!(of(Some(share_party::Party::Everyone(v1::Everyone {}))).expect("everyone"), Party::Everyone);
        for bad in ["", "a\0b", "a\nb", &"x".repeat(65)] {
            assert!(of(Some(share_party::Party::Username(bad.to_owned()))).is_err(), "{bad:?}");
        }
        assert!(of(None).is_err() && party(None).is_err());
    }

    #[test]
    fn what_is_left_out_is_the_least() {
        assert_eq!(share_role("role", 0).expect("unset"), ShareRole::Viewer);
        assert_eq!(owners("owner", 0).expect("unset"), Owners::Mine);
        assert!(share_role("role", 3).is_err() && owners("owner", 4).is_err());
    }
}
