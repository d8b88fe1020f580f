//! Key sets of issuers whose metadata nobody asks: the operator says where they are, and the issuer's identifier need
//! not even be an address. What they sign may leave out which key it was.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use url::Url;

use super::source::{Document, Source};
use super::{DEFAULT_MAX_STALE, KeyLookup, RemoteKeySet, SourceFault};
use crate::http_client::HttpClient;
use crate::jose::{MAX_SET_BYTES, VerifyingKey};
use crate::signed_jwt::SignedJwt;

/// A file is read again after so long: whoever keeps it up to date need not tell anybody.
const FILE_FRESHNESS: Duration = Duration::from_secs(60);

impl RemoteKeySet {
    /// The set of `owner` at an address.
    pub fn at(owner: &str, client: HttpClient, url: Url) -> Self {
        Self::from_source(
            owner.to_owned(),
            Box::new(Address { client, url }),
            DEFAULT_MAX_STALE,
        )
    }

    /// The set of `owner` in a file.
    pub fn in_file(owner: &str, path: PathBuf) -> Self {
        Self::from_source(owner.to_owned(), Box::new(File(path)), DEFAULT_MAX_STALE)
    }

    /// The key that signed `jwt`: the one that it names, or else one of the few with its algorithm. Asks the issuer
    /// when nothing is held yet, or when the held set does not have it.
    pub async fn signer_of(&self, jwt: &SignedJwt<'_>) -> KeyLookup {
        if self.0.usable().is_none() {
            self.first_attempt().await;
        }
        if self.0.usable().is_none() {
            return KeyLookup::Unavailable {
                retry_after: self.0.retry_after(),
            };
        }
        if let Some(key) = self.held_signer(jwt) {
            return KeyLookup::Key(key);
        }
        let is_forged = |kid| self.0.usable().is_some_and(|held| held.set.find(kid).is_some());
        if !jwt.kid().is_some_and(is_forged) {
            self.ask_again().await;
        }
        self.held_signer(jwt)
            .map_or(KeyLookup::UnknownKid, KeyLookup::Key)
    }

    fn held_signer(&self, jwt: &SignedJwt<'_>) -> Option<VerifyingKey> {
        let held = self.0.usable()?;
        let mut keys = held.set.candidates(jwt.kid(), jwt.algorithm());
        keys.find(|key| jwt.is_signed_by(key)).cloned()
    }
}

struct Address {
    client: HttpClient,
    url: Url,
}

impl Source for Address {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>> {
        Box::pin(async {
            let answer = self.client.fetch_json(&self.url, MAX_SET_BYTES).await;
            let fetched = answer.map_err(|fault| SourceFault::Fetch {
                url: self.url.to_string(),
                fault,
            })?;
            Ok(Document {
                body: fetched.body,
                max_age: fetched.max_age,
            })
        })
    }
}

struct File(PathBuf);

impl Source for File {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>> {
        Box::pin(async {
            let path = self.0.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
            let body = read
                .map_err(|_| SourceFault::Panic)?
                .map_err(|fault| SourceFault::File(format!("{}: {fault}", self.0.display())))?;
            Ok(Document {
                body,
                max_age: Some(FILE_FRESHNESS),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn set(keys: &[(&str, u8)]) -> String {
        let jwk = |(kid, seed): &(&str, u8)| {
            let x = URL_SAFE_NO_PAD.encode(pair(*seed).public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
        };
        json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()}).to_string()
    }

    fn signed(kid: Option<&str>, seed: u8) -> String {
        let mut header = json!({"alg": "EdDSA"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        let input = [header.to_string(), "{}".to_owned()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let input = input.join(".");
        let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }

    async fn signer(keys: &RemoteKeySet, kid: Option<&str>, seed: u8) -> Option<String> {
        let token = signed(kid, seed);
        let jwt = SignedJwt::parse(&token, 4096).unwrap();
        match keys.signer_of(&jwt).await {
            KeyLookup::Key(key) => Some(key.kid().to_owned()),
            KeyLookup::UnknownKid => None,
            KeyLookup::Unavailable { .. } => panic!("there are no keys"),
        }
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_its_keys_do_not_suffice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        std::fs::write(&path, set(&[("a", 1), ("b", 2)])).unwrap();
        let keys = RemoteKeySet::in_file("cluster", path.clone());
        assert_eq!(signer(&keys, Some("a"), 1).await.as_deref(), Some("a"));
        // Without a name, whichever fits.
        assert_eq!(signer(&keys, None, 2).await.as_deref(), Some("b"));
        std::fs::write(&path, set(&[("c", 3)])).unwrap();
        // A known name with a wrong signature is a forgery, not news.
        assert_eq!(signer(&keys, Some("a"), 3).await, None);
        assert_eq!(signer(&keys, Some("b"), 2).await.as_deref(), Some("b"));
        assert_eq!(signer(&keys, Some("c"), 3).await.as_deref(), Some("c"));
        assert_eq!(signer(&keys, Some("b"), 2).await, None);
    }

    #[tokio::test]
    async fn without_any_keys_nothing_is_decided() {
        let keys = RemoteKeySet::in_file("cluster", "/nowhere/keys.json".into());
        let token = signed(None, 1);
        let jwt = SignedJwt::parse(&token, 4096).unwrap();
        assert!(matches!(
            keys.signer_of(&jwt).await,
            KeyLookup::Unavailable { .. }
        ));
    }
}
