//! Two instances of the server on one Postgres, behind a balancer that sends each request to the other one.

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::assertion::ASSERTION_TYPE;
use blackbox::dpop::Holder;
use blackbox::enrolled::{Candidate, claims, proof_at, sha256, welcomed};
use blackbox::fleet::SCOPES;
use blackbox::forge::{self, Key};
use blackbox::pair::{Pair, RESOURCE};
use blackbox::published::document;
use blackbox::publisher::Publisher;
use blackbox::status_list::{bit_in, part, place};
use blackbox::{CALLBACK, PASSWORD, Person, Pkce};
use serde_json::{Value, json};
use xtask::http::{self, Answer, Request, form_encode};

#[test]
fn a_flow_whose_every_request_meets_the_other_instance_postgres() {
    let pair = Pair::start();
    let (client, pkce, url) = flow(&pair);
    // The number of requests between two tries is odd or even as the flow wants it; one more in front turns it around.
    for turn in 0..2 {
        if turn == 1 {
            assert_eq!(
                http::get(&format!("{}/healthz", pair.issuer)).unwrap().status,
                200
            );
        }
        let before = pair.balancer.served();
        let redirect = Person::new(&pair.issuer).allow(&url, ("ines", PASSWORD));
        assert_eq!(redirect.param("iss").as_deref(), Some(&*pair.issuer));
        let redemption = [
            ("grant_type", "authorization_code"),
            ("client_id", &client),
            ("redirect_uri", CALLBACK),
            ("code", &redirect.code()),
            ("code_verifier", &pkce.verifier),
        ];
        let tokens = granted(&pair.ask(&redemption));
        let first = text(&tokens, "refresh_token");
        let second = text(&granted(&pair.refresh(&client, &first)), "refresh_token");
        let third = text(&granted(&pair.refresh(&client, &second)), "refresh_token");
        // A lost answer: the other instance gives the same successor.
        let again = text(&granted(&pair.refresh(&client, &second)), "refresh_token");
        assert_eq!(again, third);
        // A replay after the successor's use: what one instance ended has ended at the other.
        let fourth = text(&granted(&pair.refresh(&client, &third)), "refresh_token");
        refused_400(&pair.refresh(&client, &second), "invalid_grant");
        refused_400(&pair.refresh(&client, &fourth), "invalid_grant");
        let after = pair.balancer.served();
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| after - before >= 4),
            "{before:?} {after:?}"
        );
    }
}

#[test]
fn con_07_of_those_who_race_at_both_instances_one_wins_postgres() {
    let pair = Pair::start();
    let (client, pkce, url) = flow(&pair);
    for _ in 0..5 {
        let code = Person::new(&pair.issuer).allow(&url, ("ines", PASSWORD)).code();
        let redemption = [
            ("grant_type", "authorization_code"),
            ("client_id", &client),
            ("redirect_uri", CALLBACK),
            ("code", &code),
            ("code_verifier", &pkce.verifier),
        ];
        let at_once = |ask: &(dyn Fn() -> Answer + Sync)| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let racers: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            })
        };
        let answers = at_once(&|| pair.ask(&redemption));
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 200).count(),
            1,
            "{answers:?}"
        );
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            refused_400(loser, "invalid_grant");
        }
        // CON-03: whoever refreshes at once gets one successor, from either.
        let code = Person::new(&pair.issuer).allow(&url, ("ines", PASSWORD)).code();
        let mut fresh = redemption;
        fresh[3].1 = &code;
        let mut token = text(&granted(&pair.ask(&fresh)), "refresh_token");
        for _ in 0..3 {
            let answers = at_once(&|| pair.refresh(&client, &token));
            let next: std::collections::HashSet<String> = answers
                .iter()
                .map(|answer| text(&granted(answer), "refresh_token"))
                .collect();
            assert_eq!(next.len(), 1, "{answers:?}");
            token = next.into_iter().next().unwrap();
        }
    }
    let served = pair.balancer.served();
    assert!(served.iter().all(|count| *count > 50), "{served:?}");
}

/// A person, their client, its proof key and the address of its request.
fn flow(pair: &Pair) -> (String, Pkce, String) {
    pair.first.create_user("ines", PASSWORD, &[]).unwrap();
    let words = [
        "--public",
        "--redirect-uri",
        CALLBACK,
        "--resource",
        RESOURCE,
        "--scopes",
        SCOPES,
    ];
    let client = pair.first.create_public_client("two", &words).unwrap();
    let pkce = Pkce::fresh();
    let query: Vec<String> = [
        ("response_type", "code"),
        ("client_id", &client),
        ("redirect_uri", CALLBACK),
        ("state", "st-1"),
        ("code_challenge", &pkce.challenge),
        ("code_challenge_method", "S256"),
        ("resource", RESOURCE),
    ]
    .iter()
    .map(|(name, value)| format!("{name}={}", form_encode(value)))
    .collect();
    let url = format!("{}/oauth/authorize?{}", pair.issuer, query.join("&"));
    (client, pkce, url)
}

#[test]
fn cimd_a_published_client_is_known_to_whichever_instance_it_meets_postgres() {
    let publisher = Publisher::start();
    let pair = Pair::start_with(&publisher.rule());
    pair.first.create_user("ines", PASSWORD, &[]).unwrap();
    let client = publisher.publish_client("/client.json", document(&json!({})));
    let pkce = Pkce::fresh();
    let query: Vec<String> = [
        ("response_type", "code"),
        ("client_id", &client),
        ("redirect_uri", CALLBACK),
        ("code_challenge", &pkce.challenge),
        ("code_challenge_method", "S256"),
        ("resource", RESOURCE),
    ]
    .iter()
    .map(|(name, value)| format!("{name}={}", form_encode(value)))
    .collect();
    let url = format!("{}/oauth/authorize?{}", pair.issuer, query.join("&"));
    let redirect = Person::new(&pair.issuer).allow(&url, ("ines", PASSWORD));
    let redemption = [
        ("grant_type", "authorization_code"),
        ("client_id", &client),
        ("redirect_uri", CALLBACK),
        ("code", &redirect.code()),
        ("code_verifier", &pkce.verifier),
    ];
    let mut token = text(&granted(&pair.ask(&redemption)), "refresh_token");
    for _ in 0..2 {
        token = text(&granted(&pair.refresh(&client, &token)), "refresh_token");
    }
    // Once by each, while the client was in nobody's database.
    assert_eq!(publisher.requests("/client.json").len(), 2);
}

#[test]
fn dpop_19_29_a_nonce_is_good_at_the_other_instance_and_a_proof_is_not_postgres() {
    let pair = Pair::start_with("[tokens]\ndpop_nonce = \"required\"\n");
    let words = ["--scopes", SCOPES, "--resource", RESOURCE];
    let client = pair.first.create_client("two", &words).unwrap();
    let holder = Holder::fresh();
    let url = format!("{}/oauth/token", pair.issuer);
    let ask = |proof: &str| {
        let request = Request::post(&url).unwrap().basic(&client.id, &client.secret);
        let request = request.form(&[("grant_type", "client_credentials")]);
        request.header("DPoP", proof).send().unwrap()
    };
    let refused = ask(&holder.proof("POST", &url));
    refused_400(&refused, "use_dpop_nonce");
    let nonce = refused.header("dpop-nonce").unwrap();
    let proof = holder.spoilt("POST", &url, |_, claims| claims["nonce"] = nonce.into());
    // Each of these meets the other instance than the one before.
    let before = pair.balancer.served();
    assert_eq!(granted(&ask(&proof))["token_type"], "DPoP");
    for _ in 0..2 {
        refused_400(&ask(&proof), "invalid_dpop_proof");
    }
    let after = pair.balancer.served();
    assert!(before.iter().zip(&after).all(|(before, after)| after > before));
    let next = holder.spoilt("POST", &url, |_, claims| claims["nonce"] = nonce.into());
    granted(&ask(&next));
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

#[test]
fn par_a_request_that_one_instance_took_is_known_to_the_other_postgres() {
    let pair = Pair::start();
    pair.first.create_user("ines", PASSWORD, &[]).unwrap();
    let words = ["--public", "--redirect-uri", CALLBACK, "--scopes", SCOPES];
    let client = pair.first.create_public_client("pushes", &words).unwrap();
    let mut used = Vec::new();
    // The push, the visits and the answer meet one instance and the other; the second time the other way round.
    for turn in 0..2 {
        if turn == 1 {
            http::get(&format!("{}/healthz", pair.issuer)).unwrap();
        }
        let pkce = Pkce::fresh();
        let form = [
            ("response_type", "code"),
            ("client_id", &*client),
            ("redirect_uri", CALLBACK),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("resource", RESOURCE),
        ];
        let par = format!("{}/oauth/par", pair.issuer);
        let pushed = Request::post(&par).unwrap().form(&form).send().unwrap();
        assert_eq!(pushed.status, 201, "{pushed}");
        let reference = text(&pushed.json().unwrap(), "request_uri");
        let url = format!(
            "{}/oauth/authorize?client_id={client}&request_uri={}",
            pair.issuer,
            form_encode(&reference)
        );
        let mut ines = Person::new(&pair.issuer);
        let redirect = ines.allow(&url, ("ines", PASSWORD));
        assert!(!redirect.code().is_empty());
        used.push((ines, url));
    }
    for (mut ines, url) in used {
        for _ in 0..2 {
            let page = ines.page(&url);
            assert_eq!(page.answer.status, 400, "{}", page.answer);
        }
    }
}

#[test]
fn ca_18_an_assertion_used_at_one_instance_is_used_at_the_other_postgres() {
    let pair = Pair::start();
    let key = Key::ed25519("k");
    let file = pair.first.folder.join("jwks.json");
    std::fs::write(&file, forge::key_set(&[&key]).to_string()).unwrap();
    let file = file.display().to_string();
    let words = [
        "--auth-method",
        "private_key_jwt",
        "--jwks",
        &file,
        "--scopes",
        SCOPES,
    ];
    let id = pair.first.create_public_client("signing", &words).unwrap();
    let claims = json!({
        "iss": id, "sub": id, "aud": pair.issuer, "jti": forge::fresh_id(), "exp": forge::now() + 60,
    });
    let assertion = key.sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    granted(&pair.ask(&form));
    // Each request meets the other instance.
    for _ in 0..4 {
        refused_client(&pair.ask(&form), false);
    }
}

#[test]
fn p2p_a_node_and_its_questions_are_known_to_whichever_instance_they_meet_postgres() {
    let pair = Pair::start();
    pair.first.create_user("ines", PASSWORD, &["--admin"]).unwrap();
    let resource = "http://localhost:1/north/mcp";
    let made = pair
        .first
        .json(&["node", "invite", "--resource", resource])
        .unwrap();
    let invite = text(&made, "invite");
    let candidate = Candidate::at(&pair.issuer, &invite, None);
    let at = |path: &str| format!("{}{path}", pair.issuer);
    let enrol = Request::post(&at("/fleet/enroll"))
        .unwrap()
        .json(&candidate.request());
    let welcome = welcomed(&enrol.send().unwrap());
    // Each request meets the other instance; both sign the same bytes, but for a minute that ends in between.
    let directory = || http::get(&at("/fleet/nodes")).unwrap();
    let is_same = || {
        let (one, other) = (directory(), directory());
        let lists = |answer: &Answer| claims(&answer.text())["nodes"].to_string().contains(resource);
        assert!(lists(&one) && lists(&other));
        one.header("etag") == other.header("etag") && one.body == other.body
    };
    assert!((0..3).any(|_| is_same()));
    let client_id = text(&welcome, "client_id");
    let proof = proof_at(&pair.issuer, &candidate.key, &client_id);
    let form = [
        (proof[0].0, &*proof[0].1),
        (proof[1].0, &*proof[1].1),
        ("tool", "fs_delete"),
        ("summary", "Deletes files"),
        ("arguments", "{}"),
        ("arguments_sha256", &sha256("{}")),
        ("caller_iss", &pair.issuer),
        ("caller_sub", "nobody"),
        ("caller_client", "c_x"),
        ("ttl", "5m"),
    ];
    let asked = Request::post(&at("/fleet/approvals"))
        .unwrap()
        .form(&form)
        .send()
        .unwrap();
    assert_eq!(asked.status, 201, "{asked}");
    let asked = asked.json().unwrap();
    let mut ines = Person::new(&pair.issuer);
    let page = ines.page(&text(&asked, "verification_uri"));
    let page = ines.sign_in_at(&page, "ines", PASSWORD).page();
    let form = page.form(&format!("/approve/{}", text(&asked, "approval_id")));
    assert_eq!(
        ines.submit(&page, &form, &[("decision", "approve")])
            .page()
            .answer
            .status,
        200
    );
    let poll = || {
        let url = at(&format!("/fleet/approvals/{}", text(&asked, "approval_id")));
        let request = Request::new("GET", &url)
            .unwrap()
            .bearer(&text(&asked, "poll_token"));
        granted(&request.send().unwrap())
    };
    let (one, other) = (poll(), poll());
    assert_eq!(one["status"], "approved");
    assert_eq!(one, other);
    pair.first
        .json(&["node", "revoke", &text(&welcome, "node_id")])
        .unwrap();
    for _ in 0..2 {
        assert!(
            !claims(&directory().text())["nodes"]
                .to_string()
                .contains(resource)
        );
    }
}

#[test]
fn log_events_of_both_instances_make_one_unbroken_chain_postgres() {
    const NODES: usize = 12;
    let pair = Pair::start();
    let invites: Vec<_> = (0..NODES)
        .map(|n| {
            let resource = format!("http://localhost:1/{n}/mcp");
            let made = pair.first.json(&["node", "invite", "--resource", &resource]);
            text(&made.unwrap(), "invite")
        })
        .collect();
    // All at once, by turns at the one and at the other, and by the command line.
    std::thread::scope(|scope| {
        for invite in &invites {
            scope.spawn(|| {
                let candidate = Candidate::at(&pair.issuer, invite, None);
                let enrol = Request::post(&format!("{}/fleet/enroll", pair.issuer)).unwrap();
                let welcome = welcomed(&enrol.json(&candidate.request()).send().unwrap());
                let node_id = text(&welcome, "node_id");
                pair.first.json(&["node", "revoke", &node_id]).unwrap();
            });
        }
    });
    let verified = pair.first.json(&["audit", "verify"]).unwrap();
    // Of each node: invited, enrolled, revoked with its resource.
    assert_eq!(verified["events"], NODES * 4, "{verified}");
    let rows = pair.first.json(&["audit", "list"]).unwrap();
    let count = |event: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .filter(|row| row["event"] == event)
            .count()
    };
    assert_eq!((count("node.enrolled"), count("node.revoked")), (NODES, NODES));
    assert_eq!(verified["head"], rows[0]["hash"]);
}

#[test]
fn stat_16_stat_17_a_revocation_at_one_instance_is_in_the_lists_of_the_other_postgres() {
    let pair = Pair::start();
    let words = ["--scopes", SCOPES, "--resource", RESOURCE];
    let client = pair.first.create_client("listed", &words).unwrap();
    let post = |path: &str, form: &[(&str, &str)]| {
        let request = Request::post(&format!("{}{path}", pair.issuer)).unwrap();
        let request = request.basic(&client.id, &client.secret).form(form);
        request.send().unwrap()
    };
    let mut places = std::collections::HashSet::new();
    let mut tokens = Vec::new();
    for _ in 0..80 {
        let answer = granted(&post("/oauth/token", &[("grant_type", "client_credentials")]));
        let token = answer["access_token"].as_str().unwrap().to_owned();
        assert!(places.insert(place(&token)), "a place was given twice");
        tokens.push(token);
    }
    // Whoever waits for news at one instance is told of what happens at the other.
    let directory = format!("{}/oauth/status?resource={}", pair.issuer, form_encode(RESOURCE));
    let known = http::get(&directory).unwrap();
    let etag = known.header("etag").unwrap().to_owned();
    for (turn, token) in tokens.iter().take(2).enumerate() {
        let waiting = Request::new("GET", &directory)
            .unwrap()
            .header("if-none-match", &etag)
            .header("prefer", "wait=20");
        let waiting = std::thread::spawn(move || waiting.send().unwrap());
        if turn == 1 {
            // An odd number of requests in between: the other one revokes.
            http::get(&format!("{}/healthz", pair.issuer)).unwrap();
        }
        let revoked = post("/oauth/revoke", &[("token", token)]);
        assert_eq!(revoked.status, 200);
        let news = granted(&waiting.join().unwrap());
        assert_ne!(news["versions"], granted(&known)["versions"]);
        let (uri, _) = place(token);
        let listed = news["status_lists"].as_array().unwrap();
        assert!(listed.contains(&Value::from(uri.as_str())));
        // Both instances say the same.
        let lists = [(); 2].map(|()| {
            let list = http::get(&uri).unwrap().text();
            assert_eq!(bit_in(&list, place(token).1), 1);
            part(&list, 1)["status_list"].clone()
        });
        assert_eq!(lists[0], lists[1]);
    }
}

#[test]
fn key_03_both_instances_publish_a_key_before_either_signs_with_it_postgres() {
    let pair = Pair::start();
    let words = ["--scopes", SCOPES, "--resource", RESOURCE];
    let client = pair.first.create_client("signed", &words).unwrap();
    let token = || {
        let request = Request::post(&format!("{}/oauth/token", pair.issuer)).unwrap();
        let form = [("grant_type", "client_credentials")];
        let answer = request
            .basic(&client.id, &client.secret)
            .form(&form)
            .send()
            .unwrap();
        text(&part(&text(&granted(&answer), "access_token"), 0), "kid")
    };
    let published = || {
        let url = format!("{}/.well-known/jwks.json", pair.issuer);
        granted(&http::get(&url).unwrap())["keys"].to_string()
    };
    // Every request meets the other instance.
    let first = [token(), token()];
    assert_eq!(first[0], first[1]);
    let next = pair.first.json(&["key", "rotate", "--alg", "EdDSA"]).unwrap();
    let next = text(&next[0], "kid");
    assert!([published(), published()].iter().all(|keys| keys.contains(&next)));
    assert_eq!([token(), token()], first);
    pair.first
        .json(&["key", "rotate", "--now", "--alg", "EdDSA"])
        .unwrap();
    assert_eq!([token(), token()], [next.clone(), next]);
    assert!(
        [published(), published()]
            .iter()
            .all(|keys| keys.contains(&first[0]))
    );
}
