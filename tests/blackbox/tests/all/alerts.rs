//! Alerts: told to a webhook once, signed, and again until it takes them (docs/alerts.md).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blackbox::answers::granted;
use blackbox::enrolled::{Candidate, proof_at, welcomed};
use blackbox::fleet::Wishes;
use blackbox::forge::Key;
use blackbox::pair::Pair;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::registered::public;
use blackbox::{Db, Fleet, both};
use ring::hmac;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};
use xtask::fleet::{AuthzServer, UNLIMITED_SERVER};
use xtask::http;

const SECRET: &[u8] = b"a secret of 24 bytes, or more";
const PATIENCE: Duration = Duration::from_secs(90);

struct Webhook {
    runtime: Runtime,
    server: MockServer,
}

impl Webhook {
    /// It refuses so many times, then takes what comes.
    fn start(refusals: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            let hook = || Mock::given(method("POST")).and(path("/hook"));
            if refusals > 0 {
                let away = hook().respond_with(ResponseTemplate::new(503));
                away.up_to_n_times(refusals).mount(&server).await;
            }
            hook()
                .respond_with(ResponseTemplate::new(204))
                .mount(&server)
                .await;
            server
        });
        Self { runtime, server }
    }

    fn section(&self, folder: &Path, more: &str) -> String {
        let file = folder.join("webhook-secret");
        std::fs::write(&file, format!("whsec_{}\n", STANDARD.encode(SECRET))).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let url = self.server.uri();
        let file = file.display();
        format!("{UNLIMITED_SERVER}\n[alerts]\nurl = \"{url}/hook\"\nsecret_file = \"{file}\"\n{more}\n")
    }

    /// A fleet whose server tells it, with more lines below `[alerts]`.
    fn told_by(&self, db: Db, folder: &Path, more: &str) -> Fleet {
        let wishes = Wishes {
            server: Some(self.section(folder, more)),
            ..Wishes::default()
        };
        Fleet::start(db, &wishes)
    }

    fn requests(&self) -> Vec<Request> {
        self.runtime.block_on(self.server.received_requests()).unwrap()
    }

    /// Waits for so many requests about `kind`; their bodies. Each is signed.
    fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let requests = self.requests();
            requests.iter().for_each(check);
            let bodies = requests
                .iter()
                .map(|request| request.body_json::<Value>().unwrap());
            let of_kind: Vec<_> = bodies.filter(|body| body["type"] == kind).collect();
            if of_kind.len() >= count {
                return of_kind;
            }
            assert!(began.elapsed() < PATIENCE, "{kind}: {of_kind:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Standard Webhooks, as a receiver checks it.
fn check(request: &Request) {
    let header = |name: &str| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
    let body = std::str::from_utf8(&request.body).unwrap();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, format!("{id}.{time}.{body}").as_bytes(), &tag).unwrap();
    let said: Value = serde_json::from_str(body).unwrap();
    assert_eq!(said["id"], id);
}

both!(a_replay_is_told_once_and_again_until_it_is_taken);
fn a_replay_is_told_once_and_again_until_it_is_taken(db: Db) {
    let webhook = Webhook::start(1);
    let folder = tempfile::tempdir().unwrap();
    let fleet = webhook.told_by(db, folder.path(), "");
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let replay = || {
        let pkce = Pkce::fresh();
        let code = fleet
            .allowed(&mut fleet.person(), &username, &client_id, (&pkce, &[]))
            .code();
        granted(&fleet.redeem(&client_id, &code, &pkce, &[]));
        assert_eq!(fleet.redeem(&client_id, &code, &pkce, &[]).status, 400);
    };
    replay();
    replay();
    // The first try was refused.
    let told = webhook.wait_for("replay", 2);
    assert_eq!(told[0], told[1], "the same again");
    assert_eq!(told[0]["data"]["audit_event"], "authorization_code_replayed");
    assert_eq!(told[0]["data"]["actor"], client_id);
    assert_eq!(told[0]["issuer"], fleet.server.issuer);
    // What comes later is told later: whatever there was to tell of the second replay would be here.
    fleet
        .server
        .json(&["key", "rotate", "--compromised", "--alg", "RS256"])
        .unwrap();
    let told = webhook.wait_for("key_compromised", 1);
    assert_eq!(told[0]["data"]["target_type"], "key");
    assert_eq!(webhook.wait_for("replay", 2).len(), 2);
    for request in webhook.requests() {
        assert!(fleet.leak_in(&String::from_utf8_lossy(&request.body)).is_none());
    }
}

both!(guesses_and_a_damaged_audit_log_are_told);
fn guesses_and_a_damaged_audit_log_are_told(db: Db) {
    let webhook = Webhook::start(0);
    let folder = tempfile::tempdir().unwrap();
    let fleet = webhook.told_by(db, folder.path(), "failures = \"5/h\"\n");
    let mut client = fleet.client(&[]);
    client.secret = "wrong".to_owned();
    for _ in 0..6 {
        assert_eq!(fleet.ask_token(&client, &[]).status, 401);
    }
    let told = webhook.wait_for("brute_force.client", 1);
    assert!(told[0]["data"]["refused"].as_u64().unwrap() >= 5, "{told:?}");
    // Guesses of people's passwords are told as such, and were not so far.
    assert!(webhook.wait_for("brute_force.sign_in", 0).is_empty());
    let username = fleet.person_account();
    for _ in 0..6 {
        let refused = fleet.person().sign_in(&username, "not the password of anyone");
        assert_eq!(refused.page().answer.status, 401);
    }
    let told = webhook.wait_for("brute_force.sign_in", 1);
    assert!(told[0]["data"]["refused"].as_u64().unwrap() >= 5, "{told:?}");
    assert!(!told[0].to_string().contains(&username), "{told:?}");
    // Somebody who has the database writes to the log; the next start sees it.
    fleet.server.json(&["key", "rotate", "--alg", "RS256"]).unwrap();
    fleet.sql("UPDATE audit_event SET outcome = 'refused' WHERE sequence = 1");
    fleet.restart_server();
    let told = webhook.wait_for("audit_chain_broken", 1);
    assert!(
        told[0]["data"]["reason"].as_str().unwrap().contains("row 1"),
        "{told:?}"
    );
}

both!(a_flood_of_registrations_is_told);
fn a_flood_of_registrations_is_told(db: Db) {
    let webhook = Webhook::start(0);
    let folder = tempfile::tempdir().unwrap();
    let more =
        "registrations = \"5/h\"\n\n[clients]\nregistration = \"open\"\nregistrations_per_address = \"3/h\"";
    let fleet = webhook.told_by(db, folder.path(), more);
    for _ in 0..3 {
        fleet.registered(&public(&json!({})));
    }
    let refuse = |count: usize| {
        for _ in 0..count {
            assert_eq!(fleet.register(&public(&json!({})), None).status, 429);
        }
    };
    // Those that were let in are no flood, nor are four that were not: what comes later is told, and they are not.
    refuse(4);
    let compromised = ["key", "rotate", "--compromised", "--alg", "RS256"];
    fleet.server.json(&compromised).unwrap();
    webhook.wait_for("key_compromised", 1);
    assert!(webhook.wait_for("registration_flood", 0).is_empty());
    refuse(1);
    let told = webhook.wait_for("registration_flood", 1);
    assert_eq!(told[0]["data"]["refused"], 5, "{told:?}");
}

both!(a_key_that_nobody_can_replace_is_told);
fn a_key_that_nobody_can_replace_is_told(db: Db) {
    let webhook = Webhook::start(0);
    let folder = tempfile::tempdir().unwrap();
    let fleet = webhook.told_by(db, folder.path(), "");
    let pass = |days: u32| {
        let seconds = days * 86_400;
        fleet.sql(&format!(
            "UPDATE signing_key SET created_at = created_at - {seconds}, signs_from = signs_from - {seconds}"
        ));
        fleet.sql("UPDATE change_head SET sequence = sequence + 1");
    };
    // The database takes no key: it is full, say.
    match db {
        Db::Sqlite => fleet.sql(
            "CREATE TRIGGER no_room BEFORE INSERT ON signing_key BEGIN SELECT RAISE(ABORT, 'no room'); END",
        ),
        Db::Postgres => fleet.sql(
            "CREATE FUNCTION no_room() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$; \
             CREATE TRIGGER no_room BEFORE INSERT ON signing_key FOR EACH ROW EXECUTE FUNCTION no_room()",
        ),
    }
    // Those of today are not overdue: after the look that tells of a replay, they would be here.
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let pkce = Pkce::fresh();
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client_id, (&pkce, &[]))
        .code();
    granted(&fleet.redeem(&client_id, &code, &pkce, &[]));
    assert_eq!(fleet.redeem(&client_id, &code, &pkce, &[]).status, 400);
    webhook.wait_for("replay", 1);
    assert!(webhook.wait_for("key_overdue", 0).is_empty());
    pass(31);
    let told = webhook.wait_for("key_overdue", 3);
    let mut algorithms: Vec<_> = told
        .iter()
        .map(|one| one["data"]["alg"].as_str().unwrap())
        .collect();
    algorithms.sort_unstable();
    assert_eq!(algorithms, ["ES256", "EdDSA", "RS256"]);
}

/// A node that tells its server of itself when a test wants it.
struct Reporter {
    issuer: String,
    key: Key,
    client: String,
    node_id: String,
}

impl Reporter {
    fn enrol(server: &AuthzServer, path: &str) -> Self {
        let resource = format!("http://localhost:1/{path}/mcp");
        let made = server.json(&["node", "invite", "--resource", &resource]).unwrap();
        let candidate = Candidate::at(&server.issuer, made["invite"].as_str().unwrap(), Some(&resource));
        let request = http::Request::post(&format!("{}/fleet/enroll", server.issuer)).unwrap();
        let welcome = welcomed(&request.json(&candidate.request()).send().unwrap());
        Self {
            issuer: server.issuer.clone(),
            client: welcome["client_id"].as_str().unwrap().to_owned(),
            node_id: welcome["node_id"].as_str().unwrap().to_owned(),
            key: candidate.key,
        }
    }

    fn report(&self) {
        let proof = proof_at(&self.issuer, &self.key, &self.client);
        let report = json!({"version": "1.0.0", "uptime_seconds": 5}).to_string();
        let form = [
            (proof[0].0, &*proof[0].1),
            (proof[1].0, &proof[1].1),
            ("report", &report),
        ];
        let request = http::Request::post(&format!("{}/fleet/report", self.issuer)).unwrap();
        granted(&request.form(&form).send().unwrap());
    }

    /// Waits for so many alerts about it; their ids differ.
    fn told(&self, webhook: &Webhook, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let mut told = webhook.wait_for("node.silent", 1);
            told.retain(|body| body["data"]["node_id"] == *self.node_id);
            // One whose answer was lost on the way is sent again.
            told.dedup_by(|one, other| one["id"] == other["id"]);
            if told.len() >= count {
                assert_eq!(told[0]["data"]["client_id"], *self.client);
                assert!(told[0]["data"]["last_contact_at"].as_i64().unwrap() > 0);
                return told;
            }
            assert!(began.elapsed() < PATIENCE, "{}: {told:?}", self.node_id);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What two nodes have to say, wherever they are served.
fn silence_is_told_once(server: &AuthzServer, webhook: &Webhook) {
    let [first, second, quiet] = ["a", "b", "c"].map(|name| Reporter::enrol(server, name));
    first.report();
    assert_eq!(first.told(webhook, 1).len(), 1);
    // What comes later is told later: whatever there was to tell of the first one again would be here.
    second.report();
    second.told(webhook, 1);
    assert_eq!(first.told(webhook, 1).len(), 1, "a silence is told once");
    first.report();
    let told = first.told(webhook, 2);
    assert!(told[0]["data"]["last_contact_at"].as_i64() < told[1]["data"]["last_contact_at"].as_i64());
    assert_eq!(second.told(webhook, 1).len(), 1);
    // Of one that never said anything, nothing is told.
    let all = webhook.wait_for("node.silent", 1);
    assert!(
        all.iter().all(|body| body["data"]["node_id"] != *quiet.node_id),
        "{all:?}"
    );
    assert_eq!(second.told(webhook, 1).len(), 1);
}

#[test]
fn a_silent_node_is_told_once_and_again_after_it_was_heard_of_sqlite() {
    let webhook = Webhook::start(0);
    let folder = tempfile::tempdir().unwrap();
    let fleet = webhook.told_by(Db::Sqlite, folder.path(), "node_silent_after = \"3s\"\n");
    silence_is_told_once(&fleet.server, &webhook);
}

#[test]
fn two_instances_tell_of_a_silence_once_postgres() {
    let webhook = Webhook::start(0);
    let folder = tempfile::tempdir().unwrap();
    let section = webhook.section(folder.path(), "node_silent_after = \"3s\"\n");
    let pair = Pair::start_with(&section.replace(UNLIMITED_SERVER, ""));
    silence_is_told_once(&pair.first, &webhook);
}
