//! Which scopes a client can be granted at a resource: those of the resource, and those of OpenID Connect, which
//! belong to this server.

use shared::scope::Scope;

use super::GrantType;
use crate::client::Client;
use crate::registry::Resource;

/// Asks for an ID token, and opens userinfo (OpenID Connect Core §3.1.2.1).
pub(crate) const OPENID: &str = "openid";
/// Asks for a refresh token (OpenID Connect Core §11). It never stands in an access token: no resource knows it.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";
/// The scopes that are about the person and not about a resource (OpenID Connect Core §5.4, §11).
pub(crate) const IDENTITY: [&str; 4] = ["email", OFFLINE_ACCESS, OPENID, "profile"];

/// The grants in which no person decides.
const IMPERSONAL: [GrantType; 3] = [
    GrantType::ClientCredentials,
    GrantType::JwtBearer,
    GrantType::TokenExchange,
];

/// Everything that `client` can be granted at `resource`: what both know, and for clients of people the identity
/// scopes, which nobody needs to list.
pub(crate) fn grantable(client: &Client, resource: &Resource) -> Scope {
    let shared = client.scopes.intersection(&resource.scopes);
    if is_of_people(client) {
        shared.union(&identity())
    } else {
        shared
    }
}

/// The part of `scope` that an access token may carry.
pub(super) fn of_access_token(scope: &Scope) -> Scope {
    without(scope, OFFLINE_ACCESS)
}

/// Whether people grant this client anything.
fn is_of_people(client: &Client) -> bool {
    client
        .grants
        .iter()
        .any(|grant| !IMPERSONAL.iter().any(|known| known.as_str() == grant))
}

pub(crate) fn identity() -> Scope {
    // The names are constants of the grammar; a test reads them.
    Scope::from_tokens(IDENTITY).unwrap_or_default()
}

fn without(scope: &Scope, token: &str) -> Scope {
    // A part of a scope is a scope.
    Scope::from_tokens(scope.iter().filter(|known| *known != token)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::testing::{client, resource};

    #[test]
    fn identity_scopes_are_for_clients_of_people_and_need_no_listing() {
        let node = resource("a b");
        let of = |grants: &str, scopes: &str| grantable(&client(grants, scopes), &node).to_string();
        assert_eq!(of("client_credentials", "a c"), "a");
        assert_eq!(
            of("authorization_code refresh_token", "a c"),
            "a email offline_access openid profile"
        );
        assert_eq!(
            of("urn:ietf:params:oauth:grant-type:device_code", ""),
            "email offline_access openid profile"
        );
    }

    #[test]
    fn no_access_token_carries_offline_access() {
        let scope = of_access_token(&"a offline_access openid".parse().unwrap());
        assert_eq!(scope.to_string(), "a openid");
    }
}
