//! DCR-02: initial access tokens.

use blackbox::answers::{granted, json as body_of, oauth_error};
use blackbox::registered::{fleet_with, public, text};
use blackbox::{Db, Fleet, Place, both, near_and_far};
use serde_json::{Value, json};
use xtask::fleet::Credentials;
use xtask::http::Answer;

fn invite(fleet: &Fleet, words: &[&str]) -> Value {
    let made = fleet
        .server
        .json(&[&["client", "invite"], words].concat())
        .unwrap();
    fleet.remember(text(&made, "initial_access_token"));
    made
}

#[track_caller]
fn refused(answer: &Answer, was_shown: bool) {
    oauth_error(answer, 401, "invalid_token");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    assert_eq!(
        challenge.contains("error=\"invalid_token\""),
        was_shown,
        "{challenge}"
    );
}

near_and_far!(dcr_02_only_a_living_invite_registers);
fn dcr_02_only_a_living_invite_registers(place: Place) {
    let fleet = fleet_with(place, "registration = \"invite\"");
    let made = invite(&fleet, &["--uses", "2", "--name", "partners"]);
    let token = text(&made, "initial_access_token");
    assert!(token.starts_with("ehi_"), "{token}");
    let document = public(&json!({}));
    refused(&fleet.register(&document, None), false);
    refused(&fleet.register(&document, Some("ehi_wrong")), true);
    // In the body it is no token.
    refused(
        &fleet.register(&public(&json!({ "access_token": token })), None),
        false,
    );
    // A refused document uses nothing up.
    for _ in 0..3 {
        let bad = public(&json!({"redirect_uris": ["http://client.example/"]}));
        oauth_error(&fleet.register(&bad, Some(token)), 400, "invalid_redirect_uri");
    }
    for _ in 0..2 {
        let answer = fleet.register(&document, Some(token));
        assert_eq!(answer.status, 201, "{answer}");
    }
    refused(&fleet.register(&document, Some(token)), true);
    let listed = fleet.server.json(&["client", "invites"]).unwrap();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["uses_left"]),
        (&json!("partners"), &json!(0))
    );
    assert!(!listed.to_string().contains(token));

    let revoked = invite(&fleet, &["--uses", "9"]);
    fleet
        .server
        .json(&["client", "invite", "--revoke", text(&revoked, "name")])
        .unwrap();
    refused(
        &fleet.register(&document, Some(text(&revoked, "initial_access_token"))),
        true,
    );
    assert!(
        fleet
            .server
            .json(&["client", "invite", "--revoke", "nobody"])
            .is_err()
    );
    assert!(fleet.server.json(&["client", "invite", "--uses", "0"]).is_err());
}

both!(dcr_02_of_many_who_use_the_last_turn_one_registers);
fn dcr_02_of_many_who_use_the_last_turn_one_registers(db: Db) {
    let fleet = fleet_with(db, "registration = \"invite\"");
    let made = invite(&fleet, &[]);
    let token = text(&made, "initial_access_token");
    let document = public(&json!({}));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| fleet.register(&document, Some(token))))
            .collect();
        tries.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    });
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    answers
        .iter()
        .filter(|answer| answer.status != 201)
        .for_each(|answer| refused(answer, true));
}

both!(dcr_12_only_an_invite_lets_clients_act_alone);
fn dcr_12_only_an_invite_lets_clients_act_alone(db: Db) {
    let fleet = fleet_with(db, "registration = \"invite\"");
    let service = json!({"client_name": "Service", "grant_types": ["client_credentials"], "scope": "mcp:read mcp:call",
        "token_endpoint_auth_method": "client_secret_basic"});
    let plain = invite(&fleet, &[]);
    let answer = fleet.register(&service, Some(text(&plain, "initial_access_token")));
    oauth_error(&answer, 400, "invalid_client_metadata");
    let special = invite(&fleet, &["--client-credentials"]);
    let answer = fleet.register(&service, Some(text(&special, "initial_access_token")));
    assert_eq!(answer.status, 201, "{answer}");
    let client = body_of(&answer);
    let credentials = Credentials {
        id: text(&client, "client_id").to_owned(),
        secret: text(&client, "client_secret").to_owned(),
    };
    let tokens = granted(&fleet.ask_token(&credentials, &[("resource", &fleet.node.url())]));
    assert_eq!(fleet.call(text(&tokens, "access_token")).status, 200);
}
