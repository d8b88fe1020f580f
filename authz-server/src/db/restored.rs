//! What a database that came of a backup must not do: give back what was taken away since, or give twice what works once
//! (docs/backup.md).

use shared::clock::UnixSeconds;

use super::status_list::CAPACITY;
use super::status_node::NODES;
use super::{DbFault, Tx, on};

/// A server that still runs on what was there before finds a gap, and forgets all that it knows ([`crate::changes`]).
const LEAP: i64 = 1 << 32;
/// Names no revocation of one thing.
const REVOCATION: i64 = 0;

const MOVE_HEAD: &str = "UPDATE change_head SET sequence = sequence + $1 WHERE id = 1";
// Which tokens were taken back since is not known, nor which places were given out: none of them counts any more.
// Refresh tokens go on, so what they came of counts as granted now; but not if it had ended already.
const KEEP_FAMILIES: &str = "UPDATE token_family SET created_at = $1 WHERE revoked_at IS NULL AND created_at < $1 \
     AND EXISTS (SELECT 1 FROM resource r WHERE r.uri = token_family.resource AND r.created_at <= token_family.created_at) \
     AND EXISTS (SELECT 1 FROM client c WHERE c.client_id = token_family.client_id \
     AND c.tokens_not_before <= token_family.created_at)";
const END_TOKENS: &str = "UPDATE client SET tokens_not_before = $1 WHERE tokens_not_before < $1";
const SET_ALL: &str = "INSERT INTO status_revoked (list_id, first_index, length, revocation) \
     SELECT list_id, 0, CAST($1 AS BIGINT), CAST($2 AS BIGINT) FROM status_list WHERE resource <> $3 \
     ON CONFLICT (list_id, first_index, length) DO NOTHING";
// Records of nodes that are known stay; those of nodes that came since are nobody's.
const SET_REST: &str = "INSERT INTO status_revoked (list_id, first_index, length, revocation) \
     SELECT list_id, next_index, CAST($1 AS BIGINT) - next_index, CAST($2 AS BIGINT) FROM status_list \
     WHERE resource = $3 AND next_index < CAST($1 AS BIGINT) ON CONFLICT (list_id, first_index, length) DO NOTHING";
const CLOSE: &str = "UPDATE status_list SET next_index = $1, \
     changed_at = CASE WHEN changed_at > $2 THEN changed_at ELSE $2 END";
const END_CODES: &str =
    "UPDATE authorization_code SET expires_at = $1 WHERE redeemed_at IS NULL AND expires_at > $1";
const END_DEVICES: &str =
    "UPDATE device_authorization SET expires_at = $1 WHERE state <> 'redeemed' AND expires_at > $1";
const END_LINKS: &str = "UPDATE one_time_link SET expires_at = $1 WHERE used_at IS NULL AND expires_at > $1";
const END_INVITES: &str = "UPDATE node_invite SET expires_at = $1 WHERE used_at IS NULL AND expires_at > $1";
const END_PUSHED: &str = "UPDATE pushed_request SET expires_at = $1 WHERE expires_at > $1";
const END_INTERACTIONS: &str =
    "UPDATE interaction SET expires_at = $1 WHERE finished_at IS NULL AND expires_at > $1";
const END_APPROVALS: &str = "UPDATE approval SET expires_at = $1 WHERE used_at IS NULL AND expires_at > $1";
const END_SESSIONS: &str = "UPDATE session SET ended_at = $1 WHERE ended_at IS NULL";
const END_FAMILIES: &str =
    "UPDATE token_family SET revoked_at = $1, revoked_for = 'restored' WHERE revoked_at IS NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    MOVE_HEAD,
    KEEP_FAMILIES,
    END_TOKENS,
    SET_ALL,
    SET_REST,
    CLOSE,
    END_CODES,
    END_DEVICES,
    END_LINKS,
    END_INVITES,
    END_PUSHED,
    END_INTERACTIONS,
    END_APPROVALS,
    END_SESSIONS,
    END_FAMILIES,
];

/// Ends what may have been taken back or used up since the backup. With `sign_out` also every session and refresh token.
/// Tokens end of before `next`, the second after `now`: when they were issued is known by the second.
pub(crate) async fn settle(
    tx: &mut Tx,
    sign_out: bool,
    (now, next): (UnixSeconds, UnixSeconds),
) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(MOVE_HEAD).bind(LEAP).execute(c).await.map(|_| ()) })?;
    for statement in [SET_ALL, SET_REST] {
        on!(tx tx, c => async {
            let set = sqlx::query(statement).bind(CAPACITY).bind(REVOCATION).bind(NODES);
            set.execute(c).await.map(|_| ())
        })?;
    }
    on!(tx tx, c => async { sqlx::query(CLOSE).bind(CAPACITY).bind(now.0).execute(c).await.map(|_| ()) })?;
    let mut ends = vec![
        (KEEP_FAMILIES, next),
        (END_TOKENS, next),
        (END_CODES, now),
        (END_DEVICES, now),
        (END_LINKS, now),
        (END_INVITES, now),
        (END_PUSHED, now),
        (END_INTERACTIONS, now),
        (END_APPROVALS, now),
    ];
    if sign_out {
        ends.extend([(END_SESSIONS, now), (END_FAMILIES, now)]);
    }
    for (statement, at) in ends {
        on!(tx tx, c => async { sqlx::query(statement).bind(at.0).execute(c).await.map(|_| ()) })?;
    }
    Ok(())
}
