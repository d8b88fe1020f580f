//! The command line far from the server: the same commands, the same answers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use blackbox::cut::Way;
use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, Place, both};
use serde_json::Value;

/// The command line with a token, in a folder without database, configuration or key.
struct Far<'f> {
    fleet: &'f Fleet,
    folder: tempfile::TempDir,
}

impl<'f> Far<'f> {
    fn with(fleet: &'f Fleet, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { fleet, folder }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn run(&self, words: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(&self.fleet.server.program);
        command
            .args(words)
            .args(["--json", "--server", &self.fleet.server.issuer, "--token-file"])
            .arg(self.token_file())
            .current_dir(self.folder.path());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (done, text, fault) = self.run(words);
        assert!(done, "{words:?}: {fault}");
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn refused(&self, words: &[&str], part: &str) {
        let (done, text, fault) = self.run(words);
        assert!(!done && text.is_empty(), "{words:?}: {text}");
        assert!(fault.contains(part), "{words:?}: {fault}");
    }
}

fn far(fleet: &Fleet) -> Far<'_> {
    let client = fleet.admin_client("admin:read admin:write");
    Far::with(fleet, &fleet.token(&client, &fleet.admin_resource()))
}

both!(clients_are_looked_after_from_far_as_from_near);
fn clients_are_looked_after_from_far_as_from_near(db: Db) {
    let fleet = Fleet::shared(db);
    let far = far(&fleet);
    let (name, node) = (fleet.fresh_name(), fleet.node.url());
    let made = far.json(&[
        "client",
        "create",
        "--name",
        &name,
        "--scopes",
        "mcp:read",
        "--resource",
        &node,
    ]);
    fleet.remember(made["client_secret"].as_str().unwrap());
    let id = made["client_id"].as_str().unwrap();
    // Both see the same.
    let shown = far.json(&["client", "show", id]);
    assert_eq!(shown, fleet.server.json(&["client", "show", id]).unwrap());
    let listed = |list: Value| {
        list.as_array()
            .unwrap()
            .iter()
            .find(|one| one["client_id"] == id)
            .cloned()
            .unwrap()
    };
    let near = fleet.server.json(&["client", "list"]).unwrap();
    assert_eq!(listed(far.json(&["client", "list"])), listed(near));
    let changed = far.json(&["client", "update", id, "--scopes", "mcp:call", "--any-resource"]);
    assert_eq!(
        (&changed["scope"], &changed["resources"]),
        (&"mcp:call".into(), &Value::Array(vec![]))
    );
    let renewed = far.json(&["client", "rotate-secret", id, "--overlap", "0s"]);
    fleet.remember(renewed["client_secret"].as_str().unwrap());
    assert_ne!(renewed["client_secret"], made["client_secret"]);
    far.json(&["client", "revoke", id]);
    // The same refusals, in the same words.
    let near = fleet.server.command(&["client", "revoke", id]).output().unwrap();
    let near = String::from_utf8(near.stderr).unwrap();
    far.refused(&["client", "revoke", id], near.trim());
    far.refused(
        &[
            "client",
            "create",
            "--name",
            "x",
            "--resource",
            "https://nowhere.example/",
        ],
        "is not registered",
    );
}

both!(what_cannot_be_done_from_far_says_so);
fn what_cannot_be_done_from_far_says_so(db: Db) {
    let fleet = Fleet::shared(db);
    let far_away = far(&fleet);
    far_away.refused(&["db", "status"], "without --server");
    far_away.refused(&["config", "check"], "without --server");
    far_away.refused(
        &["client", "create", "--name", "x", "--approve-as", "ada"],
        "without --server",
    );
    let reader = fleet.token(&fleet.admin_client("admin:read"), &fleet.admin_resource());
    let reader = Far::with(&fleet, &reader);
    reader.refused(&["client", "create", "--name", "x"], "admin:write");
    let list = reader.json(&["client", "list"]);
    assert!(!list.as_array().unwrap().is_empty());
    Far::with(&fleet, "nonsense").refused(&["client", "list"], "access token");
    // A token that others can read is not sent.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(reader.token_file(), open).unwrap();
    reader.refused(&["client", "list"], "chmod 600");
}

both!(a_client_gets_the_token_itself);
fn a_client_gets_the_token_itself(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.admin_client("admin:read");
    let far = Far::with(&fleet, &client.secret);
    let run = |words: &[&str]| {
        let mut command = Command::new(&fleet.server.program);
        command.args(words).arg("--json").current_dir(far.folder.path());
        let output = command.output().unwrap();
        let fault = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice::<Value>(&output.stdout).ok(), fault)
    };
    let secret = far.token_file();
    let secret = secret.to_str().unwrap();
    let place = ["--server", &*fleet.server.issuer];
    let with = |words: &[&'static str], more: &[&str]| {
        let line: Vec<&str> = words
            .iter()
            .copied()
            .chain(place)
            .chain(more.iter().copied())
            .collect();
        run(&line)
    };
    let good = ["--as-client", &*client.id, "--secret-file", secret];
    let near = |words: &[&str]| fleet.server.json(words).unwrap();
    let mut settings: Vec<Value> = serde_json::from_value(near(&["config", "show"])).unwrap();
    settings.sort_by_key(|setting| setting["key"].as_str().unwrap().to_owned());
    assert_eq!(with(&["config", "show"], &good).0.unwrap(), Value::from(settings));
    assert_eq!(with(&["key", "list"], &good).0.unwrap(), near(&["key", "list"]));
    for (more, part) in [
        (
            &["--as-client", "c_nobody", "--secret-file", secret][..],
            "status 401",
        ),
        (&["--as-client", &*client.id], "--secret-file"),
        (&[], "--server needs a token"),
        (
            &["--token-file", secret, "--as-client", &*client.id],
            "--server needs a token",
        ),
        (&["--token-file", "/nowhere/token"], "/nowhere/token"),
    ] {
        let (printed, fault) = with(&["key", "list"], more);
        assert!(printed.is_none() && fault.contains(part), "{more:?}: {fault}");
    }
    let (printed, fault) = run(&["key", "list", "--token-file", secret]);
    assert!(printed.is_none() && fault.contains("--server"), "{fault}");
    let far_away = [
        "key",
        "list",
        "--server",
        "http://192.0.2.1",
        "--token-file",
        secret,
    ];
    let (printed, fault) = run(&far_away);
    assert!(printed.is_none() && fault.contains("https"), "{fault}");
}

both!(a_lost_answer_creates_nothing_twice);
fn a_lost_answer_creates_nothing_twice(db: Db) {
    let way = Way::new();
    let wishes = Wishes {
        way: Some(way.clone()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(Place { db, is_far: true }, &wishes);
    let client = fleet.client(&[]);
    let secrets = format!("/admin/v1/clients/{}/secrets", client.id);
    // What is made, where, the list that it is in afterwards, and as what.
    for (words, path, list, name) in [
        (
            &["client", "create", "--name", "one"][..],
            "/admin/v1/clients",
            &["client", "list"][..],
            "one",
        ),
        (
            &["client", "rotate-secret", &client.id],
            &secrets,
            &["audit", "list", "--event", "client.secret_rotated"],
            &client.id,
        ),
        (
            &["client", "invite", "--name", "two"],
            "/admin/v1/client-invites",
            &["client", "invites"],
            "two",
        ),
        (
            &["node", "invite", "--name", "three"],
            "/admin/v1/invites",
            &["node", "invite", "--list"],
            "three",
        ),
        (
            &["user", "create", "--username", "four"],
            "/admin/v1/users",
            &["user", "list"],
            "four",
        ),
        (
            &["key", "rotate", "--alg", "EdDSA"],
            "/admin/v1/key-rotations",
            &["audit", "list", "--event", "key.published"],
            "EdDSA",
        ),
    ] {
        way.lose_answer_to(&format!("POST {path} "));
        let made = fleet.server.json(words).unwrap();
        assert!(way.has_lost_it(), "{words:?}");
        for secret in [
            "client_secret",
            "invite",
            "initial_access_token",
            "set_password_link",
        ] {
            if let Some(secret) = made[secret].as_str() {
                fleet.remember(secret.rsplit('=').next().unwrap());
            }
        }
        let rows = fleet.server.json(list).unwrap();
        let rows = rows.as_array().unwrap().iter();
        let found = rows.filter(|row| row.to_string().contains(&format!("{name:?}")));
        assert_eq!(found.count(), 1, "{words:?}: {made}");
    }
    // A question is asked again too; a change that has no key is made once, and says that nobody knows.
    way.lose_answer_to("GET /admin/v1/clients?");
    assert!(
        !fleet
            .server
            .json(&["client", "list"])
            .unwrap()
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(way.has_lost_it());
    way.lose_answer_to("DELETE /admin/v1/clients/");
    let fault = fleet.server.json(&["client", "revoke", &client.id]).unwrap_err();
    assert!(
        way.has_lost_it() && fault.to_string().contains("no answer"),
        "{fault}"
    );
    let events = ["audit", "list", "--event", "client.revoked"];
    assert_eq!(fleet.server.json(&events).unwrap().as_array().unwrap().len(), 1);
}
