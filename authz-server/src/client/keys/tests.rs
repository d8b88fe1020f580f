//! Published key sets, from a source that counts how often it is asked, and has a clock of its own.

use std::sync::Mutex;

use ::web::rates::Rate;
use serde_json::json;
use shared::jose::{Algorithm, SigningKey};
use tokio::sync::Semaphore;

use super::published::{COOL_DOWN, MAX_STALE};
use super::*;
use crate::token::testing::client_row;

/// What the address of the keys answers, how often it was asked, and how much time has passed.
#[derive(Default)]
struct Address {
    answer: Option<String>,
    is_busy: bool,
    asked: usize,
    passed: Duration,
    /// Answers wait for a permit.
    held: Option<Arc<Semaphore>>,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<Address>>, Instant);

impl Source for Fake {
    fn fetch<'a>(&'a self, _url: &'a Url) -> Fetching<'a> {
        Box::pin(async move {
            if self.0.lock().unwrap().is_busy {
                return Err(FetchFault::Busy("no seat".to_owned()));
            }
            self.0.lock().unwrap().asked += 1;
            // Whoever else wants something has its turn meanwhile.
            tokio::task::yield_now().await;
            let held = self.0.lock().unwrap().held.clone();
            if let Some(held) = held {
                held.acquire().await.unwrap().forget();
            }
            let address = self.0.lock().unwrap();
            let body = address.answer.clone();
            let body = body
                .ok_or_else(|| FetchFault::Failed("no answer".to_owned()))?
                .into_bytes();
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

    fn be_busy(&self, is_busy: bool) {
        self.0.lock().unwrap().is_busy = is_busy;
    }

    /// Holds answers back; each permit lets one go.
    fn hold(&self) -> Arc<Semaphore> {
        let held = Arc::new(Semaphore::new(0));
        self.0.lock().unwrap().held = Some(Arc::clone(&held));
        held
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
    let (fake, keys) = limited("off", "off");
    (fake, keys, at("https://client.example/jwks"))
}

/// Keys that are fetched so often.
fn limited(per_address: &str, per_host: &str) -> (Fake, ClientKeys) {
    let fake = Fake(Arc::default(), Instant::now());
    let rate = |text: &str| -> Rate { text.parse().unwrap() };
    let budget = Budget::new(rate(per_address), rate(per_host));
    let keys = ClientKeys::from_source(Box::new(fake.clone()), budget);
    (fake, keys)
}

/// A client of the operator's that publishes its keys there.
fn at(jwks_uri: &str) -> Client {
    client(&json!({"jwks_uri": jwks_uri}))
}

/// A client that registered itself, likewise.
fn stranger_at(jwks_uri: &str) -> Client {
    let mut row = client_row("client_credentials", "a");
    row.details = json!({"jwks_uri": jwks_uri}).to_string();
    row.origin = "registration".to_owned();
    Client::from_rows(row, Vec::new()).unwrap()
}

fn address(last: u8) -> ClientAddress {
    ClientAddress([192, 0, 2, last].into())
}

async fn verify(keys: &ClientKeys, client: &Client, key: &SigningKey) -> Result<(), KeysFault> {
    verify_from(address(1), keys, client, key).await
}

async fn verify_from(
    from: ClientAddress,
    keys: &ClientKeys,
    client: &Client,
    key: &SigningKey,
) -> Result<(), KeysFault> {
    let token = key.sign_jwt("JWT", br#"{"iss":"x"}"#).unwrap();
    let jwt = SignedJwt::parse(&token, 4096).unwrap();
    keys.verify(client, jwt, from).await.map(drop)
}

fn is_unproven(end: Result<(), KeysFault>) -> bool {
    matches!(end, Err(KeysFault::Unproven(_)))
}

/// How long to wait, if nobody can tell.
#[track_caller]
fn away(end: Result<(), KeysFault>) -> Duration {
    match end {
        Err(KeysFault::Away { wait, .. }) => wait,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn registered_keys_are_read_once_and_nothing_is_fetched() {
    let (fake, keys, _) = published();
    let (known, stranger) = (key(), key());
    let client = client(&json!({"jwks": {"keys": [known.public_jwk()]}}));
    verify(&keys, &client, &known).await.unwrap();
    assert!(is_unproven(verify(&keys, &client, &stranger).await));
    let of = || keys.of(&client, address(1));
    let (one, two) = (of().await.unwrap(), of().await.unwrap());
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
    let taken_back = verify(&keys, &client, &old).await;
    assert!(is_unproven(taken_back));
    assert_eq!(fake.asked(), 2);
    for _ in 0..50 {
        assert!(is_unproven(verify(&keys, &client, &stranger).await));
    }
    assert_eq!(fake.asked(), 2);
    fake.pass(COOL_DOWN);
    for _ in 0..50 {
        assert!(is_unproven(verify(&keys, &client, &stranger).await));
    }
    assert_eq!(fake.asked(), 3);
}

#[tokio::test]
async fn the_last_good_set_serves_while_its_address_is_away() {
    let (fake, keys, client) = published();
    let known = key();
    assert_eq!(away(verify(&keys, &client, &known).await), COOL_DOWN);
    fake.pass(Duration::from_secs(20));
    let rest = away(verify(&keys, &client, &known).await);
    assert_eq!(rest, COOL_DOWN - Duration::from_secs(20));
    assert_eq!(fake.asked(), 1, "within the cool-down");
    fake.pass(rest);
    fake.publish(Some(&[&known]));
    verify(&keys, &client, &known).await.unwrap();
    fake.publish(None);
    fake.pass(FRESHNESS.1);
    verify(&keys, &client, &known).await.unwrap();
    fake.pass(MAX_STALE - FRESHNESS.1);
    verify(&keys, &client, &known).await.unwrap();
    // The last set is good enough to know that others did not sign.
    assert!(is_unproven(verify(&keys, &client, &key()).await));
    fake.pass(Duration::from_secs(60));
    away(verify(&keys, &client, &known).await);
}

#[tokio::test]
async fn a_client_without_keys_proves_nothing() {
    let (fake, keys, _) = published();
    for details in [json!({}), json!({"jwks_uri": "no url"})] {
        assert!(is_unproven(verify(&keys, &client(&details), &key()).await));
    }
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn one_address_causes_a_bounded_number_of_fetches() {
    let (fake, keys) = limited("3/h", "off");
    let known = key();
    fake.publish(Some(&[&known]));
    let clients: Vec<_> = (0..80)
        .map(|n| at(&format!("https://c{n}.example/jwks")))
        .collect();
    let at_once = clients.iter().map(|client| verify(&keys, client, &known));
    let ends = crate::token::testing::all(at_once).await;
    let limited = |end: &Result<(), KeysFault>| matches!(end, Err(KeysFault::Limited(_)));
    assert_eq!(ends.iter().filter(|end| limited(end)).count(), 77);
    assert_eq!(fake.asked(), 3, "counted before they are made");
    // What is there is nobody's to count, and others have a share of their own.
    verify(&keys, &clients[0], &known).await.unwrap();
    verify_from(address(2), &keys, &clients[79], &known)
        .await
        .unwrap();
    // A key that is unknown to the sets in memory may be new: nobody can tell, and nobody is refused for it.
    assert!(limited(&verify(&keys, &clients[0], &key()).await));
    // What is out of date serves on.
    fake.pass(FRESHNESS.1);
    verify(&keys, &clients[0], &known).await.unwrap();
    assert_eq!(fake.asked(), 4);
}

#[tokio::test]
async fn one_host_is_asked_a_bounded_number_of_times_for_strangers() {
    let (fake, keys) = limited("off", "2/h");
    let known = key();
    fake.publish(Some(&[&known]));
    let uri = |n: usize| format!("https://client.example/{n}");
    for n in 0..2 {
        verify(&keys, &stranger_at(&uri(n)), &known).await.unwrap();
    }
    assert!(away(verify(&keys, &stranger_at(&uri(2)), &known).await) > Duration::ZERO);
    assert_eq!(fake.asked(), 2);
    let elsewhere = stranger_at("https://other.example/");
    verify(&keys, &elsewhere, &known).await.unwrap();
    // The operator's own clients do not lose by what strangers did.
    verify(&keys, &at(&uri(3)), &known).await.unwrap();
}

#[tokio::test]
async fn no_seat_is_no_fault_of_the_address() {
    let (fake, keys, client) = published();
    let (known, new) = (key(), key());
    fake.publish(Some(&[&known]));
    fake.be_busy(true);
    assert!(away(verify(&keys, &client, &known).await) < COOL_DOWN);
    fake.be_busy(false);
    verify(&keys, &client, &known).await.unwrap();
    // As little as when a new key is looked for.
    fake.publish(Some(&[&new]));
    fake.be_busy(true);
    away(verify(&keys, &client, &new).await);
    fake.be_busy(false);
    verify(&keys, &client, &new).await.unwrap();
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn a_set_that_is_fresh_waits_for_no_fetch() {
    let (fake, keys, client) = published();
    let (known, stranger) = (key(), key());
    fake.publish(Some(&[&known]));
    verify(&keys, &client, &known).await.unwrap();
    let answers = fake.hold();
    let (knocks, honest) = (verify(&keys, &client, &stranger), verify(&keys, &client, &known));
    tokio::pin!(knocks);
    tokio::select! {
        biased;
        _ = &mut knocks => panic!("the answer is held back"),
        proven = honest => proven.unwrap(),
        () = std::future::ready(()) => panic!("the honest client waits"),
    }
    assert_eq!(fake.asked(), 2, "the stranger's fetch is under way");
    answers.add_permits(1);
    assert!(is_unproven(knocks.await));
}
