//! A public key as a certificate carries it (`SubjectPublicKeyInfo`, RFC 5280 §4.1.2.7). DER has one encoding of each
//! key, so two keys are the same when their bytes are.

use super::{PublicKey, VerifyingKey};

/// `AlgorithmIdentifier`s: id-Ed25519 (RFC 8410 §3), id-ecPublicKey with secp256r1 and secp384r1 (RFC 5480 §2.1.1),
/// rsaEncryption (RFC 3279 §2.3.1).
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
const P256: &[u8] = &[
    0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
];
const P384: &[u8] = &[
    0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22,
];
const RSA: &[u8] = &[
    0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

impl VerifyingKey {
    /// The key as a certificate would carry it.
    pub fn public_key_info(&self) -> Vec<u8> {
        match &self.0.public {
            PublicKey::Ed25519(key) => info(ED25519, key),
            PublicKey::Ec(point) => info(if point.len() == 65 { P256 } else { P384 }, point),
            PublicKey::Rsa { n, e } => {
                let numbers = [integer(n), integer(e)].concat();
                info(RSA, &element(SEQUENCE, &numbers))
            }
        }
    }
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    // A bit string begins with the number of bits that are left over.
    let key = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, &key].concat())
}

/// A positive number: its highest bit must not be taken for a sign.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(bytes.len().saturating_sub(1));
    let bytes = &bytes[start..];
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => element(INTEGER, &[&[0], bytes].concat()),
        _ => element(INTEGER, bytes),
    }
}

/// Tag, length, content (X.690 §8.1).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut written = vec![tag];
    let length = content.len();
    if length < 0x80 {
        written.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        written.push(0x80 | bytes.len() as u8);
        written.extend_from_slice(bytes);
    }
    written.extend_from_slice(content);
    written
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::jose::KeySet;

    /// What rcgen writes into a certificate, and what we make of the same key as a JWK.
    #[test]
    fn it_is_what_certificates_carry() {
        use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
        for (algorithm, curve) in [
            (&PKCS_ED25519, "Ed25519"),
            (&PKCS_ECDSA_P256_SHA256, "P-256"),
            (&PKCS_ECDSA_P384_SHA384, "P-384"),
        ] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let raw = pair.der_bytes();
            let jwk = if curve == "Ed25519" {
                json!({"kty": "OKP", "crv": curve, "x": encode(raw)})
            } else {
                let (x, y) = raw[1..].split_at(raw.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            };
            let set = KeySet::parse_unnamed(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
            let key = set.keys().next().unwrap();
            assert_eq!(key.public_key_info(), pair.subject_public_key_info(), "{curve}");
        }
    }

    #[test]
    fn numbers_are_positive_and_lengths_are_short() {
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[1, 0, 1]), [2, 3, 1, 0, 1]);
        assert_eq!(integer(&[0, 0, 7]), [2, 1, 7]);
        assert_eq!(element(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(element(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[0; 257])[..4], [4, 0x82, 1, 1]);
    }
}
