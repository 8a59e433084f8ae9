use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use tintype_proto::v1::ErrorReason;
use tintype_store::{Kind, SignedIn, StoreError};
use tonic::Status;

use super::Tokens;
use crate::status::Refusal;

/// Calls that need no token. Everything else does, methods that do not exist included.
const OPEN: [&str; 3] = ["/tintype.v1.AuthService/CreateToken", "/grpc.health.v1.Health/", "/grpc.reflection."];

/// Who calls. Every request that passed [`admit`] and needs a token carries one in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Arc<SignedIn>);

impl Caller {
    /// The caller of a request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Refusal> {
        request.extensions().get::<Self>().cloned().ok_or_else(missing)
    }
}

/// What the gate needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) tokens: Tokens,
}

/// Lets a call through when it is open to everyone or carries a valid token. Wraps every gRPC route of every port.
pub(crate) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
        return next.run(request).await;
    }
    match caller(&gate.tokens, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => Status::from(refusal).into_http(),
    }
}

async fn caller(tokens: &Tokens, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let header = headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let secret = header.to_str().ok().and_then(bearer).ok_or_else(invalid)?;
    match tokens.signed_in(secret).await {
        Ok(signed_in) => signed_in.map(Caller).ok_or_else(invalid),
        // Shared by all calls that waited for the same look-up, so it is told anew instead of moved.
        Err(error) if error.kind() == Kind::Unavailable => Err(StoreError::caused_by(Kind::Unavailable, "look up a token", error).into()),
        Err(error) => Err(Refusal::internal(&error)),
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

fn invalid() -> Refusal {
    Refusal::new(ErrorReason::TokenInvalid, "the token is not valid; sign in again")
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
