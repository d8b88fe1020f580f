//! Published key sets, from a source that counts how often it is asked, and has a clock of its own.

use std::sync::Mutex as StdMutex;

use serde_json::json;
use shared::jose::{Algorithm, SigningKey};

use super::*;
use crate::token::testing::client_row;

/// What the address of the keys answers, how often it was asked, and how much time has passed.
#[derive(Default)]
struct Address {
    answer: Option<String>,
    asked: usize,
    passed: Duration,
}

#[derive(Clone)]
struct Fake(Arc<StdMutex<Address>>, Instant);

impl Source for Fake {
    fn fetch<'a>(&'a self, _url: &'a Url) -> Fetching<'a> {
        Box::pin(async move {
            // Whoever else wants something has its turn meanwhile.
            tokio::task::yield_now().await;
            let mut address = self.0.lock().unwrap();
            address.asked += 1;
            let body = address.answer.clone().ok_or("no answer")?.into_bytes();
            Ok(Document {
                body,
                fresh_for: FRESHNESS.1,
            })
        })
    }

    fn now(&self) -> Instant {
        self.1 + self.0.lock().unwrap().passed
    }
}

impl Fake {
    fn pass(&self, time: Duration) {
        self.0.lock().unwrap().passed += time;
    }

    /// Publishes these keys, or goes away.
    fn publish(&self, keys: Option<&[&SigningKey]>) {
        let document = |keys: &[&SigningKey]| {
            let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
            json!({ "keys": keys }).to_string()
        };
        self.0.lock().unwrap().answer = keys.map(document);
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

fn key() -> SigningKey {
    let private = SigningKey::generate(Algorithm::EdDSA).unwrap();
    SigningKey::from_private_jwk(Algorithm::EdDSA, &private).unwrap()
}

fn client(details: &Value) -> Client {
    let mut row = client_row("client_credentials", "a");
    row.details = details.to_string();
    Client::from_rows(row, Vec::new()).unwrap()
}

fn published() -> (Fake, ClientKeys, Client) {
    let fake = Fake(Arc::default(), Instant::now());
    let keys = ClientKeys::from_source(Box::new(fake.clone()));
    (
        fake,
        keys,
        client(&json!({"jwks_uri": "https://client.example/jwks"})),
    )
}

async fn verify(keys: &ClientKeys, client: &Client, key: &SigningKey) -> Result<(), String> {
    let token = key.sign_jwt("JWT", br#"{"iss":"x"}"#).unwrap();
    let jwt = SignedJwt::parse(&token, 4096).unwrap();
    keys.verify(client, jwt).await.map(drop)
}

#[tokio::test]
async fn registered_keys_are_read_once_and_nothing_is_fetched() {
    let (fake, keys, _) = published();
    let (known, stranger) = (key(), key());
    let client = client(&json!({"jwks": {"keys": [known.public_jwk()]}}));
    verify(&keys, &client, &known).await.unwrap();
    assert!(verify(&keys, &client, &stranger).await.is_err());
    let (one, two) = (keys.of(&client).await.unwrap(), keys.of(&client).await.unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn requests_at_once_make_one_fetch() {
    let (fake, keys, client) = published();
    let known = key();
    fake.publish(Some(&[&known]));
    let all = crate::token::testing::all((0..20).map(|_| verify(&keys, &client, &known))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.asked(), 1);
    fake.pass(FRESHNESS.1);
    verify(&keys, &client, &known).await.unwrap();
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn a_rotated_key_works_and_a_stranger_cannot_make_us_knock() {
    let (fake, keys, client) = published();
    let (old, new, stranger) = (key(), key(), key());
    fake.publish(Some(&[&old]));
    verify(&keys, &client, &old).await.unwrap();
    fake.publish(Some(&[&new]));
    verify(&keys, &client, &new).await.unwrap();
    assert!(
        verify(&keys, &client, &old).await.is_err(),
        "a key that was taken back"
    );
    assert_eq!(fake.asked(), 2);
    for _ in 0..50 {
        assert!(verify(&keys, &client, &stranger).await.is_err());
    }
    assert_eq!(fake.asked(), 2);
    fake.pass(COOL_DOWN);
    for _ in 0..50 {
        assert!(verify(&keys, &client, &stranger).await.is_err());
    }
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn the_last_good_set_serves_while_its_address_is_away() {
    let (fake, keys, client) = published();
    let known = key();
    assert!(verify(&keys, &client, &known).await.is_err());
    assert!(verify(&keys, &client, &known).await.is_err());
    assert_eq!(fake.asked(), 1, "within the cool-down");
    fake.pass(COOL_DOWN);
    fake.publish(Some(&[&known]));
    verify(&keys, &client, &known).await.unwrap();
    fake.publish(None);
    fake.pass(FRESHNESS.1);
    verify(&keys, &client, &known).await.unwrap();
    fake.pass(MAX_STALE - FRESHNESS.1);
    verify(&keys, &client, &known).await.unwrap();
    fake.pass(Duration::from_secs(60));
    assert!(verify(&keys, &client, &known).await.is_err());
}

#[tokio::test]
async fn a_client_without_keys_proves_nothing() {
    let (fake, keys, _) = published();
    assert!(verify(&keys, &client(&json!({})), &key()).await.is_err());
    assert!(
        verify(&keys, &client(&json!({"jwks_uri": "no url"})), &key())
            .await
            .is_err()
    );
    assert_eq!(fake.asked(), 0);
}
