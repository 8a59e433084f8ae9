//! Who calls: tokens and where they come from.

use std::fmt;

use async_trait::async_trait;
use tintype_proto::v1::{CreateTokenRequest, auth_service_client::AuthServiceClient};
use tokio::sync::Mutex;
use tonic::transport::Channel;

use crate::{Error, Result, TokenInfo, User};

/// A text that never shows in logs: `Debug` prints no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a sign-in gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// What goes with every call. The server cannot show it again.
    pub secret: Secret,
    /// Whose token it is.
    pub user: User,
    /// What the server keeps of it.
    pub info: TokenInfo,
}

/// Where a client gets its token from.
///
/// Asked before every call, so a provider keeps its token at hand. Calls may ask at the same time.
#[async_trait]
pub trait TokenProvider: fmt::Debug + Send + Sync + 'static {
    /// The token for the next call.
    ///
    /// `refused` is the token that the server has just called invalid: the provider gets a new one if it can. When it returns the
    /// same one again, the server's refusal goes to the caller; no call asks a second time.
    async fn token(&self, refused: Option<&Secret>) -> Result<Secret>;
}

/// The same token always.
#[derive(Debug)]
pub(crate) struct StaticToken(pub(crate) Secret);

#[async_trait]
impl TokenProvider for StaticToken {
    async fn token(&self, _refused: Option<&Secret>) -> Result<Secret> {
        Ok(self.0.clone())
    }
}

/// Signs in when the first token is needed, and again when the server no longer takes it.
#[derive(Debug)]
pub(crate) struct PasswordSignIn {
    channel: Channel,
    user_name: String,
    password: Secret,
    current: Mutex<Option<Secret>>,
}

impl PasswordSignIn {
    pub(crate) fn new(channel: Channel, user_name: String, password: Secret) -> PasswordSignIn {
        PasswordSignIn { channel, user_name, password, current: Mutex::new(None) }
    }
}

#[async_trait]
impl TokenProvider for PasswordSignIn {
    async fn token(&self, refused: Option<&Secret>) -> Result<Secret> {
        // Held while signing in: of many calls at once one signs in, and the others take its token.
        let mut current = self.current.lock().await;
        match &*current {
            Some(token) if Some(token) != refused => Ok(token.clone()),
            _ => {
                let token = sign_in(self.channel.clone(), sign_in_request(self.user_name.clone(), &self.password)).await?;
                Ok(current.insert(token.secret).clone())
            }
        }
    }
}

/// One attempt.
pub(crate) async fn sign_in(channel: Channel, request: CreateTokenRequest) -> Result<Token> {
    let answer = AuthServiceClient::new(channel).create_token(request).await?.into_inner();
    let user = answer.user.ok_or_else(|| Error::bad_answer("the answer to a sign-in names no user"))?;
    let info = answer.token_info.ok_or_else(|| Error::bad_answer("the answer to a sign-in tells nothing of its token"))?;
    Ok(Token { secret: answer.token.into(), user: user.into(), info: info.into() })
}

/// A request that asks for nothing special.
pub(crate) fn sign_in_request(username: String, password: &Secret) -> CreateTokenRequest {
    CreateTokenRequest { username, password: password.expose().to_owned(), ..CreateTokenRequest::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret::from("tt_abc")), "[redacted]");
    }
}
