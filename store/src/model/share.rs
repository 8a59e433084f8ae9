use super::{Image, Timestamp, UserId};

/// With whom an image can be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// Every signed-in user, also those who come later.
    Everyone,
    /// The user who has this name when the image is shared; nobody, if there is none then.
    User(String),
}

impl Party {
    /// Whose part of the change log has what happens to images that are shared with everyone.
    pub const EVERYONE: UserId = UserId(0);

    /// The name as catalogs store it: empty for everyone.
    pub(crate) fn user_name(&self) -> &str {
        match self {
            Self::Everyone => "",
            Self::User(name) => name,
        }
    }
}

/// What an image is shared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShareRole {
    /// To look and to download.
    Viewer,
    /// Also to have renditions made and to change what is said of the image.
    Editor,
}

impl ShareRole {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Viewer, Self::Editor];

    /// Lower-case name, as catalogs store it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
        }
    }
}

/// An image is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// With whom.
    pub party: Party,
    /// What for.
    pub role: ShareRole,
    /// When it was first shared with them.
    pub created_at: Timestamp,
}

/// What became of a wish to share an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// It is shared like this now.
    Done(Share),
    /// Nothing was written: it is shared with as many others as allowed.
    TooMany,
    /// There is no such image.
    Missing,
}

/// What a user may do with an image that the user sees. What is greater includes what is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// To look and to download.
    Viewer,
    /// Also to have renditions made and to change what is said of the image.
    Editor,
    /// Everything.
    Owner,
}

impl Access {
    /// Every access.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Owner];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Owner => "owner",
        }
    }
}

/// An image as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenImage {
    /// The image.
    pub image: Image,
    /// The most that the user may do with it.
    pub access: Access,
    /// The user is its owner, or it is shared with the user by name, whether or not it is also shared with everyone.
    pub named: bool,
}

/// Whose images a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owners {
    /// The user's own.
    #[default]
    Mine,
    /// Those that others share with the user or with everyone.
    Others,
    /// All that the user sees.
    Anyone,
}
