//! Table `authorization_code`: what a redirect carried back, once, for a minute.

use shared::secret::SecretHash;

use super::{DbFault, Tx, on};

const INSERT: &str = "INSERT INTO authorization_code (code_hash, grant_id, client_id, user_id, redirect_uri, code_challenge, resource, \
     scopes, nonce, session_id, auth_time, methods, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT];

/// One code as it is issued.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CodeRow {
    pub(crate) grant_id: String,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) code_challenge: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) nonce: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) auth_time: i64,
    pub(crate) methods: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

/// Keeps a code that is about to be sent.
pub(crate) async fn insert(tx: &mut Tx, code: &SecretHash, row: &CodeRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(code.as_bytes())
            .bind(&row.grant_id)
            .bind(&row.client_id)
            .bind(&row.user_id)
            .bind(&row.redirect_uri)
            .bind(&row.code_challenge)
            .bind(&row.resource)
            .bind(&row.scopes)
            .bind(&row.nonce)
            .bind(&row.session_id)
            .bind(row.auth_time)
            .bind(&row.methods)
            .bind(row.created_at)
            .bind(row.expires_at);
        insert.execute(c).await.map(|_| ())
    })
}
