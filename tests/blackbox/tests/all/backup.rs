//! A backup that was taken under load, restored into an empty database.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_400, refused_401};
use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use serde_json::Value;
use xtask::code_flow::{CodeClient, TESTING_DOOR};
use xtask::fleet::{AuthzServer, Credentials, UNLIMITED_SERVER};
use xtask::shell;

/// Sessions of each kind before the backup is taken.
const SESSIONS: usize = 12;

/// What clients were told.
#[derive(Clone, Default)]
struct Told {
    /// Refresh tokens that were given and not used.
    kept: Vec<String>,
    /// Refresh tokens that were taken back.
    ended: Vec<String>,
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

/// Gives and takes back until it is over.
fn work(fleet: &Fleet, client: &CodeClient, told: &Mutex<Told>, is_over: &AtomicBool) {
    let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
    while !is_over.load(Ordering::Relaxed) {
        let refresh = || text(&client.tokens().unwrap(), "refresh_token");
        let kept = refresh();
        told().kept.push(kept);
        let ended = refresh();
        let form = [("client_id", client.id.as_str()), ("token", &ended)];
        let revoked = fleet.post_bare("/oauth/revoke", &form);
        assert_eq!(revoked.status, 200, "{revoked}");
        told().ended.push(ended);
    }
}

/// A file with a secret, as an operator makes it.
fn key_file(folder: &Path, secret: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let path = folder.join(format!("{}.key", secret.len()));
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The server's place on another machine: a folder of its own, and an empty database.
fn elsewhere(fleet: &Fleet, name: &str, db: Db) -> AuthzServer {
    let mut server = fleet.server.clone();
    server.folder = fleet.server.folder.with_file_name(name);
    server.database = db.create();
    server.write_config().unwrap();
    server
}

fn refused(server: &AuthzServer, words: &[&str]) -> String {
    let output = shell::output(&mut server.command(words)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(sentence.trim().lines().count(), 1, "{sentence}");
    sentence
}

both!(a_backup_under_load_has_everything_that_was_acknowledged);
fn a_backup_under_load_has_everything_that_was_acknowledged(db: Db) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}{TESTING_DOOR}")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let approved = CodeClient::create(&fleet.server, "ines", (&fleet.node.url(), "mcp:read")).unwrap();
    let clients: Vec<Credentials> = (0..2).map(|_| fleet.client(&[])).collect();
    let gone = fleet.client(&[]);
    fleet.server.json(&["client", "revoke", &gone.id]).unwrap();
    let old_token = fleet.token(&clients[0], &fleet.node.url());
    assert_eq!(fleet.call(&old_token).status, 200);

    let folder = fleet.server.folder.clone();
    let (backup, key) = (
        folder.join("b1"),
        key_file(&folder, "a secret that nobody can try out"),
    );
    let (file, key) = (backup.display().to_string(), key.display().to_string());
    let take = ["db", "backup", "--to", &file, "--key-file", &key];
    let (told, is_over) = (Mutex::new(Told::default()), AtomicBool::new(false));
    let so_far = || told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (acknowledged, events) = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| work(&fleet, &approved, &told, &is_over)))
            .collect();
        let is_working = || !workers.iter().any(thread::ScopedJoinHandle::is_finished);
        while so_far().ended.len() < SESSIONS && is_working() {
            thread::yield_now();
        }
        let events = shell::read(&mut fleet.server.command(&["audit", "export"])).unwrap();
        let acknowledged = so_far();
        let summary = fleet.server.json(&take).unwrap();
        assert_eq!(summary["issuer"], fleet.server.issuer, "{summary}");
        // It goes on meanwhile, and afterwards.
        let served = so_far().ended.len();
        while so_far().ended.len() == served && is_working() {
            thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        (acknowledged, events)
    });
    assert!(!events.is_empty());
    // The machine is gone.
    fleet.programs().remove("authz-server").unwrap().kill();

    let restored = elsewhere(&fleet, "restored", db);
    let fill = ["db", "restore", "--from", &file, "--key-file", &key];
    // Without the master key nothing could be opened later.
    assert!(refused(&restored, &fill).contains("copy the master.key"));
    std::fs::copy(folder.join("master.key"), restored.folder.join("master.key")).unwrap();
    let summary = restored.json(&fill).unwrap();
    assert_eq!(
        summary["tables"]["token_family"].as_u64(),
        Some(families(&restored, db))
    );
    let again = refused(&restored, &fill);
    assert!(again.contains("not empty"), "{again}");
    let after = shell::read(&mut restored.command(&["audit", "export"])).unwrap();
    let more = after.strip_prefix(&events).unwrap();
    let last: Value = serde_json::from_str(more.trim().lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["details"]["taken_at"]),
        (&"database.restored".into(), &summary["taken_at"])
    );
    restored.json(&["audit", "verify"]).unwrap();

    fleet
        .programs()
        .insert("authz-server", restored.serve_ready().unwrap());
    for client in &clients {
        granted(&fleet.ask_token(client, &[]));
    }
    assert_eq!(fleet.ask_token(&gone, &[]).status, 401);
    for token in &acknowledged.kept {
        granted(&approved.ask(&approved.renewal(token)).unwrap());
    }
    for token in &acknowledged.ended {
        refused_400(&approved.ask(&approved.renewal(token)).unwrap(), "invalid_grant");
    }
    // Which access tokens were taken back since is not known, so none from before counts: here, and soon at nodes.
    assert_eq!(fleet.introspect(&clients[0], &old_token)["active"], false);
    let fresh = fleet.token(&clients[0], &fleet.node.url());
    for (token, status) in [(&old_token, 401), (&fresh, 200)] {
        let deadline = Instant::now() + Duration::from_secs(60);
        while fleet.call(token).status != status {
            assert!(
                Instant::now() < deadline,
                "a node does not know yet: {}",
                fleet.call(token)
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
    refused_401(&fleet.call(&old_token), Some("invalid_token"));
    assert_eq!(fleet.introspect(&clients[0], &fresh)["active"], true);
}

fn families(server: &AuthzServer, db: Db) -> u64 {
    let count = "SELECT COUNT(*) FROM token_family";
    let text = match (&server.database, db) {
        (Some(url), _) => blackbox::database::cluster().sql(url, count).unwrap(),
        (None, _) => {
            let mut sqlite = std::process::Command::new("sqlite3");
            shell::read(sqlite.arg(server.folder.join("authz.db")).arg(count)).unwrap()
        }
    };
    text.trim().parse().unwrap()
}

#[test]
fn what_is_no_whole_backup_of_ours_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let program = blackbox::fleet::built("authz-server");
    let server = AuthzServer::new(program, &folder.path().join("as"), 9);
    server.write_config().unwrap();
    server.create_client("one", &[]).unwrap();
    server.json(&["key", "list"]).unwrap();
    let key = key_file(folder.path(), "a secret that nobody can try out");
    let other = key_file(folder.path(), "another secret that nobody can try out");
    let short = key_file(folder.path(), "short");
    let file = folder.path().join("b");
    let [key, other, short, file] = [key, other, short, file].map(|path| path.display().to_string());
    let take = ["db", "backup", "--to", &file, "--key-file", &key];
    assert!(
        refused(&server, &["db", "backup", "--to", &file, "--key-file", &short]).contains("openssl rand")
    );
    assert!(!Path::new(&file).exists());
    server.json(&take).unwrap();
    assert!(refused(&server, &take).contains("no backup is overwritten"));
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        5,
        "no draft is left"
    );

    let mut target = server.clone();
    target.folder = folder.path().join("empty");
    target.write_config().unwrap();
    std::fs::copy(server.folder.join("master.key"), target.folder.join("master.key")).unwrap();
    let (bad, fine) = (folder.path().join("bad").display().to_string(), file.clone());
    let restore =
        |from: &str, key: &str| refused(&target, &["db", "restore", "--from", from, "--key-file", key]);
    let write = |content: &[u8]| std::fs::write(&bad, content).unwrap();
    write(&whole[..whole.len() - 1]);
    assert!(restore(&bad, &key).contains("altered"));
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    write(&altered);
    assert!(restore(&bad, &key).contains("altered"));
    write(b"SQLite format 3");
    assert!(restore(&bad, &key).contains("no backup"));
    assert!(restore(&fine, &other).contains("key file"));
    // Another issuer would be another server to every client.
    let mut stranger = target.clone();
    stranger.issuer = "http://localhost:10".to_owned();
    stranger.write_config().unwrap();
    assert!(
        refused(&stranger, &["db", "restore", "--from", &fine, "--key-file", &key]).contains("server.issuer")
    );
    target.write_config().unwrap();
    assert!(!target.folder.join("authz.db").exists(), "nothing was written");

    let line = ["db", "restore", "--check", "--from", &fine, "--key-file", &key];
    assert_eq!(target.json(&line).unwrap()["tables"]["client"], 1);
    assert!(!target.folder.join("authz.db").exists());
    // The same one is restored when it is whole, also where somebody has migrated already.
    target.json(&["db", "migrate"]).unwrap();
    target
        .json(&["db", "restore", "--sign-out", "--from", &fine, "--key-file", &key])
        .unwrap();
    assert_eq!(
        target
            .json(&["client", "list"])
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let rows = target.json(&["db", "prune"]).unwrap();
    assert!(
        rows.as_array()
            .unwrap()
            .iter()
            .any(|row| row["table"] == "client" && row["rows"] == 1)
    );
}
