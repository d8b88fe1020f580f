//! Which grants and redirect URIs go together (RFC 7591 §2.1).

use super::AuthMethod;
use super::metadata::MetadataFault;

/// The grants that a client can be registered for.
const GRANTS: [&str; 6] = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    DEVICE_CODE,
    JWT_BEARER,
    TOKEN_EXCHANGE,
];
/// RFC 8628 §3.4.
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 7523 §2.1.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 8693 §2.1.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The grants that a client can have for which no operator vouches.
const FOR_STRANGERS: [&str; 3] = ["authorization_code", "refresh_token", DEVICE_CODE];

/// Whether a client for which no operator vouches can have `grant`; `acts_alone` if it was invited to do without people.
/// An assertion is worth nothing unless somebody whom the operator believes made it for this very client, which proves
/// that it is the one.
pub(super) fn is_for_strangers(grant: &str, is_public: bool, acts_alone: bool) -> bool {
    FOR_STRANGERS.contains(&grant)
        || (!is_public && grant == JWT_BEARER)
        || (!is_public && acts_alone && grant == "client_credentials")
}

/// Whether the grants fit the redirect URIs and the ways in which the client authenticates.
pub(super) fn check(grants: &[String], uris: &[String], methods: &[AuthMethod]) -> Result<(), MetadataFault> {
    if let Some(unknown) = grants.iter().find(|grant| !GRANTS.contains(&grant.as_str())) {
        let sentence = format!(
            "a grant of grant_types is unknown; there are {}",
            GRANTS.join(", ")
        );
        return Err(MetadataFault::metadata(sentence).about(unknown));
    }
    let has = |name: &str| grants.iter().any(|grant| grant == name);
    if methods == [AuthMethod::None] && has("client_credentials") {
        return Err(MetadataFault::metadata(
            "a public client has no secret, so it cannot use client_credentials; leave out --public, or the grant",
        ));
    }
    if methods == [AuthMethod::None] && has(TOKEN_EXCHANGE) {
        // RFC 8693 §5: whoever found somebody's token could exchange it.
        return Err(MetadataFault::metadata(
            "a public client proves nothing, so it cannot use token-exchange; leave out --public, or the grant",
        ));
    }
    if has("authorization_code") && uris.is_empty() {
        return Err(MetadataFault::redirect_uri(
            "the grant authorization_code needs a redirect URI",
        ));
    }
    if !has("authorization_code") && !uris.is_empty() {
        return Err(MetadataFault::metadata(
            "a redirect URI and the grant authorization_code belong together: give both or neither",
        ));
    }
    if has("refresh_token") && !has("authorization_code") && !has(DEVICE_CODE) {
        return Err(MetadataFault::metadata(
            "refresh_token needs authorization_code or device_code beside it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_and_redirect_uris_go_together() {
        let with = |grants: &[&str], uris: &[&str], method: AuthMethod| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            check(&owned(grants), &owned(uris), &[method]).is_ok()
        };
        let (secret, public) = (AuthMethod::ClientSecretBasic, AuthMethod::None);
        let cb = "https://client.example/cb";
        assert!(with(&["authorization_code", "refresh_token"], &[cb], public));
        assert!(with(&[DEVICE_CODE, "refresh_token"], &[], public));
        assert!(with(&["client_credentials"], &[], secret));
        assert!(is_for_strangers(JWT_BEARER, false, false) && !is_for_strangers(JWT_BEARER, true, false));
        assert!(
            !is_for_strangers(TOKEN_EXCHANGE, false, true)
                && !is_for_strangers("client_credentials", true, true)
        );
        assert!(with(&[JWT_BEARER], &[], public));
        assert!(with(&[JWT_BEARER, TOKEN_EXCHANGE], &[], secret));
        assert!(!with(&[TOKEN_EXCHANGE], &[], public));
        for (grants, uris) in [
            (&["authorization_code"][..], &[][..]),
            (&["client_credentials"], &[cb]),
            (&["refresh_token"], &[]),
            (&["password"], &[]),
            (&["implicit"], &[cb]),
        ] {
            assert!(!with(grants, uris, secret), "{grants:?}");
        }
        assert!(!with(&["client_credentials"], &[], public));
    }
}
