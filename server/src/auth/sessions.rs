use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body::{Frame, SizeHint};
use tintype_store::{StoreError, Timestamp, TokenId, UserId, catalog::Catalog};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Place, Protocol};
use crate::status::{Chain, Refusal};

/// How often the tokens of open calls are looked at: a call ends within a second of the end of its token.
const INTERVAL: Duration = Duration::from_millis(250);

/// By whose right the calls go on that are open at this server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<Holder, Weak<CancellationToken>>>>,
}

/// By whose right a call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// As long as the token signs its user in.
    Token(TokenId),
    /// By a link that this user created, as long as the user may sign in.
    User(UserId),
}

/// What the open calls of one holder share. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Session(Arc<CancellationToken>);

impl Sessions {
    /// Ends, from now on, the calls whose holder has no right any more: one query for all tokens, and one for each user of a link that is in use.
    pub(crate) fn watch(&self, catalog: Arc<dyn Catalog>) {
        let sessions = self.clone();
        // Not one of the tasks that a drain waits for: calls that are let finish need it to the end.
        tokio::spawn(async move {
            loop {
                sleep(INTERVAL).await;
                if let Err(error) = sessions.end_invalid(&*catalog, Timestamp::now()).await {
                    tracing::debug!(error = %Chain(&error), "cannot look at the tokens of open calls");
                }
            }
        });
    }

    /// The session of a holder, for as long as a call has it.
    pub(crate) fn of(&self, holder: Holder) -> Session {
        let mut open = self.lock();
        if let Some(session) = open.get(&holder).and_then(Weak::upgrade) {
            return Session(session);
        }
        let session = Arc::new(CancellationToken::new());
        open.insert(holder, Arc::downgrade(&session));
        Session(session)
    }

    async fn end_invalid(&self, catalog: &dyn Catalog, now: Timestamp) -> Result<(), StoreError> {
        let holders: Vec<_> = {
            let mut open = self.lock();
            open.retain(|_, session| session.strong_count() > 0);
            open.keys().copied().collect()
        };
        let tokens: Vec<_> = holders.iter().filter_map(|holder| holder.token()).collect();
        let valid = if tokens.is_empty() { Vec::new() } else { catalog.valid_tokens(&tokens, now).await? };
        for holder in holders {
            let goes_on = match holder {
                Holder::Token(token) => valid.contains(&token),
                Holder::User(user) => catalog.user(user).await?.is_some_and(|user| !user.disabled),
            };
            if !goes_on && let Some(session) = self.lock().remove(&holder).and_then(|session| session.upgrade()) {
                session.cancel();
            }
        }
        Ok(())
    }

    /// The map is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, Weak<CancellationToken>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn token(self) -> Option<TokenId> {
        match self {
            Self::Token(token) => Some(token),
            Self::User(_) => None,
        }
    }
}

impl Session {
    /// Returns when the holder has no right any more.
    pub(crate) async fn ended(&self) {
        self.0.cancelled().await;
    }

    /// Lets a call answer for as long as its holder has the right to it, whether it has begun to by then or not. Its place is free again when
    /// the answer has ended.
    pub(crate) async fn bounds(self, protocol: Protocol, place: Option<Place>, answer: impl Future<Output = Response>) -> Response {
        let answer = tokio::select! {
            answer = answer => answer,
            () = self.ended() => return protocol.refused(Refusal::token_invalid().into()),
        };
        let ended = Box::pin(CancellationToken::clone(&self.0).cancelled_owned());
        answer.map(|body| Body::new(Bounded { body, ended, protocol, _session: self, _place: place }))
    }
}

/// The body of an answer, cut off with a status when the token is no longer valid.
struct Bounded {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    protocol: Protocol,
    _session: Session,
    _place: Option<Place>,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.body.is_end_stream() && self.ended.as_mut().poll(context).is_ready() {
            // Whatever is behind the body notices that nobody reads it any more.
            self.body = Body::empty();
            return Poll::Ready(Some(self.protocol.cut(Refusal::token_invalid().into())));
        }
        Poll::Ready(ready!(Pin::new(&mut self.body).poll_frame(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: i64) -> Holder {
        Holder::Token(TokenId(id))
    }

    #[test]
    fn calls_of_one_token_share_a_session_and_leave_nothing_behind() {
        let sessions = Sessions::default();
        let (first, second, other) = (sessions.of(token(1)), sessions.of(token(1)), sessions.of(token(2)));
        assert!(Arc::ptr_eq(&first.0, &second.0) && !Arc::ptr_eq(&first.0, &other.0));
        drop((first, second));
        assert_eq!(sessions.lock()[&token(1)].strong_count(), 0);
        assert_eq!(sessions.lock()[&token(2)].strong_count(), 1);
    }

    #[tokio::test]
    async fn a_body_ends_with_a_status_when_its_session_does() {
        let session = Sessions::default().of(token(1));
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let open = Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)));
        let mut body = session.clone().bounds(Protocol::Grpc, None, std::future::ready(open)).await.into_body();
        let mut next = async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        sender.send(Ok(Bytes::from_static(b"first"))).await.expect("it is read");
        assert!(next().await.expect("a frame").expect("no error").is_data());
        session.0.cancel();
        let trailers = next().await.expect("a frame").expect("no error").into_trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "16");
        assert!(next().await.is_none());
        assert!(sender.is_closed(), "whoever wrote knows");
    }

    #[tokio::test]
    async fn a_call_that_has_not_answered_is_answered_for() {
        let session = Sessions::default().of(token(1));
        session.0.cancel();
        let answer = session.bounds(Protocol::Grpc, None, std::future::pending()).await;
        assert_eq!(answer.headers()["grpc-status"], "16");
    }
}
