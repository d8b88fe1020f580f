//! Table `used_proof`: what may be shown once, and was. Assertions (RFC 7523 §3, rule 7), DPoP proofs (RFC 9449 §11.1).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, delete_in_batches, on};

const INSERT: &str =
    "INSERT INTO used_proof (proof_hash, expires_at) VALUES ($1, $2) ON CONFLICT (proof_hash) DO NOTHING";
const FORGET: &str = "DELETE FROM used_proof WHERE proof_hash IN \
     (SELECT proof_hash FROM used_proof WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, FORGET];

/// What a proof is known by: its kind, who made it, and its `jti`. Two senders may choose the same `jti`.
pub(crate) fn key(kind: &str, sender: &str, jti: &str) -> SecretHash {
    let mut text = Vec::with_capacity(kind.len() + sender.len() + jti.len() + 16);
    for part in [kind, sender] {
        // With its length before it, no part can be taken for two.
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(jti.as_bytes());
    SecretHash::of(&text)
}

/// Uses a proof up: `true` for exactly one caller, on whatever instance. Call it when everything else about the proof
/// was checked, its signature above all, so that a stranger can neither fill the table nor use up another's `jti`.
pub(crate) async fn consume(db: &Db, key: &SecretHash, expires_at: UnixSeconds) -> Result<bool, DbFault> {
    db.write(async |tx| {
        on!(tx tx, c => async {
            let insert = sqlx::query(INSERT).bind(key.as_bytes()).bind(expires_at.0);
            insert.execute(c).await.map(|done| done.rows_affected() > 0)
        })
    })
    .await
}

/// Drops proofs that expired before `before`: an expired one is refused without this table.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::{NOW, Places};
    use crate::token::testing::all;

    #[test]
    fn parts_do_not_run_into_one_another() {
        let hash = |kind, sender, jti| key(kind, sender, jti).as_bytes().to_vec();
        assert_eq!(hash("a", "b", "c"), hash("a", "b", "c"));
        assert_ne!(hash("a", "bc", "d"), hash("a", "b", "cd"));
        assert_ne!(hash("ab", "c", "d"), hash("a", "bc", "d"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_who_show_one_proof_one_wins() {
        let places = Places::new();
        for url in places.urls() {
            let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
                .await
                .unwrap();
            let proof = key("assertion", "c", "j");
            let racing = (0..16).map(|_| consume(&db, &proof, NOW));
            let ends = all(racing).await;
            let winners = ends.into_iter().filter(|end| matches!(end, Ok(true))).count();
            assert_eq!(winners, 1, "{url}");
            assert!(consume(&db, &key("assertion", "d", "j"), NOW).await.unwrap());
            forget(&db, NOW).await.unwrap();
            assert!(!consume(&db, &proof, NOW).await.unwrap());
            forget(&db, UnixSeconds(NOW.0 + 1)).await.unwrap();
            assert!(consume(&db, &proof, NOW).await.unwrap());
        }
    }
}
