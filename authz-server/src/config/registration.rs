//! `[clients]`, the part about clients that register themselves (RFC 7591).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ::web::rates::Rate;
use shared::config::{Reader, Section, Span};
use shared::jose::KeySet;
use shared::uri::Issuer;
use url::Url;

use super::trusted_issuer::fetchable;

/// Who may register, and for how long that lasts.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) mode: RegistrationMode,
    /// Registrations of one address, without an invite.
    pub(crate) per_address: Rate,
    /// Registrations that nobody has used yet, of everybody together.
    pub(crate) max_unused: u32,
    /// How long one lives that nobody uses.
    pub(crate) unused_ttl: Duration,
    /// How long an old secret works beside the new one.
    pub(crate) secret_overlap: Duration,
    /// Whose software statements count.
    pub(crate) statements: Vec<StatementIssuer>,
}

/// `clients.registration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RegistrationMode {
    /// Nobody: there is no such endpoint.
    Off,
    /// Whoever has an initial access token.
    Invite,
    /// Anybody.
    Open,
}

impl FromStr for RegistrationMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "off" => Ok(Self::Off),
            "invite" => Ok(Self::Invite),
            "open" => Ok(Self::Open),
            _ => Err("must be \"off\", \"invite\" or \"open\""),
        }
    }
}

impl fmt::Display for RegistrationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Invite => "invite",
            Self::Open => "open",
        })
    }
}

/// One `[[clients.software_statement]]`.
#[derive(Clone, Debug)]
pub(crate) struct StatementIssuer {
    /// What `iss` must be, byte for byte.
    pub(crate) issuer: Issuer,
    pub(crate) keys: StatementKeys,
}

/// Where the keys of such an issuer are.
#[derive(Clone, Debug)]
pub(crate) enum StatementKeys {
    /// In a file, read at start.
    Held(KeySet),
    /// At an address.
    At(Url),
}

impl Registration {
    /// Reads its part of the section.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut clients = reader.section("clients");
        let mut span = |key: &str, default: &str| {
            let span: Option<Span> = clients.value(key, default);
            span.map_or(Duration::ZERO, |span| span.0)
        };
        let unused_ttl = span("unused_ttl", "30d");
        let secret_overlap = span("secret_overlap", "1h");
        if unused_ttl.is_zero() {
            clients.fault("unused_ttl", "must be longer than nothing");
        }
        let (mode, per_address, max_unused) = (
            clients.value("registration", "off"),
            clients.value("registrations_per_address", "20/h"),
            clients.value("max_unused", "10000"),
        );
        Self {
            mode: mode.unwrap_or(RegistrationMode::Off),
            per_address: per_address.unwrap_or_else(Rate::unlimited),
            max_unused: max_unused.unwrap_or_default(),
            unused_ttl,
            secret_overlap,
            statements: statements(reader),
        }
    }
}

fn statements(reader: &mut Reader) -> Vec<StatementIssuer> {
    let mut issuers: Vec<StatementIssuer> = Vec::new();
    for index in 0..reader.count("clients.software_statement") {
        let mut section = reader.section(&format!("clients.software_statement.{index}"));
        let Some(issuer) = statement(&mut section) else {
            continue;
        };
        if issuers.iter().any(|known| known.issuer == issuer.issuer) {
            section.fault("issuer", "this issuer is named twice");
        }
        issuers.push(issuer);
    }
    issuers
}

fn statement(section: &mut Section<'_>) -> Option<StatementIssuer> {
    let issuer: Option<Issuer> = section.optional("issuer");
    let file: Option<PathBuf> = section.optional("jwks_file");
    let address: Option<String> = section.optional("jwks_uri");
    if issuer.is_none() && !section.has("issuer") {
        section.fault("issuer", "is missing: whose statements are these?");
    }
    let keys = match (file, address) {
        (Some(file), None) => {
            let read = std::fs::read(&file).map_err(|fault| fault.to_string());
            let set = read.and_then(|bytes| KeySet::parse(&bytes).map_err(|fault| fault.to_string()));
            match set {
                Ok(set) if !set.is_empty() => Some(StatementKeys::Held(set)),
                Ok(_) => {
                    section.fault("jwks_file", "has no key that can be used here");
                    None
                }
                Err(fault) => {
                    section.fault("jwks_file", format!("cannot use {}: {fault}", file.display()));
                    None
                }
            }
        }
        (None, Some(address)) => match fetchable(&address) {
            Ok(address) => Some(StatementKeys::At(address)),
            Err(reason) => {
                section.fault("jwks_uri", reason);
                None
            }
        },
        _ => {
            section.fault("jwks_file", "give jwks_file or jwks_uri");
            None
        }
    };
    Some(StatementIssuer {
        issuer: issuer?,
        keys: keys?,
    })
}
