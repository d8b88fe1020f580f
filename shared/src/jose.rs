//! The one place that touches the JOSE and signature crates: keys admitted with care, signatures checked by ring,
//! and (feature `sign`) made by josekit and ring; assertions about ourselves by ring alone.

mod admission;
mod client_key;
mod compact;
mod ed25519;
mod key_set;
mod lone_key;
mod public_key_info;
mod shared_secret;
#[cfg(feature = "sign")]
mod sign;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature;

pub use self::admission::KeyFault;
pub use self::client_key::{ClientKey, ClientKeyFault};
pub use self::ed25519::{Ed25519Key, NoEd25519Key};
pub use self::key_set::{KeySet, KeySetFault, MAX_KEYS, MAX_SET_BYTES, MAX_TRIES};
pub use self::lone_key::thumbprint;
pub use self::shared_secret::{MacAlgorithm, SharedSecret, ShortSecret};
#[cfg(feature = "sign")]
pub use self::sign::{SigningFault, SigningKey};

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). Names are compared with case, as RFC 8725 §3.1 asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Algorithm {
    EdDSA,
    ES256,
    ES384,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

impl Algorithm {
    /// Every algorithm with a public key that we verify. There is no `none`; [`MacAlgorithm`] has those with a shared
    /// secret. ES512 is not among them: ring has no P-521.
    pub const ALL: [Self; 9] = [
        Self::EdDSA,
        Self::ES256,
        Self::ES384,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
    ];

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is none of [`Algorithm::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown or forbidden signature algorithm")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

/// A public key that passed admission, tied to one algorithm: what a token says cannot change how it is checked
/// (RFC 8725 §3.1). Cheap to clone: whoever remembers what a key has signed remembers the key with it.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Arc<Admitted>);

#[derive(PartialEq, Eq)]
struct Admitted {
    kid: String,
    algorithm: Algorithm,
    public: PublicKey,
}

#[derive(PartialEq, Eq)]
enum PublicKey {
    Ed25519([u8; 32]),
    /// Uncompressed point, `04 ‖ x ‖ y`.
    Ec(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl VerifyingKey {
    fn new(kid: String, algorithm: Algorithm, public: PublicKey) -> Self {
        Self(Arc::new(Admitted {
            kid,
            algorithm,
            public,
        }))
    }

    /// The key's identifier (`kid`).
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The only algorithm that this key is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The 32 bytes of an Ed25519 key (RFC 8032 §5.1.5); `None` for any other.
    pub fn ed25519(&self) -> Option<&[u8; 32]> {
        match &self.0.public {
            PublicKey::Ed25519(key) => Some(key),
            PublicKey::Ec(_) | PublicKey::Rsa { .. } => None,
        }
    }

    /// Whether `signature` over `message` was made by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0.public {
            PublicKey::Ed25519(key) => signature::UnparsedPublicKey::new(&signature::ED25519, key)
                .verify(message, signature)
                .is_ok(),
            PublicKey::Ec(point) => {
                let curve = match self.0.algorithm {
                    Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => &signature::ECDSA_P256_SHA256_FIXED,
                };
                signature::UnparsedPublicKey::new(curve, point)
                    .verify(message, signature)
                    .is_ok()
            }
            PublicKey::Rsa { n, e } => {
                let padding = match self.0.algorithm {
                    Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                signature::RsaPublicKeyComponents { n, e }
                    .verify(padding, message, signature)
                    .is_ok()
            }
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.0.algorithm, self.0.kid)
    }
}

/// Decodes base64url without padding; refuses every other spelling (RFC 7515 §2, RFC 8725 §3.13 of the revision).
pub fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The SHA-256 of `bytes` as base64url: RFC 7638 thumbprints, `ath`, cache keys in print.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}
