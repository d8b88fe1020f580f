//! Clients and resources for the tests of this folder.

use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::jose::Algorithm;

use crate::client::Client;
use crate::db::client::ClientRow;
use crate::registry::Resource;

/// The row of a client with these grants and scopes.
pub(crate) fn client_row(grants: &str, scopes: &str) -> ClientRow {
    ClientRow {
        client_id: "c_x".to_owned(),
        name: "x".to_owned(),
        client_type: "service".to_owned(),
        auth_methods: "client_secret_basic".to_owned(),
        grants: grants.to_owned(),
        scopes: scopes.to_owned(),
        resources: "[]".to_owned(),
        created_at: 0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris: "[]".to_owned(),
        approves_as: None,
    }
}

/// A client with these grants and scopes.
pub(crate) fn client(grants: &str, scopes: &str) -> Client {
    Client::from_rows(client_row(grants, scopes), Vec::new()).unwrap()
}

/// A resource with these scopes.
pub(crate) fn resource(scopes: &str) -> Resource {
    Resource {
        uri: "https://rs/mcp".to_owned(),
        lookup_key: "https://rs/mcp".to_owned(),
        scopes: scopes.parse().unwrap(),
        algorithm: Algorithm::EdDSA,
        access_ttl: Duration::from_secs(60),
        client_id: None,
        created_at: UnixSeconds(0),
    }
}
