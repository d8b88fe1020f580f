//! Forgetting: rows that can no longer matter, and rate limits that no longer limit anyone.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};

use crate::alerts;
use crate::app::App;
use crate::audit;
use crate::authorize::interaction;
use crate::client::usage;
use crate::db::{self, Db, DbFault};
use crate::tally;

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

/// Which clients were used is written every ten minutes ([`usage`]), by each instance for itself: nobody is forgotten before
/// all of them have.
const NOTED: Duration = Duration::from_secs(1800);

/// Revoked grants are kept this long: what somebody may ask about afterwards.
const GRANTS: Duration = Duration::from_secs(30 * 86_400);

/// Cleans every ten minutes until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(Duration::from_secs(600));
    loop {
        timer.tick().await;
        for (what, fault) in clean(&app, clock::now()).await {
            tracing::warn!(what, reason = %fault, "the database could not be cleaned; it will be tried again");
        }
    }
}

async fn clean(app: &App, now: UnixSeconds) -> Vec<(&'static str, DbFault)> {
    // First what was used: nobody is forgotten who was here today.
    let noted = usage::write(app, now).await;
    let mut failed = prune(&app.db, app.config.audit_retention, now).await;
    failed.extend(noted.err().map(|fault| ("use of clients", fault)));
    failed
}

/// Takes every step, whatever became of the others; returns those that failed. What refers to other rows goes before them,
/// so when it stays, they stay. Any number of instances may do it at once.
pub(crate) async fn prune(
    db: &Db,
    audit_retention: Option<Duration>,
    now: UnixSeconds,
) -> Vec<(&'static str, DbFault)> {
    let before = now - MARGIN;
    let steps = [
        // A used code is evidence for as long as what came of it lives (OAuth 2.1 §4.1.3).
        ("codes", db::authorization_code::forget(db, before).await),
        ("devices", db::device_authorization::forget(db, before).await),
        // Anybody can open one, so they do not stay: nothing is decided by what is over.
        (
            "interactions",
            db::interaction::forget(db, now - INTERACTIONS).await,
        ),
        // Whoever came with one has ten minutes to decide, and its end must be known then.
        (
            "pushed requests",
            db::pushed_request::forget(db, now - interaction::LIFE - INTERACTIONS).await,
        ),
        ("links", db::one_time_link::forget(db, before).await),
        ("sessions", db::session::forget(db, before).await),
        // A used refresh token is evidence for as long as its family lives (docs/decisions/0010).
        ("refresh tokens", db::refresh_token::forget(db, before).await),
        ("families", db::token_family::forget(db, before).await),
        // After whatever refers to them.
        ("grants", db::access_grant::forget(db, now - GRANTS).await),
        ("revoked tokens", db::revoked_token::forget(db, before).await),
        ("status lists", db::status_list::forget(db, before).await),
        ("proofs", db::used_proof::forget(db, now - PROOFS).await),
        ("client secrets", db::client_secret::forget(db, before).await),
        (
            "initial access tokens",
            db::initial_access_token::forget(db, before).await,
        ),
        ("invites", db::node_invite::forget(db, before).await),
        ("reports of nodes", db::node_contact::forget(db, now).await),
        ("alerts", db::alert::forget(db, now - alerts::KEPT).await),
        ("approvals", db::approval::forget(db, before).await),
        ("admin requests", db::admin_request::forget(db, before).await),
        ("tallies", db::tally::forget(db, now - tally::KEPT).await),
        ("registrations", registrations(db, now).await),
        ("audit events", audit_events(db, audit_retention, now).await),
        ("changes", db::change::forget(db, now - CHANGES).await),
    ];
    let failed = steps
        .into_iter()
        .filter_map(|(what, done)| Some((what, done.err()?)));
    failed.collect()
}

async fn registrations(db: &Db, now: UnixSeconds) -> Result<(), DbFault> {
    let ended = db::client_life::expire(db, now - NOTED, now).await?;
    if ended > 0 {
        tracing::info!(ended, "registrations that nobody used have ended");
    }
    db::client_life::forget(db, now - MARGIN).await
}

async fn audit_events(db: &Db, retention: Option<Duration>, now: UnixSeconds) -> Result<(), DbFault> {
    match retention {
        Some(retention) => audit::prune(db, retention, now).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::config::Reader;
    use shared::secret::SecretHash;

    use super::*;
    use crate::audit::{Event, Name, Target};
    use crate::config::Config;
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
            assert!(clean(&house.app, now).await.is_empty());
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
            assert!(clean(&house.app, late).await.is_empty());
            assert!(
                clean(&house.app, late + Duration::from_secs(7200))
                    .await
                    .is_empty()
            );
            assert!(!house.is_taken_back(&family).await, "{url}");
            assert!(house.refreshed(&first, late).await.is_err());
            assert!(house.is_taken_back(&family).await, "{url}");
            assert!(house.refreshed(&third, late).await.is_err());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn audit_events_go_when_their_time_is_over_and_only_where_it_ends() {
        const DAY: Duration = Duration::from_secs(86_400);
        let places = Places::new();
        for url in places.urls() {
            let keeps = House::new(&url, "").await;
            let event = Event::of_operator(Name::UserEnabled, Target::User("u_1"));
            let db = &keeps.app.db;
            for now in [NOW, NOW + DAY * 99] {
                let written = db.write(async |tx| db::audit_event::append(tx, &event, now).await);
                written.await.unwrap();
            }
            let now = NOW + DAY * 100;
            assert!(clean(&keeps.app, now).await.is_empty());
            assert_eq!(audit::verify(db).await.unwrap().first, 1, "{url}");
            let forgets = Config::read(
                Reader::from_text("[audit]\nretention = \"30d\"".to_owned(), &BTreeMap::new()).unwrap(),
            );
            let retention = forgets.unwrap().audit_retention;
            audit_events(db, retention, now).await.unwrap();
            let verified = audit::verify(db).await.unwrap();
            assert_eq!((verified.first, verified.events), (2, 2), "{url}");
        }
    }

    /// A table that cannot be cleaned keeps no other from it.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_fails_holds_nothing_else_up() {
        let places = Places::new();
        for url in places.urls() {
            let house = House::new(&url, "").await;
            let db = &house.app.db;
            let proof = SecretHash::of(b"over");
            let now = clock::now();
            assert!(
                db::used_proof::consume(db, &proof, now - PROOFS - PROOFS)
                    .await
                    .unwrap()
            );
            db::tests::run(db, "DROP TABLE authorization_code").await;
            let failed = clean(&house.app, now).await;
            let names: Vec<_> = failed.iter().map(|(what, _)| *what).collect();
            // What asks about codes cannot be answered either.
            assert_eq!(names, ["codes", "grants"], "{url}: {failed:?}");
            assert!(db::used_proof::consume(db, &proof, now).await.unwrap(), "{url}");
        }
    }
}
