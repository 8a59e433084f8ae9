use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use tintype_proto::v1::ErrorReason;
use tintype_store::{Kind, Role, Scope, SignedIn, StoreError, Token, TokenId, User};

use super::{Crowd, Holder, Need, Protocol, Rates, Session, Sessions, Tokens, need};
use crate::status::{Refusal, no_such_method};

/// Who calls. Every request that passed [`admit`] and needs a token carries one in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Arc<SignedIn>, Session);

impl Caller {
    /// The caller of a request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Refusal> {
        request.extensions().get::<Self>().cloned().ok_or_else(missing)
    }

    /// Whoever comes by a link that this user created: in the user's place, to read.
    pub(crate) fn by_link(user: User, session: Session) -> Self {
        let (id, label, created_at) = (TokenId(0), String::new(), user.created_at);
        let token = Token { id, user: user.id, label, scopes: vec![Scope::Read], created_at, expires_at: None };
        Self(Arc::new(SignedIn { token, user }), session)
    }

    /// Refuses a caller who may not do that, or whose token is not good for it.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), Refusal> {
        if self.0.may(scope) {
            return Ok(());
        }
        let name = scope.name();
        let message = match scope {
            _ if self.0.user.role == Role::Unknown => "only a newer server knows what the role of this user may do".to_owned(),
            Scope::Admin => "only an administrator may do this, with a token of the scope admin".to_owned(),
            Scope::Read | Scope::Write | Scope::Unknown => format!("the token is not good for this: it needs the scope {name}"),
        };
        Err(Refusal::new(ErrorReason::NotPermitted, message).with("needed_scope", name.to_ascii_uppercase()))
    }

    /// Returns the refusal to end a call with, once the caller's token is no longer valid.
    pub(crate) async fn signed_out(&self) -> Refusal {
        self.1.ended().await;
        Refusal::token_invalid()
    }
}

/// What the gate needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) tokens: Tokens,
    pub(crate) rates: Rates,
    pub(crate) crowd: Crowd,
    pub(crate) sessions: Sessions,
}

/// Lets a call through when it is open to everyone or carries a valid token that is good for it, and ends it when the token does. Wraps every
/// gRPC route of every port.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let need = need(request.uri().path());
    gate.answer(need, Protocol::Grpc, request, next).await
}

/// The same for a route of plain HTTP, which needs what the method needs that it stands for.
pub(crate) async fn admit_as(State((gate, method)): State<(Gate, &'static str)>, request: Request, next: Next) -> Response {
    gate.answer(need(method), Protocol::Rest, request, next).await
}

impl Gate {
    async fn answer(&self, need: Option<Need>, protocol: Protocol, mut request: Request, next: Next) -> Response {
        if need == Some(Need::Nothing) {
            return next.run(request).await;
        }
        let admitted = self.caller(request.headers()).await.and_then(|caller| {
            if let Some(Need::Scope(scope)) = need {
                caller.needs(scope)?;
            }
            let place = self.crowd.enter(caller.0.user.id)?;
            Ok((caller, place))
        });
        match admitted {
            Err(refusal) => protocol.refused(refusal.into()),
            Ok(_) if need.is_none() => protocol.refused(no_such_method()),
            Ok((caller, place)) => {
                let session = caller.1.clone();
                request.extensions_mut().insert(caller);
                session.bounds(protocol, Some(place), next.run(request)).await
            }
        }
    }

    /// Whose token is in these headers. Counts as one call of that user.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let header = headers.get(AUTHORIZATION).ok_or_else(missing)?;
        let secret = header.to_str().ok().and_then(bearer).ok_or_else(Refusal::token_invalid)?;
        let signed_in = match self.tokens.signed_in(secret).await {
            Ok(signed_in) => signed_in.ok_or_else(Refusal::token_invalid)?,
            // Shared by all calls that waited for the same look-up, so it is told anew instead of moved.
            Err(error) if error.kind() == Kind::Unavailable => {
                return Err(StoreError::caused_by(Kind::Unavailable, "look up a token", error).into());
            }
            Err(error) => return Err(Refusal::internal(&error)),
        };
        self.rates.take(signed_in.user.id, Instant::now()).map_err(|pause| self.rates.refusal(pause))?;
        let session = self.sessions.of(Holder::Token(signed_in.token.id));
        Ok(Caller(signed_in, session))
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

fn missing() -> Refusal {
    Refusal::new(ErrorReason::TokenMissing, "a bearer token is needed: sign in with AuthService.CreateToken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer tt_x"), Some("tt_x"));
        assert_eq!(bearer("bearer  tt_x"), Some("tt_x"));
        assert_eq!(bearer("Basic tt_x"), None);
        assert_eq!(bearer("tt_x"), None);
    }
}
