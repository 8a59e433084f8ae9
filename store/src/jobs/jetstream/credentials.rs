//! Who signs in at the servers: what their URLs say before the host.

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::{Kind, StoreError};

/// A user with a password, or a token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    None,
    User(String, String),
    Token(String),
}

impl Credentials {
    /// Takes them out of the addresses, which are logged by the client as they are. One of several addresses may say them for all;
    /// `Kind::Misconfigured` when two of them say different ones.
    pub(super) fn taken_from(addresses: Vec<ServerAddr>) -> Result<(Self, Vec<ServerAddr>), StoreError> {
        let mut taken = Self::None;
        let mut plain = Vec::with_capacity(addresses.len());
        for address in addresses {
            let said = Self::said_by(&address)?;
            if said != Self::None && taken != Self::None && said != taken {
                return Err(StoreError::new(Kind::Misconfigured, "the URLs of the NATS servers name different users or tokens"));
            }
            if said != Self::None {
                taken = said;
            }
            let mut url = address.into_inner();
            // Both refuse only URLs without a host, which are none of NATS.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            plain.push(
                ServerAddr::from_url(url)
                    .map_err(|error| StoreError::caused_by(Kind::Misconfigured, "not the URL of a NATS server", error))?,
            );
        }
        Ok((taken, plain))
    }

    fn said_by(address: &ServerAddr) -> Result<Self, StoreError> {
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(StoreError::caused_by(Kind::Misconfigured, "the sign-in in the URL of the NATS server is not UTF-8", error)),
        };
        Ok(match (address.username(), address.password()) {
            (Some(user), Some(password)) => Self::User(decoded(user)?, decoded(password)?),
            (Some(token), None) => Self::Token(decoded(token)?),
            (None, _) => Self::None,
        })
    }

    /// Has `options` sign in with them.
    pub(super) fn given_to(&self, options: ConnectOptions) -> ConnectOptions {
        match self {
            Self::None => options,
            Self::User(user, password) => options.user_and_password(user.clone(), password.clone()),
            Self::Token(token) => options.token(token.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(urls: &[&str]) -> Option<(Credentials, Vec<String>)> {
        let addresses = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        let (credentials, plain) = Credentials::taken_from(addresses).ok()?;
        Some((credentials, plain.iter().map(|address| address.as_url_str().to_owned()).collect()))
    }

    #[test]
    fn what_a_url_says_of_the_user_is_decoded_and_taken_out() {
        let user = || Credentials::User("ada".into(), "p/q".into());
        let plain = || vec!["nats://host:1".to_owned()];
        assert!(taken(&["nats://ada:p%2Fq@host:1"]) == Some((user(), plain())));
        assert!(taken(&["nats://t0ken@host:1"]) == Some((Credentials::Token("t0ken".into()), plain())));
        assert!(taken(&["nats://host:1"]) == Some((Credentials::None, plain())));
        let both = vec!["nats://host:1".to_owned(), "nats://other:2".to_owned()];
        assert!(taken(&["nats://ada:p%2Fq@host:1", "nats://other:2"]) == Some((user(), both)));
        assert!(taken(&["nats://ada:p%2Fq@host:1", "nats://bob:b@other:2"]).is_none(), "one sign-in is for all");
        assert!(taken(&["nats://ada:%ff@host:1"]).is_none(), "not UTF-8");
    }
}
