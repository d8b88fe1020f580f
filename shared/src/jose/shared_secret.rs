//! A secret that an issuer shares with us, for HMAC signatures (RFC 7518 §3.2). It is no [`super::VerifyingKey`], and
//! its algorithms are no [`super::Algorithm`]: what is checked with a public key cannot be checked with bytes that
//! everybody knows (RFC 8725 §2.1).

use std::fmt;
use std::str::FromStr;

use ring::hmac;

use super::UnknownAlgorithm;

/// An HMAC algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum MacAlgorithm {
    HS256,
    HS384,
    HS512,
}

impl MacAlgorithm {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// RFC 7518 §3.2: a shorter secret is weaker than the algorithm. In bytes.
    pub fn least_bytes(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

impl FromStr for MacAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::HS256, Self::HS384, Self::HS512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

/// The secret is too short for its algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it has {found} bytes; {} needs {} at least", .algorithm.as_str(), .algorithm.least_bytes())]
pub struct ShortSecret {
    /// What it is for.
    pub algorithm: MacAlgorithm,
    /// Its length in bytes.
    pub found: usize,
}

/// A shared secret, for one algorithm.
#[derive(Clone)]
pub struct SharedSecret {
    algorithm: MacAlgorithm,
    key: hmac::Key,
}

impl SharedSecret {
    /// The secret of these bytes.
    pub fn new(algorithm: MacAlgorithm, bytes: &[u8]) -> Result<Self, ShortSecret> {
        if bytes.len() < algorithm.least_bytes() {
            return Err(ShortSecret {
                algorithm,
                found: bytes.len(),
            });
        }
        let hash = match algorithm {
            MacAlgorithm::HS256 => hmac::HMAC_SHA256,
            MacAlgorithm::HS384 => hmac::HMAC_SHA384,
            MacAlgorithm::HS512 => hmac::HMAC_SHA512,
        };
        Ok(Self {
            algorithm,
            key: hmac::Key::new(hash, bytes),
        })
    }

    /// The only algorithm that it is used with.
    pub fn algorithm(&self) -> MacAlgorithm {
        self.algorithm
    }

    /// Whether `signature` over `message` was made with this secret. Takes the same time for every wrong one.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key, message, signature).is_ok()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({})", self.algorithm.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_verifies_its_own_and_shows_nothing() {
        for (algorithm, hash) in [
            (MacAlgorithm::HS256, hmac::HMAC_SHA256),
            (MacAlgorithm::HS384, hmac::HMAC_SHA384),
            (MacAlgorithm::HS512, hmac::HMAC_SHA512),
        ] {
            let bytes = [b's'; 64];
            let secret = SharedSecret::new(algorithm, &bytes[..algorithm.least_bytes()]).unwrap();
            let own = hmac::sign(&hmac::Key::new(hash, &bytes[..algorithm.least_bytes()]), b"m");
            assert!(secret.verifies(b"m", own.as_ref()));
            assert!(!secret.verifies(b"n", own.as_ref()));
            // A shortened one is no shorter way in.
            assert!(!secret.verifies(b"m", &own.as_ref()[..16]) && !secret.verifies(b"m", b""));
            assert!(!format!("{secret:?}").contains("ss"));
            let short = SharedSecret::new(algorithm, &bytes[1..algorithm.least_bytes()]);
            assert!(short.is_err_and(|fault| fault.found + 1 == algorithm.least_bytes()));
        }
    }
}
