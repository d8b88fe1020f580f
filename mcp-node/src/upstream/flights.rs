//! Requests that an upstream has and has not answered yet, and whom to tell what it says meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken, RequestId, ServerRequest};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::exchange::Reply;
use super::logging::Line;

/// How much a caller may be behind before it misses something.
pub(super) const BACKLOG: usize = 64;
/// So many requests without a waiting caller are known one by one.
const MOST_LEFT: usize = 1024;

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
    /// Closed when nobody waits any more.
    said: mpsc::Sender<Said>,
    /// Since when it is known that nobody waits.
    left_at: Option<Instant>,
}

/// The requests of one connection. One that nobody waits for any more stays until it is answered or the limit is over:
/// the server may go on with it, and what it then says must not be taken for something about another caller's request.
pub(super) struct Flights {
    open: Mutex<Open>,
    limit: Duration,
}

#[derive(Default)]
struct Open {
    flights: HashMap<RequestId, Flight>,
    /// Until then a request may be open that is too many to be known.
    overfull_until: Option<Instant>,
}

impl Open {
    /// Forgets what nobody has waited for during `limit`.
    fn sweep(&mut self, now: Instant, limit: Duration) {
        let mut left = 0;
        self.flights.retain(|_, flight| {
            if !flight.said.is_closed() {
                return true;
            }
            let left_at = *flight.left_at.get_or_insert(now);
            if now.saturating_duration_since(left_at) >= limit {
                return false;
            }
            left += 1;
            if left > MOST_LEFT {
                self.overfull_until = Some(now + limit);
            }
            left <= MOST_LEFT
        });
        self.overfull_until = self.overfull_until.filter(|until| now < *until);
    }
}

impl Flights {
    /// A request that nobody waits for counts as open for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            open: Mutex::default(),
            limit,
        }
    }

    /// `id` is about to be sent.
    pub(super) fn board(&self, id: RequestId, token: Option<ProgressToken>, boarding: Boarding) {
        let mut open = self.lock();
        open.sweep(Instant::now(), self.limit);
        let flight = Flight {
            token,
            said: boarding.0,
            left_at: None,
        };
        open.flights.insert(id, flight);
    }

    /// `id` was answered.
    pub(super) fn land(&self, id: &RequestId) {
        self.lock().flights.remove(id);
    }

    /// Whom to tell of progress with this token.
    pub(super) fn by_token(&self, token: &ProgressToken) -> Option<mpsc::Sender<Said>> {
        self.lock()
            .flights
            .values()
            .find(|flight| flight.token.as_ref() == Some(token))
            .map(|flight| flight.said.clone())
    }

    /// Whom a question belongs to that came with the answer to `id`.
    pub(super) fn by_id(&self, id: &RequestId) -> Option<mpsc::Sender<Said>> {
        self.lock().flights.get(id).map(|flight| flight.said.clone())
    }

    /// The only request, if there is only one: what names no request can be about no other. With several of them it
    /// might tell one caller what is another's; one whose caller has left counts.
    pub(super) fn only(&self) -> Option<mpsc::Sender<Said>> {
        let mut open = self.lock();
        open.sweep(Instant::now(), self.limit);
        let mut all = open.flights.values();
        match (all.next(), all.next(), open.overfull_until) {
            (Some(flight), None, None) if flight.left_at.is_none() => Some(flight.said.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::NumberOrString;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    fn board(flights: &Flights, id: i64) -> mpsc::Receiver<Said> {
        let (said, heard) = mpsc::channel(1);
        let token = ProgressToken(NumberOrString::Number(100 + id));
        flights.board(RequestId::Number(id), Some(token), Boarding(said));
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_who_left_is_asked_reaches_nobody_else() {
        let flights = Flights::new(LIMIT);
        drop(board(&flights, 1));
        assert!(flights.only().is_none());
        let _other = board(&flights, 2);
        assert!(flights.only().is_none(), "it may be about the first");
        tokio::time::advance(LIMIT - Duration::from_secs(1)).await;
        assert!(flights.only().is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(flights.only().is_some(), "no request stays open for ever");
        drop(board(&flights, 3));
        assert!(flights.only().is_none());
        flights.land(&RequestId::Number(3));
        assert!(flights.only().is_some(), "the first was answered after all");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_left_are_bounded_and_push_nobody_out() {
        let flights = Flights::new(LIMIT);
        let many = i64::try_from(MOST_LEFT).unwrap() + 10;
        for id in 0..many {
            drop(board(&flights, id));
        }
        let _waits = board(&flights, many);
        assert_eq!(flights.lock().flights.len(), MOST_LEFT + 1);
        for id in 0..many {
            flights.land(&RequestId::Number(id));
        }
        assert!(flights.only().is_none(), "some of them were not known");
        tokio::time::advance(LIMIT).await;
        assert!(flights.only().is_some());
    }

    #[test]
    fn what_names_no_request_is_told_to_nobody_of_two() {
        let flights = Flights::new(LIMIT);
        assert!(flights.only().is_none());
        let _first = board(&flights, 1);
        assert!(flights.only().is_some());
        let _second = board(&flights, 2);
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
