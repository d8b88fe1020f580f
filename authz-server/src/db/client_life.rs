//! Table `client`, how clients end that nobody ends: when they were last used, and when a registration is forgotten.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, on, status_revoked};

const USED: &str = "UPDATE client SET last_used_at = $2, expires_at = CASE WHEN expires_at IS NULL THEN expires_at ELSE $3 END \
     WHERE client_id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
// Also those that have ended: until they are forgotten they take the room, and who ends them at once gains nothing.
const UNUSED: &str = "SELECT COUNT(*) FROM client \
     WHERE origin = 'registration' AND expires_at IS NOT NULL AND last_used_at IS NULL";
// What somebody has granted and not taken back keeps its client alive.
const EXPIRE: &str = "UPDATE client SET revoked_at = $1, tokens_not_before = $1 WHERE revoked_at IS NULL AND client_id IN \
     (SELECT c.client_id FROM client c WHERE c.origin = 'registration' AND c.expires_at < $3 AND c.revoked_at IS NULL \
     AND NOT EXISTS (SELECT 1 FROM access_grant g WHERE g.client_id = c.client_id AND g.revoked_at IS NULL \
     AND (g.expires_at IS NULL OR g.expires_at > $1)) ORDER BY c.expires_at LIMIT $2) RETURNING client_id";
// Whatever was granted once is evidence, and its client's name with it.
const ENDED: &str = "SELECT c.client_id FROM client c WHERE c.origin = 'registration' AND c.revoked_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM access_grant g WHERE g.client_id = c.client_id) ORDER BY c.revoked_at LIMIT $2";
const DELETE_SECRETS: &str = "DELETE FROM client_secret WHERE client_id = $1";
const DELETE_REGISTRATION: &str = "DELETE FROM registration WHERE client_id = $1";
const DELETE: &str = "DELETE FROM client WHERE client_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    USED,
    UNUSED,
    EXPIRE,
    ENDED,
    DELETE_SECRETS,
    DELETE_REGISTRATION,
    DELETE,
];

/// Clients that one transaction ends or deletes at most: each is several statements.
const BATCH: usize = 100;

/// Notes the day of a client's newest use; a registration lives on until `expires_at`.
pub(crate) async fn note_use(
    db: &Db,
    client_id: &str,
    day: UnixSeconds,
    expires_at: UnixSeconds,
) -> Result<(), DbFault> {
    on!(db, c => async {
        sqlx::query(USED).bind(client_id).bind(day.0).bind(expires_at.0).execute(c).await.map(|_| ())
    })
}

/// How many registrations nobody has ever used, ended or not.
pub(crate) async fn count_unused(db: &Db) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(UNUSED).fetch_one(c))
}

/// Ends every registration whose time was over at `before`; returns how many.
pub(crate) async fn expire(db: &Db, before: UnixSeconds, now: UnixSeconds) -> Result<usize, DbFault> {
    let mut ended = 0;
    loop {
        let batch = db
            .write(async move |tx| {
                let batch: Vec<String> = on!(tx tx, c => {
                    sqlx::query_scalar(EXPIRE).bind(now.0).bind(BATCH as i64).bind(before.0).fetch_all(c)
                })?;
                for client_id in &batch {
                    status_revoked::client(tx, client_id, now).await?;
                    change::record(tx, Noun::Client, client_id, now);
                }
                Ok(batch.len())
            })
            .await?;
        ended += batch;
        if batch < BATCH {
            return Ok(ended);
        }
    }
}

/// Deletes registrations that ended before `before` and that nobody ever granted anything.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    loop {
        let batch = db
            .write(async move |tx| {
                let batch: Vec<String> = on!(tx tx, c => sqlx::query_scalar(ENDED).bind(before.0).bind(BATCH as i64).fetch_all(c))?;
                for client_id in &batch {
                    delete(tx, client_id).await?;
                }
                Ok(batch.len())
            })
            .await?;
        if batch < BATCH {
            return Ok(());
        }
    }
}

async fn delete(tx: &mut Tx, client_id: &str) -> Result<(), DbFault> {
    for statement in [DELETE_SECRETS, DELETE_REGISTRATION, DELETE] {
        on!(tx tx, c => async { sqlx::query(statement).bind(client_id).execute(c).await.map(|_| ()) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Origin;
    use crate::client::metadata::{Metadata, Policy};
    use crate::db::tests::{NOW, Places, add_user};
    use crate::db::{access_grant, client};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    async fn add(db: &Db, client_id: &str, origin: Origin, expires_at: Option<UnixSeconds>) {
        let document = br#"{"client_name":"x","redirect_uris":["https://client.example/cb"]}"#;
        let metadata = Metadata::parse(document, &Policy::REGISTRATION).unwrap();
        let mut row = metadata.new_row(client_id.to_owned(), origin, NOW).unwrap();
        row.expires_at = expires_at.map(|at| at.0);
        let secret = shared::secret::SecretHash::of(client_id.as_bytes());
        client::insert(db, &row, Some(&secret)).await.unwrap();
    }

    async fn grant(db: &Db, client_id: &str, expires_at: Option<UnixSeconds>) {
        let grant = access_grant::GrantRow {
            grant_id: format!("g_{client_id}"),
            user_id: "u_x".to_owned(),
            client_id: client_id.to_owned(),
            resource: "https://node.example/mcp".to_owned(),
            scopes: "a".to_owned(),
            remembered_scopes: String::new(),
            created_at: NOW.0,
            updated_at: NOW.0,
            expires_at: expires_at.map(|at| at.0),
        };
        db.write(async |tx| access_grant::hold(tx, &grant).await)
            .await
            .unwrap();
    }

    async fn is_living(db: &Db, client_id: &str) -> bool {
        let row = client::find(db, client_id).await.unwrap();
        row.is_some_and(|row| row.revoked_at.is_none())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dcr_25_what_nobody_uses_is_forgotten_and_what_somebody_granted_never() {
        let places = Places::new();
        for url in places.urls() {
            let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
                .await
                .unwrap();
            add_user(&db, "u_x").await;
            let (soon, past) = (Some(NOW + DAY), Some(NOW));
            add(&db, "c_operator", Origin::Operator, None).await;
            add(&db, "c_unused", Origin::Registration, past).await;
            add(&db, "c_young", Origin::Registration, soon).await;
            add(&db, "c_used", Origin::Registration, past).await;
            add(&db, "c_granted", Origin::Registration, past).await;
            add(&db, "c_was_granted", Origin::Registration, past).await;
            grant(&db, "c_granted", None).await;
            grant(&db, "c_was_granted", Some(NOW)).await;
            assert_eq!(count_unused(&db).await.unwrap(), 5);
            note_use(&db, "c_used", NOW, NOW + DAY).await.unwrap();
            assert_eq!(count_unused(&db).await.unwrap(), 4);

            let now = NOW + Duration::from_secs(1);
            assert_eq!(expire(&db, now, now).await.unwrap(), 2);
            assert_eq!(expire(&db, now, now).await.unwrap(), 0);
            for id in ["c_operator", "c_young", "c_used", "c_granted"] {
                assert!(is_living(&db, id).await, "{id} on {url}");
            }
            assert!(!is_living(&db, "c_unused").await && !is_living(&db, "c_was_granted").await);
            // What has ended takes room until it is forgotten.
            assert_eq!(count_unused(&db).await.unwrap(), 4);
            // Every instance is told.
            let changes = change::since(&db, 0).await.unwrap();
            assert!(
                changes
                    .iter()
                    .filter(|change| change.subject == "c_unused")
                    .count()
                    > 1
            );

            forget(&db, now + DAY).await.unwrap();
            assert!(client::find(&db, "c_unused").await.unwrap().is_none());
            assert!(client::find(&db, "c_was_granted").await.unwrap().is_some());
            assert_eq!(client::list(&db).await.unwrap().len(), 5);
            assert_eq!(count_unused(&db).await.unwrap(), 3);

            // Used a day later, it lives on; a day without use ends it.
            note_use(&db, "c_used", NOW + DAY, now + DAY * 2).await.unwrap();
            assert_eq!(expire(&db, now + DAY, now + DAY).await.unwrap(), 1);
            assert!(is_living(&db, "c_used").await && !is_living(&db, "c_young").await);
            assert_eq!(expire(&db, now + DAY * 3, now + DAY * 3).await.unwrap(), 1);
            assert!(is_living(&db, "c_granted").await && is_living(&db, "c_operator").await);
            let row = client::find(&db, "c_used").await.unwrap().unwrap();
            assert_eq!(row.last_used_at, Some((NOW + DAY).0));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_one_batch_is_forgotten() {
        let places = Places::new();
        for url in places.urls() {
            let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
                .await
                .unwrap();
            for n in 0..BATCH + 5 {
                add(&db, &format!("c_{n}"), Origin::Registration, Some(NOW)).await;
            }
            let now = NOW + Duration::from_secs(1);
            assert_eq!(expire(&db, now, now).await.unwrap(), BATCH + 5);
            forget(&db, now + DAY).await.unwrap();
            assert!(client::list(&db).await.unwrap().is_empty());
        }
    }
}
