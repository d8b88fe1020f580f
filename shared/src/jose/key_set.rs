//! A JWK set (RFC 7517 §5), read with suspicion.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::admission::{KeyFault, Names, admit};
use super::{Algorithm, VerifyingKey};
use crate::json::{self, JsonFault};

/// A set with more keys is refused.
pub const MAX_KEYS: usize = 32;
/// How many keys are tried for a signature that names none.
pub const MAX_TRIES: usize = 4;
/// A larger document is refused.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Why a whole set is refused; the previous one stays in use.
#[derive(Debug, thiserror::Error)]
pub enum KeySetFault {
    /// No JSON object.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// Larger than [`MAX_SET_BYTES`] or with more than [`MAX_KEYS`] keys.
    #[error("the key set is too large")]
    TooLarge,
    /// `keys` is missing or no list of objects.
    #[error("the key set has no list of keys")]
    NoKeys,
    /// A symmetric key or private members: whoever published this has lost their secrets.
    #[error("the key set contains secret key material")]
    SecretMaterial,
    /// Two keys under one name.
    #[error("the key set names two keys alike")]
    RepeatedKid,
}

/// The admitted keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    rejected: Vec<(String, KeyFault)>,
}

impl KeySet {
    /// Reads a set. Keys that are not admitted are listed in [`Self::rejected`]; the others stay usable.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetFault> {
        Self::read(document, Names::Needed, &[])
    }

    /// As [`Self::parse`]; a key that names no `alg` is for the first of `algorithms` that fits it. Only its owner's
    /// configuration can say so: what a token says cannot change how it is checked (RFC 8725 §3.1).
    pub fn parse_for(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetFault> {
        Self::read(document, Names::Needed, algorithms)
    }

    /// As [`Self::parse`], but a key may go unnamed (RFC 7517 §4.5): for sets of clients, which often have one key.
    pub fn parse_unnamed(document: &[u8]) -> Result<Self, KeySetFault> {
        Self::read(document, Names::Optional, &[])
    }

    fn read(document: &[u8], names: Names, algorithms: &[Algorithm]) -> Result<Self, KeySetFault> {
        if document.len() > MAX_SET_BYTES {
            return Err(KeySetFault::TooLarge);
        }
        let document = json::object(document)?;
        let list = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetFault::NoKeys)?;
        if list.len() > MAX_KEYS {
            return Err(KeySetFault::TooLarge);
        }
        let mut set = Self::default();
        let mut kids = HashSet::new();
        for jwk in list {
            let jwk = jwk.as_object().ok_or(KeySetFault::NoKeys)?;
            if has_secret_material(jwk) {
                return Err(KeySetFault::SecretMaterial);
            }
            let kid = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
            if !kid.is_empty() && !kids.insert(kid) {
                return Err(KeySetFault::RepeatedKid);
            }
            match admit(jwk, names, algorithms) {
                Ok(key) => set.keys.push(key),
                Err(fault) => set.rejected.push((kid.to_owned(), fault)),
            }
        }
        Ok(set)
    }

    /// The key named `kid`.
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// The keys that may have made a signature: the one named `kid` if a name is given, else those of `algorithm`, of
    /// which at most [`MAX_TRIES`] are worth the time.
    pub fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a VerifyingKey> {
        self.keys
            .iter()
            .filter(move |key| {
                key.algorithm() == algorithm && kid.is_none_or(|kid| !kid.is_empty() && key.kid() == kid)
            })
            .take(MAX_TRIES)
    }

    /// The only key for `algorithm`; `None` when there is none, or more than one, since nothing tells which.
    pub fn only(&self, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm() == algorithm);
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// Keeps the keys of `older` where this set has another key under the same name, and returns those names: a key
    /// never changes under its name, so this is a mistake or an attack, and worth an alarm.
    pub fn keep_known(&mut self, older: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        for key in &mut self.keys {
            if let Some(known) = older.find(key.kid()).filter(|known| *known != key) {
                changed.push(key.kid().to_owned());
                *key = known.clone();
            }
        }
        changed
    }

    /// The admitted keys.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// The admitted keys' names and algorithms.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Algorithm)> {
        self.keys.iter().map(|key| (key.kid(), key.algorithm()))
    }

    /// Keys that were left out, with the reason. Worth an alarm.
    pub fn rejected(&self) -> &[(String, KeyFault)] {
        &self.rejected
    }

    /// Whether no key was admitted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Whether a JWK holds a private or symmetric key.
pub(super) fn has_secret_material(jwk: &Map<String, Value>) -> bool {
    jwk.get("kty").and_then(Value::as_str) == Some("oct")
        || ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|member| jwk.contains_key(*member))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(keys: Value) -> Result<KeySet, KeySetFault> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn ed(kid: &str) -> Value {
        json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":kid})
    }

    #[test]
    fn one_bad_key_does_not_spoil_the_others() {
        let set = parse(json!([ed("good"), {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"weak"}])).unwrap();
        assert!(set.find("good").is_some() && set.find("weak").is_none());
        assert_eq!(set.rejected(), [("weak".to_owned(), KeyFault::WeakRsa)]);
    }

    #[test]
    fn a_key_without_alg_is_for_what_its_owner_signs_with() {
        let mut n = [0xc5; 256];
        n[255] = 0x6b;
        let rsa = |alg: Option<&str>| {
            let mut jwk = json!({"kty":"RSA","n":base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, n),"e":"AQAB","kid":"a"});
            if let Some(alg) = alg {
                jwk["alg"] = json!(alg);
            }
            json!({"keys": [jwk]}).to_string()
        };
        let read = |alg, algorithms: &[Algorithm]| {
            let set = KeySet::parse_for(rsa(alg).as_bytes(), algorithms).unwrap();
            set.find("a").map(VerifyingKey::algorithm)
        };
        let (ps, rs) = (Algorithm::PS256, Algorithm::RS256);
        assert_eq!(read(None, &[Algorithm::EdDSA, ps, rs]), Some(ps));
        assert_eq!(read(None, &[Algorithm::EdDSA]), Some(rs));
        assert_eq!(read(None, &[]), Some(rs));
        // What the key says itself is not overruled.
        assert_eq!(read(Some("RS512"), &[ps]), Some(Algorithm::RS512));
    }

    #[test]
    fn the_only_key_of_an_algorithm_needs_no_name() {
        let set = parse(json!([ed("a"), {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"weak"}])).unwrap();
        assert_eq!(set.only(Algorithm::EdDSA).map(VerifyingKey::kid), Some("a"));
        assert!(set.only(Algorithm::RS256).is_none());
        assert!(
            parse(json!([ed("a"), ed("b")]))
                .unwrap()
                .only(Algorithm::EdDSA)
                .is_none()
        );
    }

    #[test]
    fn a_key_does_not_change_under_its_name() {
        let older = parse(json!([ed("a"), ed("gone")])).unwrap();
        // RFC 8032 §7.1, test 2.
        let other =
            json!({"kty":"OKP","crv":"Ed25519","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw","kid":"a"});
        let mut newer = parse(json!([other, ed("b")])).unwrap();
        assert_eq!(newer.keep_known(&older), ["a"]);
        assert_eq!(newer.find("a"), older.find("a"));
        assert!(newer.find("b").is_some() && newer.find("gone").is_none());
        assert!(newer.keep_known(&older).is_empty());
    }

    #[test]
    fn a_set_that_leaks_or_confuses_is_refused_whole() {
        let mut private = ed("a");
        private["d"] = json!("AAAA");
        assert!(matches!(
            parse(json!([private])),
            Err(KeySetFault::SecretMaterial)
        ));
        assert!(matches!(
            parse(json!([ed("a"), {"kty":"oct","k":"AAAA"}])),
            Err(KeySetFault::SecretMaterial)
        ));
        assert!(matches!(
            parse(json!([ed("a"), ed("a")])),
            Err(KeySetFault::RepeatedKid)
        ));
        let many: Vec<_> = (0..=MAX_KEYS).map(|n| ed(&n.to_string())).collect();
        assert!(matches!(parse(json!(many)), Err(KeySetFault::TooLarge)));
        assert!(matches!(KeySet::parse(b"{}"), Err(KeySetFault::NoKeys)));
        assert!(matches!(
            KeySet::parse(&[b' '; MAX_SET_BYTES + 1]),
            Err(KeySetFault::TooLarge)
        ));
        assert!(parse(json!([ed("a"), ed("b")])).is_ok());
    }

    #[test]
    fn a_key_without_a_name_is_for_sets_of_clients_only() {
        let mut unnamed = ed("");
        unnamed.as_object_mut().unwrap().remove("kid");
        let document = json!({"keys": [unnamed, ed("a")]}).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        assert_eq!(set.rejected(), [(String::new(), KeyFault::NoKid)]);
        let set = KeySet::parse_unnamed(document.as_bytes()).unwrap();
        let tried = |kid, algorithm| set.candidates(kid, algorithm).count();
        assert_eq!(tried(None, Algorithm::EdDSA), 2);
        assert_eq!(tried(Some("a"), Algorithm::EdDSA), 1);
        assert_eq!(tried(Some("b"), Algorithm::EdDSA), 0);
        assert_eq!(tried(Some("a"), Algorithm::ES256), 0);
        // A name that is nothing names nothing.
        assert_eq!(tried(Some(""), Algorithm::EdDSA), 0);
        let many: Vec<_> = (0..9).map(|n| ed(&n.to_string())).collect();
        assert_eq!(
            parse(json!(many))
                .unwrap()
                .candidates(None, Algorithm::EdDSA)
                .count(),
            MAX_TRIES
        );
    }
}
