//! Alerts: told to a webhook once, signed, and again until it takes them (docs/alerts.md).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blackbox::answers::granted;
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::registered::public;
use blackbox::{Db, Fleet, both};
use ring::hmac;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};
use xtask::fleet::UNLIMITED_SERVER;

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
    let wishes = Wishes {
        server: Some(webhook.section(folder.path(), "")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
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
    let wishes = Wishes {
        server: Some(webhook.section(folder.path(), "failures = \"5/h\"\n")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
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
    let wishes = Wishes {
        server: Some(webhook.section(folder.path(), more)),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
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
    let wishes = Wishes {
        server: Some(webhook.section(folder.path(), "")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let pass = |days: u32| {
        let seconds = days * 86_400;
        fleet.sql(&format!(
            "UPDATE signing_key SET created_at = created_at - {seconds}, signs_from = signs_from - {seconds}"
        ));
        fleet.sql("UPDATE change_head SET sequence = sequence + 1");
    };
    // The database takes no key: it is full, say.
    match db {
        Db::Sqlite => fleet
            .sql("CREATE TRIGGER no_room BEFORE INSERT ON signing_key BEGIN SELECT RAISE(ABORT, 'no room'); END"),
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
