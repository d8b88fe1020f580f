//! The metadata documents of both sides: RFC 8414 for authorization servers, RFC 9728 for protected resources.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Authorization server metadata (RFC 8414 §2), also served as an OpenID Provider configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the members are named and defined by RFC 8414 §2 and OpenID Connect Discovery §3"
)]
pub struct AuthorizationServer {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    pub introspection_endpoint: String,
    pub revocation_endpoint: String,
    /// OpenID Federation 1.0 §5.2.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_jwks_uri: Option<String>,
    /// Token Status List §9.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_list_aggregation_endpoint: Option<String>,
    pub scopes_supported: Vec<String>,
    pub response_types_supported: Vec<String>,
    pub response_modes_supported: Vec<String>,
    pub grant_types_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_grant_profiles_supported: Vec<String>,
    pub token_endpoint_auth_methods_supported: Vec<String>,
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    pub introspection_endpoint_auth_signing_alg_values_supported: Vec<String>,
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    pub revocation_endpoint_auth_signing_alg_values_supported: Vec<String>,
    pub introspection_signing_alg_values_supported: Vec<String>,
    pub tls_client_certificate_bound_access_tokens: bool,
    /// RFC 8705 §5: endpoints by the names of their members here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mtls_endpoint_aliases: BTreeMap<String, String>,
    pub code_challenge_methods_supported: Vec<String>,
    pub dpop_signing_alg_values_supported: Vec<String>,
    pub subject_types_supported: Vec<String>,
    pub id_token_signing_alg_values_supported: Vec<String>,
    pub userinfo_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    pub claims_supported: Vec<String>,
    pub authorization_response_iss_parameter_supported: bool,
    pub prompt_values_supported: Vec<String>,
    pub ui_locales_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_id_metadata_document_supported: bool,
    pub request_parameter_supported: bool,
    pub request_uri_parameter_supported: bool,
    pub request_object_signing_alg_values_supported: Vec<String>,
    pub require_signed_request_object: bool,
    pub pushed_authorization_request_endpoint: String,
    pub require_pushed_authorization_requests: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub authorization_details_types_supported: Vec<String>,
    pub service_documentation: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Protected resource metadata (RFC 9728 §2).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are named and defined by RFC 9728 §2")]
pub struct ProtectedResource {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub scopes_supported: Vec<String>,
    pub bearer_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    pub dpop_bound_access_tokens_required: bool,
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    pub resource_name: String,
}

/// What a relying party needs of a foreign authorization server's metadata; everything else is left unread.
#[derive(Clone, Debug, Deserialize)]
pub struct IssuerDocument {
    /// Must equal, byte for byte, the issuer that was asked (RFC 8414 §3.3).
    pub issuer: String,
    /// Where the key set is.
    pub jwks_uri: Option<String>,
    /// Where to ask about tokens (RFC 7662 §2).
    pub introspection_endpoint: Option<String>,
}
