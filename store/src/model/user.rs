use super::{Timestamp, TokenId, UserId};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Works with the user's own images.
    User,
    /// Also runs the service.
    Admin,
    /// What only a newer version knows, whose rows this one reads: nothing, because nobody here can tell what it leaves out.
    Unknown,
}

impl Role {
    /// Every role that is known.
    pub const ALL: [Self; 2] = [Self::User, Self::Admin];

    /// Lower-case name, as catalogs store it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Unknown => "unknown",
        }
    }
}

/// What a token is good for, of what its user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To look and to download.
    Read,
    /// To upload, change and delete.
    Write,
    /// To run the service.
    Admin,
    /// What only a newer version knows, whose rows this one reads: it is good for nothing here.
    Unknown,
}

impl Scope {
    /// Every scope that is known.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Lower-case name, as catalogs store it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Unknown => "unknown",
        }
    }
}

/// Someone who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Given by the catalog.
    pub id: UserId,
    /// Unique, 1 to 64 bytes.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Argon2 hash of the password in PHC string format.
    pub password_hash: String,
    /// A disabled user cannot sign in, and the user's tokens do not work.
    pub disabled: bool,
    /// How many bytes the user may store.
    pub quota_bytes: u64,
    /// How many bytes the user's originals and ready renditions have.
    pub used_bytes: u64,
    /// How many bytes of the user's unfinished uploads are durable. They count toward the quota, too.
    pub unfinished_bytes: u64,
    /// When the user was created.
    pub created_at: Timestamp,
}

/// A user to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unique, 1 to 64 bytes without control characters.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Argon2 hash of the password in PHC string format.
    pub password_hash: String,
    /// How many bytes the user may store.
    pub quota_bytes: u64,
}

impl NewUser {
    /// The quota of users for whom nobody says another: 10 GiB.
    pub const DEFAULT_QUOTA_BYTES: u64 = 10 << 30;
}

/// What to change of a user; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// What the user may do.
    pub role: Option<Role>,
    /// Whether the user is kept out.
    pub disabled: Option<bool>,
    /// How many bytes the user may store.
    pub quota_bytes: Option<u64>,
    /// Argon2 hash of a new password, which revokes all tokens of the user.
    pub password_hash: Option<String>,
}

impl UserChange {
    /// Whether an administrator could be one no more after it.
    pub(crate) fn takes_admin_away(&self) -> bool {
        self.role == Some(Role::User) || self.disabled == Some(true)
    }
}

/// What became of a change to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserWrite {
    /// It was made. The user as changed, or as before a deletion.
    Done(User),
    /// Nothing was written: there would be no administrator left who is not disabled.
    LastAdmin,
    /// There is no such user.
    Missing,
}

/// A sign-in token to be recorded.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub user: UserId,
    /// The hash of the password with which the user signed in: it must be the user's still.
    pub password_hash: String,
    /// SHA-256 of the secret; the secret itself is nowhere stored.
    pub secret_sha256: [u8; 32],
    /// What it is for, in the user's words.
    pub label: String,
    /// What it is good for; empty: all that the user may do.
    pub scopes: Vec<Scope>,
    /// When it ends; `None`: never by itself.
    pub expires_at: Option<Timestamp>,
}

/// A sign-in token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Given by the catalog.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What it is for, in the user's words.
    pub label: String,
    /// What it is good for; empty: all that the user may do.
    pub scopes: Vec<Scope>,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When it ends; `None`: never by itself.
    pub expires_at: Option<Timestamp>,
}

/// A valid token and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The token that was shown.
    pub token: Token,
    /// Whose it is.
    pub user: User,
}

impl SignedIn {
    /// Whether both the user may do that and the token is good for it.
    pub fn may(&self, scope: Scope) -> bool {
        let user_may = match self.user.role {
            Role::Admin => true,
            Role::User => scope != Scope::Admin,
            Role::Unknown => false,
        };
        user_may && (self.token.scopes.is_empty() || self.token.scopes.contains(&scope))
    }
}
