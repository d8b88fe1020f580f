//! A client's secret, in the `Authorization` header or in the body (RFC 6749 §2.3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::secret::Secret;

use crate::params::decode;

/// RFC 6749 §2.3.1: base64 of `id:secret`, both form-encoded first. Our ids and secrets read the same with and
/// without that encoding, so clients that forget it work too.
pub(super) fn basic(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    if id.is_empty() || secret.is_empty() {
        return None;
    }
    let secret = decode(secret.as_bytes()).ok()?.into_owned();
    // No id of ours has control characters, and Postgres takes no NUL in a text.
    let id = decode(id.as_bytes())
        .ok()
        .filter(|id| !id.contains(char::is_control))?;
    Some((id.into_owned(), Secret::from(secret)))
}

#[cfg(test)]
mod tests {
    use shared::secret::SecretHash;

    use super::*;
    use crate::client::Client;
    use crate::db::client_secret::ClientSecretRow;
    use crate::db::tests::NOW;
    use crate::token::testing::{by_place, client_row};

    fn header(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn basic_is_read_with_and_without_form_encoding() {
        for (scheme, text, secret) in [
            ("Basic", "c_1:ehs_x-y", "ehs_x-y"),
            ("bAsIc", "c_1:a%2Bb%3A", "a+b:"),
            ("BASIC", "c_1:a:b", "a:b"),
        ] {
            let value = format!("{scheme} {}", STANDARD.encode(text));
            let (id, found) = basic(&value).unwrap();
            assert_eq!((id.as_str(), found.reveal()), ("c_1", secret));
        }
    }

    #[test]
    fn loosely_written_basic_is_refused() {
        let good = header("c_1:s");
        for bad in [
            "Basic",
            "Basic ",
            "Bearer x",
            "Basic !!!!",
            &header("c_1"),
            &header("c_1:"),
            &header(":s"),
            &header("c_1:%zz"),
            &format!("{good} x"),
            &format!("{good}\t"),
        ] {
            assert!(basic(bad).is_none(), "{bad}");
        }
        assert!(basic(&good).is_some());
    }

    /// CA-08. Only hashes are compared, and that takes as long wherever they differ; that it would show is seen of a
    /// comparison that stops.
    #[test]
    fn ca_08_a_wrong_secret_takes_as_long_wherever_it_is_wrong() {
        let right = SecretHash::of(b"ehs_right");
        let row = ClientSecretRow {
            secret_hash: right.as_bytes().to_vec(),
            expires_at: None,
        };
        let client = Client::from_rows(client_row("client_credentials", "a"), vec![row]).unwrap();
        let differing = |at: usize| {
            let mut bytes = right.as_bytes().to_vec();
            bytes[at] ^= 1;
            SecretHash::from_stored(&bytes).unwrap()
        };
        let (early, late) = (differing(0), differing(31));
        assert!(client.has_secret(&right, NOW));
        let ours = by_place(&|hash| client.has_secret(hash, NOW), (&early, &late));
        assert!(!ours.is_more_than(0.02), "{ours:?}");
        let stops = |hash: &SecretHash| right.as_bytes().iter().zip(hash.as_bytes()).all(|(a, b)| a == b);
        let other = by_place(&stops, (&early, &late));
        assert!(other.is_more_than(0.02), "{other:?}");
    }
}
