//! Clients: what is known of one, and who may create or change it.

pub(crate) mod authenticate;
mod details;
pub(crate) mod document;
pub(crate) mod invite;
pub(crate) mod keys;
pub(crate) mod metadata;
mod redirects;
pub(crate) mod register;
pub(crate) mod registration;
pub(crate) mod trust;
pub(crate) mod usage;
pub(crate) mod view;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::scope::Scope;
use shared::secret::SecretHash;

pub(crate) use self::details::{Details, MEMBERS as DETAILS};
pub(crate) use self::document::Document;
pub(crate) use self::redirects::{DEVICE_CODE, JWT_BEARER, TOKEN_EXCHANGE};
use crate::db::DbFault;
use crate::db::client::ClientRow;
use crate::db::client_secret::ClientSecretRow;

/// How a client proves who it is at the token endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AuthMethod {
    /// The secret in the `Authorization` header.
    ClientSecretBasic,
    /// The secret in the body.
    ClientSecretPost,
    /// An assertion that the client signed (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// A certificate of an authority that we trust (RFC 8705 §2.1).
    TlsClientAuth,
    /// A certificate of the client's own making, whose key it registered (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
    /// A public client: it proves nothing.
    None,
}

impl AuthMethod {
    /// The methods that work, in the order of the metadata document.
    pub(crate) const ALL: [Self; 6] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
        Self::None,
    ];

    /// The registered name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::None => "none",
        }
    }

    /// Whether a client of this method has a secret of ours.
    pub(crate) fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// What kind of program a client is; stands in its tokens as `client_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientType {
    AiAgent,
    Native,
    Service,
    Web,
}

impl ClientType {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AiAgent => "ai-agent",
            Self::Native => "native",
            Self::Service => "service",
            Self::Web => "web",
        }
    }
}

/// Who vouches for a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Somebody who runs this server.
    Operator,
    /// Nobody: it registered itself (RFC 7591 §3).
    Registration,
    /// Whoever owns the address that is its id (Client ID Metadata Documents).
    Document,
}

impl Origin {
    /// The name in the database and in views.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Registration => "registration",
            Self::Document => "document",
        }
    }
}

macro_rules! named {
    ($type:ident, $all:expr, $expected:literal) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                $all.into_iter()
                    .find(|known| known.as_str() == name)
                    .ok_or_else(|| $expected.to_owned())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named!(
    AuthMethod,
    AuthMethod::ALL,
    "must be client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, \
     self_signed_tls_client_auth or none"
);
named!(
    ClientType,
    [
        ClientType::AiAgent,
        ClientType::Native,
        ClientType::Service,
        ClientType::Web
    ],
    "must be ai-agent, service, native or web"
);
named!(
    Origin,
    [Origin::Operator, Origin::Registration, Origin::Document],
    "must be operator, registration or document"
);

/// A client as the endpoints see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) client_type: ClientType,
    pub(crate) auth_methods: Vec<AuthMethod>,
    pub(crate) grants: Vec<String>,
    pub(crate) scopes: Scope,
    /// The resources it may ask for; empty means any that is registered.
    pub(crate) resources: Vec<String>,
    /// Where its codes may be sent, exactly as registered.
    pub(crate) redirect_uris: Vec<String>,
    /// The user as whom its requests are approved without asking; only while the testing door is open.
    pub(crate) approves_as: Option<String>,
    pub(crate) tokens_not_before: UnixSeconds,
    pub(crate) is_revoked: bool,
    pub(crate) origin: Origin,
    pub(crate) details: Details,
    /// What [`keys::ClientKeys`] made of the registered key set.
    keys: OnceLock<Arc<keys::Keys>>,
    /// Where its metadata come from, when they come from a document.
    pub(crate) document: Option<Document>,
    secrets: Vec<(SecretHash, Option<UnixSeconds>)>,
}

impl Client {
    pub(crate) fn from_rows(row: ClientRow, secrets: Vec<ClientSecretRow>) -> Result<Self, DbFault> {
        let damaged =
            |column: &str| DbFault::Unexpected(format!("client {}: {column} is damaged", row.client_id));
        let words = |text: &str| {
            text.split(' ')
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let auth_methods: Result<_, _> = words(&row.auth_methods).iter().map(|name| name.parse()).collect();
        let secrets: Option<_> = secrets
            .iter()
            .map(|row| {
                Some((
                    SecretHash::from_stored(&row.secret_hash)?,
                    row.expires_at.map(UnixSeconds),
                ))
            })
            .collect();
        Ok(Self {
            client_type: row.client_type.parse().map_err(|_| damaged("client_type"))?,
            auth_methods: auth_methods.map_err(|_| damaged("auth_methods"))?,
            grants: words(&row.grants),
            scopes: row.scopes.parse().map_err(|_| damaged("scopes"))?,
            resources: serde_json::from_str(&row.resources).map_err(|_| damaged("resources"))?,
            redirect_uris: serde_json::from_str(&row.redirect_uris).map_err(|_| damaged("redirect_uris"))?,
            approves_as: row.approves_as,
            tokens_not_before: UnixSeconds(row.tokens_not_before),
            is_revoked: row.revoked_at.is_some(),
            origin: row.origin.parse().map_err(|_| damaged("origin"))?,
            details: serde_json::from_str(&row.details).map_err(|_| damaged("details"))?,
            keys: OnceLock::new(),
            document: None,
            secrets: secrets.ok_or_else(|| damaged("secret_hash"))?,
            client_id: row.client_id,
            name: row.name,
        })
    }

    /// Whether `secret` is one of the client's at `now`. Compares with every one of them, in constant time.
    pub(crate) fn has_secret(&self, secret: &SecretHash, now: UnixSeconds) -> bool {
        let is_current = |end: &Option<UnixSeconds>| end.is_none_or(|end| now < end);
        self.secrets
            .iter()
            .filter(|(known, end)| (known == secret) & is_current(end))
            .count()
            > 0
    }

    /// Whether somebody who runs this server vouches for it: errors may be sent to it before a person has seen a page
    /// (OAuth 2.1 §7.12.2).
    pub(crate) fn is_trusted(&self) -> bool {
        self.origin == Origin::Operator
    }

    /// Whether it may use `grant`.
    pub(crate) fn has_grant(&self, grant: &str) -> bool {
        self.grants.iter().any(|known| known == grant)
    }

    /// Whether a token issued at `issued_at` still counts.
    pub(crate) fn honours(&self, issued_at: UnixSeconds) -> bool {
        !self.is_revoked && issued_at >= self.tokens_not_before
    }
}
