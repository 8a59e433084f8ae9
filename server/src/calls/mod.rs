//! What bounds every call, whoever makes it and whatever it asks for: how many there are at once, how long one may take, and how long a client
//! is waited for.

mod bodies;
mod deadline;
mod pace;
mod record;
mod room;

use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use metrics::counter;
use tintype_store::Presence;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned},
    task::AbortOnDropHandle,
};
use tonic::Status;

use self::{
    bodies::{Incoming, Outgoing},
    pace::Pace,
    record::Record,
    room::Room,
};
use crate::{auth::Protocol, limits::Limits, port, status::Refusal};

pub(crate) use pace::Patience;

/// Those who ask for health must be answered just then when there is too much to do: they have places of their own.
const HEALTH: [&str; 3] = ["/grpc.health.v1.Health/", "/healthz", "/metrics"];
const HEALTH_WATCHES: &str = "/grpc.health.v1.Health/Watch";
/// Watches wait for the most part, and have a bound of their own.
const WATCHES: &str = "/tintype.v1.ImageService/WatchImages";

/// The bounds of all calls of this server. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    patience: Patience,
    calls: Room,
    health_calls: Room,
    health_watches: Room,
    presence: Presence,
}

impl Bounds {
    pub(crate) fn new(max_calls: usize, patience: Patience, presence: Presence) -> Self {
        let calls = Room::new("max_calls", max_calls);
        let health_calls = Room::new("max_health_calls", Limits::MAX_HEALTH_CALLS);
        let health_watches = Room::new("max_health_watches", Limits::MAX_HEALTH_WATCHES);
        Self { patience, calls, health_calls, health_watches, presence }
    }

    /// Where a call of this method needs a place.
    fn room(&self, path: &str) -> Option<&Room> {
        match path {
            WATCHES => None,
            HEALTH_WATCHES => Some(&self.health_watches),
            _ if is_health(path) => Some(&self.health_calls),
            _ => Some(&self.calls),
        }
    }
}

/// One call, as long as anything of it is under way.
#[derive(Debug)]
struct Call {
    request: Pace,
    response: Pace,
    /// Whether the answer has begun.
    answering: OnceLock<()>,
    /// Why it was ended, once `end` says that it was.
    status: OnceLock<Status>,
    end: CancellationToken,
    protocol: Protocol,
}

/// Serves a call within its bounds: refuses it when there are too many, and ends it when its deadline passes, when its client is too slow, or
/// when the catalog that it waits for does not answer. Both its streams end then, and whatever worked for it is let go of.
pub(crate) async fn bound(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let protocol = Protocol::of(request.headers());
    let is_health = is_health(path);
    let mut record = Record::begin(path);
    let place = bounds.room(path).map(Room::enter).transpose();
    let (place, timeout) = match (place, deadline::timeout(request.headers())) {
        (Ok(_), Ok(Some(timeout))) if timeout.is_zero() => return record.refused(Refusal::deadline_passed(timeout).into(), protocol),
        (Ok(place), Ok(timeout)) => (place, timeout),
        (Err(refusal), _) | (_, Err(refusal)) => return record.refused(refusal.into(), protocol),
    };
    let deadline = timeout.map(|timeout| Deadline { at: Instant::now() + timeout, timeout });
    let call = Arc::new(Call {
        request: Pace::new("sent", bounds.patience),
        response: Pace::new("taken", bounds.patience),
        answering: OnceLock::new(),
        status: OnceLock::new(),
        end: CancellationToken::new(),
        protocol,
    });
    let presence = (!is_health).then_some(bounds.presence);
    let (watched, cut, idle) = (Arc::clone(&call), port::cut(), bounds.patience.idle);
    let watch = AbortOnDropHandle::new(tokio::spawn(async move {
        let refusal = watched.bounded(deadline, presence).await;
        watched.end_with(refusal);
        // A client that reads again by then is told why; of one that does not, the stream is taken away.
        sleep(idle).await;
        cut.cancel();
    }));
    let request = request.map(|body| Body::new(Incoming::new(body, Arc::clone(&call))));
    let response = tokio::select! {
        biased;
        response = next.run(request) => response,
        // As it is: what goes through `Outgoing` would be cut off at once.
        () = call.ended() => return record.refused(call.status(), protocol),
    };
    let _ = call.answering.set(());
    if call.status.get().is_some() {
        // It ended just when it was answered.
        return record.refused(call.status(), protocol);
    }
    let response = match Refusal::of_answer(response.headers()) {
        Some(refusal) => protocol.refused(refusal.into()),
        None => response,
    };
    record.begins(&response);
    response.map(|body| Body::new(Outgoing::new(body, call, record, (watch, place))))
}

fn is_health(path: &str) -> bool {
    HEALTH.iter().any(|health| path.starts_with(health))
}

/// When a call must have ended.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    timeout: std::time::Duration,
}

impl Deadline {
    async fn passes(self) -> Refusal {
        sleep_until(self.at).await;
        Refusal::deadline_passed(self.timeout)
    }
}

impl Call {
    /// Returns when the call must end, and why.
    async fn bounded(&self, deadline: Option<Deadline>, presence: Option<Presence>) -> Refusal {
        tokio::select! {
            refusal = async { deadline.expect("it is asked for only where there is one").passes().await }, if deadline.is_some() => refusal,
            refusal = self.too_slow() => refusal,
            refusal = self.forsaken(presence) => refusal,
        }
    }

    /// Returns when the client keeps the call waiting for too long.
    async fn too_slow(&self) -> Refusal {
        loop {
            let now = Instant::now();
            // What comes of a request that was answered by plain HTTP is only read away, by whoever answered it.
            let is_answered = self.protocol == Protocol::Rest && self.answering.get().is_some();
            let request = if is_answered { self.response.look(now) } else { self.request.look(now) };
            let next = request.and_then(|request| Ok(request.min(self.response.look(now)?)));
            match next {
                Ok(next) => sleep_until(next).await,
                Err(refusal) => return refusal,
            }
        }
    }

    /// Returns when the catalog is away and the call waits for it: before the answer begins, or while the server does not ask for more of a
    /// request. A download or a watch that is under way goes on.
    async fn forsaken(&self, presence: Option<Presence>) -> Refusal {
        let Some(mut presence) = presence else { return std::future::pending().await };
        loop {
            presence.away().await;
            if self.answering.get().is_none() || self.request.is_held_up() {
                return Refusal::catalog_away();
            }
            sleep(Presence::INTERVAL).await;
        }
    }

    fn end_with(&self, refusal: Refusal) {
        counter!("tintype_calls_cut_off_total", "reason" => refusal.reason_name()).increment(1);
        let status = Status::from(refusal);
        tracing::debug!(code = ?status.code(), "ended a call: {}", status.message());
        let _ = self.status.set(status);
        self.end.cancel();
    }

    fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.end.cancelled()
    }

    fn ended_owned(&self) -> WaitForCancellationFutureOwned {
        self.end.clone().cancelled_owned()
    }

    /// Why it was ended.
    fn status(&self) -> Status {
        self.status.get().expect("the status is set before the call is ended").clone()
    }
}
