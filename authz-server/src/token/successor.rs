//! The successor of a refresh token, kept for an answer that was lost (docs/decisions/0010). It lies sealed beside
//! the hash of its predecessor, under a key that only the predecessor's text gives: a copy of the database opens none.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{HMAC_SHA256, Key, sign};
use shared::secret::{Secret, random_bytes};
use zeroize::Zeroizing;

use crate::error::Failure;

/// What is derived: a key for this use and no other.
const PURPOSE: &[u8] = b"edge-hive successor";

/// Nonce and ciphertext of `successor`, for whoever shows `predecessor` again.
pub(super) fn seal(predecessor: &Secret, successor: &Secret) -> Result<Vec<u8>, Failure> {
    let nonce = random_bytes::<12>()?;
    let mut text = Zeroizing::new(successor.reveal().as_bytes().to_vec());
    let tag = key(predecessor).and_then(|key| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut text)
            .ok()
    });
    let tag = tag.ok_or_else(|| Failure::Internal("a refresh token cannot be sealed".to_owned()))?;
    Ok([nonce.as_slice(), &text, tag.as_ref()].concat())
}

/// Opens what [`seal`] sealed for the same predecessor.
pub(super) fn open(predecessor: &Secret, sealed: &[u8]) -> Option<Secret> {
    let (nonce, text) = sealed.split_first_chunk::<12>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key(predecessor)?.open_in_place(nonce, Aad::empty(), &mut text);
    let text = std::str::from_utf8(opened.ok()?).ok()?;
    Some(Secret::from(text.to_owned()))
}

/// `None` never happens: an HMAC-SHA-256 is as long as the key.
fn key(predecessor: &Secret) -> Option<LessSafeKey> {
    let text = Key::new(HMAC_SHA256, predecessor.reveal().as_bytes());
    let derived = sign(&text, PURPOSE);
    UnboundKey::new(&AES_256_GCM, derived.as_ref())
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use shared::secret::SecretKind;

    use super::*;

    #[test]
    fn a_successor_opens_for_its_predecessor_only() {
        let made = || Secret::generate(SecretKind::RefreshToken).unwrap();
        let (first, second, other) = (made(), made(), made());
        let sealed = seal(&first, &second).unwrap();
        assert_eq!(open(&first, &sealed).unwrap().reveal(), second.reveal());
        assert!(open(&other, &sealed).is_none());
        // Neither does what the database has of it.
        let hash = String::from_utf8_lossy(first.hash().as_bytes()).into_owned();
        assert!(open(&Secret::from(hash), &sealed).is_none());
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert!(open(&first, &changed).is_none());
        assert!(open(&first, &sealed[..11]).is_none());
    }
}
