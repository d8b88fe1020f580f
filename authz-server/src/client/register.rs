//! What operators say of clients, and what becomes of it. The command line and the API pass here
//! ([`crate::admin::clients`]).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::scope::Scope;
use shared::secret::{NoRandomness, Secret, SecretKind, random_bytes};

use super::metadata::{self, Metadata, MetadataFault, Policy};
use super::{AuthMethod, ClientType, Origin, trust};
use crate::admin;
use crate::db::client::{ClientRow, Consent};
use crate::db::{self, Db, DbFault, Tx};

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

/// A client that is not in the database yet.
pub(crate) struct Draft {
    pub(crate) row: ClientRow,
    /// Shown once; a confidential client has one.
    pub(crate) secret: Option<Secret>,
}

impl Draft {
    /// A client of these metadata. `approves_as` is for the testing door alone.
    pub(crate) async fn of(
        db: &Db,
        metadata: ClientMetadata,
        approves_as: Option<String>,
        now: UnixSeconds,
    ) -> Result<Self, RegisterFault> {
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
        Ok(Self { row, secret })
    }

    /// Writes it, as a part of something larger.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<(), DbFault> {
        let hash = self.secret.as_ref().map(Secret::hash);
        db::client::insert_in(tx, &self.row, hash.as_ref()).await
    }
}

/// A change of a client that is there.
pub(crate) struct Edit {
    metadata: ClientMetadata,
    /// JSON, if they are named.
    resources: Option<String>,
}

impl Edit {
    /// Changes what `metadata` names.
    pub(crate) async fn of(db: &Db, metadata: ClientMetadata) -> Result<Self, RegisterFault> {
        let resources = match &metadata.resources {
            Some(named) => Some(resources_json(db, named.clone()).await?),
            None => None,
        };
        Ok(Self { metadata, resources })
    }

    /// Changes the row; says whether what people let us remember outlives that.
    pub(crate) fn apply(&self, row: &mut ClientRow) -> Result<Consent, RegisterFault> {
        if row.origin == Origin::Document.as_str() {
            return self.metadata.limit_published(row, self.resources.as_ref());
        }
        if row.origin == Origin::Registration.as_str() {
            self.metadata.limit_registered()?;
        }
        let before = row.clone();
        let mut document = metadata::document(row)?;
        document.insert("client_type".to_owned(), row.client_type.clone().into());
        self.metadata.write_over(&mut document);
        // The whole of it, also what this change does not name: nothing old stays that would be refused now.
        let described = Metadata::read(&document, &Policy::OPERATOR)?;
        if (row.auth_methods == AuthMethod::None.as_str()) != (described.auth_methods == [AuthMethod::None]) {
            let reason = "a public client stays public and a confidential one confidential; create a new client instead";
            return Err(RegisterFault::Asked(reason.to_owned()));
        }
        described.write(row)?;
        if let Some(resources) = &self.resources {
            row.resources.clone_from(resources);
        }
        Ok(trust::consent_after(&before, row))
    }
}

/// A new secret of a client.
pub(crate) fn new_secret() -> Result<Secret, RegisterFault> {
    Ok(Secret::generate(SecretKind::ClientSecret)?)
}

/// Refuses clients that have no secret of ours.
pub(crate) fn check_uses_secret(row: &ClientRow) -> Result<(), RegisterFault> {
    let mut methods = row.auth_methods.split_ascii_whitespace();
    if methods.any(|name| name.parse().is_ok_and(AuthMethod::uses_secret)) {
        return Ok(());
    }
    let reason = "a public client has no secret, nor has one that proves itself with a key";
    Err(RegisterFault::Asked(reason.to_owned()))
}

/// A new id: 128 random bits. It is no address, so it never looks like a metadata document's.
pub(crate) fn new_client_id() -> Result<String, NoRandomness> {
    Ok(format!("c_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)))
}

/// The registered spelling of each resource, as a JSON list.
async fn resources_json(db: &Db, named: Vec<String>) -> Result<String, RegisterFault> {
    let own = admin::uri(&db::deployment::owner(db).await?);
    let mut uris = Vec::new();
    for name in named {
        let key = name
            .parse::<shared::uri::ResourceUri>()
            .map(|uri| uri.lookup_key())
            .unwrap_or_default();
        if own
            .parse::<shared::uri::ResourceUri>()
            .is_ok_and(|own| own.lookup_key() == key)
        {
            uris.push(own.clone());
            continue;
        }
        let found = db::resource::find_by_key(db, &key).await?;
        let found = found.ok_or_else(|| {
            RegisterFault::Asked(format!(
                "the resource {name} is not registered; see: authz-server resource create"
            ))
        })?;
        uris.push(found.uri);
    }
    Ok(serde_json::to_string(&uris)?)
}
