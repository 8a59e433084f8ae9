//! Who calls, and what the caller may do.

mod authorizer;
mod gate;
mod password;
mod token;

pub(crate) use authorizer::Authorizer;
pub(crate) use gate::{Caller, Gate, admit};
pub(crate) use password::DEVELOPMENT_PASSWORD;
pub(crate) use password::Passwords;
pub(crate) use token::{Tokens, new_secret, secret_sha256};
