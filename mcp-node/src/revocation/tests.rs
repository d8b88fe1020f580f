use serde_json::{Value, json};
use shared::access_token::Check;
use shared::jwks::KeySetSettings;
use shared::status_list::pack;
use tokio::time::{advance, pause, resume};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::Forge;

const MINUTE: Duration = Duration::from_secs(60);
pub(super) const LIST: &str = "/oauth/status/l_1";

/// An issuer with lists, and a node's view of it.
pub(super) struct Stage {
    pub(super) server: MockServer,
    pub(super) forge: Forge,
    folder: tempfile::TempDir,
    pub(super) clock: Arc<LastingClock>,
    policy: OfflinePolicy,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let (server, forge) = Forge::published().await;
        Self {
            server,
            forge,
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(LastingClock::starting_at(clock::now())),
            policy: OfflinePolicy::default(),
        }
    }

    pub(super) fn uri(&self) -> String {
        format!("{}{LIST}", self.forge.issuer)
    }

    pub(super) fn claims(&self, bytes: &[u8], age: i64) -> Value {
        let now = clock::now().0;
        json!({
            "iss": self.forge.issuer, "sub": self.uri(), "iat": now - age, "exp": now + 7200, "ttl": 5,
            "status_list": {"bits": 1, "lst": pack(bytes).unwrap(),
                "aggregation_uri": format!("{}/oauth/status?resource=r", self.forge.issuer)},
        })
    }

    /// Publishes the list, and nothing else but keys, from now on.
    async fn publish(&self, token: &str, version: &str) {
        self.server.reset().await;
        self.forge.publish(&self.server).await;
        let list = ResponseTemplate::new(200).set_body_raw(token, MEDIA_TYPE);
        Mock::given(path(LIST))
            .respond_with(list)
            .mount(&self.server)
            .await;
        let directory = json!({"status_lists": [self.uri()], "versions": [version]});
        let answer = ResponseTemplate::new(200)
            .insert_header("etag", format!("\"{version}\"").as_str())
            .set_body_json(directory);
        Mock::given(path("/oauth/status"))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    pub(super) async fn publish_bits(&self, bytes: &[u8], version: &str) {
        let token = self.forge.sign("statuslist+jwt", &self.claims(bytes, 0));
        self.publish(&token, version).await;
    }

    pub(super) fn node(&self) -> Revocation {
        let client = HttpClient::new(None).unwrap();
        let issuer = self.forge.issuer.parse().unwrap();
        let kept = Some(shared::jwks::KeptAt {
            file: self.folder.path().join("keys.json"),
            clock: Arc::clone(&self.clock),
        });
        let settings = KeySetSettings {
            issuer,
            jwks_uri: None,
            algorithms: Vec::new(),
            max_stale: 24 * 60 * MINUTE,
            kept,
        };
        Revocation::new(Ways {
            issuer: self.forge.issuer.clone(),
            keys: RemoteKeySet::new(client.clone(), settings),
            client,
            policy: self.policy,
            clock: Arc::clone(&self.clock),
            file: Some(self.folder.path().join("lists.json")),
        })
    }

    pub(super) async fn mark(&self, node: &Revocation, index: u64) -> Result<Option<Mark>, NotVerified> {
        let reference = StatusReference {
            index,
            uri: self.uri(),
        };
        node.mark(&reference, clock::now()).await
    }
}

fn is_refused<T>(answer: Result<T, NotVerified>) -> bool {
    matches!(answer, Err(NotVerified::Refused(fault)) if fault.check == Check::Status)
}

fn is_unavailable<T>(answer: Result<T, NotVerified>) -> bool {
    matches!(answer, Err(NotVerified::Unavailable { retry_after }) if retry_after >= Duration::from_secs(1))
}

/// Waits until the node has learned of something.
async fn learned(node: &Revocation, seen: &mut watch::Receiver<u64>) {
    let wait = seen.changed();
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the news arrive")
        .unwrap();
    assert!(node.status().fault.is_none());
}

#[tokio::test]
async fn a_revocation_reaches_a_token_that_was_taken_before() {
    let stage = Stage::new().await;
    stage.publish_bits(&[0b10, 0], "a").await;
    let node = stage.node();
    let mark = stage.mark(&node, 0).await.unwrap().unwrap();
    assert!(mark.stands(clock::now()));
    // That the list is there was the first news.
    let mut changes = node.changes();
    assert!(is_refused(stage.mark(&node, 1).await));
    // STAT-05: beyond the end.
    assert!(is_refused(stage.mark(&node, 16).await));
    assert!(is_refused(stage.mark(&node, u64::MAX).await));
    stage.publish_bits(&[0b11, 0], "b").await;
    learned(&node, &mut changes).await;
    assert!(!mark.stands(clock::now()));
    assert!(is_refused(stage.mark(&node, 0).await));
    assert!(stage.mark(&node, 2).await.unwrap().is_some());
    // One list, however many tokens.
    assert_eq!(node.status().lists, 1);
}

/// Issuers of other makes may name no directory (§9.3 is optional): the lists themselves are asked for, as often as each says.
#[tokio::test]
async fn stat_17_without_a_directory_each_list_is_asked_for() {
    let stage = Stage::new().await;
    // The one with the smaller number answers.
    let publish = async |bytes: &[u8], priority: u8| {
        let mut claims = stage.claims(bytes, 0);
        claims["ttl"] = 1.into();
        let list = claims["status_list"].as_object_mut().unwrap();
        list.remove("aggregation_uri");
        let token = stage.forge.sign("statuslist+jwt", &claims);
        let answer = ResponseTemplate::new(200).set_body_raw(token, MEDIA_TYPE);
        let list = Mock::given(path(LIST)).respond_with(answer);
        list.with_priority(priority).mount(&stage.server).await;
    };
    publish(&[0b10, 0], 2).await;
    let node = stage.node();
    let mark = stage.mark(&node, 0).await.unwrap().unwrap();
    assert!(mark.stands(clock::now()));
    assert!(is_refused(stage.mark(&node, 1).await));
    publish(&[0b11, 0], 1).await;
    let ended = async {
        while mark.stands(clock::now()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, ended)
        .await
        .expect("the revocation arrives");
    assert!(is_refused(stage.mark(&node, 0).await));
    assert!(stage.mark(&node, 2).await.unwrap().is_some());
    let asked = stage.server.received_requests().await.unwrap();
    assert!(asked.iter().all(|request| request.url.path() != "/oauth/status"));
}

#[tokio::test]
async fn stat_04_a_token_does_not_choose_whom_the_node_asks() {
    let stage = Stage::new().await;
    stage.publish_bits(&[0], "a").await;
    let node = stage.node();
    let elsewhere = MockServer::start().await;
    for uri in [
        format!("{}{LIST}", elsewhere.uri()),
        format!("{}.evil.example/l", stage.forge.issuer),
        format!("{}@evil.example/l", stage.forge.issuer),
        "file:///etc/passwd".to_owned(),
        "x".to_owned(),
    ] {
        let reference = StatusReference { index: 0, uri };
        assert!(is_refused(node.mark(&reference, clock::now()).await));
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
    assert!(stage.mark(&node, 0).await.is_ok());
}

#[tokio::test]
async fn stat_02_a_list_that_is_not_the_issuers_is_as_none() {
    let stage = Stage::new().await;
    let good = stage.claims(&[0], 0);
    let thief = Forge::with_key(&stage.forge.issuer, "key-1", [8; 32]);
    let stranger = Forge::with_key(&stage.forge.issuer, "key-2", [8; 32]);
    let mut of_another = good.clone();
    of_another["iss"] = json!("https://other.example");
    let mut of_elsewhere = good.clone();
    of_elsewhere["sub"] = json!("https://other.example/l");
    for token in [
        thief.sign("statuslist+jwt", &good),
        stranger.sign("statuslist+jwt", &good),
        stage.forge.sign("at+jwt", &good),
        stage.forge.sign("statuslist+jwt", &of_another),
        stage.forge.sign("statuslist+jwt", &of_elsewhere),
        "{}".to_owned(),
    ] {
        stage.publish(&token, "a").await;
        let node = stage.node();
        assert!(is_unavailable(stage.mark(&node, 0).await));
        assert_eq!(node.status().lists, 0);
    }
    stage.publish_bits(&[0], "a").await;
    assert!(stage.mark(&stage.node(), 0).await.is_ok());
}

#[tokio::test]
async fn stat_14_a_list_that_goes_back_is_refused() {
    let stage = Stage::new().await;
    let held = |bytes: &[u8], age| stage.forge.sign("statuslist+jwt", &stage.claims(bytes, age));
    stage.publish(&held(&[0b01, 0], 5), "a").await;
    let node = stage.node();
    stage.mark(&node, 1).await.unwrap();
    let url: Url = stage.uri().parse().unwrap();
    let fetch = async |token: &str, version: &str| {
        stage.publish(token, version).await;
        node.0.fetch(&stage.uri(), &url, version).await.map(|_| ())
    };
    for worse in [
        held(&[0b11, 0], 60),
        held(&[0b00, 0], 0),
        held(&[0b10, 0], 0),
        held(&[0b01], 0),
    ] {
        let refused = fetch(&worse, "b").await;
        assert!(matches!(refused, Err(NotHad::Refused(_))), "{refused:?}");
        assert!(is_refused(stage.mark(&node, 0).await), "it is still revoked");
        assert!(stage.mark(&node, 1).await.is_ok(), "and the other is not");
    }
    // An older copy that says the same is no fault: two servers, two clocks.
    fetch(&held(&[0b01, 0], 60), "c").await.unwrap();
    fetch(&held(&[0b11, 0, 0], 0), "d").await.unwrap();
    assert!(is_refused(stage.mark(&node, 1).await));
}

#[tokio::test]
async fn stat_12_stat_13_alone_the_node_goes_on_for_its_budget_and_recovers() {
    let mut stage = Stage::new().await;
    stage.publish_bits(&[0b01, 0], "a").await;
    let node = stage.node();
    let mark = stage.mark(&node, 1).await.unwrap().unwrap();
    assert!(node.status().left.unwrap() <= 15 * MINUTE);
    // The issuer is away. The list's ttl of five seconds is over soon, its end is far.
    stage.server.reset().await;
    pause();
    advance(10 * MINUTE).await;
    assert!(mark.stands(clock::now()));
    assert!(stage.mark(&node, 2).await.is_ok(), "new work too");
    assert!(node.status().left.unwrap() <= 5 * MINUTE);
    advance(5 * MINUTE + MINUTE / 60).await;
    assert!(!mark.stands(clock::now()));
    assert!(is_unavailable(stage.mark(&node, 2).await));
    assert!(
        is_refused(stage.mark(&node, 0).await),
        "what is known stays known"
    );
    assert_eq!(node.status().left, Some(Duration::ZERO));
    resume();
    stage.publish_bits(&[0b01, 0], "b").await;
    let recovered = async {
        while !mark.stands(clock::now()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), recovered)
        .await
        .expect("it recovers by itself");
    drop(node);

    // As configured, it goes on for ever.
    stage.policy.on_stale = OnStale::Accept;
    let node = stage.node();
    let mark = stage.mark(&node, 1).await.unwrap().unwrap();
    pause();
    advance(60 * MINUTE).await;
    assert!(mark.stands(clock::now()) && node.status().left.is_none());
    assert!(is_refused(stage.mark(&node, 0).await));
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_as_configured() {
    let mut stage = Stage::new().await;
    assert!(is_unavailable(stage.mark(&stage.node(), 0).await));
    stage.policy.on_stale = OnStale::Accept;
    let node = stage.node();
    assert!(stage.mark(&node, 0).await.unwrap().is_none());
    // And is asked for again when there is one.
    stage.publish_bits(&[1], "a").await;
    pause();
    advance(COOL_DOWN).await;
    resume();
    assert!(is_refused(stage.mark(&node, 0).await));
}

#[tokio::test]
async fn what_was_known_is_known_after_a_restart_without_network() {
    use std::os::unix::fs::PermissionsExt;

    let mut stage = Stage::new().await;
    stage.publish_bits(&[0b01, 0], "a").await;
    let node = stage.node();
    stage.mark(&node, 1).await.unwrap();
    let file = stage.folder.path().join("lists.json");
    let written = async {
        // The key set is written beside its fetch, and no list is believed without it.
        while !file.exists() || !stage.folder.path().join("keys.json").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written)
        .await
        .expect("it is written");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(node);
    stage.server.reset().await;
    let good = std::fs::read_to_string(&file).unwrap();
    let node = stage.node();
    assert!(stage.mark(&node, 1).await.is_ok());
    assert!(is_refused(stage.mark(&node, 0).await));
    drop(node);
    // The time without power counts.
    let later = clock::now() + 16 * MINUTE;
    stage.clock = Arc::new(LastingClock::starting_at(later));
    let node = stage.node();
    assert!(is_unavailable(stage.mark(&node, 1).await));
    drop(node);
    stage.clock = Arc::new(LastingClock::starting_at(clock::now()));
    for bad in [
        good[..good.len() / 2].to_owned(),
        good.replace("eyJ", "eyK"),
        good.replace(&stage.forge.issuer, "https://evil.example"),
        String::new(),
    ] {
        std::fs::write(&file, bad).unwrap();
        let node = stage.node();
        assert_eq!(node.status().lists, 0);
        assert!(is_unavailable(stage.mark(&node, 1).await));
    }
}
