//! As much of a certification request (RFC 2986) as an authority must read.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

/// A public key that somebody else has the private half of.
pub(super) struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// id-ecPublicKey, prime256v1 and the beginning of an uncompressed point (RFC 5480 §2).
const P256: [u8; 23] = [
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The key of a request that is signed with it, and names all of `names`.
pub(super) fn public_key(request: &[u8], names: &[String]) -> Option<Point> {
    let (whole, _) = value(request)?;
    let (_, after_body) = value(whole)?;
    let body = &whole[..whole.len() - after_body.len()];
    let (_, signature) = value(after_body)?;
    // A bit string begins with the number of unused bits.
    let (signature, _) = value(signature)?;
    let point = point(body)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(body, signature.get(1..)?)
        .ok()?;
    let are_named = names.iter().all(|name| contains(body, &dns_name(name)));
    are_named.then(|| Point(point.to_vec()))
}

/// The first P-256 point.
pub(super) fn point(bytes: &[u8]) -> Option<&[u8]> {
    let begin = bytes.windows(P256.len()).position(|window| window == P256)? + P256.len() - 1;
    bytes.get(begin..begin + 65)
}

/// A `dNSName` (RFC 5280 §4.2.1.6).
pub(super) fn dns_name(name: &str) -> Vec<u8> {
    [&[0x82, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat()
}

pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The content of the first element, and what follows it.
fn value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(*bytes.get(1)?);
    let (length, from) = if first < 0x80 {
        (first, 2)
    } else {
        let count = first - 0x80;
        let digits = bytes.get(2..2 + count)?;
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, 2 + count)
    };
    Some((bytes.get(from..from + length)?, &bytes[from + length..]))
}
