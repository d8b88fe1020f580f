//! `[[issuer]]`: one table for each authorization server whose tokens this node takes.

use std::path::PathBuf;
use std::time::Duration;

use shared::config::{Reader, Section, Span};
use shared::jose::Algorithm;
use shared::jwks::MIN_MAX_STALE;
use shared::uri::{Issuer, ResourceUri, is_loopback};
use url::Url;

/// What kind of authorization server it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerKind {
    /// Our own: one audience for each token.
    EdgeHive,
    /// Any server that issues RFC 9068 access tokens.
    Generic,
}

/// One trusted authorization server.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its identifier, byte for byte.
    pub issuer: Issuer,
    /// What kind it is.
    pub kind: IssuerKind,
    /// What its tokens must name as their audience.
    pub audience: String,
    /// The algorithms that it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// Its key set, when its metadata is not to be asked.
    pub jwks_uri: Option<Url>,
    /// A claim that holds the scope, beside `scope`, `scopes` and `scp`.
    pub scope_claim: Option<String>,
    /// Certificate authorities to trust beside the public ones, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// How long its last good key set serves while it cannot be reached; `offline.keys` unless it says otherwise.
    pub max_stale: Duration,
    /// Claims of its tokens that rules of `[scopes]` look at.
    pub kept_claims: Vec<String>,
}

/// Reads every `[[issuer]]`. Faults stay in the reader.
/// `max_stale` is for those that say nothing of it.
pub(super) fn read_all(
    reader: &mut Reader,
    resource: Option<&ResourceUri>,
    max_stale: Duration,
) -> Vec<IssuerConfig> {
    let count = reader.count("issuer");
    if count == 0 {
        reader.fault(
            "issuer",
            "name at least one authorization server: [[issuer]] url = \"http://localhost:9000\"",
        );
    }
    let mut issuers: Vec<IssuerConfig> = Vec::new();
    for index in 0..count {
        let mut section = reader.section(&format!("issuer.{index}"));
        let Some(issuer) = read(&mut section, resource, max_stale) else {
            continue;
        };
        if issuers.iter().any(|known| known.issuer == issuer.issuer) {
            section.fault("url", "this issuer is named twice");
        }
        issuers.push(issuer);
    }
    issuers
}

fn read(
    section: &mut Section<'_>,
    resource: Option<&ResourceUri>,
    usual_max_stale: Duration,
) -> Option<IssuerConfig> {
    let issuer: Option<Issuer> = section.optional("url");
    if issuer.is_none() && !section.has("url") {
        section.fault("url", "the issuer's identifier is missing");
    }
    let kind = section
        .value::<String>("kind", "edge-hive")
        .and_then(|name| match name.as_str() {
            "edge-hive" => Some(IssuerKind::EdgeHive),
            "generic" => Some(IssuerKind::Generic),
            "auth0" | "okta" | "cognito" | "entra" | "keycloak" => {
                section.fault(
                    "kind",
                    format!("{name:?} is not part of this version; use \"generic\" for RFC 9068 tokens"),
                );
                None
            }
            _ => {
                section.fault(
                    "kind",
                    format!("{name:?} is not known; write \"edge-hive\" or \"generic\""),
                );
                None
            }
        });
    let audience = match resource {
        Some(resource) => section.value::<String>("audience", resource.as_str()),
        None => section.optional("audience"),
    };
    if audience.as_deref() == Some("") {
        section.fault("audience", "an empty audience would fit no token");
    }
    let algorithms = read_algorithms(section);
    let jwks_uri = section.optional("jwks_uri").filter(|url| {
        let may_be_fetched = may_be_fetched(url);
        if !may_be_fetched {
            section.fault(
                "jwks_uri",
                "it must be https (plain http only on this machine), without a user name",
            );
        }
        may_be_fetched
    });
    if section
        .value::<String>("validation", "jwt")
        .is_some_and(|validation| validation != "jwt")
    {
        section.fault(
            "validation",
            "only \"jwt\" is part of this version; introspection comes later",
        );
    }
    if section.optional::<String>("shared_secret_file").is_some() {
        section.fault(
            "shared_secret_file",
            "HS256 is not part of this version; use a key set",
        );
    }
    let dpop = section.value::<String>("dpop", "allowed");
    if dpop
        .as_deref()
        .is_some_and(|dpop| !matches!(dpop, "allowed" | "required"))
    {
        section.fault("dpop", "write \"allowed\" or \"required\"");
    }
    let scope_claim = section.optional("scope_claim");
    let ca_file = section.optional("ca_file");
    let max_stale = section
        .optional::<Span>("max_stale")
        .map_or(usual_max_stale, |span| span.0);
    if section.has("max_stale") && max_stale < MIN_MAX_STALE {
        section.fault(
            "max_stale",
            "keys are fetched once a minute at most: write 1m or more",
        );
    }
    Some(IssuerConfig {
        issuer: issuer?,
        kind: kind?,
        audience: audience?,
        algorithms,
        jwks_uri,
        scope_claim,
        ca_file,
        dpop_required: dpop.as_deref() == Some("required"),
        max_stale,
        kept_claims: Vec::new(),
    })
}

fn read_algorithms(section: &mut Section<'_>) -> Vec<Algorithm> {
    let names: Vec<String> = section.list("algorithms", "EdDSA,ES256,RS256");
    if names.is_empty() {
        section.fault("algorithms", "name at least one, \"EdDSA\" for example");
    }
    let mut algorithms = Vec::new();
    for name in names {
        match name.parse() {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) if name.starts_with("HS") => {
                section.fault(
                    "algorithms",
                    format!("{name:?}: shared secrets are not part of this version"),
                );
            }
            Err(unknown) => section.fault("algorithms", format!("{name:?}: {unknown}")),
        }
    }
    algorithms
}

/// A password in it would stand in logs and in the status, which callers may read.
fn may_be_fetched(url: &Url) -> bool {
    let is_local = url.host().is_some_and(|host| is_loopback(&host));
    let is_protected = url.scheme() == "https" || url.scheme() == "http" && is_local;
    is_protected && url.username().is_empty() && url.password().is_none()
}
