//! Forgetting: rows that can no longer matter, and rate limits that no longer limit anyone.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};

use crate::app::App;
use crate::authorize::interaction;
use crate::client::usage;
use crate::db::{self, DbFault};

/// Rows are kept this long after they stopped mattering: an hour more than any clock is wrong.
const MARGIN: Duration = Duration::from_secs(3600);
/// Used proofs are remembered this long after they stopped being good: a minute more than clocks of instances differ.
/// Anybody can show DPoP proofs, which are good for two or three minutes, so there are as many rows of them as the rates
/// let come in some minutes, and not in an hour.
const PROOFS: Duration = Duration::from_secs(60);
/// Interactions are kept this long after they are over: a minute more than clocks of instances differ.
const INTERACTIONS: Duration = Duration::from_secs(60);
/// Changes are kept this long. An instance that was stopped for longer reads everything again.
const CHANGES: Duration = Duration::from_secs(86_400);

/// Revoked grants are kept this long: what somebody may ask about afterwards.
const GRANTS: Duration = Duration::from_secs(30 * 86_400);

/// Cleans every ten minutes until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(Duration::from_secs(600));
    loop {
        timer.tick().await;
        if let Err(fault) = clean(&app, clock::now()).await {
            tracing::warn!(reason = %fault, "the database could not be cleaned; it will be tried again");
        }
    }
}

async fn clean(app: &App, now: UnixSeconds) -> Result<(), DbFault> {
    let before = now - MARGIN;
    // A used code is evidence for as long as what came of it lives (OAuth 2.1 §4.1.3).
    db::authorization_code::forget(&app.db, before).await?;
    db::device_authorization::forget(&app.db, before).await?;
    // Anybody can open one, so they do not stay: nothing is decided by what is over.
    db::interaction::forget(&app.db, now - INTERACTIONS).await?;
    // Whoever came with one has ten minutes to decide, and its end must be known then.
    db::pushed_request::forget(&app.db, now - interaction::LIFE - INTERACTIONS).await?;
    db::one_time_link::forget(&app.db, before).await?;
    db::session::forget(&app.db, before).await?;
    // A used refresh token is evidence for as long as its family lives (docs/decisions/0010).
    db::refresh_token::forget(&app.db, before).await?;
    db::token_family::forget(&app.db, before).await?;
    // After whatever refers to them.
    db::access_grant::forget(&app.db, now - GRANTS).await?;
    db::revoked_token::forget(&app.db, before).await?;
    db::status_list::forget(&app.db, before).await?;
    db::used_proof::forget(&app.db, now - PROOFS).await?;
    db::client_secret::forget(&app.db, before).await?;
    db::initial_access_token::forget(&app.db, before).await?;
    db::node_invite::forget(&app.db, before).await?;
    db::approval::forget(&app.db, before).await?;
    // First what was used: nobody is forgotten who was here today.
    usage::write(app, now).await?;
    let ended = db::client_life::expire(&app.db, now).await?;
    if ended > 0 {
        tracing::info!(ended, "registrations that nobody used have ended");
    }
    db::client_life::forget(&app.db, before).await?;
    db::change::forget(&app.db, now - CHANGES).await
}

#[cfg(test)]
mod tests {
    use shared::secret::SecretHash;

    use super::*;
    use crate::db::tests::{NOW, Places};
    use crate::token::testing::House;

    #[tokio::test(flavor = "multi_thread")]
    async fn dpop_18_used_proofs_are_forgotten_minutes_after_their_end() {
        let places = Places::new();
        for url in places.urls() {
            let house = House::new(&url, "").await;
            let db = &house.app.db;
            let now = clock::now();
            let (over, at_the_edge) = (SecretHash::of(b"over"), SecretHash::of(b"edge"));
            let ends = [(&over, now - PROOFS - PROOFS), (&at_the_edge, now)];
            for (proof, end) in ends {
                assert!(db::used_proof::consume(db, proof, end).await.unwrap());
            }
            clean(&house.app, now).await.unwrap();
            assert!(db::used_proof::consume(db, &over, now).await.unwrap(), "{url}");
            assert!(
                !db::used_proof::consume(db, &at_the_edge, now).await.unwrap(),
                "an instance whose clock is behind may still take it"
            );
        }
    }

    /// A used token is evidence beyond its own idle end, for as long as its family lives.
    #[tokio::test(flavor = "multi_thread")]
    async fn rt_19_con_17_a_replay_is_known_after_the_clean_up() {
        const DAYS: Duration = Duration::from_secs(86_400);
        let places = Places::new();
        for url in places.urls() {
            let house = House::new(&url, "").await;
            let first = house.refresh_token().await;
            let second = house.refreshed(&first, NOW + DAYS * 10).await.unwrap();
            let family = house.family_of(&second).await;
            // The first would have ended by itself after 14 days.
            let late = NOW + DAYS * 20;
            let third = house.refreshed(&second, late).await.unwrap();
            clean(&house.app, late).await.unwrap();
            clean(&house.app, late + Duration::from_secs(7200)).await.unwrap();
            assert!(!house.is_taken_back(&family).await, "{url}");
            assert!(house.refreshed(&first, late).await.is_err());
            assert!(house.is_taken_back(&family).await, "{url}");
            assert!(house.refreshed(&third, late).await.is_err());
        }
    }
}
