//! The seal on `requestState`.
//!
//! A client carries the state of a call from one round to the next. It is the client's to alter, so what comes back
//! counts only when its HMAC still fits (MCP 2026-07-28, multi round-trip requests).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use shared::secret::{NoRandomness, random_bytes};

/// Seals and opens states with a key that lives as long as the program.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    /// A seal with a fresh key.
    ///
    /// # Errors
    ///
    /// Fails when the operating system gives no randomness.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let key = random_bytes::<32>()?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// `state`, readable by anyone and forgeable by no one: `base64url(state).base64url(mac)`.
    pub(crate) fn close(&self, state: &str) -> String {
        let mac = hmac::sign(&self.0, state.as_bytes());
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(state),
            URL_SAFE_NO_PAD.encode(mac)
        )
    }

    /// The state that [`Seal::close`] was given; `None` when this program never sealed it so.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        let (state, mac) = sealed.split_once('.')?;
        let state = URL_SAFE_NO_PAD.decode(state).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        hmac::verify(&self.0, &state, &mac).ok()?;
        String::from_utf8(state).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_closed_and_nothing_else() {
        let seal = Seal::generate().unwrap();
        let sealed = seal.close("confirm:1");

        assert_eq!(seal.open(&sealed).as_deref(), Some("confirm:1"));
        assert_eq!(seal.open(&format!("{sealed}-TAMPERED")), None);
        assert_eq!(seal.open(&sealed.replacen('.', "", 1)), None);

        let (_, mac) = sealed.split_once('.').unwrap();
        let other_state = format!("{}.{mac}", URL_SAFE_NO_PAD.encode("confirm:2"));
        assert_eq!(seal.open(&other_state), None);
    }

    #[test]
    fn refuses_the_seal_of_another_program() {
        let sealed = Seal::generate().unwrap().close("confirm:1");
        assert_eq!(Seal::generate().unwrap().open(&sealed), None);
    }
}
