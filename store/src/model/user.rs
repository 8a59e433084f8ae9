use super::{Timestamp, TokenId, UserId};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Works with the user's own images.
    User,
    /// Also runs the service.
    Admin,
}

impl Role {
    /// Lower-case name, as catalogs store it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
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
    /// When the user was created.
    pub created_at: Timestamp,
}

/// A user to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unique, 1 to 64 bytes.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Argon2 hash of the password in PHC string format.
    pub password_hash: String,
}

/// A sign-in token to be recorded.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub user: UserId,
    /// SHA-256 of the secret; the secret itself is nowhere stored.
    pub secret_sha256: [u8; 32],
}

/// A valid token and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The token that was shown.
    pub token: TokenId,
    /// Whose it is.
    pub user: User,
}
