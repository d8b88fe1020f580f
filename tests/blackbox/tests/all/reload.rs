//! SIGHUP: limits, the filter of the log and the certificate change without a restart; a file with a fault changes nothing
//! (docs/configuration.md).

use std::net::TcpListener;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blackbox::answers::granted;
use blackbox::fleet::{SCOPES, Wishes, built};
use blackbox::{Db, Fleet, both, tls};
use serde_json::Value;
use xtask::fleet::{AuthzServer, START, UNLIMITED_SERVER, free_port};
use xtask::http::Request;
use xtask::program::Program;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn wait_for(what: &str, mut happens: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(began.elapsed() < PATIENCE, "{what}: it does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The events of reloads, the newest first.
pub(super) fn reloads(server: &AuthzServer) -> Vec<Value> {
    let rows = server.json(&["audit", "list", "--event", "configuration.reloaded"]);
    rows.unwrap().as_array().unwrap().clone()
}

/// What an event says beside who and when.
pub(super) fn details(event: &Value) -> Value {
    let details = &event["details"];
    let text = details.as_str();
    text.map_or_else(|| details.clone(), |text| serde_json::from_str(text).unwrap())
}

pub(super) fn hang_up(fleet: &Fleet) {
    let mut programs = fleet.programs();
    programs.get_mut("authz-server").unwrap().signal("HUP").unwrap();
}

both!(a_new_file_changes_what_can_change_and_one_with_a_fault_nothing);
fn a_new_file_changes_what_can_change_and_one_with_a_fault_nothing(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&["--scopes", SCOPES]);
    for _ in 0..5 {
        granted(&fleet.ask_token(&client, &[]));
    }
    // Its fault is named, and nothing changes.
    let with = |rate: &str, more: &str| {
        let limits = UNLIMITED_SERVER.replace("per_client = \"off\"", &format!("per_client = \"{rate}\""));
        format!("{limits}{more}")
    };
    fleet.server.extra = with("quick", "[tokens]\naccess_ttl = \"soon\"\n");
    fleet.server.write_config().unwrap();
    hang_up(&fleet);
    wait_for("the faults are in the log", || {
        let logs = fleet.logs();
        logs.contains("nothing is changed")
            && logs.contains("limits.per_client")
            && logs.contains("tokens.access_ttl")
    });
    granted(&fleet.ask_token(&client, &[]));

    // A good one: the limit counts at once, the life of tokens after a restart.
    assert!(!fleet.logs().contains("\"level\":\"DEBUG\""));
    fleet.server.extra = with(
        "2/h",
        "[tokens]\naccess_ttl = \"5m\"\n[log]\nfilter = \"debug\"\n",
    );
    fleet.server.write_config().unwrap();
    assert!(reloads(&fleet.server).is_empty());
    hang_up(&fleet);
    wait_for("the configuration is read again", || {
        reloads(&fleet.server).len() == 1
    });
    let details = details(&reloads(&fleet.server)[0]);
    assert_eq!(
        details["changed"]["limits.per_client"]["before"], "off",
        "{details}"
    );
    assert_eq!(details["changed"]["limits.per_client"]["after"], "2/h");
    assert_eq!(details["changed"]["log.filter"]["after"], "debug");
    assert_eq!(details["after_restart"]["tokens.access_ttl"]["after"], "5m");
    wait_for("the limit counts", || fleet.ask_token(&client, &[]).status == 429);
    wait_for("more is logged", || fleet.logs().contains("\"level\":\"DEBUG\""));

    // The same again is nothing new, also while something waits for a restart, and when it does no more.
    hang_up(&fleet);
    wait_for("it is said", || fleet.logs().matches("is as before").count() == 1);
    assert_eq!(reloads(&fleet.server).len(), 1);
    fleet.server.extra = with("2/h", "[log]\nfilter = \"debug\"\n");
    fleet.server.write_config().unwrap();
    hang_up(&fleet);
    wait_for("it is said again", || {
        fleet.logs().matches("is as before").count() == 2
    });
    assert_eq!(reloads(&fleet.server).len(), 1);
    // Something else that waits is.
    fleet.server.extra = with(
        "2/h",
        "[tokens]\naccess_ttl = \"6m\"\n[log]\nfilter = \"debug\"\n",
    );
    fleet.server.write_config().unwrap();
    hang_up(&fleet);
    wait_for("it is told", || reloads(&fleet.server).len() == 2);
}

#[test]
fn whoever_reloads_a_server_that_is_starting_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = database.local_addr().unwrap();
    let mut server = AuthzServer::new(built("authz-server"), folder.path(), free_port().unwrap());
    server.database = Some(format!("postgres://u@{address}/x?sslmode=disable"));
    server.write_config().unwrap();
    let mut program = server.serve().unwrap();
    // It waits for its database, which says nothing until the signal is there.
    let connection = database.accept().unwrap();
    program.signal("HUP").unwrap();
    drop((connection, database));
    let ended = program.wait_end(PATIENCE).unwrap();
    // By itself, for want of a database; a signal leaves no code.
    assert_eq!(ended.code(), Some(1), "{ended}: {}", program.log());
}

/// Writes a certificate for `localhost` and its key; what trusts it is the certificate itself.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
}

fn alive(server: &AuthzServer) -> Request {
    Request::new("GET", &format!("https://localhost:{}/healthz", server.port)).unwrap()
}

/// Whether a client that trusts `authority` alone gets an answer.
fn is_believed(server: &AuthzServer, authority: &Path) -> bool {
    tls::send(&alive(server), server.port, authority).is_ok_and(|seen| seen.answer.status == 200)
}

fn with_files(db: Db, folder: &Path) -> (AuthzServer, Program) {
    let mut server = AuthzServer::new(built("authz-server"), folder, free_port().unwrap());
    server.issuer = server.issuer.replace("http://", "https://");
    server.database = db.create();
    let place = folder.display();
    server.extra = format!(
        "\n[tls]\nmode = \"files\"\ncert_file = \"{place}/cert.pem\"\nkey_file = \"{place}/key.pem\"\n"
    );
    server.write_config().unwrap();
    let mut program = server.serve().unwrap();
    let began = Instant::now();
    while !is_believed(&server, &folder.join("cert.pem")) {
        assert!(
            program.ended().is_none() && began.elapsed() < START,
            "{}",
            program.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    (server, program)
}

both!(a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_is_not);
fn a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_is_not(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.pem");
    certify(folder.path());
    std::fs::copy(folder.path().join("cert.pem"), &old).unwrap();
    let (server, mut program) = with_files(db, folder.path());
    // The key of another certificate.
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    program.signal("HUP").unwrap();
    wait_for("the fault is in the log", || {
        program.log().contains("nothing is changed")
    });
    assert!(is_believed(&server, &old));
    assert!(reloads(&server).is_empty());

    // Callers who are there already, and go on all the while.
    let (has_changed, are_there) = (AtomicBool::new(false), Barrier::new(9));
    let new = folder.path().join("cert.pem");
    let go_on = || {
        let mut connection = tls::connect("localhost", server.port, &old).unwrap();
        are_there.wait();
        let mut answers = 0;
        loop {
            let is_last = has_changed.load(Ordering::Acquire);
            let answer = connection.send(&alive(&server)).unwrap();
            assert_eq!(answer.status, 200);
            answers += 1;
            if is_last {
                return answers;
            }
        }
    };
    std::thread::scope(|scope| {
        let callers = [(); 8].map(|()| scope.spawn(go_on));
        are_there.wait();
        certify(folder.path());
        assert!(!is_believed(&server, &new));
        program.signal("HUP").unwrap();
        wait_for("the new certificate is shown", || is_believed(&server, &new));
        has_changed.store(true, Ordering::Release);
        // The last answer of each came after that, on its first connection.
        assert!(callers.into_iter().all(|caller| caller.join().unwrap() > 0));
    });
    assert!(!is_believed(&server, &old));
    wait_for("it is in the audit log", || reloads(&server).len() == 1);
}
