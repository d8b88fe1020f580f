//! Nonces (RFC 9449 §8, §9) without memory: each is a MAC over a minute, so every instance with the same key gives out
//! and knows the same ones, also after it was started anew.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::clock::UnixSeconds;

/// For how long one nonce is given out.
const SLOT: i64 = 60;
/// Bytes of the MAC that are sent.
const LENGTH: usize = 16;

/// The nonces of one server.
pub struct Nonces {
    key: hmac::Key,
    required: bool,
}

impl Nonces {
    /// From its first moment at the instance whose clock is ahead to its last at the one that is behind.
    pub const LIFE: Duration = Duration::from_secs(3 * SLOT.unsigned_abs());

    /// Nonces under `key`: proofs need one, or they may leave it out.
    pub fn new(key: &[u8], required: bool) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            required,
        }
    }

    /// Whether a proof without a nonce is refused.
    pub fn are_required(&self) -> bool {
        self.required
    }

    /// The nonce of this minute, for the header `DPoP-Nonce`.
    pub fn current(&self, now: UnixSeconds) -> String {
        URL_SAFE_NO_PAD.encode(&self.of(slot(now)).as_ref()[..LENGTH])
    }

    /// Whether `nonce` is of this minute or the last, or of the next at an instance whose clock is ahead of ours.
    pub(super) fn is_ours(&self, nonce: &str, now: UnixSeconds) -> bool {
        let Ok(shown) = URL_SAFE_NO_PAD.decode(nonce) else {
            return false;
        };
        let is_of = |slot: i64| {
            let right = self.of(slot);
            let equal: bool =
                subtle::ConstantTimeEq::ct_eq(&right.as_ref()[..LENGTH], shown.as_slice()).into();
            equal
        };
        [-1, 0, 1].into_iter().any(|offset| is_of(slot(now) + offset))
    }

    fn of(&self, slot: i64) -> hmac::Tag {
        hmac::sign(&self.key, &slot.to_be_bytes())
    }
}

fn slot(now: UnixSeconds) -> i64 {
    now.0.div_euclid(SLOT)
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonces(required: {})", self.required)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_wherever_the_key_is_and_for_three_minutes_at_most() {
        let (ours, sibling, stranger) = (
            Nonces::new(b"k", true),
            Nonces::new(b"k", false),
            Nonces::new(b"other", true),
        );
        let now = UnixSeconds(1_800_000_000);
        let nonce = ours.current(now);
        assert!(sibling.is_ours(&nonce, now) && !stranger.is_ours(&nonce, now));
        assert!(ours.is_ours(&nonce, now + Duration::from_secs(60)));
        assert!(ours.is_ours(&nonce, now - Duration::from_secs(1)));
        assert!(!ours.is_ours(&nonce, now + Duration::from_secs(120)));
        assert!(!ours.is_ours(&nonce, now - Duration::from_secs(61)));
        assert_ne!(nonce, ours.current(now + Duration::from_secs(60)));
        for forged in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA", &nonce[..21], "%%"] {
            assert!(!ours.is_ours(forged, now), "{forged}");
        }
    }
}
