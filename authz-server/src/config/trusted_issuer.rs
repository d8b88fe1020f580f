//! An issuer whose assertions are believed (RFC 7521 §5.2): who it is, where its keys are, what it may sign with.

use std::path::PathBuf;

use shared::config::{NamedFile, Section};
use shared::http_client::HttpClient;
use shared::jose::{Algorithm, KeySet};
use shared::jwks::{DEFAULT_MAX_STALE, KeySetSettings, RemoteKeySet};
use shared::uri::{Issuer, is_loopback};
use url::Url;

/// What issuers of this kind sign with unless configured.
const ALGORITHMS: &str = "EdDSA, ES256, ES384, PS256, RS256";

/// One issuer.
#[derive(Clone, Debug)]
pub(crate) struct TrustedIssuer {
    /// `iss`, byte for byte. It need not be an address: a cluster may call itself what it likes.
    pub(crate) issuer: String,
    /// What its assertions may be signed with.
    pub(crate) algorithms: Vec<Algorithm>,
    source: KeySource,
    /// What is in these decides too whose keys they are: a key set, and the authorities that are trusted there.
    files: [NamedFile; 2],
    http: HttpClient,
}

/// Where the keys are.
#[derive(Clone, PartialEq, Debug)]
enum KeySource {
    /// The issuer's metadata says it (RFC 8414 §3, OpenID Connect Discovery §4).
    Metadata(Issuer),
    /// The operator says it.
    Address(Url),
    /// In a file that somebody keeps up to date.
    File(PathBuf),
}

impl TrustedIssuer {
    /// Reads the keys of one table that say whom to believe.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let issuer: Option<String> = section.optional("issuer");
        let jwks_uri: Option<String> = section.optional("jwks_uri");
        let jwks_file: Option<PathBuf> = section.optional("jwks_file");
        let ca_file: Option<PathBuf> = section.optional("ca_file");
        let algorithms: Vec<Algorithm> = section.list("algorithms", ALGORITHMS);
        if algorithms.is_empty() {
            section.fault("algorithms", "at least one is needed");
        }
        let files = ["jwks_file", "ca_file"].map(|key| section.file_of(key));
        let http = match HttpClient::new(ca_file.as_deref()) {
            Ok(http) => Some(http),
            Err(fault) => {
                section.fault("ca_file", fault);
                None
            }
        };
        let Some(issuer) = issuer.filter(|issuer| !issuer.is_empty()) else {
            section.fault("issuer", "is missing: whose assertions are these?");
            return None;
        };
        let source = match (jwks_uri, jwks_file) {
            (Some(_), Some(_)) => Err((
                "jwks_file",
                "the keys are at jwks_uri or in jwks_file, not both".to_owned(),
            )),
            (Some(address), None) => fetchable(&address)
                .map(KeySource::Address)
                .map_err(|reason| ("jwks_uri", reason)),
            (None, Some(path)) => readable(path)
                .map(KeySource::File)
                .map_err(|reason| ("jwks_file", reason)),
            (None, None) => issuer.parse().map(KeySource::Metadata).map_err(|fault| {
                let reason = format!("{fault}; or say where the keys are: jwks_uri or jwks_file");
                ("issuer", reason)
            }),
        };
        let source = match source {
            Ok(source) => source,
            Err((key, reason)) => {
                section.fault(key, reason);
                return None;
            }
        };
        Some(Self {
            issuer,
            algorithms,
            source,
            files,
            http: http?,
        })
    }

    /// Whether its keys are those of `other`: from the same place, with the same in it if that is a file, fetched in the
    /// same trust.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        (&self.issuer, &self.source, &self.files) == (&other.issuer, &other.source, &other.files)
    }

    /// Its key set, not yet asked for. Call it on the program's own runtime.
    pub(crate) fn key_set(&self) -> RemoteKeySet {
        let http = self.http.clone();
        match &self.source {
            KeySource::Metadata(issuer) => {
                let settings = KeySetSettings {
                    issuer: issuer.clone(),
                    jwks_uri: None,
                    algorithms: Vec::new(),
                    max_stale: DEFAULT_MAX_STALE,
                    kept: None,
                };
                RemoteKeySet::new(http, settings)
            }
            KeySource::Address(url) => RemoteKeySet::at(&self.issuer, http, url.clone()),
            KeySource::File(path) => RemoteKeySet::in_file(&self.issuer, path.clone()),
        }
    }
}

/// An address whose answer nobody on the way can change.
pub(super) fn fetchable(address: &str) -> Result<Url, String> {
    let url: Url = address.parse().map_err(|_| "it is not an address".to_owned())?;
    let is_safe = match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => is_loopback(&host),
        _ => false,
    };
    if !is_safe {
        return Err("it must be https (plain http only on localhost, 127.0.0.1 or [::1])".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user name".to_owned());
    }
    Ok(url)
}

/// A file that holds a key set now. What it holds later is read then.
fn readable(path: PathBuf) -> Result<PathBuf, String> {
    let document = std::fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let set = KeySet::parse(&document).map_err(|fault| format!("{}: {fault}", path.display()))?;
    if set.is_empty() {
        return Err(format!("{} holds no key that can be used", path.display()));
    }
    Ok(path)
}
