//! How a client proves who it is, and the keys with which it does.

use std::net::IpAddr;

use serde_json::Value;
use shared::jose::KeySet;

use super::members::{Members, must};
use super::{MAX_LIST, MetadataFault, Origin, Policy, addresses};
use crate::client::authenticate::DistinguishedName;
use crate::client::{AuthMethod, Details};

/// The client's methods: the one it names, or those among which it lets us choose (OpenID Connect RP Metadata Choices).
pub(super) fn methods(members: &Members<'_>, policy: &Policy) -> Result<Vec<AuthMethod>, MetadataFault> {
    let wrong = |name: &str| {
        must(
            "token_endpoint_auth_method",
            "be a method of this server's metadata",
        )
        .about(name)
    };
    let choices = members.list("token_endpoint_auth_methods_supported", MAX_LIST)?;
    // Methods that are unknown here are no choice; their client has others.
    let choices: Vec<AuthMethod> = choices
        .iter()
        .flatten()
        .filter_map(|name| name.parse().ok())
        .collect();
    let named = members.text("token_endpoint_auth_method")?;
    let named = named
        .map(|name| name.parse().map_err(|_| wrong(name)))
        .transpose()?;
    let methods = match named {
        // A secret works in the header and in the body if the client says that it can do both.
        Some(AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
            if named.is_some_and(|named| choices.contains(&named)) =>
        {
            choices
                .into_iter()
                .filter(|method| method.uses_secret())
                .collect()
        }
        Some(named) => vec![named],
        None if !choices.is_empty() => chosen(choices, policy),
        None if members.value("token_endpoint_auth_methods_supported").is_some() => {
            return Err(must(
                "token_endpoint_auth_methods_supported",
                "name a method of this server's metadata",
            ));
        }
        // It can have no secret, since everybody reads the document.
        None if policy.origin == Origin::Document => vec![AuthMethod::None],
        None => vec![AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost],
    };
    let has_secret = methods.iter().any(|method| method.uses_secret());
    if policy.origin == Origin::Document
        && (has_secret
            || ["client_secret", "client_secret_expires_at"]
                .iter()
                .any(|name| members.value(name).is_some()))
    {
        return Err(MetadataFault::metadata(
            "a client whose metadata everybody reads can have no secret",
        ));
    }
    Ok(methods)
}

/// A registration gets one kind of method, the first that it names: it is told which. Nobody can be told anything about
/// a document, so any method that it names works.
fn chosen(choices: Vec<AuthMethod>, policy: &Policy) -> Vec<AuthMethod> {
    if policy.origin == Origin::Document {
        return choices
            .into_iter()
            .filter(|method| !method.uses_secret())
            .collect();
    }
    let first = choices.first().copied();
    let same = |method: &AuthMethod| {
        first.is_some_and(|first| *method == first || (method.uses_secret() && first.uses_secret()))
    };
    choices.into_iter().filter(same).collect()
}

/// `jwks` or `jwks_uri`, never both (RFC 7591 §2).
pub(super) fn keys(
    members: &Members<'_>,
    policy: &Policy,
) -> Result<(Option<Value>, Option<String>), MetadataFault> {
    let jwks = members.value("jwks");
    let uri = members.text("jwks_uri")?;
    if jwks.is_some() && uri.is_some() {
        return Err(MetadataFault::metadata("give jwks or jwks_uri, not both"));
    }
    if let Some(jwks) = jwks {
        check_key_set(jwks)?;
    }
    if let Some(uri) = uri {
        let is_usable =
            addresses::https(uri).is_some_and(|url| policy.may_be_private || addresses::is_public(&url));
        let is_local = policy.may_be_private && is_on_this_machine(uri);
        if !is_usable && !is_local {
            return Err(must("jwks_uri", "be an https address that the public Internet reaches").about(uri));
        }
    }
    Ok((jwks.cloned(), uri.map(str::to_owned)))
}

/// Plain http to this machine, for operators only.
fn is_on_this_machine(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        url.scheme() == "http" && url.host().is_some_and(|host| shared::uri::is_loopback(&host))
    })
}

/// A set in which every key can be seen by anybody, and one at least can be used.
fn check_key_set(jwks: &Value) -> Result<(), MetadataFault> {
    let wrong = |why: &str| {
        MetadataFault::metadata(
            "jwks must be a key set of public keys with at least one that can be used here",
        )
        .about(why)
    };
    let set =
        KeySet::parse_unnamed(jwks.to_string().as_bytes()).map_err(|fault| wrong(&fault.to_string()))?;
    // A certificate of the client's own making is found by its bytes, whatever the key in it.
    let listed = jwks.get("keys").and_then(Value::as_array);
    let has_certificate = listed.into_iter().flatten().any(|key| key.get("x5c").is_some());
    if set.is_empty() && !has_certificate {
        let first = set.rejected().first();
        return Err(wrong(
            &first.map_or_else(|| "no keys".to_owned(), |(_, fault)| fault.to_string()),
        ));
    }
    Ok(())
}

/// Whether the client has what its methods need.
pub(super) fn check(details: &Details, methods: &[AuthMethod]) -> Result<(), MetadataFault> {
    let has_keys = details.jwks.is_some() || details.jwks_uri.is_some();
    let needs_keys = |method: &&AuthMethod| {
        matches!(
            method,
            AuthMethod::PrivateKeyJwt | AuthMethod::SelfSignedTlsClientAuth
        )
    };
    if let Some(method) = methods.iter().find(needs_keys)
        && !has_keys
    {
        return Err(MetadataFault::metadata(format!(
            "{method} needs jwks or jwks_uri"
        )));
    }
    let names = [
        &details.tls_client_auth_subject_dn,
        &details.tls_client_auth_san_dns,
        &details.tls_client_auth_san_uri,
        &details.tls_client_auth_san_ip,
        &details.tls_client_auth_san_email,
    ];
    let count = names.into_iter().flatten().count();
    // RFC 8705 §2.1.2: exactly one, so that nobody has to guess which one counts.
    if count > 1 || (methods.contains(&AuthMethod::TlsClientAuth) && count != 1) {
        return Err(MetadataFault::metadata(
            "tls_client_auth needs exactly one of tls_client_auth_subject_dn, _san_dns, _san_uri, _san_ip and _san_email",
        ));
    }
    if let Some(name) = &details.tls_client_auth_subject_dn
        && let Err(fault) = name.parse::<DistinguishedName>()
    {
        let sentence = format!("tls_client_auth_subject_dn {fault}");
        return Err(MetadataFault::metadata(sentence).about(name));
    }
    if let Some(ip) = &details.tls_client_auth_san_ip
        && ip.parse::<IpAddr>().is_err()
    {
        return Err(must("tls_client_auth_san_ip", "be an IP address").about(ip));
    }
    Ok(())
}
