//! `cnf`: the key to which a token is bound (RFC 7800 §3.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Check, TokenFault};

/// Thumbprints of the keys that must be shown with the token: base64url of a SHA-256, 43 characters. At least one is
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The JWK thumbprint of the key that signs DPoP proofs (RFC 9449 §6.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// The thumbprint of the certificate of the TLS connection (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Confirmation {
    /// Reads the claim. A member that is not understood here asks for a proof that nobody would check, so it is refused
    /// (RFC 7800 §3.1).
    pub fn read(claim: &Value) -> Result<Self, TokenFault> {
        let fault = |reason: &str| TokenFault::new(Check::Binding, reason);
        let members = claim.as_object().ok_or_else(|| fault("cnf is not an object"))?;
        let mut read = Self::default();
        for (name, value) in members {
            let thumbprint = value
                .as_str()
                .filter(|text| is_thumbprint(text))
                .map(str::to_owned);
            let place = match name.as_str() {
                "jkt" => &mut read.jkt,
                "x5t#S256" => &mut read.certificate,
                _ => return Err(fault("cnf asks for a proof that is not understood here")),
            };
            *place = Some(thumbprint.ok_or_else(|| fault("cnf holds something else than a thumbprint"))?);
        }
        if members.is_empty() {
            return Err(fault("cnf is empty"));
        }
        Ok(read)
    }
}

/// Whether `text` is the base64url of a SHA-256.
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thumbprints_are_read_and_all_else_is_refused() {
        let print = "A".repeat(43);
        let read = Confirmation::read(&json!({"jkt": print, "x5t#S256": print})).unwrap();
        assert_eq!(
            (read.jkt, read.certificate),
            (Some(print.clone()), Some(print.clone()))
        );
        for bad in [
            json!({}),
            json!("x"),
            json!(null),
            json!({"jkt": "short"}),
            json!({"jkt": 7}),
            json!({"jwk": {}}),
            json!({"jkt": print, "kid": "a"}),
            json!({"x5t#S256": format!("{}+", "A".repeat(42))}),
        ] {
            assert_eq!(
                Confirmation::read(&bad).unwrap_err().check,
                Check::Binding,
                "{bad}"
            );
        }
    }
}
