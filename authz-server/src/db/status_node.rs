//! The places of nodes' records. A node's place is a block of its client, of one place (docs/decisions/0020): whatever ends
//! the client sets its bit in the same transaction ([`super::status_revoked::client`]).

use shared::clock::UnixSeconds;

use super::status_list::{self, BlockOwner, CLIENT_ENDED, HOLD_CLIENT, Leased, Wanted};
use super::{Db, DbFault, Tx, on};

/// Stands for all nodes among the resources that have lists: no resource has that name.
pub(crate) const NODES: &str = "nodes";
/// Nodes have no end that is known before, so their lists have none: the last second of the year 9999.
pub(crate) const NEVER: UnixSeconds = UnixSeconds(253_402_300_799);

const FIND: &str = "SELECT b.list_id, b.first_index AS next_index FROM status_block b JOIN status_list l ON l.list_id = b.list_id \
     WHERE b.client_id = $1 AND l.resource = $2 ORDER BY b.list_id, b.first_index LIMIT 1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND];

/// The place of the node whose client this is; always the same. `None` when the client has ended. `new_list` is the name of the
/// list, should a new one be needed.
pub(crate) async fn place(
    db: &Db,
    (client_id, new_list): (&str, &str),
    now: UnixSeconds,
) -> Result<Option<Leased>, DbFault> {
    if let Some(place) = find(db, client_id).await? {
        return Ok(Some(place));
    }
    let leased = db.write(async |tx| {
        // Whoever ends the client comes before, and is seen here, or after, and finds the block.
        if status_list::held(tx, (HOLD_CLIENT, CLIENT_ENDED), client_id)
            .await?
            .is_some()
        {
            return Ok(false);
        }
        // Of two instances that do this at once both have leased one: either ends with the client.
        allot(tx, (client_id, new_list), now).await?;
        Ok(true)
    });
    match leased.await? {
        true => find(db, client_id).await,
        false => Ok(None),
    }
}

/// The same as a part of an enrolment, which has just made the client.
pub(crate) async fn allot(
    tx: &mut Tx,
    (client_id, new_list): (&str, &str),
    now: UnixSeconds,
) -> Result<Leased, DbFault> {
    let wanted = Wanted {
        resource: NODES,
        is_built_in: true,
        window_end: NEVER,
        owner: Some(BlockOwner {
            client_id,
            user_id: None,
        }),
        length: 1,
        new_list,
    };
    status_list::lease_in(tx, wanted, now).await
}

async fn find(db: &Db, client_id: &str) -> Result<Option<Leased>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(client_id).bind(NODES).fetch_optional(c))
}
