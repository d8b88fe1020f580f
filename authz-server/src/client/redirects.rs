//! Which grants and redirect URIs go together (RFC 7591 §2.1).

use super::AuthMethod;
use super::register::RegisterFault;
use crate::authorize::redirect_uri;

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

/// The redirect URIs as a JSON list, if they fit the grants and the way the client authenticates.
pub(super) fn checked(
    (grants, uris): (&[String], &[String]),
    auth_methods: &str,
) -> Result<String, RegisterFault> {
    let fault = |text: String| Err(RegisterFault::Metadata(text));
    if let Some(unknown) = grants.iter().find(|grant| !GRANTS.contains(&grant.as_str())) {
        return fault(format!(
            "there is no grant {unknown:?}; there are: {}",
            GRANTS.join(", ")
        ));
    }
    let has = |name: &str| grants.iter().any(|grant| grant == name);
    if auth_methods == AuthMethod::None.as_str() && has("client_credentials") {
        return fault("a public client has no secret, so it cannot use client_credentials; leave out --public, or the grant".to_owned());
    }
    if auth_methods == AuthMethod::None.as_str() && has(TOKEN_EXCHANGE) {
        // RFC 8693 §5: whoever found somebody's token could exchange it.
        return fault("a public client proves nothing, so it cannot use token-exchange; leave out --public, or the grant".to_owned());
    }
    if has("authorization_code") == uris.is_empty() {
        return fault(
            "a redirect URI and the grant authorization_code belong together: give both or neither"
                .to_owned(),
        );
    }
    if has("refresh_token") && !has("authorization_code") && !has(DEVICE_CODE) {
        return fault("refresh_token needs authorization_code or device_code beside it".to_owned());
    }
    if uris.len() > redirect_uri::MAX_COUNT {
        return fault(format!("at most {} redirect URIs", redirect_uri::MAX_COUNT));
    }
    for uri in uris {
        if let Err(reason) = redirect_uri::check(uri) {
            return fault(format!("the redirect URI {uri:?} cannot be used: {reason}"));
        }
    }
    serde_json::to_string(uris).map_err(|e| RegisterFault::Metadata(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grants: &[&str], uris: &[&str], methods: &str) -> Result<String, String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        checked((&owned(grants), &owned(uris)), methods).map_err(|fault| fault.to_string())
    }

    #[test]
    fn grants_and_redirect_uris_go_together() {
        let cb = "https://client.example/cb";
        let list = check(&["authorization_code", "refresh_token"], &[cb], "none").unwrap();
        assert_eq!(list, r#"["https://client.example/cb"]"#);
        check(&[DEVICE_CODE, "refresh_token"], &[], "none").unwrap();
        check(&["client_credentials"], &[], "client_secret_basic").unwrap();
        check(&[JWT_BEARER], &[], "none").unwrap();
        check(&[JWT_BEARER, TOKEN_EXCHANGE], &[], "client_secret_basic").unwrap();
        assert!(check(&[TOKEN_EXCHANGE], &[], "none").is_err());
        for (grants, uris) in [
            (&["authorization_code"][..], &[][..]),
            (&["client_credentials"], &[cb]),
            (&["refresh_token"], &[]),
            (&["password"], &[]),
            (&["implicit"], &[cb]),
            (&["authorization_code"], &["javascript:alert(1)"]),
        ] {
            assert!(check(grants, uris, "client_secret_basic").is_err(), "{grants:?}");
        }
        assert!(check(&["client_credentials"], &[], "none").is_err());
        let many = vec![cb; redirect_uri::MAX_COUNT + 1];
        assert!(check(&["authorization_code"], &many, "none").is_err());
    }
}
