//! Table `node_contact`: what each node told of itself last. Only of nodes that live is anything written.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, delete_in_batches, on};

// What was written while a clock was ahead must not stand until then.
const WRITE: &str = "INSERT INTO node_contact (client_id, heard_at, source, report) \
     SELECT n.client_id, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT) \
     FROM node n JOIN client c ON c.client_id = n.client_id \
     WHERE n.client_id = $1 AND n.ended_at IS NULL AND c.revoked_at IS NULL \
     ON CONFLICT (client_id) DO UPDATE SET heard_at = EXCLUDED.heard_at, source = EXCLUDED.source, \
     report = EXCLUDED.report, told_at = NULL \
     WHERE node_contact.heard_at <= $5 OR node_contact.heard_at > EXCLUDED.heard_at";
const SILENT: &str = "SELECT k.client_id, n.node_id, k.heard_at FROM node_contact k \
     JOIN node n ON n.client_id = k.client_id JOIN client c ON c.client_id = k.client_id \
     WHERE k.heard_at < $1 AND k.told_at IS NULL AND n.ended_at IS NULL AND c.revoked_at IS NULL \
     ORDER BY k.heard_at, k.client_id LIMIT $2";
const TELL: &str =
    "UPDATE node_contact SET told_at = $3 WHERE client_id = $1 AND heard_at = $2 AND told_at IS NULL";
const FORGET: &str = "DELETE FROM node_contact WHERE client_id IN \
     (SELECT k.client_id FROM node_contact k JOIN node n ON n.client_id = k.client_id JOIN client c ON c.client_id = k.client_id \
     WHERE n.ended_at <= $1 OR c.revoked_at <= $1 ORDER BY k.client_id LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[WRITE, SILENT, TELL, FORGET];

/// One row, as it is written.
#[derive(Clone, Debug)]
pub(crate) struct ContactRow {
    pub(crate) client_id: String,
    pub(crate) heard_at: i64,
    /// An IP address.
    pub(crate) source: String,
    /// JSON.
    pub(crate) report: String,
}

/// A node that has not been heard of for a while.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SilentRow {
    pub(crate) client_id: String,
    pub(crate) node_id: String,
    pub(crate) heard_at: i64,
}

/// Keeps what a living node says, unless it was heard of after `not_after`. Whether it was kept.
pub(crate) async fn write(db: &Db, row: &ContactRow, not_after: UnixSeconds) -> Result<bool, DbFault> {
    on!(write db, c => async {
        let write = sqlx::query(WRITE)
            .bind(&row.client_id)
            .bind(row.heard_at)
            .bind(&row.source)
            .bind(&row.report)
            .bind(not_after.0);
        write.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// At most `limit` living nodes that were heard of last before `before`, and of whose silence nobody was told.
pub(crate) async fn silent(db: &Db, before: UnixSeconds, limit: u32) -> Result<Vec<SilentRow>, DbFault> {
    on!(db, c => sqlx::query_as(SILENT).bind(before.0).bind(i64::from(limit)).fetch_all(c))
}

/// Notes that somebody is told of a node's silence; `false` when somebody is already, or it was heard of meanwhile.
pub(crate) async fn tell(tx: &mut Tx, silent: &SilentRow, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(TELL).bind(&silent.client_id).bind(silent.heard_at).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Drops what was said by nodes that had ended by `now`.
pub(crate) async fn forget(db: &Db, now: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, now).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::db::node::{self, Which};
    use crate::db::tests::{NOW, Places, run};

    const MINUTE: Duration = Duration::from_secs(60);

    async fn with_nodes(url: &str, ids: &[&str]) -> Db {
        let db = Db::open(url, &"https://as.example".parse().unwrap(), NOW)
            .await
            .unwrap();
        for id in ids {
            run(
                &db,
                &format!(
                    "INSERT INTO client (client_id, name, client_type, auth_methods, grants, scopes, resources, created_at) \
                     VALUES ('{id}', 'n', 'service', 'private_key_jwt', 'client_credentials', '', '[]', 0); \
                     INSERT INTO node (client_id, node_id, thumbprint, jwk, name, resource, capabilities, enrolled_at) \
                     VALUES ('{id}', 'node-{id}', '{id}', '{{}}', 'n', 'https://{id}.example', '', 0)"
                ),
            )
            .await;
        }
        db
    }

    fn said(id: &str, at: UnixSeconds) -> ContactRow {
        ContactRow {
            client_id: id.to_owned(),
            heard_at: at.0,
            source: "192.0.2.1".to_owned(),
            report: "{}".to_owned(),
        }
    }

    async fn tell(db: &Db, row: &SilentRow) -> bool {
        db.write(async |tx| super::tell(tx, row, NOW).await)
            .await
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_living_nodes_say_is_kept_and_goes_with_them() {
        let places = Places::new();
        for url in places.urls() {
            let db = with_nodes(&url, &["a", "b", "c"]).await;
            for id in ["a", "b", "c"] {
                assert!(write(&db, &said(id, NOW), NOW).await.unwrap());
            }
            assert!(!write(&db, &said("nobody", NOW), NOW).await.unwrap());
            // Much too soon; and then not.
            assert!(!write(&db, &said("a", NOW + MINUTE), NOW - MINUTE).await.unwrap());
            assert!(write(&db, &said("a", NOW + MINUTE), NOW).await.unwrap());
            // A clock that was ahead.
            assert!(
                write(&db, &said("a", NOW + MINUTE * 60), NOW + MINUTE * 59)
                    .await
                    .unwrap()
            );
            assert!(write(&db, &said("a", NOW + MINUTE), NOW).await.unwrap());
            let heard = async |which| {
                let rows = node::page(&db, which, (0, ""), 10).await.unwrap();
                rows.into_iter()
                    .map(|row| (row.node.client_id, row.heard_at))
                    .collect::<Vec<_>>()
            };
            let (a, b, c) = (
                ("a".to_owned(), Some((NOW + MINUTE).0)),
                ("b".to_owned(), Some(NOW.0)),
                ("c".to_owned(), Some(NOW.0)),
            );
            assert_eq!(
                heard(Which::HeardSince(NOW + MINUTE)).await,
                std::slice::from_ref(&a),
                "{url}"
            );
            assert_eq!(heard(Which::NotHeardSince(NOW + MINUTE)).await, [b.clone(), c]);
            // One whose client ends, and one that is revoked, say nothing more.
            run(&db, "UPDATE client SET revoked_at = 5 WHERE client_id = 'c'").await;
            run(
                &db,
                "UPDATE node SET ended_at = 5, ended_by = 'revoked' WHERE client_id = 'b'",
            )
            .await;
            for id in ["b", "c"] {
                assert!(
                    !write(&db, &said(id, NOW + MINUTE * 9), NOW + MINUTE * 8)
                        .await
                        .unwrap()
                );
            }
            assert!(silent(&db, NOW + MINUTE, 10).await.unwrap().is_empty());
            forget(&db, NOW).await.unwrap();
            let left = heard(Which::All).await;
            assert_eq!(left.iter().filter(|(_, at)| at.is_some()).count(), 1, "{left:?}");
            assert_eq!(left[0], a);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silence_is_told_by_one_and_the_next_report_ends_it() {
        let places = Places::new();
        for url in places.urls() {
            let db = with_nodes(&url, &["a", "b"]).await;
            for id in ["a", "b"] {
                write(&db, &said(id, NOW), NOW).await.unwrap();
            }
            assert!(silent(&db, NOW, 10).await.unwrap().is_empty(), "{url}");
            let rows = silent(&db, NOW + MINUTE, 10).await.unwrap();
            assert_eq!(rows.len(), 2);
            assert!(tell(&db, &rows[0]).await);
            assert!(!tell(&db, &rows[0]).await, "another instance was first");
            // It was heard of between the look and the note.
            write(&db, &said(&rows[1].client_id, NOW + MINUTE), NOW)
                .await
                .unwrap();
            assert!(!tell(&db, &rows[1]).await);
            assert!(silent(&db, NOW + MINUTE, 10).await.unwrap().is_empty());
            write(&db, &said(&rows[0].client_id, NOW + MINUTE), NOW)
                .await
                .unwrap();
            assert_eq!(silent(&db, NOW + MINUTE * 2, 10).await.unwrap().len(), 2);
        }
    }
}
