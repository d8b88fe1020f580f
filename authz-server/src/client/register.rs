//! Creating and changing clients. Whoever does it, the command line or later the API, passes here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::scope::Scope;
use shared::secret::{NoRandomness, Secret, SecretKind, random_bytes};

use super::{AuthMethod, ClientType, Details, Origin, redirects};
use crate::db::client::ClientRow;
use crate::db::{self, Db, DbFault};

/// Longest name of a client.
const MAX_NAME: usize = 200;

/// A client could not be created or changed. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterFault {
    /// The metadata contradict themselves or ask for what is not there.
    #[error("{0}")]
    Metadata(String),
    /// There is no living client of that id.
    #[error("there is no client {0}, or it is revoked; see: authz-server client list")]
    NoSuchClient(String),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// What an operator says of a client. `None` leaves a value as it is, or at its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientMetadata {
    /// What people see.
    pub(crate) name: Option<String>,
    /// `ai-agent`, `service`, `native` or `web`.
    pub(crate) client_type: Option<ClientType>,
    /// What it may ask for at most.
    pub(crate) scopes: Option<Scope>,
    /// The resources it may ask for; empty means any.
    pub(crate) resources: Option<Vec<String>>,
    /// The one method that it must use. Without it, a secret may come in the header or in the body.
    pub(crate) auth_method: Option<AuthMethod>,
    /// Where its codes may be sent.
    pub(crate) redirect_uris: Option<Vec<String>>,
    /// The grants it may use, by their registered names.
    pub(crate) grants: Option<Vec<String>>,
}

/// What is shown of a client (names of RFC 7591 §2 where it has them).
#[derive(Debug, Serialize)]
pub(crate) struct ClientView {
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<String>,
    pub(crate) client_name: String,
    pub(crate) client_type: String,
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) scope: String,
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) redirect_uris: Vec<String>,
    /// The user as whom the testing door approves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approves_as: Option<String>,
    pub(crate) client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<i64>,
    /// When each secret ends; `null` for one that does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) client_secrets_expire_at: Vec<Option<i64>>,
}

/// Creates a client. A confidential one gets a secret, which is in the answer and nowhere else. `approves_as` is for
/// the testing door alone.
pub(crate) async fn create(
    db: &Db,
    metadata: ClientMetadata,
    approves_as: Option<String>,
    now: UnixSeconds,
) -> Result<ClientView, RegisterFault> {
    let name = metadata.name.unwrap_or_default();
    check_name(&name)?;
    let auth_methods = methods(metadata.auth_method);
    let redirect_uris = metadata.redirect_uris.unwrap_or_default();
    let grants = match metadata.grants {
        Some(named) => named,
        None if !redirect_uris.is_empty() => owned(&["authorization_code", "refresh_token"]),
        None if auth_methods == AuthMethod::None.as_str() => Vec::new(),
        None => owned(&["client_credentials"]),
    };
    if let Some(username) = &approves_as
        && db::user_account::find_by_username(db, username).await?.is_none()
    {
        return Err(RegisterFault::Metadata(format!(
            "there is no user {username}; see: authz-server user create"
        )));
    }
    let redirect_uris = redirects::checked((&grants, &redirect_uris), &auth_methods)?;
    let row = ClientRow {
        client_id: format!("c_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)),
        name,
        client_type: metadata
            .client_type
            .unwrap_or(ClientType::Service)
            .as_str()
            .to_owned(),
        auth_methods,
        grants: grants.join(" "),
        scopes: metadata.scopes.unwrap_or_default().to_string(),
        resources: resources_json(db, metadata.resources.unwrap_or_default()).await?,
        created_at: now.0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris,
        approves_as,
        origin: Origin::Operator.as_str().to_owned(),
        details: json(&Details::default())?,
        last_used_at: None,
        expires_at: None,
    };
    let secret = if row.auth_methods == AuthMethod::None.as_str() {
        None
    } else {
        Some(Secret::generate(SecretKind::ClientSecret)?)
    };
    db::client::insert(db, &row, secret.as_ref().map(Secret::hash).as_ref()).await?;
    let client_secret = secret.map(|secret| secret.reveal().to_owned());
    Ok(ClientView {
        client_secret,
        ..view(row, Vec::new())
    })
}

/// Changes what `metadata` names.
pub(crate) async fn update(
    db: &Db,
    client_id: &str,
    metadata: ClientMetadata,
    now: UnixSeconds,
) -> Result<ClientView, RegisterFault> {
    let row = living(db, client_id).await?;
    if let Some(name) = &metadata.name {
        check_name(name)?;
    }
    if let Some(method) = metadata.auth_method {
        let public = AuthMethod::None.as_str();
        if (row.auth_methods == public) != (method == AuthMethod::None) {
            let reason = "a public client stays public and a confidential one confidential; create a new client instead";
            return Err(RegisterFault::Metadata(reason.to_owned()));
        }
    }
    let resources = match metadata.resources {
        Some(named) => Some(resources_json(db, named).await?),
        None => None,
    };
    let merged = (
        metadata.grants.clone().unwrap_or_else(|| words(&row.grants)),
        match metadata.redirect_uris.clone() {
            Some(named) => named,
            None => serde_json::from_str(&row.redirect_uris).unwrap_or_default(),
        },
    );
    let redirect_uris = redirects::checked((&merged.0, &merged.1), &row.auth_methods)?;
    let columns = |row: &mut ClientRow| {
        set(&mut row.name, metadata.name.clone());
        set(
            &mut row.client_type,
            metadata.client_type.map(|kind| kind.as_str().to_owned()),
        );
        set(
            &mut row.auth_methods,
            metadata.auth_method.map(|method| methods(Some(method))),
        );
        set(&mut row.scopes, metadata.scopes.as_ref().map(Scope::to_string));
        set(&mut row.resources, resources.clone());
        set(
            &mut row.grants,
            metadata.grants.as_ref().map(|grants| grants.join(" ")),
        );
        let named = metadata.redirect_uris.as_ref();
        set(&mut row.redirect_uris, named.map(|_| redirect_uris.clone()));
    };
    if !db::client::update(db, client_id, now, columns).await? {
        return Err(RegisterFault::NoSuchClient(client_id.to_owned()));
    }
    show(db, client_id).await
}

/// Makes a new secret. The old ones work until `old_until`.
pub(crate) async fn rotate_secret(
    db: &Db,
    client_id: &str,
    now: UnixSeconds,
    old_until: UnixSeconds,
) -> Result<ClientView, RegisterFault> {
    if living(db, client_id).await?.auth_methods == AuthMethod::None.as_str() {
        return Err(RegisterFault::Metadata(
            "a public client has no secret".to_owned(),
        ));
    }
    let secret = Secret::generate(SecretKind::ClientSecret)?;
    if !db::client::rotate_secret(db, client_id, &secret.hash(), (now, old_until)).await? {
        return Err(RegisterFault::NoSuchClient(client_id.to_owned()));
    }
    Ok(ClientView {
        client_secret: Some(secret.reveal().to_owned()),
        ..show(db, client_id).await?
    })
}

/// Ends a client: it cannot authenticate, and its tokens are inactive from now on.
pub(crate) async fn revoke(db: &Db, client_id: &str, now: UnixSeconds) -> Result<(), RegisterFault> {
    if db::client::revoke(db, client_id, now).await? {
        return Ok(());
    }
    Err(RegisterFault::NoSuchClient(client_id.to_owned()))
}

/// One client, revoked or not.
pub(crate) async fn show(db: &Db, client_id: &str) -> Result<ClientView, RegisterFault> {
    let row = db::client::find(db, client_id).await?;
    let row = row.ok_or_else(|| RegisterFault::NoSuchClient(client_id.to_owned()))?;
    let secrets = db::client_secret::of_client(db, client_id).await?;
    Ok(view(
        row,
        secrets.into_iter().map(|secret| secret.expires_at).collect(),
    ))
}

/// Every client, oldest first.
pub(crate) async fn list(db: &Db) -> Result<Vec<ClientView>, RegisterFault> {
    Ok(db::client::list(db)
        .await?
        .into_iter()
        .map(|row| view(row, Vec::new()))
        .collect())
}

async fn living(db: &Db, client_id: &str) -> Result<ClientRow, RegisterFault> {
    let row = db::client::find(db, client_id).await?;
    row.filter(|row| row.revoked_at.is_none())
        .ok_or_else(|| RegisterFault::NoSuchClient(client_id.to_owned()))
}

fn set(column: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *column = value;
    }
}

fn check_name(name: &str) -> Result<(), RegisterFault> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(RegisterFault::Metadata(format!(
            "the name must have 1 to {MAX_NAME} bytes without control characters"
        )));
    }
    Ok(())
}

fn methods(pinned: Option<AuthMethod>) -> String {
    match pinned {
        Some(method) => method.as_str().to_owned(),
        None => format!(
            "{} {}",
            AuthMethod::ClientSecretBasic,
            AuthMethod::ClientSecretPost
        ),
    }
}

/// The registered spelling of each resource, as a JSON list.
async fn resources_json(db: &Db, named: Vec<String>) -> Result<String, RegisterFault> {
    let registered = db::resource::list(db).await?;
    let mut uris = Vec::new();
    for name in named {
        let key = name
            .parse::<shared::uri::ResourceUri>()
            .map(|uri| uri.lookup_key())
            .unwrap_or_default();
        let found = registered.iter().find(|resource| resource.lookup_key == key);
        let found = found.ok_or_else(|| {
            RegisterFault::Metadata(format!(
                "the resource {name} is not registered; see: authz-server resource create"
            ))
        })?;
        uris.push(found.uri.clone());
    }
    json(&uris)
}

fn json<T: Serialize>(value: &T) -> Result<String, RegisterFault> {
    serde_json::to_string(value).map_err(|e| RegisterFault::Metadata(e.to_string()))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn view(row: ClientRow, ends: Vec<Option<i64>>) -> ClientView {
    ClientView {
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
        client_id_issued_at: row.created_at,
        revoked_at: row.revoked_at,
        client_secrets_expire_at: ends,
    }
}
