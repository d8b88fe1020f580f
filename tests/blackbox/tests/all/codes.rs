//! CODE-01 … CODE-16, PKCE-05 … PKCE-11, CON-01: a code is worth something once, to whom it was made for.

use std::time::Duration;

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both, forge};
use serde_json::Value;
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

/// A person, their client, and a code that nobody has redeemed.
struct Approved {
    username: String,
    client_id: String,
    pkce: Pkce,
    code: String,
}

fn approved(fleet: &Fleet) -> Approved {
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let pkce = Pkce::fresh();
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client_id, (&pkce, &[]))
        .code();
    Approved {
        username,
        client_id,
        pkce,
        code,
    }
}

impl Approved {
    fn redeem(&self, fleet: &Fleet, more: &[(&str, &str)]) -> Answer {
        fleet.redeem(&self.client_id, &self.code, &self.pkce, more)
    }
}

/// Whether the server still calls a token active.
fn is_active(fleet: &Fleet, token: &Value) -> bool {
    let watcher = fleet.client(&[]);
    fleet
        .server
        .json(&[
            "resource",
            "update",
            "--uri",
            &fleet.node.url(),
            "--client",
            &watcher.id,
        ])
        .unwrap();
    let token = token.as_str().unwrap();
    let active = fleet.introspect(&watcher, token)["active"] == true;
    // Nodes that validate offline learn the same.
    assert_eq!(blackbox::status_list::bit(token), u8::from(!active));
    active
}

both!(code_01_a_valid_replay_ends_what_came_of_the_code);
fn code_01_a_valid_replay_ends_what_came_of_the_code(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let this = approved(&fleet);
    let tokens = granted(&this.redeem(&fleet, &[]));
    assert!(is_active(&fleet, &tokens["access_token"]));
    refused_400(&this.redeem(&fleet, &[]), "invalid_grant");
    assert!(!is_active(&fleet, &tokens["access_token"]));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    refused_400(&fleet.refresh(&this.client_id, refresh, &[]), "invalid_grant");
    assert!(fleet.logs().contains("code_replayed"));
}

both!(code_02_an_invalid_replay_changes_nothing);
fn code_02_an_invalid_replay_changes_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let tokens = granted(&this.redeem(&fleet, &[]));
    let stranger = Pkce::fresh();
    refused_400(
        &this.redeem(&fleet, &[("code_verifier", &stranger.verifier)]),
        "invalid_grant",
    );
    refused_400(&this.redeem(&fleet, &[("code_verifier", "")]), "invalid_grant");
    refused_400(
        &this.redeem(&fleet, &[("redirect_uri", "http://127.0.0.1:9/other")]),
        "invalid_grant",
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    granted(&fleet.refresh(&this.client_id, refresh, &[]));
}

both!(code_03_another_client_cannot_use_it_up);
fn code_03_another_client_cannot_use_it_up(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let other = fleet.web_client(CALLBACK, &[]);
    refused_400(&this.redeem(&fleet, &[("client_id", &other)]), "invalid_grant");
    granted(&this.redeem(&fleet, &[]));
}

both!(code_04_a_code_that_is_nearly_right_is_unknown);
fn code_04_a_code_that_is_nearly_right_is_unknown(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let mut flipped = this.code.clone().into_bytes();
    let last = flipped.last_mut().unwrap();
    *last = if *last == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    for wrong in [
        flipped,
        this.code[..this.code.len() - 1].to_owned(),
        format!("{}A", this.code),
        this.code.to_uppercase(),
        "eha_".to_owned(),
    ] {
        refused_400(
            &fleet.redeem(&this.client_id, &wrong, &this.pkce, &[]),
            "invalid_grant",
        );
    }
    granted(&this.redeem(&fleet, &[]));
}

both!(code_05_a_code_ends_after_its_time);
fn code_05_a_code_ends_after_its_time(db: Db) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}\n[tokens]\ncode_ttl = \"1s\"\n")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let this = approved(&fleet);
    // The clock is what is tested here.
    std::thread::sleep(Duration::from_millis(2100));
    refused_400(&this.redeem(&fleet, &[]), "invalid_grant");
}

both!(code_06_the_redirect_uri_is_the_same_or_left_out);
fn code_06_the_redirect_uri_is_the_same_or_left_out(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    refused_400(
        &this.redeem(&fleet, &[("redirect_uri", "http://127.0.0.1:10/callback")]),
        "invalid_grant",
    );
    granted(&this.redeem(&fleet, &[("redirect_uri", "")]));
}

both!(code_08_a_request_names_one_client);
fn code_08_a_request_names_one_client(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--redirect-uri", CALLBACK]);
    let other = fleet.client(&["--redirect-uri", CALLBACK]);
    let (ada, pkce) = (fleet.person_account(), Pkce::fresh());
    let code = fleet
        .allowed(&mut fleet.person(), &ada, &client.id, (&pkce, &[]))
        .code();
    let form = |id| {
        [
            ("grant_type", "authorization_code"),
            ("client_id", id),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", pkce.verifier.as_str()),
        ]
    };
    for id in [other.id.as_str(), "c_nobody"] {
        refused_400(&fleet.post("/oauth/token", &client, &form(id)), "invalid_request");
    }
    refused_400(
        &fleet.post("/oauth/token", &other, &form(&client.id)),
        "invalid_request",
    );
    // Nothing was used up, and the right one may be named.
    granted(&fleet.post("/oauth/token", &client, &form(&client.id)));
}

both!(code_09_a_public_client_says_who_it_is);
fn code_09_a_public_client_says_who_it_is(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", this.code.as_str()),
        ("code_verifier", this.pkce.verifier.as_str()),
    ];
    let answer = fleet.post_bare("/oauth/token", &form);
    assert!(matches!(answer.status, 400 | 401), "{answer}");
    refused_client(&this.redeem(&fleet, &[("client_id", "c_unknown")]), false);
    granted(&this.redeem(&fleet, &[]));
}

both!(code_11_only_clients_of_the_grant);
fn code_11_only_clients_of_the_grant(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let machine = fleet.client(&[]);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", this.code.as_str()),
        ("code_verifier", this.pkce.verifier.as_str()),
    ];
    refused_400(
        &fleet.post("/oauth/token", &machine, &form),
        "unauthorized_client",
    );
    granted(&this.redeem(&fleet, &[]));
}

both!(code_12_an_exchange_narrows_and_never_widens);
fn code_12_an_exchange_narrows_and_never_widens(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    refused_400(
        &this.redeem(&fleet, &[("scope", "mcp:read admin:write")]),
        "invalid_scope",
    );
    let tokens = granted(&this.redeem(&fleet, &[("scope", "mcp:read")]));
    assert_eq!(tokens["scope"], "mcp:read");
}

both!(az_28_an_exchange_is_for_the_resource_that_was_granted);
fn az_28_an_exchange_is_for_the_resource_that_was_granted(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let other = fleet.resource(&[]);
    refused_400(&this.redeem(&fleet, &[("resource", &other)]), "invalid_target");
    let node = fleet.node.url();
    let tokens = granted(&this.redeem(&fleet, &[("resource", &node)]));
    let claims = forge::part(tokens["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["aud"], node.as_str());
}

both!(code_14_what_ended_meanwhile_ends_the_code);
fn code_14_what_ended_meanwhile_ends_the_code(db: Db) {
    let fleet = Fleet::shared(db);
    let disabled = approved(&fleet);
    fleet
        .server
        .json(&["user", "disable", &disabled.username])
        .unwrap();
    refused_400(&disabled.redeem(&fleet, &[]), "invalid_grant");

    let renewed = approved(&fleet);
    let file = fleet.server.folder.join("new-password");
    std::fs::write(&file, "another horse battery").unwrap();
    let path = file.display().to_string();
    fleet
        .server
        .json(&[
            "user",
            "set-password",
            &renewed.username,
            "--password-file",
            &path,
        ])
        .unwrap();
    refused_400(&renewed.redeem(&fleet, &[]), "invalid_grant");

    let gone = approved(&fleet);
    fleet.server.json(&["client", "revoke", &gone.client_id]).unwrap();
    refused_client(&gone.redeem(&fleet, &[]), false);

    let left = {
        let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
        let (mut person, pkce) = (fleet.person(), Pkce::fresh());
        let code = fleet
            .allowed(&mut person, &username, &client_id, (&pkce, &[]))
            .code();
        let page = person.page("/logout");
        let form = page.form("/logout");
        person.submit(&page, &form, &[]);
        fleet.redeem(&client_id, &code, &pkce, &[])
    };
    refused_400(&left, "invalid_grant");
    granted(&approved(&fleet).redeem(&fleet, &[]));
}

both!(code_15_and_16_the_answer_and_its_token);
fn code_15_and_16_the_answer_and_its_token(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let answer = this.redeem(&fleet, &[]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let tokens = granted(&answer);
    let members: Vec<&str> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
    for member in &members {
        let known = [
            "access_token",
            "token_type",
            "expires_in",
            "scope",
            "refresh_token",
        ];
        assert!(known.contains(member), "{member}");
    }
    assert_eq!(tokens["token_type"], "Bearer");
    let token = tokens["access_token"].as_str().unwrap();
    let claims = forge::part(token, 1);
    assert_eq!(claims["client_id"], this.client_id.as_str());
    assert!(claims["sub"].as_str().unwrap().starts_with("u_"), "{claims}");
    assert!(claims.get("nbf").is_none());
    assert!(claims["auth_time"].is_i64());
    assert_eq!(fleet.call(token).status, 200);
}

both!(pkce_05_07_11_verifiers);
fn pkce_05_07_11_verifiers(db: Db) {
    let fleet = Fleet::shared(db);
    // Missing or malformed: refused, and the code stands.
    let this = approved(&fleet);
    for wrong in ["", "short", &"a".repeat(129), &format!("{}=", "a".repeat(43))] {
        refused_400(&this.redeem(&fleet, &[("code_verifier", wrong)]), "invalid_grant");
    }
    // The challenge is not its own verifier; two wrong ones are forgiven.
    refused_400(
        &this.redeem(&fleet, &[("code_verifier", &this.pkce.challenge)]),
        "invalid_grant",
    );
    refused_400(
        &this.redeem(&fleet, &[("code_verifier", &Pkce::fresh().verifier)]),
        "invalid_grant",
    );
    granted(&this.redeem(&fleet, &[]));
    // Three are not.
    let guessed = approved(&fleet);
    for _ in 0..3 {
        refused_400(
            &guessed.redeem(&fleet, &[("code_verifier", &Pkce::fresh().verifier)]),
            "invalid_grant",
        );
    }
    refused_400(&guessed.redeem(&fleet, &[]), "invalid_grant");
}

both!(con_01_of_many_who_redeem_a_code_one_wins_and_then_nobody);
fn con_01_of_many_who_redeem_a_code_one_wins_and_then_nobody(db: Db) {
    let fleet = Fleet::shared(db);
    for _ in 0..5 {
        let this = approved(&fleet);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| this.redeem(&fleet, &[])))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<Value> = answers.iter().filter(|a| a.status == 200).map(granted).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            refused_400(loser, "invalid_grant");
        }
        // The losers were valid replays: what the winner got has ended.
        let refresh = winners[0]["refresh_token"].as_str().unwrap();
        refused_400(&fleet.refresh(&this.client_id, refresh, &[]), "invalid_grant");
    }
}

both!(az_41_codes_are_long_and_kept_as_hashes);
fn az_41_codes_are_long_and_kept_as_hashes(db: Db) {
    let fleet = Fleet::shared(db);
    let this = approved(&fleet);
    let rest = this.code.strip_prefix("eha_").unwrap();
    assert_eq!(rest.len(), 43);
    assert!(
        rest.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    );
    assert_ne!(this.username, PASSWORD);
    granted(&this.redeem(&fleet, &[]));
}
