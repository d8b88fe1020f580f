//! Table `client`: who may ask for tokens.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, access_grant, client_secret, on, status_revoked};

const FIND: &str = "SELECT client_id, name, client_type, auth_methods, grants, scopes, resources, created_at, \
     tokens_not_before, revoked_at, redirect_uris, approves_as, origin, details, last_used_at, expires_at FROM client WHERE client_id = $1";
#[cfg(test)]
const LIST: &str = "SELECT client_id, name, client_type, auth_methods, grants, scopes, resources, created_at, \
     tokens_not_before, revoked_at, redirect_uris, approves_as, origin, details, last_used_at, expires_at FROM client ORDER BY created_at, client_id";
const APPROVED_ALWAYS: &str = "SELECT client_id FROM client WHERE approves_as IS NOT NULL AND revoked_at IS NULL ORDER BY client_id LIMIT 1";
const INSERT: &str = "INSERT INTO client (client_id, name, client_type, auth_methods, grants, scopes, resources, created_at, \
     redirect_uris, approves_as, origin, details, last_used_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const UPDATE: &str = "UPDATE client SET name = $2, client_type = $3, auth_methods = $4, scopes = $5, resources = $6, redirect_uris = $7, grants = $8, details = $9 \
     WHERE client_id = $1 AND revoked_at IS NULL";
const REVOKE: &str =
    "UPDATE client SET revoked_at = $2, tokens_not_before = $2 WHERE client_id = $1 AND revoked_at IS NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, LIST, APPROVED_ALWAYS, INSERT, UPDATE, REVOKE];

/// One row. `auth_methods`, `grants` and `scopes` are space separated, `resources` and `redirect_uris` are
/// JSON lists.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ClientRow {
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) client_type: String,
    pub(crate) auth_methods: String,
    pub(crate) grants: String,
    pub(crate) scopes: String,
    pub(crate) resources: String,
    pub(crate) created_at: i64,
    pub(crate) tokens_not_before: i64,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) redirect_uris: String,
    pub(crate) approves_as: Option<String>,
    /// See [`crate::client::Origin`].
    pub(crate) origin: String,
    /// See [`crate::client::Details`].
    pub(crate) details: String,
    /// The day, for those who look for dead clients.
    pub(crate) last_used_at: Option<i64>,
    /// When a client that registered itself is forgotten, unless somebody grants it something.
    pub(crate) expires_at: Option<i64>,
}

pub(crate) async fn find(db: &Db, client_id: &str) -> Result<Option<ClientRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}

/// Every client, oldest first, revoked ones too.
#[cfg(test)]
pub(crate) async fn list(db: &Db) -> Result<Vec<ClientRow>, DbFault> {
    on!(db, c => sqlx::query_as(LIST).fetch_all(c))
}

/// A living client whose requests the testing door approves, if there is one.
pub(crate) async fn approved_always(db: &Db) -> Result<Option<String>, DbFault> {
    on!(db, c => sqlx::query_scalar(APPROVED_ALWAYS).fetch_optional(c))
}

/// Creates a client, with its first secret unless it is public.
#[cfg(test)]
pub(crate) async fn insert(
    db: &Db,
    client: &ClientRow,
    secret_hash: Option<&shared::secret::SecretHash>,
) -> Result<(), DbFault> {
    db.write(async |tx| insert_in(tx, client, secret_hash).await)
        .await
}

/// Creates a client, with its first secret unless it is public, as a part of something larger.
pub(crate) async fn insert_in(
    tx: &mut Tx,
    client: &ClientRow,
    secret_hash: Option<&shared::secret::SecretHash>,
) -> Result<(), DbFault> {
    let now = UnixSeconds(client.created_at);
    insert_row(tx, client).await?;
    if let Some(hash) = secret_hash {
        client_secret::insert(tx, &client.client_id, hash, now).await?;
    }
    change::record(tx, Noun::Client, &client.client_id, now);
    Ok(())
}

pub(super) async fn insert_row(tx: &mut Tx, client: &ClientRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&client.client_id)
            .bind(&client.name)
            .bind(&client.client_type)
            .bind(&client.auth_methods)
            .bind(&client.grants)
            .bind(&client.scopes)
            .bind(&client.resources)
            .bind(client.created_at)
            .bind(&client.redirect_uris)
            .bind(&client.approves_as)
            .bind(&client.origin)
            .bind(&client.details)
            .bind(client.last_used_at)
            .bind(client.expires_at);
        insert.execute(c).await.map(|_| ())
    })
}

/// What became of a change ([`update_in`]).
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Update<E> {
    Done,
    /// There is no such living client.
    Gone,
    /// The edit would not do; nothing was written.
    Refused(E),
}

impl<E> Update<E> {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// Whether what people let us remember about a client outlives a change of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Consent {
    Stays,
    /// They are asked again.
    IsVoid,
}

/// As [`update_in`], by itself.
#[cfg(test)]
pub(crate) async fn update<E>(
    db: &Db,
    client_id: &str,
    now: UnixSeconds,
    edit: impl Fn(&mut ClientRow) -> Result<Consent, E>,
) -> Result<Update<E>, DbFault> {
    db.write(async |tx| update_in(tx, client_id, now, &edit).await)
        .await
}

/// Lets `edit` change the changeable columns. Read and written in one turn: of two who change different columns at
/// once, neither undoes what the other did.
pub(crate) async fn update_in<E>(
    tx: &mut Tx,
    client_id: &str,
    now: UnixSeconds,
    edit: impl Fn(&mut ClientRow) -> Result<Consent, E>,
) -> Result<Update<E>, DbFault> {
    let Some((turn, mut client)) = hold(tx, client_id).await? else {
        return Ok(Update::Gone);
    };
    match edit(&mut client) {
        Ok(consent) => amend(tx, (turn, &client), consent, now).await?,
        Err(fault) => return Ok(Update::Refused(fault)),
    }
    Ok(Update::Done)
}

/// A living client, which nobody else changes until the transaction ends, and the turn to write it with [`amend`].
pub(crate) async fn hold(tx: &mut Tx, client_id: &str) -> Result<Option<(i64, ClientRow)>, DbFault> {
    let turn = change::take_turn(tx).await?;
    let client = find_in(tx, client_id).await?;
    let client = client.filter(|client| client.revoked_at.is_none());
    Ok(client.map(|client| (turn, client)))
}

/// Writes the changeable columns of a client that the transaction holds.
pub(crate) async fn amend(
    tx: &mut Tx,
    (turn, client): (i64, &ClientRow),
    consent: Consent,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    if consent == Consent::IsVoid {
        access_grant::forget_remembered(tx, &client.client_id).await?;
    }
    write_row(tx, client).await?;
    change::record_at(tx, turn, (Noun::Client, &client.client_id), now).await
}

pub(super) async fn write_row(tx: &mut Tx, client: &ClientRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(UPDATE)
            .bind(&client.client_id)
            .bind(&client.name)
            .bind(&client.client_type)
            .bind(&client.auth_methods)
            .bind(&client.scopes)
            .bind(&client.resources)
            .bind(&client.redirect_uris)
            .bind(&client.grants)
            .bind(&client.details);
        update.execute(c).await.map(|_| ())
    })
}

/// A client, revoked or not, as the transaction sees it.
pub(crate) async fn find_in(tx: &mut Tx, client_id: &str) -> Result<Option<ClientRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}

/// Ends a client, every token it has and everything it was granted; `false` when there is no such living client.
pub(crate) async fn revoke(db: &Db, client_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    db.write(async |tx| revoke_in(tx, client_id, now).await).await
}

/// Ends a client that the transaction holds.
pub(crate) async fn revoke_held(
    tx: &mut Tx,
    (turn, client_id): (i64, &str),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    change::record_at(tx, turn, (Noun::Client, client_id), now).await?;
    revoke_in(tx, client_id, now).await.map(|_| ())
}

/// As [`revoke`], as a part of something larger.
pub(crate) async fn revoke_in(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    let rows = on!(tx tx, c => async {
        sqlx::query(REVOKE).bind(client_id).bind(now.0).execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows > 0 {
        access_grant::revoke_all_of_client(tx, client_id, now).await?;
        status_revoked::client(tx, client_id, now).await?;
    }
    Ok(noted(tx, rows, client_id, now))
}

/// Replaces the secrets of a client that the transaction holds: the old ones end at `old_until`.
pub(crate) async fn replace_secret(
    tx: &mut Tx,
    (turn, client_id): (i64, &str),
    hash: &shared::secret::SecretHash,
    (now, old_until): (UnixSeconds, UnixSeconds),
) -> Result<(), DbFault> {
    client_secret::end_at(tx, client_id, old_until).await?;
    client_secret::insert(tx, client_id, hash, now).await?;
    change::record_at(tx, turn, (Noun::Client, client_id), now).await
}

fn noted(tx: &mut Tx, rows: u64, client_id: &str, now: UnixSeconds) -> bool {
    if rows > 0 {
        change::record(tx, Noun::Client, client_id, now);
    }
    rows > 0
}
