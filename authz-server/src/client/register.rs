//! Creating and changing clients. Whoever does it, the command line or later the API, passes here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::scope::Scope;
use shared::secret::{NoRandomness, Secret, SecretKind, random_bytes};

use super::metadata::{self, Metadata, MetadataFault, Policy};
use super::{AuthMethod, ClientType, Details, Origin, trust};
use crate::audit::{Event, Name, Target};
use crate::db::client::{ClientRow, Consent, Update};
use crate::db::{self, Db, DbFault};

/// A client could not be created or changed. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterFault {
    /// The command asks for what cannot be.
    #[error("{0}")]
    Asked(String),
    /// The metadata contradict themselves or ask for what is not there.
    #[error(transparent)]
    Metadata(#[from] MetadataFault),
    /// A row could not be written as text.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Further members of its metadata, by their registered names.
    pub(crate) more: Map<String, Value>,
}

impl ClientMetadata {
    /// What an operator may say of a client that publishes who it is: at which resources it may be that.
    fn limit_published(
        &self,
        row: &mut ClientRow,
        resources: Option<&String>,
    ) -> Result<Consent, RegisterFault> {
        let rest = Self {
            resources: None,
            ..self.clone()
        };
        if rest != Self::default() {
            let reason = "this client publishes who it is, and only --resource and --any-resource say something else; \
                          to decide the rest yourself: authz-server client import --pin --document FILE";
            return Err(RegisterFault::Asked(reason.to_owned()));
        }
        if let Some(resources) = resources {
            row.resources.clone_from(resources);
        }
        Ok(Consent::Stays)
    }

    /// What an operator takes from a client that registered itself must not be the client's to take back: it replaces
    /// its scopes and grants whenever it likes (RFC 7592 §2.2).
    fn limit_registered(&self) -> Result<(), RegisterFault> {
        if self.scopes.is_some() || self.grants.is_some() {
            let reason = "this client registered itself, and can change its scopes and grants again; limit it with \
                          --resource, or end it: authz-server client revoke";
            return Err(RegisterFault::Asked(reason.to_owned()));
        }
        Ok(())
    }
}

/// Members of which one takes the others' place.
const ALTERNATIVES: [&[&str]; 2] = [
    &["jwks", "jwks_uri"],
    &[
        "tls_client_auth_subject_dn",
        "tls_client_auth_san_dns",
        "tls_client_auth_san_uri",
        "tls_client_auth_san_ip",
        "tls_client_auth_san_email",
    ],
];

impl ClientMetadata {
    /// Writes what is named over `document`.
    fn write_over(&self, document: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                document.insert(name.to_owned(), value);
            }
        };
        set("client_name", self.name.clone().map(Value::from));
        set("client_type", self.client_type.map(|kind| kind.as_str().into()));
        set(
            "scope",
            self.scopes.as_ref().map(|scope| scope.to_string().into()),
        );
        set("redirect_uris", self.redirect_uris.clone().map(Value::from));
        set("grant_types", self.grants.clone().map(Value::from));
        if let Some(method) = self.auth_method {
            set("token_endpoint_auth_method", Some(method.as_str().into()));
            document.remove("token_endpoint_auth_methods_supported");
        }
        for group in ALTERNATIVES {
            if group.iter().any(|name| self.more.contains_key(*name)) {
                group.iter().for_each(|name| drop(document.remove(*name)));
            }
        }
        document.extend(self.more.clone());
        // It follows from the grants.
        document.remove("response_types");
    }
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
    /// Who vouches for it: `operator`, `registration` (nobody) or `document` (the owner of its address).
    pub(crate) origin: String,
    #[serde(flatten)]
    pub(crate) details: Details,
    pub(crate) client_id_issued_at: i64,
    /// To the day; of clients that ever asked for a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<i64>,
    /// When a registration is forgotten that nobody uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<i64>,
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
    let mut document = Map::new();
    metadata.write_over(&mut document);
    let described = Metadata::read(&document, &Policy::OPERATOR)?;
    if let Some(username) = &approves_as
        && db::user_account::find_by_username(db, username).await?.is_none()
    {
        return Err(RegisterFault::Asked(format!(
            "there is no user {username}; see: authz-server user create"
        )));
    }
    let row = ClientRow {
        resources: resources_json(db, metadata.resources.unwrap_or_default()).await?,
        approves_as,
        ..described.new_row(new_client_id()?, Origin::Operator, now)?
    };
    let secret = if described.uses_secret() {
        Some(Secret::generate(SecretKind::ClientSecret)?)
    } else {
        None
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
    let resources = match &metadata.resources {
        Some(named) => Some(resources_json(db, named.clone()).await?),
        None => None,
    };
    let edit = |row: &mut ClientRow| {
        if row.origin == Origin::Document.as_str() {
            return metadata.limit_published(row, resources.as_ref());
        }
        if row.origin == Origin::Registration.as_str() {
            metadata.limit_registered()?;
        }
        let before = row.clone();
        let mut document = metadata::document(row)?;
        document.insert("client_type".to_owned(), row.client_type.clone().into());
        metadata.write_over(&mut document);
        // The whole of it, also what this command does not name: nothing old stays that would be refused now.
        let described = Metadata::read(&document, &Policy::OPERATOR)?;
        if (row.auth_methods == AuthMethod::None.as_str()) != (described.auth_methods == [AuthMethod::None]) {
            let reason = "a public client stays public and a confidential one confidential; create a new client instead";
            return Err(RegisterFault::Asked(reason.to_owned()));
        }
        described.write(row)?;
        if let Some(resources) = &resources {
            row.resources.clone_from(resources);
        }
        Ok(trust::consent_after(&before, row))
    };
    match db::client::update(db, client_id, now, edit).await? {
        Update::Done => show(db, client_id).await,
        Update::Gone => Err(RegisterFault::NoSuchClient(client_id.to_owned())),
        Update::Refused(fault) => Err(fault),
    }
}

/// A new id: 128 random bits. It is no address, so it never looks like a metadata document's.
pub(crate) fn new_client_id() -> Result<String, NoRandomness> {
    Ok(format!("c_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)))
}

/// Makes a new secret. The old ones work until `old_until`.
pub(crate) async fn rotate_secret(
    db: &Db,
    client_id: &str,
    now: UnixSeconds,
    old_until: UnixSeconds,
) -> Result<ClientView, RegisterFault> {
    let methods = words(&living(db, client_id).await?.auth_methods);
    if !methods
        .iter()
        .any(|name| name.parse().is_ok_and(AuthMethod::uses_secret))
    {
        let reason = "a public client has no secret, nor has one that proves itself with a key";
        return Err(RegisterFault::Asked(reason.to_owned()));
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
    let is_done = db.write(async |tx| {
        if !db::client::revoke_in(tx, client_id, now).await? {
            return Ok(false);
        }
        let event = Event::of_operator(Name::ClientRevoked, Target::Client(client_id));
        db::audit_event::append(tx, &event, now).await?;
        Ok(true)
    });
    if is_done.await? {
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
            RegisterFault::Asked(format!(
                "the resource {name} is not registered; see: authz-server resource create"
            ))
        })?;
        uris.push(found.uri.clone());
    }
    Ok(serde_json::to_string(&uris)?)
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
        details: serde_json::from_str(&row.details).unwrap_or_default(),
        origin: row.origin,
        client_id_issued_at: row.created_at,
        last_used_at: row.last_used_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        client_secrets_expire_at: ends,
    }
}
