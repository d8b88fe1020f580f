//! Registering protected resources: what tokens can be for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use shared::scope::Scope;
use shared::uri::ResourceUri;
use utoipa::ToSchema;

use crate::authorization_details::is_type_name;
use crate::db::resource::ResourceRow;
use crate::db::{self, Db, DbFault};
use crate::keys::ALGORITHMS;

/// The scopes of a node's default configuration.
pub(crate) const DEFAULT_SCOPES: [&str; 7] = [
    "fleet:announce",
    "fleet:connect",
    "fleet:read",
    "mcp:call",
    "mcp:read",
    "mcp:resources",
    "mcp:subscribe",
];

/// A resource could not be created or changed. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResourceFault {
    /// The values contradict themselves or ask for what is not there.
    #[error("{0}")]
    Metadata(String),
    /// The resource, or another spelling of it, is there already.
    #[error("the resource {0} is registered already; see: authz-server resource show")]
    Exists(String),
    /// There is no such resource.
    #[error("there is no resource {0}; see: authz-server resource list")]
    NoSuchResource(String),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

/// What an operator says of a resource. `None` leaves a value as it is, or at its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceMetadata {
    /// What people see.
    pub(crate) name: Option<String>,
    /// The scopes it knows.
    pub(crate) scopes: Option<Scope>,
    /// What its tokens are signed with.
    pub(crate) algorithm: Option<Algorithm>,
    /// How long its tokens live.
    pub(crate) access_ttl: Option<Duration>,
    /// The client as which it introspects; `Some(None)` takes it away.
    pub(crate) client_id: Option<Option<String>>,
    /// The types of authorization details that it understands.
    pub(crate) authorization_details_types: Option<Vec<String>>,
}

/// What is shown of a resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Resource)]
pub(crate) struct ResourceView {
    pub(crate) uri: String,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) alg: String,
    pub(crate) access_ttl: i64,
    pub(crate) client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) authorization_details_types: Vec<String>,
    pub(crate) created_at: i64,
}

/// A resource that is not in the database yet; the string is kept exactly as given, and is what stands in `aud`.
pub(crate) async fn draft(
    db: &Db,
    uri: &ResourceUri,
    metadata: &ResourceMetadata,
    now: UnixSeconds,
) -> Result<ResourceRow, ResourceFault> {
    check(db, metadata).await?;
    let mut row = ResourceRow {
        uri: uri.as_str().to_owned(),
        lookup_key: uri.lookup_key(),
        name: uri.as_str().to_owned(),
        scopes: String::new(),
        alg: String::new(),
        access_ttl: 0,
        client_id: None,
        created_at: now.0,
        authorization_details_types: String::new(),
    };
    apply(&mut row, metadata);
    Ok(row)
}

/// Whether what is said of a resource will do.
pub(crate) async fn check(db: &Db, metadata: &ResourceMetadata) -> Result<(), ResourceFault> {
    let fault = |text: String| Err(ResourceFault::Metadata(text));
    let is_name =
        |name: &String| !name.is_empty() && name.len() <= 200 && !name.chars().any(char::is_control);
    if !metadata.name.as_ref().is_none_or(is_name) {
        return fault("the name must have 1 to 200 bytes without control characters".to_owned());
    }
    if metadata.scopes.as_ref().is_some_and(Scope::is_empty) {
        return fault("a resource needs at least one scope".to_owned());
    }
    if !metadata
        .algorithm
        .as_ref()
        .is_none_or(|algorithm| ALGORITHMS.contains(algorithm))
    {
        return fault("the algorithm must be EdDSA, RS256 or ES256".to_owned());
    }
    if metadata.access_ttl.is_some_and(|ttl| ttl.as_secs() == 0) {
        return fault("tokens must live for at least a second".to_owned());
    }
    let mut types = metadata.authorization_details_types.iter().flatten();
    if !types.all(|name| is_type_name(name)) {
        return fault("a type of authorization details has 1 to 128 visible ASCII characters".to_owned());
    }
    if let Some(Some(id)) = &metadata.client_id {
        let client = db::client::find(db, id).await?;
        if client.is_none_or(|client| client.revoked_at.is_some()) {
            return fault(format!(
                "there is no client {id}, or it is revoked; see: authz-server client list"
            ));
        }
    }
    Ok(())
}

/// Sets what `metadata` names; it has passed [`check`].
pub(crate) fn apply(row: &mut ResourceRow, metadata: &ResourceMetadata) {
    if let Some(name) = &metadata.name {
        row.name.clone_from(name);
    }
    if let Some(scopes) = &metadata.scopes {
        row.scopes = scopes.to_string();
    }
    if let Some(algorithm) = metadata.algorithm {
        algorithm.as_str().clone_into(&mut row.alg);
    }
    if let Some(ttl) = metadata.access_ttl {
        row.access_ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    }
    if let Some(client_id) = &metadata.client_id {
        row.client_id.clone_from(client_id);
    }
    if let Some(types) = &metadata.authorization_details_types {
        row.authorization_details_types = types.join(" ");
    }
}

impl From<ResourceRow> for ResourceView {
    fn from(row: ResourceRow) -> Self {
        Self {
            uri: row.uri,
            name: row.name,
            scope: row.scopes,
            alg: row.alg,
            access_ttl: row.access_ttl,
            client_id: row.client_id,
            authorization_details_types: row
                .authorization_details_types
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            created_at: row.created_at,
        }
    }
}
