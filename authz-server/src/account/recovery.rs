//! Recovery codes: for the day when the device with the second factor is gone. Each works once.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use ring::hmac;
use shared::clock::UnixSeconds;
use shared::secret::{NoRandomness, Secret, SecretHash, random_bytes};
use zeroize::Zeroizing;

use super::Browser;
use super::view::Reader;
use crate::app::App;
use crate::db::{self, DbFault, Tx};
use crate::error::Failure;
use crate::pages::RecoveryCodes;

/// How many a person gets at once.
const COUNT: usize = 10;
/// Characters of one code: 60 random bits.
const LENGTH: usize = 12;
/// Crockford's base 32: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Codes that nobody has seen yet.
pub(super) struct NewCodes(Vec<Secret>);

impl NewCodes {
    /// Makes ten.
    pub(super) fn generate() -> Result<Self, NoRandomness> {
        let codes: Result<Vec<_>, _> = (0..COUNT).map(|_| one()).collect();
        codes.map(Self)
    }

    /// The page that shows them, this once.
    pub(super) fn show(&self, app: &App, request: &HttpRequest, browser: &Browser) -> HttpResponse {
        let codes = self.reveal();
        let reader = Reader::new(app, request, browser, None);
        let template = RecoveryCodes {
            page: reader.page(),
            codes: &codes,
        };
        reader.show(&template, StatusCode::OK)
    }

    fn reveal(&self) -> Vec<String> {
        self.0.iter().map(|code| code.reveal().to_owned()).collect()
    }

    /// Gives them to a person in place of all earlier ones. The caller holds the account.
    pub(super) async fn keep(
        &self,
        tx: &mut Tx,
        (key, user_id): (&hmac::Key, &str),
        now: UnixSeconds,
    ) -> Result<(), DbFault> {
        let hashes: Vec<SecretHash> = self
            .0
            .iter()
            .filter_map(|code| hash(key, code.reveal()))
            .collect();
        db::recovery_code::replace(tx, user_id, &hashes, now).await
    }
}

/// Makes new codes for a person with a second factor; the old ones are worth nothing from then on. `None` when they
/// have no second factor.
pub(super) async fn renew(app: &App, user_id: &str, now: UnixSeconds) -> Result<Option<NewCodes>, Failure> {
    let codes = NewCodes::generate()?;
    let kept = app
        .db
        .write(async |tx| {
            if !db::totp::hold(tx, user_id).await? {
                return Ok(false);
            }
            codes
                .keep(tx, (app.master().recovery_codes(), user_id), now)
                .await?;
            Ok(true)
        })
        .await?;
    Ok(kept.then_some(codes))
}

/// What is stored of a code, however it was typed; `None` when the text cannot be one. A code has 60 bits, which a
/// plain hash would not protect from whoever reads the database, so it is keyed ([`MasterKey::recovery_codes`]).
///
/// [`MasterKey::recovery_codes`]: crate::keys::MasterKey::recovery_codes
pub(super) fn hash(key: &hmac::Key, typed: &str) -> Option<SecretHash> {
    let mut code = Zeroizing::new(Vec::with_capacity(LENGTH));
    for byte in typed.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
        let byte = match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        };
        if !ALPHABET.contains(&byte) || code.len() == LENGTH {
            return None;
        }
        code.push(byte);
    }
    if code.len() != LENGTH {
        return None;
    }
    SecretHash::from_stored(hmac::sign(key, &code).as_ref())
}

fn one() -> Result<Secret, NoRandomness> {
    let bytes = Zeroizing::new(random_bytes::<LENGTH>()?);
    let mut text = String::with_capacity(LENGTH + 2);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    #[test]
    fn the_database_alone_does_not_tell_a_code() {
        let code = "0a1b-cdef-gh10";
        assert_ne!(hash(&key(1), code), hash(&key(2), code));
        assert_ne!(hash(&key(1), code), Some(SecretHash::of(b"0a1bcdefgh10")));
    }

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let key = key(1);
        let hash = |typed| hash(&key, typed);
        let code = hash("0a1b-cdef-gh10").unwrap();
        for typed in ["0A1BCDEFGH10", " oaib cdef ghlo", "0a1b-cdef-gh1o"] {
            assert_eq!(hash(typed), Some(code), "{typed}");
        }
        for typed in [
            "",
            "0a1b-cdef-gh1",
            "0a1b-cdef-gh100",
            "0a1b-cdef-gh1u",
            "0a1b-cdef-gh1é",
        ] {
            assert_eq!(hash(typed), None, "{typed}");
        }
    }

    #[test]
    fn ten_different_codes_of_three_groups() {
        let codes = NewCodes::generate().unwrap().reveal();
        let unique: std::collections::HashSet<_> = codes.iter().collect();
        assert_eq!((codes.len(), unique.len()), (10, 10));
        for code in &codes {
            assert!(
                code.len() == 14 && code.split('-').all(|group| group.len() == 4),
                "{code}"
            );
            assert!(hash(&key(1), code).is_some());
        }
    }
}
