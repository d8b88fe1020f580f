//! A key set that its issuer signed (OpenID Federation 1.0 §5.2.1, `signed_jwks_uri`), so that it may come from anybody:
//! a node that cannot reach its authorization server has it from a neighbour.
//!
//! It is believed when a key that is held already signed it, and it is newer than what is held. So a new key is known
//! everywhere as long as it is published some time before it signs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Inner, RemoteKeySet};
use crate::clock::UnixSeconds;
use crate::jose::{KeySet, KeySetFault, MAX_SET_BYTES, VerifyingKey};
use crate::lasting_clock::Moment;
use crate::signed_jwt::{JwtFault, SignedJwt, Times};

/// The type of such a set among JWTs (OpenID Federation 1.0 §5.2.1).
pub const SIGNED_TYPE: &str = "jwk-set+jwt";
/// A longer one is not read: base64url makes four characters of three bytes.
pub const MAX_SIGNED_BYTES: usize = 2 * MAX_SET_BYTES;

const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: None,
    oldest: None,
};

/// A signed set that was believed.
#[derive(Debug)]
pub struct SignedKeySet {
    /// As it was signed.
    pub token: String,
    /// When.
    pub issued_at: UnixSeconds,
    signer: VerifyingKey,
    set: KeySet,
}

impl SignedKeySet {
    /// Whether a set that came from the issuer itself has its signer, and no other key under any of its names.
    pub(super) fn agrees_with(&self, fetched: &KeySet) -> bool {
        let is_same = |key: &VerifyingKey| fetched.find(key.kid()).is_none_or(|found| found == key);
        fetched.find(self.signer.kid()) == Some(&self.signer) && self.set.keys().all(is_same)
    }
}

/// What became of a signed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// It is newer than every one before.
    Taken,
    /// It is known, or older.
    Known,
}

/// Why a signed set is not believed. Names no value of it.
#[derive(Debug, thiserror::Error)]
pub enum OfferFault {
    /// It is no such JWT, another issuer's, or over.
    #[error(transparent)]
    Jwt(#[from] JwtFault),
    /// No key is held that could tell.
    #[error("no key is held that signed it")]
    UnknownSigner,
    /// See [`KeySetFault`].
    #[error(transparent)]
    Set(#[from] KeySetFault),
}

impl RemoteKeySet {
    /// Takes up a signed set, wherever it came from. Never waits, never asks.
    pub fn offer(&self, token: &str, now: UnixSeconds) -> Result<Offered, OfferFault> {
        let inner = &self.0;
        let jwt = SignedJwt::parse(token, MAX_SIGNED_BYTES)?;
        if !jwt.has_type(&[SIGNED_TYPE], false) {
            return Err(JwtFault("its typ is not jwk-set+jwt").into());
        }
        let held = inner.usable().ok_or(OfferFault::UnknownSigner)?;
        let signer = jwt.kid().and_then(|kid| held.set.find(kid));
        let signer = signer.ok_or(OfferFault::UnknownSigner)?;
        let jwt = jwt.verify_with(&held.set)?;
        let issuer = Some(inner.issuer.as_str());
        if jwt.text("iss")? != issuer || jwt.text("sub")? != issuer {
            return Err(JwtFault("it is another issuer's").into());
        }
        jwt.check_times(TIMES, now)?;
        let issued_at = jwt.time("iat")?.ok_or(JwtFault("iat is missing"))?;
        let keys = jwt.claims().get("keys").cloned().unwrap_or(Value::Null);
        let document = json!({ "keys": keys }).to_string().into_bytes();
        let set = KeySet::parse_for(&document, &inner.algorithms)?;
        let _changing = inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newer = |known: &Arc<SignedKeySet>| known.issued_at < issued_at;
        if !inner.signed.load().as_ref().is_none_or(is_newer) {
            return Ok(Offered::Known);
        }
        // The issuer itself may have said meanwhile that the signer is none of its keys.
        let held = inner.usable().ok_or(OfferFault::UnknownSigner)?;
        if held.set.find(signer.kid()) != Some(signer) {
            return Err(OfferFault::UnknownSigner);
        }
        inner.signed.store(Some(Arc::new(SignedKeySet {
            token: token.to_owned(),
            issued_at,
            signer: signer.clone(),
            set: set.clone(),
        })));
        // What was fetched since then is newer, though nobody signed it.
        let age = inner.age_of(issued_at, now);
        if age < held.age() {
            inner.take_up_offered(document, set, age);
        }
        Ok(Offered::Taken)
    }

    /// The newest signed set that was believed.
    pub fn signed(&self) -> Option<Arc<SignedKeySet>> {
        self.0.signed.load_full()
    }
}

impl Inner {
    /// How old something is that was signed at `issued_at`: by the lasting clock, where there is one, for a wall clock that
    /// was set back would make everything new.
    fn age_of(&self, issued_at: UnixSeconds, now: UnixSeconds) -> Duration {
        let millis = u64::try_from(issued_at.0)
            .unwrap_or_default()
            .saturating_mul(1000);
        match &self.kept {
            Some(kept) => kept.clock.now().since(Moment::from_millis(millis)),
            None => now.since(issued_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::jwks::KeyLookup;
    use crate::jwks::source::{Document, Source, SourceFault};

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// An issuer that gives these answers, and then none.
    struct Answers(Mutex<VecDeque<Vec<u8>>>);

    impl Source for Answers {
        fn fetch(
            &self,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>> {
            let answer = self.0.lock().unwrap().pop_front();
            Box::pin(async {
                Ok(Document {
                    body: answer.ok_or(SourceFault::Slow)?,
                    max_age: None,
                })
            })
        }
    }

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn jwk(kid: &str, seed: u8) -> Value {
        let x = URL_SAFE_NO_PAD.encode(pair(seed).public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
    }

    fn sign((typ, kid, seed): (&str, &str, u8), claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": typ, "kid": kid});
        let input = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = input.join(".");
        let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }

    fn claims(keys: &[Value], at: UnixSeconds) -> Value {
        json!({"iss": "as", "sub": "as", "iat": at, "exp": at + 24 * HOUR, "keys": keys})
    }

    async fn held() -> RemoteKeySet {
        published(&[&[jwk("a", 1)]]).await
    }

    /// What a node holds of an issuer that gives these answers, after the first.
    async fn published(answers: &[&[Value]]) -> RemoteKeySet {
        let document = |keys: &&[Value]| json!({"keys": keys}).to_string().into_bytes();
        let source = Answers(Mutex::new(answers.iter().map(document).collect()));
        let keys = RemoteKeySet::from_source("as".to_owned(), Box::new(source), 24 * HOUR);
        assert!(matches!(keys.key("a").await, KeyLookup::Key(_)));
        keys
    }

    fn key(jwk: &Value) -> VerifyingKey {
        let document = json!({"keys": [jwk]}).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        set.keys().next().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn p2p_05_a_set_is_believed_that_a_held_key_signed_and_that_is_newer() {
        let keys = held().await;
        tokio::time::advance(2 * HOUR).await;
        let good = claims(&[jwk("a", 1), jwk("b", 2)], NOW);
        let mine = ("jwk-set+jwt", "a", 1);
        let mut others = good.clone();
        others["iss"] = json!("other");
        let mut over = good.clone();
        over["exp"] = json!(NOW.0 - 120);
        let ahead = claims(&[jwk("a", 1)], NOW + HOUR);
        for bad in [
            sign(("jwk-set+jwt", "a", 9), &good),
            sign(("jwk-set+jwt", "b", 2), &good),
            sign(("at+jwt", "a", 1), &good),
            sign(mine, &others),
            sign(mine, &over),
            sign(mine, &ahead),
            sign(
                mine,
                &json!({"iss": "as", "sub": "as", "iat": NOW, "exp": NOW + HOUR}),
            ),
            "x".to_owned(),
        ] {
            assert!(keys.offer(&bad, NOW).is_err(), "{bad}");
            assert!(keys.known("b").is_none() && keys.signed().is_none());
        }
        let text = sign(mine, &good);
        assert_eq!(keys.offer(&text, NOW).unwrap(), Offered::Taken);
        assert!(keys.known("b").is_some());
        assert_eq!(keys.signed().unwrap().token, text);
        assert_eq!(keys.offer(&text, NOW).unwrap(), Offered::Known);
        // The key that is new may sign the next; one that goes back is not taken.
        let next = sign(("jwk-set+jwt", "b", 2), &claims(&[jwk("b", 2)], NOW + HOUR));
        let older = sign(mine, &claims(&[jwk("a", 1)], NOW));
        tokio::time::advance(HOUR).await;
        assert_eq!(keys.offer(&next, NOW + HOUR).unwrap(), Offered::Taken);
        assert!(keys.known("a").is_none());
        assert!(matches!(
            keys.offer(&older, NOW + HOUR),
            Err(OfferFault::UnknownSigner)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_fetched_later_stays() {
        let keys = held().await;
        let before = sign(
            ("jwk-set+jwt", "a", 1),
            &claims(&[jwk("a", 1), jwk("b", 2)], NOW - HOUR),
        );
        assert_eq!(keys.offer(&before, NOW).unwrap(), Offered::Taken);
        assert!(
            keys.known("b").is_none(),
            "the issuer itself said otherwise since"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_only_signed_has_no_say_against_the_issuer_itself() {
        let genuine = [jwk("a", 1), jwk("b", 2)];
        let keys = published(&[&[jwk("a", 1)], &genuine]).await;
        tokio::time::advance(2 * HOUR / 60).await;
        // Somebody has the key "a", and knows the name of the next.
        let forged = sign(
            ("jwk-set+jwt", "a", 1),
            &claims(&[jwk("a", 1), jwk("b", 9)], NOW + Duration::from_secs(30)),
        );
        assert_eq!(keys.offer(&forged, NOW).unwrap(), Offered::Taken);
        assert!(keys.holds(&key(&jwk("b", 9))));
        // The issuer is reached again.
        assert!(matches!(keys.key("other").await, KeyLookup::UnknownKid));
        assert!(keys.holds(&key(&jwk("b", 2))) && !keys.holds(&key(&jwk("b", 9))));
        assert!(keys.signed().is_none(), "it is passed on no longer");
        let mine = sign(("jwk-set+jwt", "a", 1), &claims(&genuine, NOW));
        assert_eq!(keys.offer(&mine, NOW).unwrap(), Offered::Taken);
        // And nothing that is signed takes the name back.
        let again = sign(
            ("jwk-set+jwt", "a", 1),
            &claims(&[jwk("a", 1), jwk("b", 9)], NOW + Duration::from_secs(40)),
        );
        tokio::time::advance(HOUR / 60).await;
        assert_eq!(keys.offer(&again, NOW + HOUR / 60).unwrap(), Offered::Taken);
        assert!(keys.holds(&key(&jwk("b", 2))));
    }

    #[tokio::test(start_paused = true)]
    async fn signed_sets_do_not_make_up_for_the_issuer_for_ever() {
        let keys = held().await;
        let mut usable_until = 0;
        for half_day in 1..30_u32 {
            tokio::time::advance(12 * HOUR).await;
            let now = NOW + 12 * HOUR * half_day;
            let set = sign(("jwk-set+jwt", "a", 1), &claims(&[jwk("a", 1)], now));
            if keys.offer(&set, now).is_err() {
                break;
            }
            usable_until = half_day;
        }
        assert_eq!(usable_until, 14, "seven times the longest age");
        assert!(keys.known("a").is_none());
    }
}
