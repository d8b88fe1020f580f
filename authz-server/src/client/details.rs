//! The part of a client's metadata that only some clients have, under the names of RFC 7591 §2 and the standards that
//! added to it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Kept as one JSON object; a member that is not there has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClientDetails)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the members are named and defined by the standards"
)]
pub(crate) struct Details {
    /// The client's public keys (RFC 7517 §5), in place of [`Self::jwks_uri`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks: Option<Value>,
    /// Where the client publishes its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<String>,
    /// The only algorithm of its assertions (OpenID Connect Registration §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_endpoint_auth_signing_alg: Option<String>,
    /// RFC 8705 §2.1.2; exactly one of the five when the method is `tls_client_auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_auth_subject_dn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_auth_san_dns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_auth_san_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_auth_san_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_client_auth_san_email: Option<String>,
    /// RFC 8705 §3.4: tokens are bound to the certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) tls_client_certificate_bound_access_tokens: bool,
    /// RFC 9449 §5.2: no token without a proof.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) dpop_bound_access_tokens: bool,
    /// RFC 9126 §6.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) require_pushed_authorization_requests: bool,
    /// RFC 9101 §10.5.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) require_signed_request_object: bool,
    /// The only algorithm of its request objects (OpenID Connect Registration §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_object_signing_alg: Option<String>,
    /// RFC 9701 §6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) introspection_signed_response_alg: Option<String>,
    /// RFC 9396 §10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) authorization_details_types: Vec<String>,
    /// `native` or `web` (OpenID Connect Registration §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) application_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logo_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tos_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contacts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) software_version: Option<String>,
}

/// The names of all of them.
pub(crate) const MEMBERS: [&str; 23] = [
    "jwks",
    "jwks_uri",
    "token_endpoint_auth_signing_alg",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "request_object_signing_alg",
    "introspection_signed_response_alg",
    "authorization_details_types",
    "application_type",
    "client_uri",
    "logo_uri",
    "tos_uri",
    "policy_uri",
    "contacts",
    "software_id",
    "software_version",
];

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
