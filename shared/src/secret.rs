//! Secrets: values that nobody may see, and the hashes that are all we keep of them.

use std::fmt;
use std::io::{ErrorKind, Read};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What an opaque value is for. Each kind has a prefix by which secret scanners find a leaked one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretKind {
    /// An authorization code.
    AuthorizationCode,
    /// What a node asks about a person's answer with.
    ApprovalPoll,
    /// A client's secret (RFC 6749 §2.3.1).
    ClientSecret,
    /// A device code (RFC 8628).
    DeviceCode,
    /// A one-time code that enrols a node.
    Invite,
    /// A refresh token.
    RefreshToken,
    /// A registration access token (RFC 7592).
    RegistrationAccessToken,
    /// The cookie of a browser that is signed in.
    Session,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::AuthorizationCode,
        Self::ApprovalPoll,
        Self::ClientSecret,
        Self::DeviceCode,
        Self::Invite,
        Self::RefreshToken,
        Self::RegistrationAccessToken,
        Self::Session,
    ];

    /// The kind whose prefix a text has.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))
    }

    /// The prefix, `eha_` for example.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "eha_",
            Self::ApprovalPoll => "ehq_",
            Self::ClientSecret => "ehs_",
            Self::DeviceCode => "ehd_",
            Self::Invite => "ehi_",
            Self::RefreshToken => "ehr_",
            Self::RegistrationAccessToken => "ehg_",
            Self::Session => "ehb_",
        }
    }
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct NoRandomness;

/// `N` bytes from the operating system: the one door to randomness.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    system_random().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// ring's handle on the same source, for the calls of ring that ask for one.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn system_random() -> SystemRandom {
    SystemRandom::new()
}

/// A value whose text must not be seen: no `Display`, nothing in `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// 256 random bits, base64url, behind the prefix of `kind`.
    pub fn generate(kind: SecretKind) -> Result<Self, NoRandomness> {
        let bytes = Zeroizing::new(random_bytes::<32>()?);
        let mut text = Zeroizing::new(String::with_capacity(47));
        text.push_str(kind.prefix());
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Ok(Self(text))
    }

    /// The text itself. Every call is a place to look at in a review.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash that may be stored.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret. A fast hash suffices because our secrets have 256 random bits.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes `secret`.
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(hash)
    }

    /// Hashes everything that `source` has, however much, and tells its length in bytes.
    pub fn of_all(mut source: impl Read) -> std::io::Result<(Self, u64)> {
        let (mut context, mut length) = (Context::new(&SHA256), 0);
        let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    context.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Ok((Self(hash), length))
    }

    /// A hash as it was stored; `None` when it is not 32 bytes.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Compares in constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_256_bits_and_shows_nothing() {
        let secret = Secret::generate(SecretKind::ClientSecret).unwrap();
        let rest = secret.reveal().strip_prefix("ehs_").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(rest).unwrap().len(), 32);
        assert_eq!(
            format!("{secret:?} {:?}", secret.hash()),
            "Secret(…) SecretHash(…)"
        );
        assert_ne!(
            secret.reveal(),
            Secret::generate(SecretKind::ClientSecret).unwrap().reveal()
        );
    }

    #[test]
    fn a_hash_survives_storage() {
        let secret = Secret::from("ehs_x".to_owned());
        assert_eq!(
            SecretHash::from_stored(secret.hash().as_bytes()),
            Some(secret.hash())
        );
        assert_ne!(secret.hash(), Secret::from("ehs_y".to_owned()).hash());
        assert_eq!(SecretHash::from_stored(&[0; 31]), None);
    }
}
