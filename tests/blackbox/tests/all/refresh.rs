//! RT-01 … RT-21, CON-02, CON-03, CON-08, DUR-06: refresh tokens rotate, lost answers cost nobody a session, and theft
//! ends it.

use std::time::Duration;

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::fleet::Wishes;
use blackbox::people::CALLBACK;
use blackbox::{Db, Fleet, both, forge};
use serde_json::Value;
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

/// A person, their client, and its tokens.
struct Session {
    username: String,
    client_id: String,
    tokens: Value,
}

fn session(fleet: &Fleet) -> Session {
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let tokens = fleet.code_tokens(&mut fleet.person(), &username, &client_id);
    Session {
        username,
        client_id,
        tokens,
    }
}

fn text<'a>(tokens: &'a Value, member: &str) -> &'a str {
    tokens[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {tokens}"))
}

impl Session {
    fn first(&self) -> &str {
        text(&self.tokens, "refresh_token")
    }

    fn refresh(&self, fleet: &Fleet, token: &str, more: &[(&str, &str)]) -> Answer {
        fleet.refresh(&self.client_id, token, more)
    }
}

fn with_tokens(lines: &str) -> Wishes {
    Wishes {
        server: Some(format!("{UNLIMITED_SERVER}\n[tokens]\n{lines}\n")),
        ..Wishes::default()
    }
}

both!(rt_01_a_refresh_token_rotates);
fn rt_01_a_refresh_token_rotates(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let next = granted(&this.refresh(&fleet, this.first(), &[]));
    assert_ne!(text(&next, "refresh_token"), this.first());
    assert_ne!(text(&next, "access_token"), text(&this.tokens, "access_token"));
    assert_eq!(next["scope"], this.tokens["scope"]);
    assert_eq!(fleet.call(text(&next, "access_token")).status, 200);
    let claims = forge::part(text(&next, "access_token"), 1);
    assert!(claims.get("nbf").is_none());
    assert!(text(&next, "refresh_token").starts_with("ehr_"));
    granted(&this.refresh(&fleet, text(&next, "refresh_token"), &[]));
}

both!(rt_02_a_replay_after_the_window_ends_the_family);
fn rt_02_a_replay_after_the_window_ends_the_family(db: Db) {
    let fleet = Fleet::start(db, &with_tokens("refresh_retry_window = \"1s\""));
    let this = session(&fleet);
    let next = granted(&this.refresh(&fleet, this.first(), &[]));
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
    assert_eq!(
        fleet.introspect(&watcher, text(&next, "access_token"))["active"],
        true
    );
    // The clock is what is tested here.
    std::thread::sleep(Duration::from_millis(3100));
    refused_400(&this.refresh(&fleet, this.first(), &[]), "invalid_grant");
    refused_400(
        &this.refresh(&fleet, text(&next, "refresh_token"), &[]),
        "invalid_grant",
    );
    for tokens in [&this.tokens, &next] {
        let answer = fleet.introspect(&watcher, text(tokens, "access_token"));
        assert_eq!(answer["active"], false);
    }
    let event = "refresh_token_replayed";
    assert!(fleet.logs().contains(event));
    assert_eq!(super::audit::count(&fleet, event, &this.client_id), 1);
}

both!(rt_03_a_confidential_client_authenticates_to_refresh);
fn rt_03_a_confidential_client_authenticates_to_refresh(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let client = fleet.client(&["--redirect-uri", CALLBACK]);
    let pkce = blackbox::people::Pkce::fresh();
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client.id, (&pkce, &[]))
        .code();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", pkce.verifier.as_str()),
        ("redirect_uri", CALLBACK),
    ];
    let tokens = granted(&fleet.post("/oauth/token", &client, &form));
    let refresh = text(&tokens, "refresh_token");
    fleet.remember(refresh);
    refused_client(&fleet.refresh(&client.id, refresh, &[]), false);
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    granted(&fleet.post("/oauth/token", &client, &form));
}

both!(rt_05_a_lost_answer_gives_the_same_successor);
fn rt_05_a_lost_answer_gives_the_same_successor(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let lost = granted(&this.refresh(&fleet, this.first(), &[]));
    let again = granted(&this.refresh(&fleet, this.first(), &[]));
    assert_eq!(again["refresh_token"], lost["refresh_token"]);
    assert_ne!(again["access_token"], lost["access_token"]);
    granted(&this.refresh(&fleet, text(&again, "refresh_token"), &[]));
}

both!(rt_06_once_the_successor_is_used_the_old_one_is_a_replay);
fn rt_06_once_the_successor_is_used_the_old_one_is_a_replay(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let second = granted(&this.refresh(&fleet, this.first(), &[]));
    let third = granted(&this.refresh(&fleet, text(&second, "refresh_token"), &[]));
    refused_400(&this.refresh(&fleet, this.first(), &[]), "invalid_grant");
    refused_400(
        &this.refresh(&fleet, text(&third, "refresh_token"), &[]),
        "invalid_grant",
    );
}

both!(rt_07_and_09_scope_and_resource_narrow_and_never_widen);
fn rt_07_and_09_scope_and_resource_narrow_and_never_widen(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    refused_400(
        &this.refresh(&fleet, this.first(), &[("scope", "mcp:read admin:write")]),
        "invalid_scope",
    );
    let other = fleet.resource(&[]);
    refused_400(
        &this.refresh(&fleet, this.first(), &[("resource", &other)]),
        "invalid_target",
    );
    // Nothing was used up by that.
    let narrow = granted(&this.refresh(&fleet, this.first(), &[("scope", "mcp:read")]));
    assert_eq!(narrow["scope"], "mcp:read");
    // The grant is as wide as before (RFC 6749 §6).
    let node = fleet.node.url();
    let wide = granted(&this.refresh(&fleet, text(&narrow, "refresh_token"), &[("resource", &node)]));
    assert_eq!(wide["scope"], this.tokens["scope"]);
}

both!(rt_12_a_refresh_token_ends_idle_and_absolutely);
fn rt_12_a_refresh_token_ends_idle_and_absolutely(db: Db) {
    let fleet = Fleet::start(db, &with_tokens("refresh_idle = \"6s\"\nrefresh_ttl = \"14s\""));
    let idle = session(&fleet);
    let used = session(&fleet);
    let mut tokens = used.tokens.clone();
    // The clock is what is tested here: used every two seconds, it outlives the idle time and not the absolute one.
    let mut lived = 0;
    for _ in 0..12 {
        std::thread::sleep(Duration::from_secs(2));
        let answer = used.refresh(&fleet, text(&tokens, "refresh_token"), &[]);
        if answer.status != 200 {
            refused_400(&answer, "invalid_grant");
            break;
        }
        tokens = granted(&answer);
        lived += 1;
    }
    assert!((3..=7).contains(&lived), "{lived} rotations");
    refused_400(&idle.refresh(&fleet, idle.first(), &[]), "invalid_grant");
}

both!(rt_13_what_ends_the_grant_ends_its_refresh_tokens);
fn rt_13_what_ends_the_grant_ends_its_refresh_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let disabled = session(&fleet);
    fleet
        .server
        .json(&["user", "disable", &disabled.username])
        .unwrap();
    refused_400(&disabled.refresh(&fleet, disabled.first(), &[]), "invalid_grant");
    fleet
        .server
        .json(&["user", "enable", &disabled.username])
        .unwrap();
    refused_400(&disabled.refresh(&fleet, disabled.first(), &[]), "invalid_grant");

    let gone = session(&fleet);
    fleet.server.json(&["client", "revoke", &gone.client_id]).unwrap();
    refused_client(&gone.refresh(&fleet, gone.first(), &[]), false);

    let kept = session(&fleet);
    granted(&kept.refresh(&fleet, kept.first(), &[]));
}

both!(rt_14_a_refresh_gives_what_is_allowed_now);
fn rt_14_a_refresh_gives_what_is_allowed_now(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    fleet
        .server
        .json(&["client", "update", &this.client_id, "--scopes", "mcp:read"])
        .unwrap();
    let narrowed = granted(&this.refresh(&fleet, this.first(), &[]));
    assert_eq!(narrowed["scope"], "mcp:read");
    let other = fleet.resource(&[]);
    fleet
        .server
        .json(&["client", "update", &this.client_id, "--resource", &other])
        .unwrap();
    refused_400(
        &this.refresh(&fleet, text(&narrowed, "refresh_token"), &[]),
        "invalid_target",
    );
}

both!(rt_15_and_16_other_things_are_not_refresh_tokens);
fn rt_15_and_16_other_things_are_not_refresh_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let access = text(&this.tokens, "access_token");
    refused_400(&this.refresh(&fleet, access, &[]), "invalid_grant");
    assert_eq!(fleet.call(this.first()).status, 401);
    let mut guess = this.first().to_owned();
    let last = guess.pop().unwrap();
    guess.push(if last == 'A' { 'B' } else { 'A' });
    refused_400(&this.refresh(&fleet, &guess, &[]), "invalid_grant");
    let other = fleet.web_client(CALLBACK, &[]);
    refused_400(&fleet.refresh(&other, this.first(), &[]), "invalid_grant");
    granted(&this.refresh(&fleet, this.first(), &[]));
}

both!(rt_18_revoking_a_refresh_token_ends_the_family);
fn rt_18_revoking_a_refresh_token_ends_the_family(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let next = granted(&this.refresh(&fleet, this.first(), &[]));
    let revoke = |token: &str| {
        let form = [("token", token), ("client_id", this.client_id.as_str())];
        fleet.post_bare("/oauth/revoke", &form)
    };
    assert_eq!(revoke(text(&next, "refresh_token")).status, 200);
    refused_400(
        &this.refresh(&fleet, text(&next, "refresh_token"), &[]),
        "invalid_grant",
    );
    let other = session(&fleet);
    assert_eq!(
        revoke(other.first()).status,
        200,
        "says nothing about others' tokens"
    );
    granted(&other.refresh(&fleet, other.first(), &[]));
}

both!(rt_19_dur_06_a_replay_is_known_after_a_restart);
fn rt_19_dur_06_a_replay_is_known_after_a_restart(db: Db) {
    let fleet = Fleet::start(db, &with_tokens("refresh_retry_window = \"0s\""));
    let this = session(&fleet);
    let next = granted(&this.refresh(&fleet, this.first(), &[]));
    fleet.restart_server();
    refused_400(&this.refresh(&fleet, this.first(), &[]), "invalid_grant");
    refused_400(
        &this.refresh(&fleet, text(&next, "refresh_token"), &[]),
        "invalid_grant",
    );
    granted(&{
        let kept = session(&fleet);
        kept.refresh(&fleet, kept.first(), &[])
    });
}

// Where an operator allows no second use at all, racing processes lose: one wins, and then nobody.
both!(con_02_without_a_window_a_race_ends_the_family);
fn con_02_without_a_window_a_race_ends_the_family(db: Db) {
    let fleet = Fleet::start(db, &with_tokens("refresh_retry_window = \"0s\""));
    for _ in 0..5 {
        let this = session(&fleet);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| this.refresh(&fleet, this.first(), &[])))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<Value> = answers.iter().filter(|a| a.status == 200).map(granted).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            refused_400(loser, "invalid_grant");
        }
        refused_400(
            &this.refresh(&fleet, text(&winners[0], "refresh_token"), &[]),
            "invalid_grant",
        );
    }
}

both!(con_03_many_who_refresh_at_once_get_one_successor);
fn con_03_many_who_refresh_at_once_get_one_successor(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let mut token = this.first().to_owned();
    for _ in 0..5 {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| this.refresh(&fleet, &token, &[])))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let mut successors: Vec<String> = answers
            .iter()
            .map(|answer| text(&granted(answer), "refresh_token").to_owned())
            .collect();
        successors.dedup();
        assert_eq!(successors.len(), 1);
        token = successors.remove(0);
    }
}

both!(rt_21_con_08_nothing_survives_a_revocation_that_races_with_refreshes);
fn rt_21_con_08_nothing_survives_a_revocation_that_races_with_refreshes(db: Db) {
    let fleet = Fleet::shared(db);
    let this = session(&fleet);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| this.refresh(&fleet, this.first(), &[])))
            .collect();
        fleet.server.json(&["user", "disable", &this.username]).unwrap();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 400), "{answer}");
        if answer.status == 200 {
            let token = granted(answer)["refresh_token"].as_str().unwrap().to_owned();
            refused_400(&this.refresh(&fleet, &token, &[]), "invalid_grant");
        }
    }
    refused_400(&this.refresh(&fleet, this.first(), &[]), "invalid_grant");
}
