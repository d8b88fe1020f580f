//! A client's metadata (RFC 7591 §2): from a JSON document, whoever wrote it, to values that everything else relies on.
//! The command line, a registration and a metadata document all pass here, each under its [`Policy`].
//!
//! What a server may replace is replaced, and whoever asks is told what became of it (RFC 7591 §3.2.1): grants that are
//! not for strangers, for one. What is wrong is refused, always the whole document.

mod addresses;
mod credentials;
mod document;
mod fault;
mod members;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use shared::scope::Scope;

pub(crate) use self::document::document;
pub(crate) use self::fault::MetadataFault;
use self::members::Members;
pub(crate) use self::members::is_invisible;
use super::{AuthMethod, ClientType, Details, Origin, redirects};
use crate::authorize::redirect_uri;
use crate::db::client::ClientRow;
use crate::keys;

/// A larger document is refused.
pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// Longest name of a client.
const MAX_NAME: usize = 200;
/// Longest other text.
const MAX_TEXT: usize = 255;
/// Most members of a list of contacts or of types.
const MAX_LIST: usize = 16;

/// Who writes the document, and what that lets a client be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) origin: Origin,
    /// Whether it may have tokens without a person (`client_credentials`).
    pub(crate) may_act_alone: bool,
    /// Whether its keys may be at addresses that only this machine or this network reaches.
    pub(crate) may_be_private: bool,
}

impl Policy {
    /// An operator writes it, and knows why.
    pub(crate) const OPERATOR: Self = Self {
        origin: Origin::Operator,
        may_act_alone: true,
        may_be_private: true,
    };
    /// A stranger registers.
    pub(crate) const REGISTRATION: Self = Self {
        origin: Origin::Registration,
        may_act_alone: false,
        may_be_private: false,
    };
    /// The owner of the address that is the client's id publishes it.
    pub(crate) const DOCUMENT: Self = Self {
        origin: Origin::Document,
        may_act_alone: false,
        may_be_private: false,
    };
}

/// Metadata that hold together.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) client_type: ClientType,
    /// Any one of them works; the first is announced as the client's method.
    pub(crate) auth_methods: Vec<AuthMethod>,
    pub(crate) grants: Vec<String>,
    /// What it may ask for at most; `None` when it does not say.
    pub(crate) scopes: Option<Scope>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) details: Details,
}

impl Metadata {
    /// Reads the bytes of a document.
    #[cfg(test)]
    pub(crate) fn parse(bytes: &[u8], policy: &Policy) -> Result<Self, MetadataFault> {
        Self::read(&object(bytes)?, policy)
    }

    /// Reads a document.
    pub(crate) fn read(document: &Map<String, Value>, policy: &Policy) -> Result<Self, MetadataFault> {
        let members = Members::of(document)?;
        let redirect_uris = addresses::redirect_uris(&members)?;
        let auth_methods = credentials::methods(&members, policy)?;
        let grants = grants(&members, policy, &redirect_uris, &auth_methods)?;
        redirects::check(&grants, &redirect_uris, &auth_methods)?;
        check_response_types(&members, &grants)?;
        let details = details(&members, policy)?;
        credentials::check(&details, &auth_methods)?;
        addresses::check_application_type(&details, &redirect_uris)?;
        Ok(Self {
            name: name(&members, policy, &redirect_uris)?,
            client_type: client_type(&members, policy, &details, &redirect_uris)?,
            scopes: scopes(&members)?,
            auth_methods,
            grants,
            redirect_uris,
            details,
        })
    }

    /// Whether a client with these metadata has a secret of ours.
    pub(crate) fn uses_secret(&self) -> bool {
        self.auth_methods.iter().any(|method| method.uses_secret())
    }

    /// A client that is not in the database yet.
    pub(crate) fn new_row(
        &self,
        client_id: String,
        origin: Origin,
        now: UnixSeconds,
    ) -> Result<ClientRow, serde_json::Error> {
        let mut row = ClientRow {
            client_id,
            name: String::new(),
            client_type: String::new(),
            auth_methods: String::new(),
            grants: String::new(),
            scopes: String::new(),
            resources: "[]".to_owned(),
            created_at: now.0,
            tokens_not_before: 0,
            revoked_at: None,
            redirect_uris: String::new(),
            approves_as: None,
            origin: origin.as_str().to_owned(),
            details: String::new(),
            last_used_at: None,
            expires_at: None,
        };
        self.write(&mut row)?;
        Ok(row)
    }

    /// Writes every column that metadata decide; the scopes only if they are named.
    pub(crate) fn write(&self, row: &mut ClientRow) -> Result<(), serde_json::Error> {
        row.name.clone_from(&self.name);
        self.client_type.as_str().clone_into(&mut row.client_type);
        let methods: Vec<_> = self.auth_methods.iter().map(|method| method.as_str()).collect();
        row.auth_methods = methods.join(" ");
        row.grants = self.grants.join(" ");
        if let Some(scopes) = &self.scopes {
            row.scopes = scopes.to_string();
        }
        row.redirect_uris = serde_json::to_string(&self.redirect_uris)?;
        row.details = serde_json::to_string(&self.details)?;
        Ok(())
    }
}

/// One JSON object of at most [`MAX_BYTES`], without repeated members.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, MetadataFault> {
    if bytes.len() > MAX_BYTES {
        return Err(fault::too_large());
    }
    whole_object(bytes)
}

/// As [`object`], of any size: for what is bounded elsewhere and has more than metadata in it.
pub(crate) fn whole_object(bytes: &[u8]) -> Result<Map<String, Value>, MetadataFault> {
    shared::json::object(bytes).map_err(|fault| {
        MetadataFault::metadata("the metadata must be one JSON object without repeated members")
            .about(&fault.to_string())
    })
}

fn name(members: &Members<'_>, policy: &Policy, uris: &[String]) -> Result<String, MetadataFault> {
    let wrong = || {
        MetadataFault::metadata(
            "client_name must have 1 to 200 bytes, something to read, and no invisible or direction-changing characters",
        )
    };
    match members.text("client_name")?.map(str::trim) {
        Some(name) => {
            let is_read = name.chars().any(char::is_alphanumeric);
            if name.len() > MAX_NAME || !is_read || name.chars().any(members::is_invisible) {
                return Err(wrong().about(name));
            }
            Ok(name.to_owned())
        }
        // RFC 7591 §2 lets it be left out. People then read where their answer goes.
        None if policy.origin == Origin::Registration => Ok(uris
            .first()
            .map_or_else(|| "unnamed".to_owned(), |uri| redirect_uri::shown(uri))),
        None => Err(wrong()),
    }
}

/// The grants that the client asks for, as far as it may have them.
fn grants(
    members: &Members<'_>,
    policy: &Policy,
    uris: &[String],
    methods: &[AuthMethod],
) -> Result<Vec<String>, MetadataFault> {
    let is_public = methods == [AuthMethod::None];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let Some(mut grants) = members.list("grant_types", MAX_LIST)? else {
        return Ok(match policy.origin {
            Origin::Operator if !uris.is_empty() => owned(&["authorization_code", "refresh_token"]),
            Origin::Operator if is_public => Vec::new(),
            Origin::Operator => owned(&["client_credentials"]),
            // RFC 7591 §2.
            Origin::Registration | Origin::Document => owned(&["authorization_code"]),
        });
    };
    let mut seen = std::collections::HashSet::new();
    grants.retain(|grant| seen.insert(grant.clone()));
    if policy.origin == Origin::Operator {
        return Ok(grants);
    }
    grants.retain(|grant| redirects::is_for_strangers(grant, is_public, policy.may_act_alone));
    if grants.is_empty() {
        return Err(MetadataFault::metadata(
            "none of the grant_types is one that this client can have",
        ));
    }
    Ok(grants)
}

/// RFC 7591 §2.1: what the authorization endpoint answers goes with the grants. It answers codes and nothing else.
fn check_response_types(members: &Members<'_>, grants: &[String]) -> Result<(), MetadataFault> {
    let Some(types) = members.list("response_types", MAX_LIST)? else {
        return Ok(());
    };
    let has_code = grants.iter().any(|grant| grant == "authorization_code");
    if has_code && !types.iter().any(|kind| kind == "code") {
        return Err(MetadataFault::metadata(
            "response_types must contain code, which the grant authorization_code needs",
        ));
    }
    Ok(())
}

fn scopes(members: &Members<'_>) -> Result<Option<Scope>, MetadataFault> {
    let Some(text) = members.text("scope")? else {
        return Ok(None);
    };
    let scope = text.parse().map_err(|fault: shared::scope::ScopeFault| {
        MetadataFault::metadata("scope must be a list of scopes with single spaces between them")
            .about(&fault.to_string())
    });
    scope.map(Some)
}

/// What kind of program it is. A stranger cannot choose the word that stands in tokens; where its codes go tells.
fn client_type(
    members: &Members<'_>,
    policy: &Policy,
    details: &Details,
    uris: &[String],
) -> Result<ClientType, MetadataFault> {
    if policy.origin == Origin::Operator {
        let Some(named) = members.text("client_type")? else {
            return Ok(ClientType::Service);
        };
        return named.parse().map_err(|_| {
            MetadataFault::metadata("client_type must be ai-agent, service, native or web").about(named)
        });
    }
    Ok(match details.application_type.as_deref() {
        Some("native") => ClientType::Native,
        Some(_) => ClientType::Web,
        None if uris.iter().all(|uri| addresses::is_native(uri)) => ClientType::Native,
        None => ClientType::Web,
    })
}

fn details(members: &Members<'_>, policy: &Policy) -> Result<Details, MetadataFault> {
    let (jwks, jwks_uri) = credentials::keys(members, policy)?;
    Ok(Details {
        jwks,
        jwks_uri,
        token_endpoint_auth_signing_alg: members
            .algorithm("token_endpoint_auth_signing_alg", &Algorithm::ALL)?,
        tls_client_auth_subject_dn: members.line("tls_client_auth_subject_dn", 1000)?,
        tls_client_auth_san_dns: members.line("tls_client_auth_san_dns", MAX_TEXT)?,
        tls_client_auth_san_uri: members.line("tls_client_auth_san_uri", 2000)?,
        tls_client_auth_san_ip: members.line("tls_client_auth_san_ip", MAX_TEXT)?,
        tls_client_auth_san_email: members.line("tls_client_auth_san_email", MAX_TEXT)?,
        tls_client_certificate_bound_access_tokens: members
            .flag("tls_client_certificate_bound_access_tokens")?,
        dpop_bound_access_tokens: members.flag("dpop_bound_access_tokens")?,
        require_pushed_authorization_requests: members.flag("require_pushed_authorization_requests")?,
        require_signed_request_object: members.flag("require_signed_request_object")?,
        request_object_signing_alg: members.algorithm("request_object_signing_alg", &Algorithm::ALL)?,
        introspection_signed_response_alg: members
            .algorithm("introspection_signed_response_alg", &keys::ALGORITHMS)?,
        authorization_details_types: members
            .lines("authorization_details_types", MAX_LIST)?
            .unwrap_or_default(),
        application_type: addresses::application_type(members)?,
        client_uri: addresses::page(members, "client_uri")?,
        logo_uri: addresses::page(members, "logo_uri")?,
        tos_uri: addresses::page(members, "tos_uri")?,
        policy_uri: addresses::page(members, "policy_uri")?,
        contacts: members.lines("contacts", MAX_LIST)?.unwrap_or_default(),
        software_id: members.line("software_id", MAX_TEXT)?,
        software_version: members.line("software_version", MAX_TEXT)?,
    })
}
