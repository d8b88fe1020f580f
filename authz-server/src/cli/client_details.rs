//! Flags of `authz-server client create` and `update` that only some clients need: keys, certificates, what they have to
//! prove.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use crate::client::metadata;

#[derive(Args)]
pub(super) struct Details {
    /// The client's public keys: a file with a JWK set
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// Where the client publishes its keys
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// The subject of its certificate, for `tls_client_auth` (RFC 4514: "CN=agent,O=Example")
    #[arg(long, value_name = "DN", group = "certificate")]
    tls_subject_dn: Option<String>,
    /// A DNS name of its certificate
    #[arg(long, value_name = "NAME", group = "certificate")]
    tls_san_dns: Option<String>,
    /// A URI of its certificate
    #[arg(long, value_name = "URI", group = "certificate")]
    tls_san_uri: Option<String>,
    /// An IP address of its certificate
    #[arg(long, value_name = "ADDRESS", group = "certificate")]
    tls_san_ip: Option<String>,
    /// A mail address of its certificate
    #[arg(long, value_name = "ADDRESS", group = "certificate")]
    tls_san_email: Option<String>,
    /// The only algorithm of its assertions, for `private_key_jwt`
    #[arg(long, value_name = "ALG")]
    auth_signing_alg: Option<String>,
    /// Sign what it is told about tokens (RFC 9701)
    #[arg(long, value_name = "ALG")]
    introspection_alg: Option<String>,
    /// Bind its access tokens to its certificate (RFC 8705)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    certificate_bound: Option<bool>,
    /// Give it no token without a DPoP proof (RFC 9449)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dpop_bound: Option<bool>,
    /// Take no authorization request of it that was not pushed (RFC 9126)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_par: Option<bool>,
    /// Take no authorization request of it that it did not sign (RFC 9101)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_signed_requests: Option<bool>,
    /// The only algorithm of the requests that it signs [default: any that its keys have]
    #[arg(long, value_name = "ALG")]
    request_alg: Option<String>,
    /// The types of authorization details that it may ask for, separated by spaces (RFC 9396)
    #[arg(long, value_name = "TYPES")]
    authorization_details_types: Option<String>,
}

impl Details {
    /// The members of its metadata that the flags name.
    pub(super) fn members(self) -> Result<Map<String, Value>, Box<dyn std::error::Error>> {
        let jwks = match self.jwks {
            Some(file) => {
                let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
                Some(Value::Object(metadata::object(&bytes)?))
            }
            None => None,
        };
        let named = [
            ("jwks", jwks),
            ("jwks_uri", self.jwks_uri.map(Value::from)),
            ("tls_client_auth_subject_dn", self.tls_subject_dn.map(Value::from)),
            ("tls_client_auth_san_dns", self.tls_san_dns.map(Value::from)),
            ("tls_client_auth_san_uri", self.tls_san_uri.map(Value::from)),
            ("tls_client_auth_san_ip", self.tls_san_ip.map(Value::from)),
            ("tls_client_auth_san_email", self.tls_san_email.map(Value::from)),
            (
                "token_endpoint_auth_signing_alg",
                self.auth_signing_alg.map(Value::from),
            ),
            (
                "introspection_signed_response_alg",
                self.introspection_alg.map(Value::from),
            ),
            (
                "tls_client_certificate_bound_access_tokens",
                self.certificate_bound.map(Value::from),
            ),
            ("dpop_bound_access_tokens", self.dpop_bound.map(Value::from)),
            (
                "require_pushed_authorization_requests",
                self.require_par.map(Value::from),
            ),
            (
                "require_signed_request_object",
                self.require_signed_requests.map(Value::from),
            ),
            ("request_object_signing_alg", self.request_alg.map(Value::from)),
            (
                "authorization_details_types",
                self.authorization_details_types
                    .map(|types| types.split_whitespace().map(Value::from).collect()),
            ),
        ];
        Ok(named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }
}
