//! Who calls, and what the caller may do.

mod authorizer;
mod crowd;
mod gate;
mod needs;
mod password;
mod protocol;
mod rate;
mod sessions;
mod throttle;
mod token;

pub(crate) use authorizer::Authorizer;
pub(crate) use crowd::{Crowd, Place};
pub(crate) use gate::{Caller, Gate, admit, admit_as};
pub(crate) use needs::{Need, method_name, need};
pub(crate) use password::DEVELOPMENT_PASSWORD;
pub(crate) use password::Passwords;
pub(crate) use protocol::Protocol;
pub(crate) use rate::Rates;
pub(crate) use sessions::{Holder, Session, Sessions};
pub(crate) use throttle::{Throttle, network};
pub(crate) use token::{Tokens, new_secret, secret_sha256};
