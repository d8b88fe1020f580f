//! The API as a protected resource of this very server: what tokens for it are for. Nobody registers it, and nobody can
//! change it.

use shared::jose::Algorithm;
use shared::scope::Scope;
use shared::uri::{Issuer, ResourceUri};

use super::right;
use crate::config::Config;
use crate::registry::Resource;

/// Below the issuer.
pub(crate) const PATH: &str = "/admin/v1";

/// What people see when they are asked for it.
pub(crate) const NAME: &str = "Administration of this server";

/// What stands in the `aud` of a token for this API, wherever it is served.
pub(crate) fn uri(issuer: &Issuer) -> String {
    issuer.endpoint(PATH)
}

/// The resource as the endpoints see it.
pub(crate) fn built_in(config: &Config) -> Resource {
    let uri = uri(&config.issuer);
    Resource {
        lookup_key: uri
            .parse::<ResourceUri>()
            .map_or_else(|_| uri.clone(), |parsed| parsed.lookup_key()),
        name: NAME.to_owned(),
        // The names are of the grammar; a test reads them.
        scopes: Scope::from_tokens(right::scopes().iter().map(String::as_str)).unwrap_or_default(),
        algorithm: Algorithm::EdDSA,
        access_ttl: config.access_ttl,
        client_id: None,
        authorization_details_types: Vec::new(),
        created_at: shared::clock::UnixSeconds(0),
        is_built_in: true,
        uri,
    }
}
