//! Requests that an upstream has and has not answered yet, and whom to tell what it says meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::{ProgressNotificationParam, ProgressToken, RequestId, ServerRequest};
use tokio::sync::mpsc;

use super::exchange::Reply;
use super::logging::Line;

/// How much a caller may be behind before it misses something.
pub(super) const BACKLOG: usize = 64;

/// What an upstream says while it has a request.
#[derive(Debug)]
pub(crate) enum Said {
    /// How far it is.
    Progress(ProgressNotificationParam),
    /// A line of its log.
    Log(Line),
    /// It asks the caller something.
    Question(Box<ServerRequest>, Reply),
}

/// Goes with a request to the transport, which boards it before a byte is sent: no answer can be quicker.
#[derive(Clone, Debug)]
pub(super) struct Boarding(pub(super) mpsc::Sender<Said>);

struct Flight {
    token: Option<ProgressToken>,
    said: mpsc::Sender<Said>,
}

/// The requests of one connection.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<RequestId, Flight>>);

impl Flights {
    /// `id` is about to be sent.
    pub(super) fn board(&self, id: RequestId, token: Option<ProgressToken>, boarding: Boarding) {
        self.lock().insert(
            id,
            Flight {
                token,
                said: boarding.0,
            },
        );
    }

    /// `id` was answered, or nobody waits for it any more.
    pub(super) fn land(&self, id: &RequestId) {
        self.lock().remove(id);
    }

    /// Whom to tell of progress with this token.
    pub(super) fn by_token(&self, token: &ProgressToken) -> Option<mpsc::Sender<Said>> {
        self.lock()
            .values()
            .find(|flight| flight.token.as_ref() == Some(token))
            .map(|flight| flight.said.clone())
    }

    /// Whom a question belongs to that came with the answer to `id`.
    pub(super) fn by_id(&self, id: &RequestId) -> Option<mpsc::Sender<Said>> {
        self.lock().get(id).map(|flight| flight.said.clone())
    }

    /// The only request, if there is only one: what names no request can be about no other. With several of them it
    /// might tell one caller what is another's.
    pub(super) fn only(&self) -> Option<mpsc::Sender<Said>> {
        let flights = self.lock();
        let mut all = flights.values();
        match (all.next(), all.next()) {
            (Some(flight), None) => Some(flight.said.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::NumberOrString;

    use super::*;

    #[test]
    fn what_names_no_request_is_told_to_nobody_of_two() {
        let flights = Flights::default();
        let board = |id: i64| {
            let (said, heard) = mpsc::channel(1);
            let token = ProgressToken(NumberOrString::Number(100 + id));
            flights.board(RequestId::Number(id), Some(token), Boarding(said));
            heard
        };
        assert!(flights.only().is_none());
        let _first = board(1);
        assert!(flights.only().is_some());
        let _second = board(2);
        assert!(flights.only().is_none());
        assert!(
            flights
                .by_token(&ProgressToken(NumberOrString::Number(102)))
                .is_some()
        );
        assert!(
            flights
                .by_token(&ProgressToken(NumberOrString::Number(2)))
                .is_none()
        );
        flights.land(&RequestId::Number(1));
        assert!(flights.only().is_some() && flights.by_id(&RequestId::Number(1)).is_none());
    }
}
