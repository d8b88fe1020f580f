use serde_json::{Value, json};
use shared::clock;
use shared::jose::Algorithm;
use shared::jwks::{DEFAULT_MAX_STALE, KeySetSettings};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::enrolment::Enrolment;
use crate::identity::Identity;
use crate::mcp::news::News;
use crate::testing::Forge;

const HOUR: Duration = Duration::from_secs(3600);

/// A node that has enrolled with an authorization server of our making.
struct Site {
    server: MockServer,
    forge: Forge,
    identity: Identity,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let (server, forge) = Forge::published().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("offline")).unwrap();
        let identity = Identity::ensure(folder.path()).unwrap();
        Self {
            server,
            forge,
            identity,
            folder,
        }
    }

    fn record_of(&self, identity: &Identity) -> Value {
        json!({
            "node_id": identity.id(), "peer_id": identity.peer_id(), "name": "n", "resource": "r",
            "capabilities": [], "enrolled_at": clock::now() - HOUR, "cnf": {"jwk": identity.public_jwk()},
        })
    }

    /// The node's record, for so long.
    fn record(&self, life: Duration) -> String {
        let mut claims = self.record_of(&self.identity);
        claims["iss"] = self.forge.issuer.clone().into();
        claims["iat"] = json!(clock::now());
        claims["exp"] = json!(clock::now() + life);
        self.forge.sign("edge-hive-node+jwt", &claims)
    }

    fn directory(&self, nodes: &[Value]) -> String {
        let claims = json!({
            "iss": self.forge.issuer, "iat": clock::now(), "exp": clock::now() + 24 * HOUR, "nodes": nodes,
        });
        self.forge.sign("edge-hive-nodes+jwt", &claims)
    }

    async fn serve(&self, at: &str, typ: &str, text: String) {
        let answer = ResponseTemplate::new(200)
            .insert_header("etag", "\"1\"")
            .set_body_raw(text, typ);
        Mock::given(path(at))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    async fn serve_record(&self, text: String) {
        let at = format!("/fleet/nodes/{}", self.identity.id());
        self.serve(&at, "application/edge-hive-node+jwt", text).await;
    }

    async fn serve_directory(&self, text: String) {
        self.serve("/fleet/nodes", "application/edge-hive-nodes+jwt", text)
            .await;
    }

    fn records(&self, enrolled_with: String) -> Records {
        let enrolment: Enrolment = serde_json::from_value(json!({
            "issuer": self.forge.issuer, "node_id": self.identity.id(), "peer_id": self.identity.peer_id(),
            "client_id": "c", "resource": "r", "name": "n", "scope": "", "record": enrolled_with,
            "jwks": self.forge.jwks(), "directory_uri": format!("{}/fleet/nodes", self.forge.issuer),
        }))
        .unwrap();
        let client = HttpClient::new(None).unwrap();
        let settings = KeySetSettings {
            issuer: enrolment.issuer.clone(),
            jwks_uri: None,
            algorithms: vec![Algorithm::EdDSA],
            max_stale: DEFAULT_MAX_STALE,
            kept: None,
        };
        let keys = RemoteKeySet::new(client.clone(), settings);
        Records::new(&enrolment, (client, keys), self.folder.path(), clock::now()).unwrap()
    }

    fn peers(&self) -> Peers {
        Peers::new(self.identity.peer_id(), News::new().unwrap())
    }
}

fn text(own: &watch::Receiver<Option<Arc<SignedRecord>>>) -> Option<String> {
    own.borrow().as_ref().map(|record| record.text.clone())
}

#[tokio::test]
async fn a_record_is_renewed_at_the_start_and_kept_for_one_without_its_server() {
    let site = Site::start().await;
    let (first, second) = (site.record(HOUR), site.record(24 * HOUR));
    site.serve_record(second.clone()).await;
    let records = site.records(first.clone());
    let mut own = records.own();
    assert_eq!(text(&own).as_ref(), Some(&first));
    own.mark_unchanged();
    let stopping = CancellationToken::new();
    let task = tokio::spawn(records.keep_current(site.peers(), stopping.clone()));
    own.changed().await.unwrap();
    assert_eq!(text(&own).as_ref(), Some(&second));
    stopping.cancel();
    task.await.unwrap();
    let file = site.folder.path().join(RECORD_FILE);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The server is away now.
    site.server.reset().await;
    assert_eq!(text(&site.records(first.clone()).own()).as_ref(), Some(&second));
    // A damaged file is as none, and so is one of another kind.
    std::fs::write(&file, site.directory(&[])).unwrap();
    assert_eq!(text(&site.records(first.clone()).own()).as_ref(), Some(&first));
}

#[tokio::test]
async fn p2p_05_a_record_of_another_node_or_another_server_is_not_taken() {
    let site = Site::start().await;
    let good = site.record(HOUR);
    let other_folder = tempfile::tempdir().unwrap();
    let other = Identity::ensure(other_folder.path()).unwrap();
    let mut claims = site.record_of(&other);
    claims["iss"] = site.forge.issuer.clone().into();
    claims["exp"] = json!(clock::now() + 24 * HOUR);
    claims["iat"] = json!(clock::now());
    let of_another = site.forge.sign("edge-hive-node+jwt", &claims);
    let stranger = Forge::with_key(&site.forge.issuer, &site.forge.kid, [8; 32]);
    let mut claims = site.record_of(&site.identity);
    claims["iss"] = site.forge.issuer.clone().into();
    claims["exp"] = json!(clock::now() + 24 * HOUR);
    claims["iat"] = json!(clock::now());
    let by_another = stranger.sign("edge-hive-node+jwt", &claims);
    for bad in [of_another, by_another, "x".to_owned()] {
        site.server.reset().await;
        site.forge.publish(&site.server).await;
        site.serve_record(bad.clone()).await;
        let records = site.records(good.clone());
        assert!(records.0.renew().await.is_err(), "{bad}");
        assert_eq!(text(&site.records(bad).own()), None);
    }
    site.server.reset().await;
    site.forge.publish(&site.server).await;
    site.serve_record(good.clone()).await;
    let records = site.records(String::new());
    assert_eq!(text(&records.own()), None);
    assert_eq!(records.0.renew().await.unwrap().text, good);
}

#[tokio::test]
async fn the_directory_reaches_the_table_of_peers_and_the_disk() {
    let site = Site::start().await;
    let other_folder = tempfile::tempdir().unwrap();
    let other = Identity::ensure(other_folder.path()).unwrap();
    let mut entry = site.record_of(&other);
    entry["resource"] = "https://192.0.2.7/mcp".into();
    let text = site.directory(&[site.record_of(&site.identity), entry]);
    site.serve_directory(text.clone()).await;
    let peers = site.peers();
    let mut advice = peers.advice();
    advice.mark_unchanged();
    let records = site.records(site.record(HOUR));
    let stopping = CancellationToken::new();
    let task = tokio::spawn(records.keep_current(peers.clone(), stopping.clone()));
    advice.changed().await.unwrap();
    let heard = peers.find(&other.peer_id()).unwrap();
    assert_eq!(heard.addresses(), ["/ip4/192.0.2.7/tcp/4001"]);
    let file = site.folder.path().join(DIRECTORY_FILE);
    while std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        tokio::task::yield_now().await;
    }
    stopping.cancel();
    task.await.unwrap();
    // A node that starts without its server knows the nodes that it knew.
    site.server.reset().await;
    let later = site.peers();
    let mut advice = later.advice();
    advice.mark_unchanged();
    let records = site.records(site.record(HOUR));
    let stopping = CancellationToken::new();
    let task = tokio::spawn(records.keep_current(later.clone(), stopping.clone()));
    advice.changed().await.unwrap();
    assert!(later.find(&other.peer_id()).is_some());
    stopping.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn p2p_01_only_a_directory_below_the_issuer_is_asked_for() {
    let site = Site::start().await;
    let mut enrolment: Enrolment = serde_json::from_value(json!({
        "issuer": site.forge.issuer, "node_id": "n", "peer_id": "p", "client_id": "c", "resource": "r",
        "name": "n", "scope": "", "record": "", "jwks": {}, "directory_uri": "https://elsewhere.example/fleet/nodes",
    }))
    .unwrap();
    let take = |enrolment: &Enrolment| {
        let client = HttpClient::new(None).unwrap();
        let settings = KeySetSettings {
            issuer: enrolment.issuer.clone(),
            jwks_uri: None,
            algorithms: Vec::new(),
            max_stale: DEFAULT_MAX_STALE,
            kept: None,
        };
        let keys = RemoteKeySet::new(client.clone(), settings);
        Records::new(enrolment, (client, keys), site.folder.path(), clock::now()).is_some()
    };
    assert!(!take(&enrolment));
    enrolment.directory_uri = format!("{}/fleet/nodes", site.forge.issuer);
    assert!(take(&enrolment));
}

#[test]
fn nodes_do_not_ask_all_at_once() {
    let span = Duration::from_secs(100);
    let spans: Vec<_> = (0..64).map(|_| spread(span)).collect();
    assert!(spans.iter().all(|spread| (span..span * 5 / 4).contains(spread)));
    assert!(spans.iter().any(|spread| *spread != spans[0]));
}
