//! Which public keys we admit. ring and OpenSSL both accept keys for which anyone can make signatures (an Ed25519
//! point of small order, RSA with exponent 1); such a key is refused before it is used once.

use ring::agreement;
use serde_json::{Map, Value};

use super::{Algorithm, PublicKey, VerifyingKey, decode_base64url};

/// Why one key of a set is not admitted. The others of the set stay usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// No `kid`: our tokens always name their key.
    #[error("the key has no kid")]
    NoKid,
    /// A key type, curve or algorithm that we do not verify.
    #[error("the key is of a type that is not used here")]
    Unsupported,
    /// `use` or `key_ops` say that it is not for signatures (RFC 7517 §4.2, §4.3).
    #[error("the key is not for signatures")]
    NotForSignatures,
    /// `alg` does not fit the key type.
    #[error("the key's alg does not fit its type")]
    AlgorithmMismatch,
    /// A member is missing, no base64url, or of the wrong length.
    #[error("the key is malformed")]
    Malformed,
    /// Shorter than 2048 bits, longer than 8192, a small exponent, or from a broken generator.
    #[error("the RSA key is weak")]
    WeakRsa,
    /// Small order, not canonical, or not on the curve.
    #[error("the point is not acceptable")]
    BadPoint,
    /// A private or symmetric key where a public one belongs.
    #[error("the key contains secret key material")]
    SecretMaterial,
}

/// Whether a key must have a `kid`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// Tokens of its owner always name their key.
    Needed,
    /// RFC 7517 §4.5.
    Optional,
}

/// The key, the algorithms that fit its type, and the one that it names itself.
type Read = (PublicKey, &'static [Algorithm], Option<Algorithm>);

fn read(jwk: &Map<String, Value>) -> Result<Read, KeyFault> {
    if jwk.get("use").is_some_and(|usage| usage != "sig") || !may_verify(jwk) {
        return Err(KeyFault::NotForSignatures);
    }
    let declared = match jwk.get("alg") {
        None => None,
        // RFC 9864 §2.2 gives what RFC 8037 calls EdDSA a name of its own for this curve.
        Some(Value::String(name)) if name == "Ed25519" => Some(Algorithm::EdDSA),
        Some(Value::String(name)) => Some(name.parse::<Algorithm>().map_err(|_| KeyFault::Unsupported)?),
        Some(_) => return Err(KeyFault::Malformed),
    };
    let (public, fitting) = match text(jwk, "kty").ok_or(KeyFault::Malformed)? {
        "OKP" => (ed25519(jwk)?, &[Algorithm::EdDSA][..]),
        "EC" => elliptic(jwk)?,
        "RSA" => (rsa(jwk)?, RSA_ALGORITHMS),
        _ => return Err(KeyFault::Unsupported),
    };
    Ok((public, fitting, declared))
}

/// Admits one member of a key set; without `alg`, for the first of `algorithms` that fits its type.
pub(super) fn admit(
    jwk: &Map<String, Value>,
    names: Names,
    algorithms: &[Algorithm],
) -> Result<VerifyingKey, KeyFault> {
    let (public, fitting, declared) = read(jwk)?;
    if let PublicKey::Ec(point) = &public {
        check_on_curve(point)?;
    }
    let usual = || {
        algorithms
            .iter()
            .copied()
            .find(|algorithm| fitting.contains(algorithm))
    };
    let algorithm = declared.or_else(usual).unwrap_or(fitting[0]);
    if !fitting.contains(&algorithm) {
        return Err(KeyFault::AlgorithmMismatch);
    }
    let kid = match text(jwk, "kid").filter(|kid| !kid.is_empty()) {
        Some(kid) => kid,
        None if names == Names::Optional && !jwk.contains_key("kid") => "",
        None => return Err(KeyFault::NoKid),
    };
    Ok(VerifyingKey::new(kid.to_owned(), algorithm, public))
}

/// Admits a key that is used at once, and for `algorithm` only. Whether a point lies on its curve is left to that use:
/// ring looks before it verifies, and looking twice would double what a proof costs a node.
pub(super) fn admit_as(
    jwk: &Map<String, Value>,
    algorithm: Algorithm,
    kid: String,
) -> Result<VerifyingKey, KeyFault> {
    let (public, fitting, declared) = read(jwk)?;
    if !fitting.contains(&algorithm) || declared.is_some_and(|declared| declared != algorithm) {
        return Err(KeyFault::AlgorithmMismatch);
    }
    Ok(VerifyingKey::new(kid, algorithm, public))
}

/// RS256 comes first: it is what an RSA key without `alg` is used with.
const RSA_ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member).and_then(Value::as_str)
}

fn may_verify(jwk: &Map<String, Value>) -> bool {
    match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    }
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, KeyFault> {
    text(jwk, member)
        .and_then(decode_base64url)
        .ok_or(KeyFault::Malformed)
}

fn ed25519(jwk: &Map<String, Value>) -> Result<PublicKey, KeyFault> {
    if text(jwk, "crv") != Some("Ed25519") {
        return Err(KeyFault::Unsupported);
    }
    let key: [u8; 32] = bytes(jwk, "x")?.try_into().map_err(|_| KeyFault::Malformed)?;
    if has_small_order(&key) {
        return Err(KeyFault::BadPoint);
    }
    Ok(PublicKey::Ed25519(key))
}

/// Whether an encoded Edwards point has order 1, 2, 4 or 8, or encodes its y coordinate above the field's prime.
fn has_small_order(key: &[u8; 32]) -> bool {
    // y of the points of order 8, little endian.
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *key;
    y[31] &= 0x7f; // the top bit is the sign of x
    let middle_is = |byte: u8| y[1..31].iter().all(|b| *b == byte);
    let order_1_or_4 = y[0] <= 1 && middle_is(0) && y[31] == 0;
    let order_2_or_not_canonical = y[0] >= 0xec && middle_is(0xff) && y[31] == 0x7f;
    order_1_or_4 || order_2_or_not_canonical || ORDER_8.contains(&y)
}

fn elliptic(jwk: &Map<String, Value>) -> Result<(PublicKey, &'static [Algorithm]), KeyFault> {
    let (size, fitting): (usize, &[Algorithm]) = match text(jwk, "crv") {
        Some("P-256") => (32, &[Algorithm::ES256]),
        Some("P-384") => (48, &[Algorithm::ES384]),
        _ => return Err(KeyFault::Unsupported),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != size || y.len() != size {
        return Err(KeyFault::Malformed);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    Ok((PublicKey::Ec(point), fitting))
}

/// An agreement checks that the peer's point is on the curve; its result is thrown away.
fn check_on_curve(point: &[u8]) -> Result<(), KeyFault> {
    let curve = if point.len() == 65 {
        &agreement::ECDH_P256
    } else {
        &agreement::ECDH_P384
    };
    let probe = agreement::EphemeralPrivateKey::generate(curve, &crate::secret::system_random());
    let on_curve = probe.and_then(|probe| {
        agreement::agree_ephemeral(probe, &agreement::UnparsedPublicKey::new(curve, point), |_| ())
    });
    on_curve.map_err(|_| KeyFault::BadPoint)
}

fn rsa(jwk: &Map<String, Value>) -> Result<PublicKey, KeyFault> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // A modulus with leading zeroes would make its length lie (RFC 7518 §6.3.1.1 forbids them).
    let bits = match n.first() {
        None | Some(0) => return Err(KeyFault::Malformed),
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    };
    let odd = n.last().is_some_and(|last| last & 1 == 1);
    let exponent = match e.as_slice() {
        [a] => u64::from(*a),
        [a, b] => u64::from(*a) << 8 | u64::from(*b),
        [a, b, c] => u64::from(*a) << 16 | u64::from(*b) << 8 | u64::from(*c),
        [a, b, c, d] => u64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => return Err(KeyFault::WeakRsa),
    };
    if !(2048..=8192).contains(&bits)
        || !odd
        || exponent < 65_537
        || exponent & 1 == 0
        || has_roca_fingerprint(&n)
    {
        return Err(KeyFault::WeakRsa);
    }
    Ok(PublicKey::Rsa { n, e })
}

/// CVE-2017-15361: moduli of the broken generator lie, modulo each of these primes, in the subgroup of 65537.
fn has_roca_fingerprint(n: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [
        11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
    ];
    PRIMES.into_iter().all(|prime| {
        let residue = n
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * 65_537 % prime;
            power == residue
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(jwk: Value) -> Option<KeyFault> {
        admit(jwk.as_object().unwrap(), Names::Needed, &[]).err()
    }

    /// RFC 8037 appendix A.2.
    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    /// RFC 7515 appendix A.3.1.
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    #[test]
    fn good_keys_are_admitted_with_their_only_algorithm() {
        let key = admit(
            json!({"kty":"OKP","crv":"Ed25519","x":ED,"kid":"a"})
                .as_object()
                .unwrap(),
            Names::Needed,
            &[],
        )
        .unwrap();
        assert_eq!((key.kid(), key.algorithm()), ("a", Algorithm::EdDSA));
        assert_eq!(
            fault(json!({"kty":"EC","crv":"P-256","x":X,"y":Y,"kid":"a","alg":"ES256","use":"sig"})),
            None
        );
    }

    #[test]
    fn keys_for_other_uses_are_not() {
        let with = |member: &str, value: Value| {
            let mut jwk = json!({"kty":"OKP","crv":"Ed25519","x":ED,"kid":"a"});
            jwk[member] = value;
            fault(jwk)
        };
        assert_eq!(with("use", json!("enc")), Some(KeyFault::NotForSignatures));
        assert_eq!(with("use", json!(["enc"])), Some(KeyFault::NotForSignatures));
        assert_eq!(with("use", json!("sig")), None);
        assert_eq!(with("key_ops", json!(["sign"])), Some(KeyFault::NotForSignatures));
        assert_eq!(with("alg", json!("RS256")), Some(KeyFault::AlgorithmMismatch));
        assert_eq!(with("alg", json!("HS256")), Some(KeyFault::Unsupported));
        assert_eq!(with("kid", json!("")), Some(KeyFault::NoKid));
        assert_eq!(with("crv", json!("X25519")), Some(KeyFault::Unsupported));
        assert_eq!(with("key_ops", json!(["verify"])), None);
    }

    #[test]
    fn points_that_anyone_can_sign_for_are_not() {
        let ed = |bytes: [u8; 32]| {
            let x = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
            fault(json!({"kty":"OKP","crv":"Ed25519","x":x,"kid":"a"}))
        };
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let mut signed_identity = one;
        signed_identity[31] = 0x80;
        for bytes in [[0; 32], one, minus_one, signed_identity, [0xff; 32]] {
            assert_eq!(ed(bytes), Some(KeyFault::BadPoint), "{bytes:?}");
        }
        let off_curve = json!({"kty":"EC","crv":"P-256","x":X,"y":X,"kid":"a"});
        assert_eq!(fault(off_curve), Some(KeyFault::BadPoint));
    }

    #[test]
    fn weak_rsa_keys_are_not() {
        let rsa = |n: Vec<u8>, e: &[u8]| {
            let encode =
                |b: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, b);
            fault(json!({"kty":"RSA","n":encode(&n),"e":encode(e),"kid":"a"}))
        };
        let mut good = vec![0xc5; 256];
        good[255] = 0x6b;
        assert_eq!(rsa(good.clone(), &[1, 0, 1]), None);
        assert_eq!(rsa(good.clone(), &[1]), Some(KeyFault::WeakRsa));
        assert_eq!(rsa(good.clone(), &[3]), Some(KeyFault::WeakRsa));
        assert_eq!(rsa(good[..128].to_vec(), &[1, 0, 1]), Some(KeyFault::WeakRsa));
        let mut even = good.clone();
        even[255] = 0x6a;
        assert_eq!(rsa(even, &[1, 0, 1]), Some(KeyFault::WeakRsa));
        // 65537 itself, as a "modulus" of the right length, has the fingerprint.
        assert!(has_roca_fingerprint(&[1, 0, 1]));
        assert!(!has_roca_fingerprint(&good));
    }
}
