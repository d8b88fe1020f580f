//! Table `status_revoked`: the places of status lists whose bit is set (docs/decisions/0013). Every function here is a
//! part of the transaction that ends whatever the tokens rest on.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::token_family::Of;
use super::{Db, DbFault, Tx, on};

/// Tokens are taken so long after their end, because clocks differ; until then their bits matter.
pub(crate) const GRACE: std::time::Duration = std::time::Duration::from_secs(120);
/// How many exchanges lie behind a token at most ([`crate::policy::exchange::MAX_DEPTH`]), and one.
const GENERATIONS: usize = 6;
/// A revocation that touches more lists is one change that speaks of all.
const NAMED_CHANGES: usize = 64;

macro_rules! places_of_families {
    ($condition:literal) => {
        concat!(
            "INSERT INTO status_revoked (list_id, first_index, length, revocation) \
             SELECT p.status_list, p.status_index, 1, $4 FROM \
             (SELECT f.status_list, f.status_index FROM token_family f WHERE f.revoked_at = $2 AND ",
            $condition,
            " UNION ALL SELECT r.status_list, r.status_index FROM token_family f \
             JOIN refresh_token r ON r.family_id = f.family_id WHERE f.revoked_at = $2 AND ",
            $condition,
            ") p JOIN status_list l ON l.list_id = p.status_list WHERE l.window_end > $3 \
             ON CONFLICT (list_id, first_index, length) DO NOTHING"
        )
    };
}

macro_rules! ranges {
    ($from:literal) => {
        concat!(
            "INSERT INTO status_revoked (list_id, first_index, length, revocation) ",
            $from,
            " AND l.window_end > $2 ON CONFLICT (list_id, first_index, length) DO NOTHING"
        )
    };
}

const PLACE: &str = ranges!("SELECT l.list_id, $4, 1, $3 FROM status_list l WHERE l.list_id = $1");
const OF_FAMILY: &str = places_of_families!("f.family_id = $1");
const OF_GRANT: &str = places_of_families!("f.grant_id = $1");
const OF_USER: &str =
    places_of_families!("f.grant_id IN (SELECT grant_id FROM access_grant WHERE user_id = $1)");
const OF_CLIENT: &str =
    places_of_families!("f.grant_id IN (SELECT grant_id FROM access_grant WHERE client_id = $1)");
const OF_RESOURCE: &str = places_of_families!("f.resource = $1");
const BLOCKS_OF_CLIENT: &str = ranges!(
    "SELECT b.list_id, b.first_index, b.length, $3 FROM status_block b JOIN status_list l ON l.list_id = b.list_id \
     WHERE b.client_id = $1"
);
const BLOCKS_OF_USER: &str = ranges!(
    "SELECT b.list_id, b.first_index, b.length, $3 FROM status_block b JOIN status_list l ON l.list_id = b.list_id \
     WHERE b.user_id = $1"
);
const LISTS_OF_RESOURCE: &str =
    ranges!("SELECT l.list_id, 0, $4, $3 FROM status_list l WHERE l.resource = $1");
const HEIRS_OF_GRANT: &str = ranges!(
    "SELECT h.list_id, h.status_index, 1, $3 FROM status_heir h JOIN status_list l ON l.list_id = h.list_id \
     WHERE h.grant_id = $1"
);
const HEIRS_OF_USER: &str = ranges!(
    "SELECT h.list_id, h.status_index, 1, $3 FROM status_heir h JOIN status_list l ON l.list_id = h.list_id \
     WHERE h.grant_id IN (SELECT grant_id FROM access_grant WHERE user_id = $1)"
);
const HEIRS_OF_CLIENT: &str = ranges!(
    "SELECT h.list_id, h.status_index, 1, $3 FROM status_heir h JOIN status_list l ON l.list_id = h.list_id \
     WHERE h.grant_id IN (SELECT grant_id FROM access_grant WHERE client_id = $1)"
);
const HEIRS_OF_RESOURCE: &str = ranges!(
    "SELECT h.list_id, h.status_index, 1, $3 FROM status_heir h JOIN status_list l ON l.list_id = h.list_id \
     WHERE h.grant_id IN (SELECT grant_id FROM access_grant WHERE resource = $1)"
);
/// No more places of a resource that is gone: should another be registered by its name, that one has lists of its own.
const CLOSE: &str = "UPDATE status_list SET next_index = $3 WHERE resource = $1 AND window_end > $2";
const INHERIT: &str = "INSERT INTO status_revoked (list_id, first_index, length, revocation) \
     SELECT h.list_id, h.status_index, 1, $1 FROM status_revoked r JOIN status_heir h ON h.parent_list = r.list_id \
     AND h.parent_index >= r.first_index AND h.parent_index < r.first_index + r.length \
     WHERE r.revocation = $1 ON CONFLICT (list_id, first_index, length) DO NOTHING";
const TOUCHED: &str = "SELECT DISTINCT list_id FROM status_revoked WHERE revocation = $1 ORDER BY list_id";
// In one order for all: of two that hold lists neither waits for the other.
const HOLD: &str = "SELECT list_id FROM status_list WHERE list_id IN (SELECT list_id FROM status_revoked WHERE revocation = $1) \
     ORDER BY list_id FOR UPDATE";
const TOUCH: &str = "UPDATE status_list SET changed_at = CASE WHEN changed_at > $2 THEN changed_at ELSE $2 END \
     WHERE list_id IN (SELECT list_id FROM status_revoked WHERE revocation = $1)";
const OF_LIST: &str = "SELECT first_index, length FROM status_revoked WHERE list_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    PLACE,
    OF_FAMILY,
    OF_GRANT,
    OF_USER,
    OF_CLIENT,
    OF_RESOURCE,
    BLOCKS_OF_CLIENT,
    BLOCKS_OF_USER,
    LISTS_OF_RESOURCE,
    HEIRS_OF_GRANT,
    HEIRS_OF_USER,
    HEIRS_OF_CLIENT,
    HEIRS_OF_RESOURCE,
    CLOSE,
    INHERIT,
    TOUCHED,
    TOUCH,
    OF_LIST,
];
#[cfg(test)]
pub(super) const POSTGRES_STATEMENTS: &[&str] = &[HOLD];

/// A number for one revocation. Made before the transaction, which may run several times.
pub(super) fn new_number() -> Result<i64, DbFault> {
    let bytes = shared::secret::random_bytes::<8>().map_err(|e| DbFault::Unexpected(e.to_string()))?;
    Ok(i64::from_be_bytes(bytes))
}

/// Sets the bit of one token.
pub(super) async fn place(
    tx: &mut Tx,
    (list_id, index): (&str, i64),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    let number = new_number()?;
    on!(tx tx, c => async {
        let insert = sqlx::query(PLACE).bind(list_id).bind((now - GRACE).0).bind(number).bind(index);
        insert.execute(c).await.map(|_| ())
    })?;
    spread(tx, number, now).await
}

/// Sets the bits of families that were ended just now, at `now`, and of what was exchanged with the grants behind them.
pub(super) async fn families(tx: &mut Tx, of: Of<'_>, now: UnixSeconds) -> Result<(), DbFault> {
    let number = new_number()?;
    let (places, heirs) = match of {
        Of::Family(_) => (OF_FAMILY, None),
        Of::Grant(_) => (OF_GRANT, Some(HEIRS_OF_GRANT)),
        Of::User(_) => (OF_USER, Some(HEIRS_OF_USER)),
        Of::Client(_) => (OF_CLIENT, Some(HEIRS_OF_CLIENT)),
        Of::Resource(_) => (OF_RESOURCE, Some(HEIRS_OF_RESOURCE)),
    };
    on!(tx tx, c => async {
        let insert = sqlx::query(places).bind(of.id()).bind(now.0).bind((now - GRACE).0).bind(number);
        insert.execute(c).await.map(|_| ())
    })?;
    if let Some(heirs) = heirs {
        ranges(tx, heirs, of.id(), (number, now)).await?;
    }
    spread(tx, number, now).await
}

/// Sets the bits of every token that a client asked for in its own name.
pub(crate) async fn client(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    let number = new_number()?;
    ranges(tx, BLOCKS_OF_CLIENT, client_id, (number, now)).await?;
    spread(tx, number, now).await
}

/// Sets the bits of every token without family that names a person.
pub(crate) async fn user(tx: &mut Tx, user_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    let number = new_number()?;
    ranges(tx, BLOCKS_OF_USER, user_id, (number, now)).await?;
    spread(tx, number, now).await
}

/// Sets the bits of every token for a resource.
pub(crate) async fn resource(tx: &mut Tx, uri: &str, now: UnixSeconds) -> Result<(), DbFault> {
    let number = new_number()?;
    on!(tx tx, c => async {
        let insert = sqlx::query(LISTS_OF_RESOURCE)
            .bind(uri)
            .bind((now - GRACE).0)
            .bind(number)
            .bind(super::status_list::CAPACITY);
        insert.execute(c).await.map(|_| ())
    })?;
    spread(tx, number, now).await?;
    // They are held by now, in their order.
    on!(tx tx, c => async {
        let close = sqlx::query(CLOSE).bind(uri).bind((now - GRACE).0).bind(super::status_list::CAPACITY);
        close.execute(c).await.map(|_| ())
    })
}

async fn ranges(
    tx: &mut Tx,
    statement: &'static str,
    id: &str,
    (number, now): (i64, UnixSeconds),
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(statement).bind(id).bind((now - GRACE).0).bind(number);
        insert.execute(c).await.map(|_| ())
    })
}

/// Goes on from the places of one revocation to the tokens that were exchanged for theirs, and tells every instance
/// which lists it must make anew.
async fn spread(tx: &mut Tx, number: i64, now: UnixSeconds) -> Result<(), DbFault> {
    for _ in 0..GENERATIONS {
        // First the lists are held: an exchange that is under way has written its heir by then, or will find the
        // bit set ([`super::status_list::add_heir`]).
        if let Tx::Pg(..) = tx {
            on!(tx tx, c => async { sqlx::query(HOLD).bind(number).execute(c).await.map(|_| ()) })?;
        }
        on!(tx tx, c => async { sqlx::query(TOUCH).bind(number).bind(now.0).execute(c).await.map(|_| ()) })?;
        let inherited = on!(tx tx, c => async {
            sqlx::query(INHERIT).bind(number).execute(c).await.map(|done| done.rows_affected())
        })?;
        if inherited == 0 {
            break;
        }
    }
    let touched: Vec<String> = on!(tx tx, c => sqlx::query_scalar(TOUCHED).bind(number).fetch_all(c))?;
    if touched.len() > NAMED_CHANGES {
        change::record(tx, Noun::Token, change::MANY, now);
        return Ok(());
    }
    for list_id in touched {
        change::record(tx, Noun::Token, &list_id, now);
    }
    Ok(())
}

/// The ranges of a list whose bits are set: first place and length.
pub(crate) async fn of_list(db: &Db, list_id: &str) -> Result<Vec<(i64, i64)>, DbFault> {
    on!(db, c => sqlx::query_as(OF_LIST).bind(list_id).fetch_all(c))
}
