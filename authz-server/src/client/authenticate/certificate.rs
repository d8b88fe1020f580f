//! Mutual TLS: a client proves who it is with the certificate of its connection (RFC 8705 §2). That it has the private
//! key, the handshake has shown; here it is decided whether the certificate is the client's.

use std::net::IpAddr;
use std::sync::Arc;

use ::web::address::ClientAddress;
use shared::clock::UnixSeconds;
use shared::tls::ClientCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{Checked, DistinguishedName};
use crate::app::App;
use crate::client::keys::Keys;
use crate::client::{AuthMethod, Client, Details};

/// The certificate of a connection, and who is at its end.
pub(super) struct Shown {
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) from: ClientAddress,
}

/// The methods by which a certificate proves anything, in the order in which they are tried.
const METHODS: [AuthMethod; 2] = [AuthMethod::TlsClientAuth, AuthMethod::SelfSignedTlsClientAuth];

impl Shown {
    /// The method of a client that comes with nothing else than its id: the first for a certificate that it listed and
    /// that works here. It is public if it may be and shows none; one that is shown must prove who it is.
    pub(super) fn method(&self, client: &Client, takes: impl Fn(AuthMethod) -> bool) -> AuthMethod {
        let lists = |method: &AuthMethod| client.auth_methods.contains(method);
        let works = METHODS.into_iter().find(|method| lists(method) && takes(*method));
        match works {
            Some(method) if self.certificate.is_some() => method,
            _ if lists(&AuthMethod::None) => AuthMethod::None,
            Some(method) => method,
            // None of them works here; trying says why.
            None => METHODS.into_iter().find(lists).unwrap_or(AuthMethod::None),
        }
    }
}

/// Whether `shown` proves that `client` is asking: by `method`, or by another that it is registered for.
pub(super) async fn check(
    app: &App,
    client: &Client,
    (method, shown): (AuthMethod, &Shown),
    now: UnixSeconds,
) -> Checked {
    let (Some(certificate), from) = (&shown.certificate, shown.from) else {
        return Ok(Err("it showed no certificate".to_owned()));
    };
    let Ok((_, own)) = X509Certificate::from_der(certificate.own()) else {
        return Ok(Err("its certificate cannot be read".to_owned()));
    };
    if method == AuthMethod::SelfSignedTlsClientAuth {
        return is_registered(app, client, &own, from).await;
    }
    let reason = match is_vouched_for(app, client, (certificate, &own), now) {
        Ok(()) => return Ok(Ok(())),
        Err(reason) => reason,
    };
    let other = AuthMethod::SelfSignedTlsClientAuth;
    if !client.auth_methods.contains(&other) || !app.takes(other) {
        return Ok(Err(reason));
    }
    let registered = is_registered(app, client, &own, from).await?;
    Ok(registered.map_err(|second| format!("{reason}; {second}")))
}

/// RFC 8705 §2.1: an authority vouches for the certificate, and the client's name stands in it.
fn is_vouched_for(
    app: &App,
    client: &Client,
    (shown, own): (&ClientCertificate, &X509Certificate<'_>),
    now: UnixSeconds,
) -> Result<(), String> {
    let Some(authorities) = &app.client_authorities else {
        return Err("tls.client_ca_file names no authorities".to_owned());
    };
    match authorities.vouch_for(shown, now) {
        Err(reason) => Err(format!("no authority vouches for its certificate: {reason}")),
        Ok(()) if is_named(own, &client.details) => Ok(()),
        Ok(()) => Err("its certificate names somebody else".to_owned()),
    }
}

/// RFC 8705 §2.2: the certificate, or its public key, is among those that the client registered. Nobody else vouches
/// for it, so neither its names nor its dates mean anything.
async fn is_registered(
    app: &App,
    client: &Client,
    shown: &X509Certificate<'_>,
    from: ClientAddress,
) -> Checked {
    let client_keys = Arc::clone(&app.in_force().client_keys);
    let keys = match client_keys.of(client, from).await {
        Ok(keys) => keys,
        Err(fault) => return fault.unproven(client).map(Err),
    };
    if has(&keys, shown) {
        return Ok(Ok(()));
    }
    match client_keys.newer(client, &keys, from).await {
        Ok(Some(newer)) if has(&newer, shown) => Ok(Ok(())),
        Ok(_) => Ok(Err("its certificate is none that it registered".to_owned())),
        Err(fault) => fault.unproven(client).map(Err),
    }
}

/// A new certificate for a registered key proves the same as the old one: that the client has the key.
fn has(keys: &Keys, shown: &X509Certificate<'_>) -> bool {
    let key = shown.public_key().raw;
    keys.certificates.iter().any(|known| known == shown.as_raw())
        || keys.set.keys().any(|known| known.public_key_info() == key)
}

/// RFC 8705 §2.1.2: the one name that the client is registered with stands in the certificate. A registration with two
/// would leave open which of them counts.
fn is_named(certificate: &X509Certificate<'_>, details: &Details) -> bool {
    let registered = [
        (&details.tls_client_auth_subject_dn, Name::Subject),
        (&details.tls_client_auth_san_dns, Name::Dns),
        (&details.tls_client_auth_san_uri, Name::Uri),
        (&details.tls_client_auth_san_ip, Name::Ip),
        (&details.tls_client_auth_san_email, Name::Email),
    ];
    let mut registered = registered
        .into_iter()
        .filter_map(|(name, kind)| Some((name.as_deref()?, kind)));
    let (Some((expected, kind)), None) = (registered.next(), registered.next()) else {
        return false;
    };
    if let Name::Subject = kind {
        let found = DistinguishedName::of(certificate.subject());
        return expected
            .parse()
            .is_ok_and(|expected: DistinguishedName| found == Some(expected));
    }
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return false;
    };
    alternatives
        .value
        .general_names
        .iter()
        .any(|found| kind.is_met(found, expected))
}

/// Where in a certificate a name stands. A name of one kind is never taken for one of another (CA-33).
#[derive(Clone, Copy)]
enum Name {
    Subject,
    Dns,
    Uri,
    Ip,
    Email,
}

impl Name {
    fn is_met(self, found: &GeneralName<'_>, expected: &str) -> bool {
        match (self, found) {
            // A host name has no case (RFC 4343), and no wildcard is anybody's name.
            (Self::Dns, GeneralName::DNSName(name)) => name.eq_ignore_ascii_case(expected),
            (Self::Uri, GeneralName::URI(name)) => *name == expected,
            (Self::Email, GeneralName::RFC822Name(name)) => *name == expected,
            (Self::Ip, GeneralName::IPAddress(bytes)) => {
                expected.parse::<IpAddr>().is_ok_and(|address| match address {
                    IpAddr::V4(address) => address.octets() == **bytes,
                    IpAddr::V6(address) => address.octets() == **bytes,
                })
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
