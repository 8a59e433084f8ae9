//! Getting a token, perhaps one that is good for less than its user.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tintype_proto::v1::CreateTokenRequest;

use crate::{Client, Result, Scope, Secret, Token, token, wire};

/// Exchanges a name and a password for a token; from [`Client::sign_in`]. Can be awaited as it is, which is the same as [`send`](SignIn::send).
#[derive(Clone)]
#[must_use = "nobody is signed in before `send`"]
pub struct SignIn {
    client: Client,
    request: CreateTokenRequest,
}

impl SignIn {
    pub(crate) fn new(client: Client, user_name: String, password: &Secret) -> SignIn {
        SignIn { client, request: token::sign_in_request(user_name, password) }
    }

    /// The token ends after this time, from 1 second to 3,650 days. Without it, it is good until it is revoked.
    pub fn ttl(mut self, ttl: Duration) -> SignIn {
        self.request.ttl = Some(wire::proto_duration(ttl));
        self
    }

    /// The token is good for this. Said more than once: for all of these. Without it, for all that the user may do.
    pub fn scope(mut self, scope: Scope) -> SignIn {
        self.request.scopes.push(wire::scope_number(scope));
        self
    }

    /// What the token is for, to recognise it in a list: up to 64 bytes.
    pub fn label(mut self, label: impl Into<String>) -> SignIn {
        self.request.label = label.into();
        self
    }

    /// Signs in. Repeated when it fails for a passing reason; at worst that leaves a token behind that nobody has.
    pub async fn send(self) -> Result<Token> {
        let mut attempts = self.client.attempts();
        loop {
            match token::sign_in(self.client.channel(), self.request.clone()).await {
                Ok(token) => return Ok(token),
                Err(error) => attempts.wait(error).await?,
            }
        }
    }
}

impl IntoFuture for SignIn {
    type Output = Result<Token>;
    type IntoFuture = BoxFuture<'static, Result<Token>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request holds the password.
        f.debug_struct("SignIn").field("user_name", &self.request.username).field("label", &self.request.label).finish_non_exhaustive()
    }
}
