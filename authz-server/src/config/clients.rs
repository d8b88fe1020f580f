//! `[clients]`: how clients come to be known that no operator has registered.

use std::fmt;
use std::str::FromStr;

use ::web::rates::Rate;
use shared::config::Reader;
use shared::http_client::HostPattern;
use shared::scope::Scope;

use super::registration::Registration;

/// How clients come to be known.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// Whether clients may register themselves, and for how long that lasts.
    pub(crate) registration: Registration,
    /// Whether a `client_id` may be the address of the client's own metadata.
    pub(crate) metadata_documents: DocumentPolicy,
    /// Whose documents are fetched under [`DocumentPolicy::Allowlist`].
    pub(crate) document_hosts: Vec<HostPattern>,
    /// Whether every authorization request must be pushed first (RFC 9126 §5).
    pub(crate) require_pushed_requests: bool,
    /// What clients may ask for that no operator has registered.
    pub(crate) scopes: Scope,
    /// Fetches that one address may cause.
    pub(crate) fetches_per_address: Rate,
    /// Fetches from one host.
    pub(crate) fetches_per_host: Rate,
}

/// `clients.metadata_documents`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DocumentPolicy {
    /// Of any host.
    On,
    /// Of the hosts that are listed.
    Allowlist,
    /// Never; pinned ones only.
    Off,
}

impl FromStr for DocumentPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "on" => Ok(Self::On),
            "allowlist" => Ok(Self::Allowlist),
            "off" => Ok(Self::Off),
            _ => Err("must be \"on\", \"allowlist\" or \"off\""),
        }
    }
}

impl fmt::Display for DocumentPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Allowlist => "allowlist",
            Self::Off => "off",
        })
    }
}

impl Clients {
    /// Reads the section.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let registration = Registration::read(reader);
        let mut clients = reader.section("clients");
        let metadata_documents = clients
            .value("metadata_documents", "on")
            .unwrap_or(DocumentPolicy::Off);
        let document_hosts: Vec<HostPattern> = clients.list("document_hosts", "");
        let is_listed = metadata_documents == DocumentPolicy::Allowlist;
        if is_listed && document_hosts.is_empty() {
            clients.fault("document_hosts", "is missing: whose documents are allowed?");
        }
        if !is_listed && !document_hosts.is_empty() {
            let reason = "counts only with metadata_documents = \"allowlist\"";
            clients.fault("document_hosts", reason);
        }
        let require_pushed_requests = clients.value("require_pushed_requests", "false").unwrap_or(true);
        let mut rate = |key, default| clients.value(key, default).unwrap_or_else(Rate::unlimited);
        Self {
            registration,
            fetches_per_address: rate("fetches_per_address", "20/min"),
            fetches_per_host: rate("fetches_per_host", "60/min"),
            scopes: clients
                .value("scopes", "mcp:read mcp:call mcp:resources mcp:subscribe")
                .unwrap_or_default(),
            metadata_documents,
            document_hosts,
            require_pushed_requests,
        }
    }

    /// Whether documents are relied on as by `other`: those of the same hosts, for the same scopes.
    pub(crate) fn has_documents_of(&self, other: &Self) -> bool {
        let hosts = |one: &Self| {
            (
                one.metadata_documents,
                one.document_hosts.clone(),
                one.scopes.clone(),
            )
        };
        hosts(self) == hosts(other)
    }

    /// Whether as much may be fetched as by `other`.
    pub(crate) fn has_fetches_of(&self, other: &Self) -> bool {
        let rates = |one: &Self| (one.fetches_per_address, one.fetches_per_host);
        rates(self) == rates(other)
    }

    /// Whether documents of `host` are fetched.
    pub(crate) fn fetches_from(&self, host: &str) -> bool {
        match self.metadata_documents {
            DocumentPolicy::On => true,
            DocumentPolicy::Allowlist => self.document_hosts.iter().any(|known| known.matches(host)),
            DocumentPolicy::Off => false,
        }
    }
}
