//! CA-09, INT-10, GEN-19: too much is 429, for the offender only.

use blackbox::answers::{granted, refused_client, retry_after};
use blackbox::assertion;
use blackbox::fleet::Wishes;
use blackbox::forge::{Key, key_set};
use blackbox::publisher::{Publisher, Reply};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{Answer, Request};
use xtask::journey::modern;

fn limited(db: Db, server: &str) -> Fleet {
    Fleet::start(
        db,
        &Wishes {
            server: Some(server.into()),
            ..Wishes::default()
        },
    )
}

fn exceeded(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer}");
    assert!(retry_after(answer) <= 3600, "{answer}");
    for name in ["ratelimit", "ratelimit-policy"] {
        assert!(answer.header(name).is_some(), "no {name}: {:?}", answer.headers);
    }
}

both!(ca_09_a_client_has_its_own_limit);
fn ca_09_a_client_has_its_own_limit(db: Db) {
    let fleet = limited(db, "\n[limits]\nper_ip = \"off\"\nper_client = \"5/h\"\n");
    let (eager, calm) = (fleet.client(&[]), fleet.client(&[]));
    for _ in 0..5 {
        granted(&fleet.ask_token(&eager, &[]));
    }
    exceeded(&fleet.ask_token(&eager, &[]));
    granted(&fleet.ask_token(&calm, &[]));
    // A stranger that only knows the id can neither use up the limit nor learn of it.
    let stranger = Credentials {
        id: calm.id.clone(),
        secret: "ehs_wrong".into(),
    };
    for _ in 0..6 {
        let answer = fleet.ask_token(&stranger, &[]);
        assert!(matches!(answer.status, 401 | 429), "{answer}");
    }
    granted(&fleet.ask_token(&calm, &[]));
}

both!(ca_09_guessing_secrets_ends_in_429_for_the_guesser);
fn ca_09_guessing_secrets_ends_in_429_for_the_guesser(db: Db) {
    let fleet = Fleet::start(
        db,
        &Wishes {
            server: Some(
                "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"10/h\"\n".into(),
            ),
            environment: proxies(),
            ..Wishes::default()
        },
    );
    let clients = [fleet.client(&[]), fleet.client(&[])];
    let guess = |n: usize| Credentials {
        id: clients[n % 2].id.clone(),
        secret: format!("ehs_{n}"),
    };
    refused_client(&forwarded(&fleet, &guess(0), "7.7.7.7"), true);
    let last = (1..40)
        .map(|n| forwarded(&fleet, &guess(n), "7.7.7.7"))
        .find(|answer| answer.status != 401);
    exceeded(&last.unwrap());
    // The honest client, elsewhere, is not shut out by what was done in its name.
    for client in &clients {
        granted(&forwarded(&fleet, client, "8.8.8.8"));
    }
    // The probes of an orchestrator are not shut out with the offender.
    assert_eq!(xtask::http::get(&fleet.at("/healthz")).unwrap().status, 200);
}

both!(int_10_scanning_for_tokens_ends_in_429);
fn int_10_scanning_for_tokens_ends_in_429(db: Db) {
    let fleet = limited(db, "\n[limits]\nper_ip = \"off\"\nper_client = \"20/h\"\n");
    let client = fleet.client(&[]);
    let answers: Vec<Answer> = (0..25)
        .map(|n| fleet.post("/oauth/introspect", &client, &[("token", &n.to_string())]))
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 20);
    exceeded(&answers[24]);
}

both!(gen_18_a_stranger_cannot_choose_the_address_that_is_counted);
fn gen_18_a_stranger_cannot_choose_the_address_that_is_counted(db: Db) {
    let fleet = limited(db, "\n[limits]\nper_ip = \"10/h\"\nper_client = \"off\"\n");
    let client = fleet.client(&[]);
    let last = (0..30)
        .map(|n| forwarded(&fleet, &client, &format!("7.7.7.{n}")))
        .find(|answer| answer.status == 429);
    exceeded(&last.unwrap());
}

both!(gen_19_a_trusted_proxy_tells_the_address);
fn gen_19_a_trusted_proxy_tells_the_address(db: Db) {
    let fleet = Fleet::start(
        db,
        &Wishes {
            server: Some("\n[limits]\nper_ip = \"10/h\"\nper_client = \"off\"\n".into()),
            environment: proxies(),
            ..Wishes::default()
        },
    );
    let client = fleet.client(&[]);
    for n in 0..30 {
        granted(&forwarded(&fleet, &client, &format!("7.7.7.{n}")));
    }
    // Only the right-most address that is no proxy counts: what stands left of it was written by the caller.
    let last = (0..30)
        .map(|n| forwarded(&fleet, &client, &format!("9.9.9.{n}, 8.8.8.8")))
        .find(|answer| answer.status == 429);
    exceeded(&last.unwrap());
    granted(&forwarded(&fleet, &client, "8.8.8.9"));
}

both!(limits_hold_at_the_node_too);
fn limits_hold_at_the_node_too(db: Db) {
    let node = Some("\n[limits]\nper_ip = \"off\"\nper_client = \"5/h\"\n".into());
    let fleet = Fleet::start(
        db,
        &Wishes {
            node,
            ..Wishes::default()
        },
    );
    let (eager, calm) = (fleet.client(&[]), fleet.client(&[]));
    let eager = fleet.token(&eager, &fleet.node.url());
    let list = |token: &str| {
        modern(&fleet.node.url(), "tools/list", json!({}))
            .unwrap()
            .bearer(token)
            .send()
            .unwrap()
    };
    for _ in 0..5 {
        assert_eq!(list(&eager).status, 200);
    }
    exceeded(&list(&eager));
    assert_eq!(list(&fleet.token(&calm, &fleet.node.url())).status, 200);
}

both!(ca_30_one_address_cannot_keep_the_keys_of_others_from_being_fetched);
fn ca_30_one_address_cannot_keep_the_keys_of_others_from_being_fetched(db: Db) {
    let publisher = Publisher::start();
    let limits = "\n[clients]\nfetches_per_address = \"3/h\"\n";
    let fleet = Fleet::start(
        db,
        &Wishes {
            server: Some(format!("{UNLIMITED_SERVER}{limits}{}", publisher.rule())),
            environment: proxies(),
            ..Wishes::default()
        },
    );
    let key = Key::ed25519("one");
    let paths: Vec<_> = (0..5).map(|n| format!("/{n}/keys")).collect();
    let clients: Vec<_> = paths
        .iter()
        .map(|path| {
            publisher.publish(path, Reply::json(&key_set(&[&key])));
            assertion::publishing_client(&fleet, &publisher.at(path))
        })
        .collect();
    let ask = |client: &str, from: &str| {
        let assertion = assertion::assertion(&fleet, client, &key);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", assertion::ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        let request = Request::post(&fleet.at("/oauth/token")).unwrap();
        let request = request.header("X-Forwarded-For", from).form(&form);
        request.send().unwrap()
    };
    for client in &clients[..3] {
        granted(&ask(client, "7.7.7.7"));
    }
    exceeded(&ask(&clients[3], "7.7.7.7"));
    assert!(publisher.requests(&paths[3]).is_empty());
    // What is there is no fetch, and somebody else has a share of their own.
    granted(&ask(&clients[0], "7.7.7.7"));
    granted(&ask(&clients[3], "8.8.8.8"));
    // That was for everybody.
    granted(&ask(&clients[3], "7.7.7.7"));
    exceeded(&ask(&clients[4], "7.7.7.7"));
}

/// `[limits]` opens a new table at the end of the file, so the key of `[server]` comes by environment.
fn proxies() -> Vec<(String, String)> {
    vec![(
        "EDGE_HIVE_SERVER__TRUSTED_PROXIES".into(),
        "127.0.0.1/32, ::1/128".into(),
    )]
}

fn forwarded(fleet: &Fleet, client: &Credentials, value: &str) -> Answer {
    let request = Request::post(&fleet.at("/oauth/token"))
        .unwrap()
        .basic(&client.id, &client.secret);
    request
        .header("X-Forwarded-For", value)
        .form(&[("grant_type", "client_credentials")])
        .send()
        .unwrap()
}
