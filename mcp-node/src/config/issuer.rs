//! `[[issuer]]`: one table for each authorization server whose tokens this node takes.

mod kind;
mod validation;

use std::path::PathBuf;
use std::time::Duration;

use shared::access_token::{ClaimPath, Shape};
use shared::config::{Reader, Section, Span};
use shared::http_client::{NOT_TO_BE_ASKED, may_be_asked};
use shared::jwks::MIN_MAX_STALE;
use shared::scope::Scope;
use shared::uri::{Issuer, ResourceUri};
use url::Url;

pub use self::kind::IssuerKind;
pub use self::validation::{ClientProof, IntrospectionConfig, Validation};

/// One trusted authorization server.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its identifier, byte for byte.
    pub issuer: Issuer,
    /// What kind it is.
    pub kind: IssuerKind,
    /// How its tokens are written.
    pub shape: Shape,
    /// How they are checked.
    pub validation: Validation,
    /// What its tokens must name as their audience.
    pub audience: String,
    /// The clients whose tokens are taken; any client's, if there is none.
    pub clients: Vec<String>,
    /// Its key set, when its metadata is not to be asked.
    pub jwks_uri: Option<Url>,
    /// A claim that holds the scope, beside the usual one.
    pub scope_claim: Option<ClaimPath>,
    /// What is put before each scope of a token.
    pub scope_prefix: Option<String>,
    /// Certificate authorities to trust beside the public ones, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// How long its last good key set serves while it cannot be reached.
    pub max_stale: Duration,
    /// Claims of its tokens that rules of `[scopes]` look at.
    pub kept_claims: Vec<String>,
}

impl IssuerConfig {
    /// Whether tokens that say nothing of themselves are shown to this issuer.
    fn is_asked_about_opaque_tokens(&self) -> bool {
        matches!(&self.validation, Validation::Introspection(asked) if asked.opaque_tokens)
    }
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
        let asked = IssuerConfig::is_asked_about_opaque_tokens;
        if asked(&issuer) && issuers.iter().any(asked) {
            let reason = "an opaque token does not say whose it is: write opaque_tokens = false for all issuers but one";
            section.fault("opaque_tokens", reason);
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
    let kind = IssuerKind::read(section);
    let issuer = read_url(section, kind);
    let shape = kind.zip(issuer.as_ref());
    let shape = shape.and_then(|(kind, issuer)| kind.shape(section, issuer));
    if shape.is_none() {
        // Asked for all the same, or it would be told that there is no such key.
        section.list::<String>("token_types", "");
    }
    let audience = match resource {
        Some(resource) => section.value::<String>("audience", resource.as_str()),
        None => section.optional("audience"),
    };
    if audience.as_deref() == Some("") {
        section.fault("audience", "an empty audience would fit no token");
    }
    let clients = section.list("clients", "");
    let jwks_uri = read_address(section, "jwks_uri");
    let validation = Validation::read(section, kind.unwrap_or(IssuerKind::Generic));
    let dpop = section.value::<String>("dpop", "allowed");
    if dpop
        .as_deref()
        .is_some_and(|dpop| !matches!(dpop, "allowed" | "required"))
    {
        section.fault("dpop", "write \"allowed\" or \"required\"");
    }
    let scope_claim: Option<ClaimPath> = section.optional("scope_claim");
    if scope_claim.as_ref().is_some_and(ClaimPath::is_empty) {
        section.fault("scope_claim", "an empty name names no claim");
    }
    let scope_prefix: Option<String> = section.optional("scope_prefix");
    if scope_prefix
        .as_deref()
        .is_some_and(|prefix| prefix.contains(' ') || prefix.parse::<Scope>().is_err())
    {
        let reason =
            "it is put before each scope, so it may contain printable ASCII without spaces and quotes";
        section.fault("scope_prefix", reason);
    }
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
    let issuer = issuer?;
    Some(IssuerConfig {
        jwks_uri: jwks_uri.or_else(|| kind.and_then(|kind| kind.usual_keys(&issuer))),
        issuer,
        kind: kind?,
        shape: shape?,
        validation: validation?,
        audience: audience?,
        clients,
        scope_claim,
        scope_prefix,
        ca_file,
        dpop_required: dpop.as_deref() == Some("required"),
        max_stale,
        kept_claims: Vec::new(),
    })
}

/// Others may write a slash at the end; our own server never does, and a slash there would be a mistake.
fn read_url(section: &mut Section<'_>, kind: Option<IssuerKind>) -> Option<Issuer> {
    let Some(text) = section.optional::<String>("url") else {
        if !section.has("url") {
            section.fault("url", "the issuer's identifier is missing");
        }
        return None;
    };
    let parsed = match kind {
        Some(IssuerKind::EdgeHive) => text.parse(),
        _ => Issuer::of_stranger(&text),
    };
    parsed
        .map_err(|e| section.fault("url", format!("{text:?}: {e}")))
        .ok()
}

fn read_address(section: &mut Section<'_>, key: &str) -> Option<Url> {
    section.optional(key).filter(|url| {
        let is_good = may_be_asked(url);
        if !is_good {
            section.fault(key, NOT_TO_BE_ASKED);
        }
        is_good
    })
}

#[cfg(test)]
mod tests;
