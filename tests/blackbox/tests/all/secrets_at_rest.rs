//! CA-08, RT-17, LOG-01, LOG-06: what may stand in a database, a key file, a log, and what may not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use blackbox::answers::granted;
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::{Db, Fleet, both, database};
use xtask::fleet::Credentials;
use xtask::http::Request;

/// Everything the server keeps: its folder (SQLite file, write-ahead log, keys) and its Postgres database as text.
fn everything_kept(fleet: &Fleet) -> String {
    let mut text = String::new();
    collect(&fleet.server.folder, &mut text);
    if let Some(url) = &fleet.server.database {
        text += &database::cluster().dump(url).unwrap();
    }
    text
}

fn collect(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), text);
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
        }
    }
}

both!(ca_08_no_secret_is_kept_in_the_clear);
fn ca_08_no_secret_is_kept_in_the_clear(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    assert_eq!(
        fleet.post("/oauth/revoke", &client, &[("token", &token)]).status,
        200
    );
    let kept = everything_kept(&fleet);
    // The positive twin of the search: what must be kept is found.
    assert!(kept.contains(&client.id), "the client itself is not found");
    assert_eq!(fleet.leak_in(&kept), None);
    for private in ["PRIVATE KEY", "\"d\":\"", "\"d\": \""] {
        assert!(!kept.contains(private), "a private key in the clear");
    }
    assert!(client.secret.starts_with("ehs_"));
    assert!(client.secret.len() >= 4 + 43, "less than 256 bits");
}

both!(rt_17_who_reads_the_database_cannot_refresh);
fn rt_17_who_reads_the_database_cannot_refresh(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let (client, ada) = (fleet.web_client(CALLBACK, &[]), fleet.person_account());
    let tokens = fleet.code_tokens(&mut fleet.person(), &ada, &client);
    let mut token = tokens["refresh_token"].as_str().unwrap().to_owned();
    let mut seen = vec![token.clone()];
    // A used token, whose successor is kept sealed, and one that was never used.
    for _ in 0..3 {
        let next = granted(&fleet.refresh(&client, &token, &[]));
        next["refresh_token"].as_str().unwrap().clone_into(&mut token);
        seen.push(token.clone());
    }
    for token in &seen {
        // 256 bits, where 160 are asked for.
        let random = token.strip_prefix("ehr_").unwrap();
        assert_eq!(random.len(), 43, "{}", token.len());
        assert!(
            random
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        );
    }
    let all: std::collections::HashSet<&String> = seen.iter().collect();
    assert_eq!(all.len(), seen.len());
    let kept = everything_kept(&fleet);
    assert!(kept.contains(&client), "the client itself is not found");
    assert_eq!(fleet.leak_in(&kept), None);
    assert!(!kept.contains("ehr_"), "a refresh token in the clear");
    granted(&fleet.refresh(&client, &token, &[]));
}

both!(ca_08_files_with_secrets_are_the_owners_only);
fn ca_08_files_with_secrets_are_the_owners_only(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let mode = |name: &str| {
        std::fs::metadata(fleet.server.folder.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("master.key"), 0o600);
    if db == Db::Sqlite {
        assert_eq!(mode("authz.db") & 0o077, 0, "the database is readable for others");
    }
}

both!(log_01_no_secret_in_any_log);
fn log_01_no_secret_in_any_log(db: Db) {
    let fleet = Fleet::start(
        db,
        &Wishes {
            environment: vec![("RUST_LOG".into(), "trace".into())],
            ..Wishes::default()
        },
    );
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    assert_eq!(fleet.call(&token).status, 200);
    let wrong = Credentials {
        id: client.id.clone(),
        secret: "ehs_AGuessThatMustNotBeLogged0123456789".into(),
    };
    fleet.remember(&wrong.secret);
    assert_eq!(fleet.ask_token(&wrong, &[]).status, 401);
    assert_eq!(
        fleet.post("/oauth/revoke", &client, &[("token", &token)]).status,
        200
    );
    let posted = [
        ("grant_type", "client_credentials"),
        ("client_id", client.id.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    granted(&fleet.post_bare("/oauth/token", &posted));
    let in_query = format!("/oauth/token?client_secret={}", client.secret);
    assert_eq!(fleet.post_bare(&in_query, &posted).status, 400);
    let tail = format!("{}?access_token={token}", fleet.node.url());
    assert_eq!(Request::post(&tail).unwrap().send().unwrap().status, 401);
    let logs = fleet.logs();
    assert!(!logs.trim().is_empty(), "nothing was logged at all");
    assert_eq!(fleet.leak_in(&logs), None);
}

both!(log_06_what_callers_write_cannot_forge_log_lines);
fn log_06_what_callers_write_cannot_forge_log_lines(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let forged = "x\r\n2026-01-01 FORGED LINE\u{1b}[31m\u{0}";
    let named = Credentials {
        id: forged.into(),
        secret: "s".into(),
    };
    assert!(matches!(fleet.ask_token(&named, &[]).status, 400 | 401));
    assert_eq!(fleet.ask_token(&client, &[("scope", forged)]).status, 400);
    assert_eq!(
        fleet
            .post("/oauth/token", &client, &[("grant_type", forged)])
            .status,
        400
    );
    for line in fleet.logs().lines() {
        assert!(!line.starts_with("2026-01-01 FORGED"), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\0'), "{line:?}");
    }
}

both!(par_12_what_was_pushed_stays_on_the_server);
fn par_12_what_was_pushed_stays_on_the_server(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.web_client(CALLBACK, &[]);
    let pkce = Pkce::fresh();
    let more = [("state", "only-between-us"), ("nonce", "neither-this")];
    let request = blackbox::location::query(&fleet.authorization_url(&client, &pkce, &more));
    let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    let pushed = fleet.post_bare("/oauth/par", &form);
    let reference = pushed.json().unwrap()["request_uri"].as_str().unwrap().to_owned();
    fleet.remember(&reference);
    // The database has the request, and not what opens it.
    let kept = everything_kept(&fleet);
    assert!(kept.contains("only-between-us"), "the request is not found");
    assert_eq!(fleet.leak_in(&kept), None);
    let url = format!(
        "{}/oauth/authorize?client_id={client}&request_uri={}",
        fleet.server.issuer,
        xtask::http::form_encode(&reference)
    );
    let mut browser = fleet.person();
    let page = browser.page(&url);
    assert!(page.has_form("/login"), "{}", page.answer);
    for part in ["only-between-us", "neither-this", &*pkce.challenge, &*reference] {
        assert!(
            !page.url.contains(part) && !page.answer.text().contains(part),
            "{part}"
        );
        let cookies = browser.cookies();
        assert!(
            cookies.iter().all(|cookie| !cookie.value.contains(part)),
            "{part}"
        );
    }
}
