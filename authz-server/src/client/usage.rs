//! When a client was last used, to the day: kept in memory and written from time to time, so that no request writes
//! for it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use shared::clock::UnixSeconds;

use crate::app::App;
use crate::db::{self, DbFault};

/// Clients whose day is remembered; one that was crowded out is written once more, which changes nothing.
const REMEMBERED: usize = 10_000;
/// Clients that wait to be written at most. One more is noted with its next token.
const WAITING: usize = 10_000;
const DAY: i64 = 24 * 60 * 60;

/// Which clients got a token today.
pub(crate) struct Usage {
    noted: Cache<String, i64>,
    waiting: Mutex<HashSet<String>>,
}

impl Usage {
    pub(crate) fn new() -> Self {
        Self {
            noted: Cache::new(REMEMBERED),
            waiting: Mutex::default(),
        }
    }

    /// Notes that the client got a token. Quick, and no I/O.
    pub(crate) fn note(&self, client_id: &str, now: UnixSeconds) {
        let day = now.0.div_euclid(DAY);
        if self.noted.get(client_id) == Some(day) {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() < WAITING {
            waiting.insert(client_id.to_owned());
            self.noted.insert(client_id.to_owned(), day);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what was noted since the last time. What cannot be written waits for the next time.
pub(crate) async fn write(app: &App, now: UnixSeconds) -> Result<(), DbFault> {
    let mut noted: Vec<String> = std::mem::take(&mut *app.usage.waiting()).into_iter().collect();
    let day = UnixSeconds(now.0.div_euclid(DAY) * DAY);
    let expires_at = now + app.in_force().changeable.clients.registration.unused_ttl;
    while let Some(client_id) = noted.last() {
        if let Err(fault) = db::client_life::note_use(&app.db, client_id, day, expires_at).await {
            app.usage.waiting().extend(noted);
            return Err(fault);
        }
        noted.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_noted_once_a_day() {
        let usage = Usage::new();
        let noted = |now: i64| {
            usage.note("c_x", UnixSeconds(now));
            usage.waiting().drain().count()
        };
        assert_eq!([noted(10), noted(20), noted(DAY - 1)], [1, 0, 0]);
        assert_eq!([noted(DAY), noted(DAY + 1), noted(2 * DAY)], [1, 0, 1]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let usage = Usage::new();
        for n in 0..WAITING + 10 {
            usage.note(&format!("c_{n}"), UnixSeconds(0));
        }
        assert_eq!(usage.waiting().len(), WAITING);
    }
}
