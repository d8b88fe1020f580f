//! What is shown of a client.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Details;
use super::register::RegisterFault;
use crate::db::client::ClientRow;
use crate::db::client_secret::ClientSecretRow;
use crate::db::{self, Db};

/// What is shown of a client (names of RFC 7591 §2 where it has them).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Client)]
pub(crate) struct ClientView {
    pub(crate) client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<String>,
    pub(crate) client_name: String,
    pub(crate) client_type: String,
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) scope: String,
    pub(crate) resources: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) redirect_uris: Vec<String>,
    /// The user as whom the testing door approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approves_as: Option<String>,
    /// Who vouches for it: `operator`, `registration` (nobody) or `document` (the owner of its address).
    pub(crate) origin: String,
    #[serde(flatten)]
    pub(crate) details: Details,
    pub(crate) client_id_issued_at: i64,
    /// To the day; of clients that ever asked for a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<i64>,
    /// When a registration is forgotten that nobody uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<i64>,
    /// When each secret ends; `null` for one that does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) client_secrets_expire_at: Vec<Option<i64>>,
}

impl ClientView {
    /// A client with its secrets, of which only the ends are known.
    pub(crate) fn of(row: ClientRow, secrets: &[ClientSecretRow]) -> Self {
        Self {
            client_secrets_expire_at: secrets.iter().map(|secret| secret.expires_at).collect(),
            ..row.into()
        }
    }
}

/// One client, revoked or not.
pub(crate) async fn show(db: &Db, client_id: &str) -> Result<ClientView, RegisterFault> {
    let row = db::client::find(db, client_id).await?;
    let row = row.ok_or_else(|| RegisterFault::NoSuchClient(client_id.to_owned()))?;
    let secrets = db::client_secret::of_client(db, client_id).await?;
    Ok(ClientView::of(row, &secrets))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Without its secrets.
impl From<ClientRow> for ClientView {
    fn from(row: ClientRow) -> Self {
        Self {
            client_secret: None,
            token_endpoint_auth_methods_supported: words(&row.auth_methods),
            grant_types: words(&row.grants),
            resources: serde_json::from_str(&row.resources).unwrap_or_default(),
            redirect_uris: serde_json::from_str(&row.redirect_uris).unwrap_or_default(),
            approves_as: row.approves_as,
            client_id: row.client_id,
            client_name: row.name,
            client_type: row.client_type,
            scope: row.scopes,
            details: serde_json::from_str(&row.details).unwrap_or_default(),
            origin: row.origin,
            client_id_issued_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            client_secrets_expire_at: Vec::new(),
        }
    }
}
