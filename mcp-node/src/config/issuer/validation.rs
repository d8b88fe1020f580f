//! `validation`: how the tokens of one issuer are checked. By its public keys; by a secret that it shares with this node,
//! and then by nothing else; or by asking it about each token.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::config::{Section, Span, read_secret_file, read_secret_text};
use shared::jose::{Algorithm, ClientKey, MacAlgorithm, SharedSecret};
use shared::secret::Secret;
use url::Url;

use super::{IssuerKind, read_address};

/// How tokens are checked.
#[derive(Clone, Debug)]
pub enum Validation {
    /// With the issuer's public keys, for these algorithms.
    Keys(Vec<Algorithm>),
    /// With a secret that it shares with us.
    Secret(SharedSecret),
    /// It is asked (RFC 7662).
    Introspection(Arc<IntrospectionConfig>),
}

/// How an issuer is asked about tokens.
#[derive(Debug)]
pub struct IntrospectionConfig {
    /// Where, when its metadata is not to say so.
    pub endpoint: Option<Url>,
    /// The name of this node there.
    pub client_id: String,
    /// How the node proves it.
    pub proof: ClientProof,
    /// How long a good answer counts.
    pub ttl: Duration,
    /// Whether tokens that do not say whose they are go there.
    pub opaque_tokens: bool,
}

/// How this node proves to an authorization server who it is.
#[derive(Debug)]
pub enum ClientProof {
    /// `client_secret_basic` (RFC 6749 §2.3.1).
    Secret(Secret),
    /// `private_key_jwt` (RFC 7523 §2.2).
    Key {
        /// What assertions are signed with.
        key: Box<ClientKey>,
        /// Whether they are for the endpoint rather than for the issuer.
        for_endpoint: bool,
    },
}

/// A good answer that counted for longer would make revocation a matter of luck.
const LONGEST_TTL: Duration = Duration::from_secs(300);

const JWT_KEYS: [&str; 4] = ["algorithms", "jwks_uri", "shared_secret_file", "max_stale"];
const INTROSPECTION_KEYS: [&str; 6] = [
    "client_id",
    "client_secret_file",
    "private_key_file",
    "introspection_endpoint",
    "introspection_ttl",
    "opaque_tokens",
];

impl Validation {
    /// Reads the keys that belong to it. Faults stay in the section.
    pub(super) fn read(section: &mut Section<'_>, kind: IssuerKind) -> Option<Self> {
        let mode: String = section.value("validation", "jwt")?;
        let secret_file: Option<PathBuf> = section.optional("shared_secret_file");
        let usual = match secret_file {
            Some(_) => "HS256",
            None => kind.usual_algorithms(),
        };
        let names: Vec<String> = section.list("algorithms", usual);
        let asked = introspection(section, kind, mode == "introspection");
        match mode.as_str() {
            "jwt" => {
                refuse(
                    section,
                    &INTROSPECTION_KEYS,
                    "belongs to validation = \"introspection\"",
                );
                match secret_file {
                    Some(path) => shared_secret(section, kind, &path, &names),
                    None => public_keys(section, &names),
                }
            }
            "introspection" => {
                let reason = "has no meaning with validation = \"introspection\"; remove it";
                refuse(section, &JWT_KEYS, reason);
                asked.map(|asked| Self::Introspection(Arc::new(asked)))
            }
            other => {
                section.fault(
                    "validation",
                    format!("{other:?} is not known; write \"jwt\" or \"introspection\""),
                );
                None
            }
        }
    }
}

fn refuse(section: &mut Section<'_>, keys: &[&str], reason: &str) {
    for key in keys {
        if section.has(key) {
            section.fault(key, reason);
        }
    }
}

fn public_keys(section: &mut Section<'_>, names: &[String]) -> Option<Validation> {
    if names.is_empty() {
        section.fault("algorithms", "name at least one, \"EdDSA\" for example");
    }
    let mut algorithms = Vec::new();
    for name in names {
        match name.parse::<Algorithm>() {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) if name.parse::<MacAlgorithm>().is_ok() => {
                let reason = format!(
                    "{name:?} needs shared_secret_file, and no other algorithm beside it: with a public key as the secret, anybody could sign"
                );
                section.fault("algorithms", reason);
            }
            Err(unknown) => section.fault("algorithms", format!("{name:?}: {unknown}")),
        }
    }
    (!algorithms.is_empty()).then_some(Validation::Keys(algorithms))
}

fn shared_secret(
    section: &mut Section<'_>,
    kind: IssuerKind,
    path: &std::path::Path,
    names: &[String],
) -> Option<Validation> {
    if !kind.may_share_a_secret() {
        let reason = "only \"auth0\" and \"generic\" issuers can sign with a shared secret";
        section.fault("shared_secret_file", reason);
        return None;
    }
    if section.has("jwks_uri") {
        section.fault(
            "jwks_uri",
            "an issuer with shared_secret_file has no public keys; remove one of the two",
        );
    }
    let algorithm = match names {
        [only] => only.parse::<MacAlgorithm>().ok(),
        _ => None,
    };
    let Some(algorithm) = algorithm else {
        let reason = "with shared_secret_file, write exactly one of \"HS256\", \"HS384\", \"HS512\": a secret has one algorithm, and none stands beside public keys";
        section.fault("algorithms", reason);
        return None;
    };
    let secret = read_secret_file(path)
        .map_err(|fault| fault.to_string())
        .and_then(|bytes| {
            SharedSecret::new(algorithm, &bytes).map_err(|fault| format!("{}: {fault}", path.display()))
        });
    secret
        .map(Validation::Secret)
        .map_err(|reason| section.fault("shared_secret_file", reason))
        .ok()
}

/// Every key is asked for, whether it is `wanted` or not: else it would be told that there is no such key.
fn introspection(section: &mut Section<'_>, kind: IssuerKind, wanted: bool) -> Option<IntrospectionConfig> {
    let endpoint = read_address(section, "introspection_endpoint");
    let client_id: Option<String> = section.optional("client_id");
    let secret_file: Option<PathBuf> = section.optional("client_secret_file");
    let key_file: Option<PathBuf> = section.optional("private_key_file");
    let ttl: Option<Span> = section.value("introspection_ttl", "30s");
    let opaque_tokens = section.value("opaque_tokens", "true");
    if !wanted {
        return None;
    }
    if !kind.can_be_asked() {
        section.fault(
            "validation",
            "this kind of server has no introspection endpoint; write \"jwt\"",
        );
    }
    if client_id.as_deref().is_none_or(str::is_empty) {
        section.fault("client_id", "name the client as which this node asks");
    }
    if ttl.as_ref().is_some_and(|ttl| ttl.0 > LONGEST_TTL) {
        section.fault(
            "introspection_ttl",
            "for so long would a revoked token go on: write 5m at most",
        );
    }
    let proof = match (secret_file, key_file) {
        (Some(path), None) => match read_secret_text(&path) {
            Ok(secret) => Some(ClientProof::Secret(secret)),
            Err(fault) => {
                section.fault("client_secret_file", fault);
                None
            }
        },
        (None, Some(path)) => {
            let read = read_secret_file(&path)
                .map_err(|fault| fault.to_string())
                .and_then(|bytes| {
                    ClientKey::read(&bytes).map_err(|fault| format!("{}: {fault}", path.display()))
                });
            match read {
                Ok(key) => Some(ClientProof::Key {
                    key: Box::new(key),
                    for_endpoint: kind.asserts_to_endpoint(),
                }),
                Err(reason) => {
                    section.fault("private_key_file", reason);
                    None
                }
            }
        }
        _ => {
            let reason = "write either client_secret_file or private_key_file: the issuer answers only to whom it knows";
            section.fault("client_secret_file", reason);
            None
        }
    };
    Some(IntrospectionConfig {
        endpoint,
        client_id: client_id?,
        proof: proof?,
        ttl: ttl?.0,
        opaque_tokens: opaque_tokens?,
    })
}
