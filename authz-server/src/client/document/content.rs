//! What stands in a metadata document, and what it makes of a client.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::scope::Scope;

use super::Document;
use crate::client::metadata::{self, Metadata, Policy};
use crate::client::trust::consent_after;
use crate::client::{Client, Details, Origin};
use crate::db::client::{ClientRow, Consent};
use crate::db::client_document::{DocumentRow, Impact};

/// Who writes a document can be anybody. Where its keys are is judged when they are fetched: on a local network, by a
/// rule of the operator's. Plain http is for addresses that operators name, so [`read`] refuses it.
const POLICY: Policy = Policy {
    may_be_private: true,
    ..Policy::DOCUMENT
};

/// A client as its document describes it. `grantable` is what clients may have that nobody vouches for. The error is
/// for the log.
pub(super) fn read(
    client_id: &str,
    content: &[u8],
    grantable: &Scope,
    now: UnixSeconds,
) -> Result<ClientRow, String> {
    let members = metadata::object(content).map_err(|fault| fault.to_string())?;
    // Simple string comparison (RFC 3986 §6.2.1): nothing is decoded or put in normal form.
    if members.get("client_id").and_then(Value::as_str) != Some(client_id) {
        return Err("its client_id is not the address that it was fetched from".to_owned());
    }
    let described = Metadata::read(&members, &POLICY).map_err(|fault| fault.to_string())?;
    if described.redirect_uris.is_empty() {
        return Err("it has no redirect_uris".to_owned());
    }
    let keys_at = described.details.jwks_uri.as_deref();
    if keys_at.is_some_and(|uri| !uri.starts_with("https://")) {
        return Err("its jwks_uri is not https".to_owned());
    }
    let row = described.new_row(client_id.to_owned(), Origin::Document, now);
    let mut row = row.map_err(|fault| fault.to_string())?;
    let wanted = described.scopes.as_ref();
    let scopes = wanted.map_or_else(|| grantable.clone(), |wanted| wanted.intersection(grantable));
    if scopes.is_empty() && wanted.is_some_and(|wanted| !wanted.is_empty()) {
        return Err("none of its scopes can be had by a client that nobody registered".to_owned());
    }
    row.scopes = scopes.to_string();
    Ok(row)
}

/// A client that is written down once somebody allows it something.
pub(super) fn client(row: ClientRow, document: DocumentRow) -> Result<Arc<Client>, String> {
    let mut client = Client::from_rows(row.clone(), Vec::new()).map_err(|fault| fault.to_string())?;
    client.document = Some(Document {
        fetched_at: UnixSeconds(document.fetched_at),
        fresh_until: UnixSeconds(document.fresh_until),
        is_pinned: document.is_pinned,
        unwritten: Some(Box::new((row, document))),
    });
    Ok(Arc::new(client))
}

/// What a change of a document means for people who have granted its client something. Whoever takes a host over can
/// publish keys and redirect URIs of their own there, and must not come into what was granted to somebody else.
pub(super) fn impact(before: &ClientRow, after: &ClientRow) -> Impact {
    let set =
        |row: &ClientRow| -> BTreeSet<String> { row.auth_methods.split(' ').map(str::to_owned).collect() };
    let (old, new): (Details, Details) = (details(before), details(after));
    let is_weaker = !set(after).is_subset(&set(before));
    let keys = |details: &Details| details.jwks.as_ref().map(key_list).unwrap_or_default();
    let (old_keys, new_keys) = (keys(&old), keys(&new));
    // A rotation keeps one key of before for a while; what shares none with it may be another's.
    let has_other_keys =
        old.jwks_uri != new.jwks_uri || (old_keys != new_keys && old_keys.is_disjoint(&new_keys));
    // A certificate proves who it is as a key does (RFC 8705 §2.1.2).
    let certificate = |details: &Details| {
        [
            details.tls_client_auth_subject_dn.clone(),
            details.tls_client_auth_san_dns.clone(),
            details.tls_client_auth_san_uri.clone(),
            details.tls_client_auth_san_ip.clone(),
            details.tls_client_auth_san_email.clone(),
        ]
    };
    if is_weaker || has_other_keys || certificate(&old) != certificate(&new) {
        return Impact::Ends;
    }
    match consent_after(before, after) {
        Consent::Stays => Impact::None,
        Consent::IsVoid => Impact::AskAgain,
    }
}

fn details(row: &ClientRow) -> Details {
    serde_json::from_str(&row.details).unwrap_or_default()
}

/// Every key as text; members of an object are in the order of their names.
fn key_list(jwks: &Value) -> BTreeSet<String> {
    let keys = jwks.get("keys").and_then(Value::as_array);
    keys.into_iter().flatten().map(Value::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "https://docs.example/client";
    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn document(more: &Value) -> Value {
        let mut document = json!({
            "client_id": ID, "client_name": "Example", "redirect_uris": ["http://127.0.0.1/cb"],
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    }

    fn row(more: &Value) -> Result<ClientRow, String> {
        let grantable: Scope = "a b".parse().unwrap();
        read(ID, document(more).to_string().as_bytes(), &grantable, NOW)
    }

    fn key(x: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": x, "x": x})
    }

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const Y: &str = "2-Jj2UvNCvQiUPNYRgSi0cJSPiJI6Rs6D0UTeEpQVj8";

    #[test]
    fn what_a_document_makes_of_a_client() {
        let row = row(&json!({})).unwrap();
        assert_eq!(
            (row.origin.as_str(), row.auth_methods.as_str()),
            ("document", "none")
        );
        assert_eq!(
            (row.grants.as_str(), row.scopes.as_str()),
            ("authorization_code", "a b")
        );
    }

    #[test]
    fn cimd_04_10_11_14_what_it_may_not_say() {
        for (more, part) in [
            (
                json!({"client_id": "https://docs.example/Client"}),
                "not the address",
            ),
            (
                json!({"client_id": "https://docs.example:443/client"}),
                "not the address",
            ),
            (
                json!({"client_id": "https://docs.example/client/"}),
                "not the address",
            ),
            (
                json!({"client_id": "https://docs.example/%63lient"}),
                "not the address",
            ),
            (json!({"client_id": null}), "not the address"),
            (json!({"client_name": null}), "client_name"),
            (json!({"redirect_uris": null}), "redirect"),
            (json!({"client_secret": "x"}), "no secret"),
            (json!({"client_secret_expires_at": 0}), "no secret"),
            (
                json!({"token_endpoint_auth_method": "client_secret_basic"}),
                "no secret",
            ),
            (
                json!({"token_endpoint_auth_method": "client_secret_jwt"}),
                "token_endpoint_auth_method",
            ),
            (json!({"token_endpoint_auth_method": "private_key_jwt"}), "jwks"),
            (json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}), "jwks"),
            (
                json!({"jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": X, "d": X}]}}),
                "jwks",
            ),
            (
                json!({"jwks_uri": "http://127.0.0.1:6379/keys"}),
                "jwks_uri is not https",
            ),
            (json!({"jwks_uri": "http://docs.example/keys"}), "jwks_uri"),
            (json!({"grant_types": ["client_credentials"]}), "grant_types"),
            (json!({"scope": "admin root"}), "scopes"),
        ] {
            let fault = row(&more).unwrap_err();
            assert!(fault.contains(part), "{more}: {fault}");
        }
    }

    #[test]
    fn cimd_14_what_is_too_much_is_left_out() {
        let grants = json!(["authorization_code", "client_credentials", "refresh_token"]);
        let row = row(&json!({"grant_types": grants, "scope": "b admin"})).unwrap();
        assert_eq!(row.grants, "authorization_code refresh_token");
        assert_eq!(row.scopes, "b");
    }

    #[test]
    fn what_people_relied_on() {
        let with = |more: Value| row(&more).unwrap();
        let uri = |uri: &str| with(json!({"redirect_uris": [uri]}));
        let keys = |keys: Vec<Value>| {
            with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": keys}}))
        };
        let keys_at =
            |uri: &str| with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri}));
        let plain = || with(json!({}));
        assert_eq!(
            impact(&plain(), &with(json!({"client_name": "Other"}))),
            Impact::None
        );
        assert_eq!(impact(&plain(), &uri("http://127.0.0.1/other")), Impact::AskAgain);
        let (old, both, new) = (keys(vec![key(X)]), keys(vec![key(X), key(Y)]), keys(vec![key(Y)]));
        assert_eq!(impact(&old, &old), Impact::None);
        assert_eq!(
            (impact(&old, &both), impact(&both, &new)),
            (Impact::AskAgain, Impact::AskAgain)
        );
        assert_eq!(impact(&old, &new), Impact::Ends);
        assert_eq!(impact(&old, &plain()), Impact::Ends);
        assert_eq!(impact(&plain(), &old), Impact::Ends);
        let (here, there) = (
            keys_at("https://docs.example/keys"),
            keys_at("https://other.example/keys"),
        );
        assert_eq!(
            (impact(&here, &here), impact(&here, &there)),
            (Impact::None, Impact::Ends)
        );
        let choices = with(
            json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks_uri": "https://docs.example/keys"}),
        );
        assert_eq!(impact(&choices, &here), Impact::AskAgain);
        assert_eq!(impact(&here, &choices), Impact::Ends);
    }

    #[test]
    fn a_certificate_of_another_name_is_another_key() {
        let with = |name: &str, value: &str| {
            row(&json!({"token_endpoint_auth_method": "tls_client_auth", name: value})).unwrap()
        };
        for (name, mine, theirs) in [
            ("tls_client_auth_subject_dn", "CN=mine", "CN=theirs"),
            ("tls_client_auth_san_dns", "mine.example", "theirs.example"),
            (
                "tls_client_auth_san_uri",
                "https://mine.example/",
                "https://theirs.example/",
            ),
            ("tls_client_auth_san_ip", "192.0.2.1", "192.0.2.2"),
            (
                "tls_client_auth_san_email",
                "me@mine.example",
                "me@theirs.example",
            ),
        ] {
            let before = with(name, mine);
            assert_eq!(impact(&before, &before), Impact::None, "{name}");
            assert_eq!(impact(&before, &with(name, theirs)), Impact::Ends, "{name}");
        }
        let other = with("tls_client_auth_san_dns", "mine.example");
        assert_eq!(
            impact(&with("tls_client_auth_subject_dn", "CN=mine"), &other),
            Impact::Ends
        );
    }
}
