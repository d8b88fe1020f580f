//! `[federation]`: an OpenID Provider with whose accounts people may sign in here.

use std::path::PathBuf;

use shared::config::{NamedFile, Reader};
use shared::scope::Scope;
use shared::secret::Secret;
use shared::uri::Issuer;

/// The provider and who we are to it.
#[derive(Clone, Debug)]
pub(crate) struct Federation {
    /// Its identifier, byte for byte; unlike ours it may end in a slash.
    pub(crate) issuer: String,
    /// The same without that slash: what addresses are made from.
    pub(crate) base: Issuer,
    /// Our client id there.
    pub(crate) client_id: String,
    /// Our secret there; without one we are a public client.
    pub(crate) client_secret: Option<Secret>,
    /// What the button says.
    pub(crate) name: String,
    /// What we ask for.
    pub(crate) scopes: Scope,
    /// Whether people whom nobody has registered here get an account when they come.
    pub(crate) create_accounts: bool,
    /// Certificate authorities to trust besides the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// What was in that file.
    pub(crate) authorities: NamedFile,
}

impl PartialEq for Federation {
    fn eq(&self, other: &Self) -> bool {
        let all = |one: &Self| {
            (
                (one.issuer.clone(), one.client_id.clone(), one.name.clone()),
                one.client_secret.as_ref().map(Secret::hash),
                (one.scopes.clone(), one.create_accounts),
                one.authorities.clone(),
            )
        };
        all(self) == all(other)
    }
}

impl Federation {
    /// Reads the section; `None` when it names no issuer.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let mut section = reader.section("federation");
        let issuer: Option<String> = section.optional("issuer");
        let client_id: Option<String> = section.optional("client_id");
        let secret_file: Option<PathBuf> = section.optional("client_secret_file");
        let name: Option<String> = section.optional("name");
        let scopes: Option<Scope> = section.value("scopes", "openid profile email");
        let create_accounts = section.value("create_accounts", "true").unwrap_or(true);
        let ca_file = section.optional("ca_file");
        let authorities = section.file_of("ca_file");
        let Some(issuer) = issuer else {
            if client_id.is_some() || secret_file.is_some() {
                section.fault("issuer", "is missing: who is the provider?");
            }
            return None;
        };
        let base: Option<Issuer> = match issuer.strip_suffix('/').unwrap_or(&issuer).parse() {
            Ok(base) => Some(base),
            Err(fault) => {
                section.fault("issuer", fault);
                None
            }
        };
        if client_id.is_none() {
            section.fault("client_id", "is missing: register this server with the provider");
        }
        if scopes.as_ref().is_some_and(|scopes| !scopes.contains("openid")) {
            section.fault("scopes", "must contain openid");
        }
        let client_secret = secret_file.and_then(|path| match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Some(Secret::from(text.trim().to_owned())),
            Ok(_) => {
                section.fault("client_secret_file", "is empty");
                None
            }
            Err(fault) => {
                section.fault(
                    "client_secret_file",
                    format!("cannot read {}: {fault}", path.display()),
                );
                None
            }
        });
        let base = base?;
        Some(Self {
            name: name.unwrap_or_else(|| base.url().host_str().unwrap_or_default().to_owned()),
            issuer,
            base,
            client_id: client_id?,
            client_secret,
            scopes: scopes?,
            create_accounts,
            ca_file,
            authorities,
        })
    }
}
