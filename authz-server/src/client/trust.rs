//! What a person's consent rests on: to whom their codes go, and how that one proves who it is.

use super::Details;
use crate::db::client::{ClientRow, Consent};

/// What becomes of remembered consent when `before` turns into `after`: whoever receives codes now, or proves itself
/// with other keys, is not known to be whom people were asked about.
pub(crate) fn consent_after(before: &ClientRow, after: &ClientRow) -> Consent {
    if basis(before) == basis(after) {
        Consent::Stays
    } else {
        Consent::IsVoid
    }
}

/// Compared as a whole; damaged details are like no others.
fn basis(row: &ClientRow) -> (&str, &str, Option<Details>) {
    let details: Option<Details> = serde_json::from_str(&row.details).ok();
    let keys = details.map(|details| Details {
        jwks: details.jwks,
        jwks_uri: details.jwks_uri,
        tls_client_auth_subject_dn: details.tls_client_auth_subject_dn,
        tls_client_auth_san_dns: details.tls_client_auth_san_dns,
        tls_client_auth_san_uri: details.tls_client_auth_san_uri,
        tls_client_auth_san_ip: details.tls_client_auth_san_ip,
        tls_client_auth_san_email: details.tls_client_auth_san_email,
        ..Details::default()
    });
    (&row.redirect_uris, &row.auth_methods, keys)
}
