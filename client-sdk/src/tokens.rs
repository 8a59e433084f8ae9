//! Tokens: which there are, and their end.

use futures_util::stream::BoxStream;
use tintype_proto::v1::{ErrorReason, ListTokensRequest, RevokeTokenRequest, auth_service_client::AuthServiceClient};

use crate::{Client, Error, Result, TokenInfo, list};

/// The tokens of one user; from [`Client::tokens`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `stream`, `page` or `revoke`"]
pub struct Tokens {
    client: Client,
    user_id: i64,
}

/// Some of the tokens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenPage {
    /// Newest first.
    pub tokens: Vec<TokenInfo>,
    /// For the page after this one; `None` on the last page.
    pub next_page_token: Option<String>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Tokens {
        Tokens { client, user_id: 0 }
    }

    /// The tokens of this user instead of the caller's; for administrators.
    pub fn of(mut self, user_id: i64) -> Tokens {
        self.user_id = user_id;
        self
    }

    /// All that have not expired, newest first, a page at a time as the stream is read. Ends after the first error.
    pub fn stream(self) -> BoxStream<'static, Result<TokenInfo>> {
        list::walk(move |token| {
            let tokens = self.clone();
            async move { tokens.page(&token).await.map(|page| (page.tokens, page.next_page_token)) }
        })
    }

    /// One page: the first for an empty token, else the one after the page that gave it.
    pub async fn page(&self, token: &str) -> Result<TokenPage> {
        let request = ListTokensRequest { user_id: self.user_id, page_size: 0, page_token: token.to_owned() };
        let call = |channel, request| async move { AuthServiceClient::new(channel).list_tokens(request).await };
        let answer = self.client.repeatable_call(request, call).await?;
        Ok(TokenPage {
            tokens: answer.tokens.into_iter().map(TokenInfo::from).collect(),
            next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
        })
    }

    /// Revokes a token. Within a second every server refuses it. A token that is not there is the error `TOKEN_NOT_FOUND`.
    pub async fn revoke(&self, token_id: i64) -> Result<()> {
        let mut call = self.client.call();
        let mut answer_was_lost = false;
        loop {
            let request = call.request(RevokeTokenRequest { token_id, user_id: self.user_id }).await?;
            match AuthServiceClient::new(self.client.channel()).revoke_token(request).await.map_err(Error::from) {
                Ok(_) => return Ok(()),
                // The attempt before did it, and its answer never came.
                Err(error) if answer_was_lost && error.is(ErrorReason::TokenNotFound) => return Ok(()),
                Err(error) => {
                    answer_was_lost |= error.leaves_open();
                    call.failed(error).await?;
                }
            }
        }
    }
}
