use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::clock::UnixSeconds;
use crate::http_client::FetchFault;
use crate::lasting_clock::LastingClock;

/// RFC 8037 appendix A.2.
const ONE: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// RFC 8032 §7.1, test 2.
const OTHER: &str = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

fn jwks(keys: &[(&str, &str)]) -> Value {
    let keys: Vec<_> = keys
        .iter()
        .map(|(kid, x)| json!({"kty":"OKP","crv":"Ed25519","x":x,"kid":kid}))
        .collect();
    json!({ "keys": keys })
}

/// What the scripted issuer does next.
#[derive(Clone)]
enum Step {
    Serve(Vec<u8>, Option<Duration>),
    Fail,
    Hang,
}

fn serve(keys: &[(&str, &str)]) -> Step {
    Step::Serve(jwks(keys).to_string().into_bytes(), None)
}

/// Follows its script, repeats the last step for ever, and takes 100 ms for each.
#[derive(Clone)]
struct Script(Arc<(Mutex<VecDeque<Step>>, AtomicUsize)>);

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new((
            Mutex::new(steps.into_iter().collect()),
            AtomicUsize::new(0),
        )))
    }

    fn fetches(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn set(&self, max_stale: Duration) -> RemoteKeySet {
        RemoteKeySet::from_source("https://as".to_owned(), Box::new(self.clone()), max_stale)
    }
}

impl Source for Script {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let step = {
            let mut steps = self.0.0.lock().unwrap();
            if steps.len() > 1 {
                steps.pop_front().unwrap()
            } else {
                steps[0].clone()
            }
        };
        Box::pin(async move {
            sleep(Duration::from_millis(100)).await;
            match step {
                Step::Serve(body, max_age) => Ok(Document { body, max_age }),
                Step::Fail => Err(SourceFault::Fetch {
                    url: "u".to_owned(),
                    fault: FetchFault::Status(500),
                }),
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

fn is_key(lookup: &KeyLookup) -> bool {
    matches!(lookup, KeyLookup::Key(_))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_first_requests_make_one_fetch() {
    let script = Script::new([serve(&[("a", ONE)])]);
    let set = script.set(DEFAULT_MAX_STALE);
    assert_eq!(script.fetches(), 0);
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let set = set.clone();
        requests.spawn(async move { is_key(&set.key("a").await) });
    }
    assert!(requests.join_all().await.into_iter().all(|found| found));
    assert_eq!(script.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_refreshes_ahead_and_nobody_waits() {
    let script = Script::new([serve(&[("a", ONE)]), Step::Hang]);
    let set = script.set(DEFAULT_MAX_STALE);
    assert!(is_key(&set.key("a").await));
    advance(DEFAULT_FRESHNESS * 4 / 5 - Duration::from_secs(1)).await;
    assert_eq!(script.fetches(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(script.fetches(), 2);
    let before = Instant::now();
    assert!(is_key(&set.key("a").await));
    assert_eq!(Instant::now(), before);
}

#[tokio::test(start_paused = true)]
async fn cache_control_is_followed_within_bounds() {
    for (max_age, pause) in [(1, 48), (100, 80), (86_400, 2880)] {
        let body = jwks(&[("a", ONE)]).to_string().into_bytes();
        let script = Script::new([Step::Serve(body, Some(Duration::from_secs(max_age)))]);
        let set = script.set(DEFAULT_MAX_STALE);
        assert!(set.is_ready().await);
        sleep(Duration::from_secs(pause - 1)).await;
        assert_eq!(script.fetches(), 1, "max-age={max_age}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(script.fetches(), 2, "max-age={max_age}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_asks_once_and_shares_the_answer() {
    let script = Script::new([serve(&[("a", ONE)]), serve(&[("a", ONE), ("b", OTHER)])]);
    let set = script.set(DEFAULT_MAX_STALE);
    assert!(is_key(&set.key("a").await));
    let mut requests = JoinSet::new();
    for index in 0..100 {
        let set = set.clone();
        let kid = if index % 2 == 0 {
            "b".to_owned()
        } else {
            format!("forged-{index}")
        };
        requests.spawn(async move { (index % 2 == 0) == is_key(&set.key(&kid).await) });
    }
    assert!(
        requests
            .join_all()
            .await
            .into_iter()
            .all(|as_expected| as_expected)
    );
    assert_eq!(script.fetches(), 2);
    // Within the cool-down a forged name costs nothing; after it, one more fetch.
    let before = Instant::now();
    assert!(matches!(set.key("forged").await, KeyLookup::UnknownKid));
    assert_eq!((script.fetches(), Instant::now()), (2, before));
    advance(COOL_DOWN).await;
    assert!(matches!(set.key("forged").await, KeyLookup::UnknownKid));
    assert_eq!(script.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_is_not_judged_while_the_issuer_cannot_be_asked() {
    let script = Script::new([
        serve(&[("a", ONE)]),
        Step::Fail,
        serve(&[("a", ONE), ("b", OTHER)]),
    ]);
    let set = script.set(DEFAULT_MAX_STALE);
    assert!(is_key(&set.key("a").await));
    for kid in ["b", "forged"] {
        let KeyLookup::Unavailable { retry_after } = set.key(kid).await else {
            panic!("{kid} cannot be judged")
        };
        assert!(retry_after >= Duration::from_secs(1));
    }
    assert_eq!(script.fetches(), 2);
    assert!(is_key(&set.key("a").await));
    // The next attempt brings what was published meanwhile.
    sleep(Duration::from_secs(2)).await;
    assert!(is_key(&set.key("b").await));
    assert!(matches!(set.key("forged").await, KeyLookup::UnknownKid));
}

#[tokio::test(start_paused = true)]
async fn a_dead_issuer_is_neither_hammered_nor_missed() {
    let script = Script::new([
        Step::Fail,
        Step::Fail,
        Step::Fail,
        Step::Fail,
        serve(&[("a", ONE)]),
    ]);
    let set = script.set(DEFAULT_MAX_STALE);
    let KeyLookup::Unavailable { retry_after } = set.key("a").await else {
        panic!("it must be unavailable")
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    assert_eq!(
        set.status().fault.as_deref(),
        Some("u answered with status 500 instead of 200")
    );
    for _ in 0..100 {
        assert!(matches!(set.key("a").await, KeyLookup::Unavailable { .. }));
    }
    assert_eq!(script.fetches(), 1);
    // 1 s, 2 s, 4 s, 8 s, and it is back.
    sleep(Duration::from_secs(14)).await;
    assert_eq!(script.fetches(), 4);
    assert!(matches!(set.key("a").await, KeyLookup::Unavailable { .. }));
    sleep(Duration::from_secs(2)).await;
    assert!(is_key(&set.key("a").await));
    assert_eq!(set.status().fault, None);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_is_given_up_within_five_seconds() {
    let script = Script::new([Step::Hang]);
    let before = Instant::now();
    assert!(matches!(
        script.set(DEFAULT_MAX_STALE).key("a").await,
        KeyLookup::Unavailable { .. }
    ));
    assert!(before.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_serves_until_it_is_too_old() {
    let script = Script::new([serve(&[("a", ONE)]), Step::Fail]);
    let set = script.set(Duration::from_secs(3600));
    let KeyLookup::Key(key) = set.key("a").await else {
        panic!("it must be there")
    };
    sleep(Duration::from_secs(3590)).await;
    assert!(is_key(&set.key("a").await) && set.holds(&key) && set.status().usable);
    sleep(Duration::from_secs(11)).await;
    assert!(matches!(set.key("a").await, KeyLookup::Unavailable { .. }));
    assert!(!set.holds(&key) && !set.status().usable);
    // 30 s apart, not more: 3600 s of outage are some 130 attempts at most.
    assert!(script.fetches() < 140, "{}", script.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_set_that_may_serve_briefly_is_fetched_in_time() {
    let hourly = Step::Serve(
        jwks(&[("a", ONE)]).to_string().into_bytes(),
        Some(Duration::from_secs(3600)),
    );
    for max_stale in [MIN_MAX_STALE, Duration::from_secs(300)] {
        let script = Script::new([hourly.clone()]);
        let set = script.set(max_stale);
        assert!(is_key(&set.key("a").await));
        for second in 0..600 {
            sleep(Duration::from_secs(1)).await;
            assert!(set.status().usable, "{max_stale:?}, {second} s");
        }
        assert!(script.fetches() < 15, "{}", script.fetches());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_set_and_a_changed_key_leave_the_old_one() {
    let refused = Step::Serve(br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_vec(), None);
    let script = Script::new([
        serve(&[("a", ONE)]),
        refused,
        serve(&[("a", OTHER), ("b", OTHER)]),
        serve(&[]),
    ]);
    let set = script.set(DEFAULT_MAX_STALE);
    let KeyLookup::Key(first) = set.key("a").await else {
        panic!("it must be there")
    };
    sleep(Duration::from_secs(481)).await;
    assert_eq!(
        set.status().fault.as_deref(),
        Some("the key set contains secret key material")
    );
    assert!(set.holds(&first));
    sleep(Duration::from_secs(2)).await;
    assert!(is_key(&set.key("b").await));
    let KeyLookup::Key(kept) = set.key("a").await else {
        panic!("it must be there")
    };
    assert_eq!(first, kept);
    // A key that is gone is gone.
    sleep(Duration::from_secs(481)).await;
    assert!(!set.holds(&first));
    assert!(matches!(set.key("a").await, KeyLookup::UnknownKid));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_given_up_does_not_revive_the_key_that_had_it() {
    let script = Script::new([
        serve(&[("a", ONE)]),
        serve(&[("b", OTHER)]),
        serve(&[("a", OTHER)]),
    ]);
    let set = script.set(DEFAULT_MAX_STALE);
    let KeyLookup::Key(old) = set.key("a").await else {
        panic!("it must be there")
    };
    sleep(Duration::from_secs(481)).await;
    assert!(!set.holds(&old));
    sleep(Duration::from_secs(481)).await;
    let KeyLookup::Key(new) = set.key("a").await else {
        panic!("it must be there")
    };
    assert!(set.holds(&new) && !set.holds(&old));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_set() {
    let script = Script::new([serve(&[("a", ONE)])]);
    let set = script.set(DEFAULT_MAX_STALE);
    assert!(set.is_ready().await);
    drop(set);
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(script.fetches(), 1);
}

async fn answering(place: &str, body: Value) -> MockServer {
    let server = MockServer::start().await;
    serve_at(&server, place, body).await;
    server
}

async fn serve_at(server: &MockServer, place: &str, body: Value) {
    Mock::given(path(place))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

fn over_http(issuer: &str, jwks_uri: Option<&str>) -> RemoteKeySet {
    let settings = KeySetSettings {
        issuer: issuer.parse().unwrap(),
        jwks_uri: jwks_uri.map(|uri| uri.parse().unwrap()),
        algorithms: Vec::new(),
        max_stale: DEFAULT_MAX_STALE,
        kept: None,
    };
    RemoteKeySet::new(HttpClient::new(None).unwrap(), settings)
}

#[tokio::test]
async fn metadata_is_found_in_each_of_its_places() {
    let places = [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ];
    for place in places {
        let server = answering("/keys", jwks(&[("a", ONE)])).await;
        let issuer = format!("{}/tenant", server.uri());
        serve_at(
            &server,
            place,
            json!({"issuer": issuer, "jwks_uri": format!("{}/keys", server.uri()), "extra": 1}),
        )
        .await;
        assert!(is_key(&over_http(&issuer, None).key("a").await), "{place}");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_or_pointing_elsewhere_is_refused() {
    let server = answering("/keys", jwks(&[("a", ONE)])).await;
    let keys = format!("{}/keys", server.uri());
    let refused = [
        (
            json!({"issuer": format!("{}/", server.uri()), "jwks_uri": keys}),
            "names another issuer",
        ),
        (
            json!({"issuer": server.uri(), "jwks_uri": "https://elsewhere.example/keys"}),
            "another host",
        ),
        (
            json!({"issuer": server.uri(), "jwks_uri": keys.replace("//", "//user:secret@")}),
            "not a metadata document",
        ),
        (json!({"issuer": server.uri()}), "not a metadata document"),
        (json!([]), "not a metadata document"),
    ];
    for (document, reason) in refused {
        let metadata = "/.well-known/oauth-authorization-server";
        Mock::given(path(metadata))
            .respond_with(ResponseTemplate::new(200).set_body_json(&document))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        let set = over_http(&server.uri(), None);
        assert!(
            matches!(set.key("a").await, KeyLookup::Unavailable { .. }),
            "{document}"
        );
        assert!(set.status().fault.unwrap().contains(reason), "{document}");
    }
}

#[tokio::test]
async fn a_configured_place_needs_no_metadata() {
    let server = answering("/keys", jwks(&[("a", ONE)])).await;
    let set = over_http("https://as.example", Some(&format!("{}/keys", server.uri())));
    assert!(is_key(&set.key("a").await));
    assert_eq!(set.status().keys, [("a".to_owned(), "EdDSA")]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = answering("/keys", jwks(&[("a", ONE)])).await;
    let moved = ResponseTemplate::new(302).insert_header("location", "/keys");
    Mock::given(path("/moved"))
        .respond_with(moved)
        .mount(&server)
        .await;
    let set = over_http(&server.uri(), Some(&format!("{}/moved", server.uri())));
    assert!(matches!(set.key("a").await, KeyLookup::Unavailable { .. }));
}

/// A set that is kept in `folder`, and ages by `clock`.
fn kept_in(folder: &Path, clock: &Arc<LastingClock>, script: &Script, max_stale: Duration) -> RemoteKeySet {
    let kept = KeptAt {
        file: folder.join("keys.json"),
        clock: Arc::clone(clock),
    };
    let source = Box::new(script.clone());
    RemoteKeySet::build(
        "https://as".to_owned(),
        source,
        Vec::new(),
        (max_stale, Some(kept)),
    )
}

/// Waits until the file is there: it is written beside the answer.
fn await_file(path: &Path) {
    for _ in 0..1000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} was not written", path.display());
}

const EVENING: UnixSeconds = UnixSeconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_set_outlives_a_reboot_without_network_until_its_budget_ends() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let (file, clock_file) = (folder.path().join("keys.json"), folder.path().join("clock"));
    let clock = Arc::new(LastingClock::open(&clock_file, EVENING));
    let set = kept_in(
        folder.path(),
        &clock,
        &Script::new([serve(&[("a", ONE)])]),
        2 * HOUR,
    );
    assert!(is_key(&set.key("a").await));
    await_file(&file);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(set);

    // Half an hour without power, and no issuer.
    let away = Script::new([Step::Fail]);
    let rebooted = |now| Arc::new(LastingClock::open(&clock_file, now));
    let clock = rebooted(EVENING + HOUR / 2);
    let set = kept_in(folder.path(), &clock, &away, 2 * HOUR);
    assert!(is_key(&set.key("a").await), "it is usable at once");
    assert!(is_key(&set.key("a").await));
    // To the second: fetching took a tenth of one.
    let status = set.status();
    assert_eq!(status.age.map(|age| age.as_secs().div_ceil(60)), Some(30));
    assert_eq!(status.left.map(|left| left.as_secs() / 60), Some(90));
    sleep(HOUR).await;
    assert!(is_key(&set.key("a").await) && away.fetches() > 10);
    // A clock set back by a day gives nothing back.
    clock.keep().unwrap();
    drop(set);
    let clock = rebooted(EVENING - 24 * HOUR);
    let set = kept_in(
        folder.path(),
        &clock,
        &Script::new([Step::Fail, Step::Fail, serve(&[("a", ONE)])]),
        HOUR,
    );
    assert!(
        matches!(set.key("a").await, KeyLookup::Unavailable { .. }),
        "an hour and a half is more than an hour"
    );
    assert_eq!(set.status().left, Some(Duration::ZERO));
    // The issuer is back: nobody has to do anything.
    sleep(Duration::from_secs(10)).await;
    assert!(is_key(&set.key("a").await));
}

#[tokio::test(start_paused = true)]
async fn a_kept_set_that_is_damaged_or_another_issuers_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let clock = Arc::new(LastingClock::starting_at(EVENING));
    let set = kept_in(folder.path(), &clock, &Script::new([serve(&[("a", ONE)])]), HOUR);
    assert!(is_key(&set.key("a").await));
    await_file(&file);
    let good = std::fs::read_to_string(&file).unwrap();
    let away = Script::new([Step::Fail]);
    assert!(is_key(
        &kept_in(folder.path(), &clock, &away, HOUR).key("a").await
    ));
    for bad in [
        good[..good.len() / 2].to_owned(),
        good.replace(ONE, OTHER),
        good.replace("https://as", "https://evil"),
        String::new(),
        "x".repeat(300_000),
    ] {
        std::fs::write(&file, &bad).unwrap();
        let set = kept_in(folder.path(), &clock, &away, HOUR);
        assert!(matches!(set.key("a").await, KeyLookup::Unavailable { .. }));
    }
}
