//! What one instance of the server does is so at the other, at once; and either may die at any moment.

use std::thread;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::fleet::SCOPES;
use blackbox::length;
use blackbox::pair::{Pair, RESOURCE};
use blackbox::status_list::part;
use blackbox::told::Told;
use serde_json::Value;
use xtask::code_flow::{CodeClient, TESTING_DOOR};
use xtask::fleet::Credentials;
use xtask::http::{self, Answer, Request};

/// How long instances are killed in a short run, and how far apart.
const SHORT: Duration = Duration::from_secs(10);
const APART: Duration = Duration::from_millis(1500);

fn post(pair: &Pair, path: &str, client: &Credentials, form: &[(&str, &str)]) -> Answer {
    let request = Request::post(&format!("{}{path}", pair.issuer)).unwrap();
    let request = request.basic(&client.id, &client.secret).form(form);
    request.send().unwrap()
}

fn own_token(pair: &Pair, client: &Credentials) -> Answer {
    post(
        pair,
        "/oauth/token",
        client,
        &[("grant_type", "client_credentials")],
    )
}

/// Whoever serves the resource, and may ask about its tokens.
fn watcher(pair: &Pair) -> Credentials {
    let watcher = pair.first.create_client("watcher", &[]).unwrap();
    let line = ["resource", "update", "--uri", RESOURCE, "--client", &watcher.id];
    pair.first.json(&line).unwrap();
    watcher
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

/// Each of two requests that follow one another meets another instance, and each instance has met the client before: what
/// it keeps in memory of it is what must not be used any more.
#[test]
fn con_07_what_is_changed_at_one_instance_is_so_at_both_with_the_next_request_postgres() {
    let pair = Pair::start_with(TESTING_DOOR);
    let words = ["--scopes", SCOPES, "--resource", RESOURCE];
    let mut client = pair.first.create_client("changed", &words).unwrap();
    let watcher = watcher(&pair);
    let both = |ask: &dyn Fn() -> Answer| [ask(), ask()];
    let before = pair.balancer.served();

    // A scope is taken away.
    for answer in both(&|| own_token(&pair, &client)) {
        assert!(text(&granted(&answer), "scope").contains("mcp:call"));
    }
    let narrowed = ["client", "update", &client.id, "--scopes", "mcp:read"];
    pair.second.json(&narrowed).unwrap();
    for answer in both(&|| own_token(&pair, &client)) {
        assert_eq!(granted(&answer)["scope"], "mcp:read");
    }

    // A secret is rotated.
    let rotate = ["client", "rotate-secret", &client.id, "--overlap", "0s"];
    let rotated = pair.first.json(&rotate).unwrap();
    for answer in both(&|| own_token(&pair, &client)) {
        refused_client(&answer, true);
    }
    client.secret = text(&rotated, "client_secret");
    let tokens = both(&|| own_token(&pair, &client)).map(|answer| text(&granted(&answer), "access_token"));

    // The keys are compromised: what they signed counts nowhere, and another one signs.
    let is_active = |token: &str| {
        let answers = both(&|| post(&pair, "/oauth/introspect", &watcher, &[("token", token)]));
        let answers = answers.map(|answer| granted(&answer)["active"] == true);
        assert_eq!(answers[0], answers[1]);
        answers[0]
    };
    let kid = |token: &str| text(&part(token, 0), "kid");
    assert!(tokens.iter().all(|token| is_active(token)));
    pair.second
        .json(&["key", "rotate", "--compromised", "--alg", "EdDSA"])
        .unwrap();
    assert!(!tokens.iter().any(|token| is_active(token)));
    let fresh = both(&|| own_token(&pair, &client)).map(|answer| text(&granted(&answer), "access_token"));
    assert_eq!(kid(&fresh[0]), kid(&fresh[1]));
    assert_ne!(kid(&fresh[0]), kid(&tokens[0]));
    assert!(fresh.iter().all(|token| is_active(token)));

    // What a person granted is taken back, at one instance and then at the other.
    let approved = CodeClient::create(&pair.first, "ines", (RESOURCE, "mcp:read")).unwrap();
    for turn in 0..2 {
        if turn == 1 {
            http::get(&format!("{}/healthz", pair.issuer)).unwrap();
        }
        let tokens = approved.tokens().unwrap();
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        assert!(is_active(&access));
        let form = [("client_id", approved.id.as_str()), ("token", &refresh)];
        let url = format!("{}/oauth/revoke", pair.issuer);
        let revoked = Request::post(&url).unwrap().form(&form).send().unwrap();
        assert_eq!(revoked.status, 200, "{revoked}");
        for answer in both(&|| pair.refresh(&approved.id, &refresh)) {
            refused_400(&answer, "invalid_grant");
        }
        assert!(!is_active(&access));
    }

    // The client ends.
    pair.first.json(&["client", "revoke", &client.id]).unwrap();
    for answer in both(&|| own_token(&pair, &client)) {
        refused_client(&answer, true);
    }
    let after = pair.balancer.served();
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| after - before > 10)
    );
}

#[test]
fn dur_02_one_of_two_instances_dies_again_and_again_and_nothing_is_lost_postgres() {
    let mut pair = Pair::start_with(TESTING_DOOR);
    let approved = CodeClient::create(&pair.first, "ines", (RESOURCE, "mcp:read")).unwrap();
    let words = ["--scopes", SCOPES, "--resource", RESOURCE];
    let own = pair.first.create_client("own", &words).unwrap();
    let watcher = watcher(&pair);
    let told = Told::default();
    let issuer = pair.issuer.clone();
    let kills = thread::scope(|scope| {
        let _over = told.until_dropped();
        let mut workers: Vec<_> = (0..4).map(|_| scope.spawn(|| told.work(&approved))).collect();
        workers.push(scope.spawn(|| told.ask_for_own(&issuer, &own)));
        let begun = Instant::now();
        let mut kills = 0;
        while begun.elapsed() < length::of_faults().unwrap_or(SHORT) {
            thread::sleep(APART);
            let number = kills % 2;
            pair.programs[number].kill();
            let server = [&pair.first, &pair.second][number];
            pair.programs[number] = server.serve_ready().unwrap();
            kills += 1;
            if workers.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        kills
    });
    println!("{kills} kills; {}", told.verify(&approved, &watcher));
    assert!(kills > 1);
    pair.first.json(&["audit", "verify"]).unwrap();
}
