//! Enterprise-managed authorization (MCP extension; draft-ietf-oauth-identity-assertion-authz-grant): an identity
//! provider speaks for a person, to one client, for one resource, once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use blackbox::answers::{granted, not_stored, refused_400, refused_client};
use blackbox::dpop::{Holder, with_proofs};
use blackbox::fleet::Wishes;
use blackbox::forge::{self, Key, with};
use blackbox::provider::Provider;
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{self, Answer, Request};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A fleet that believes two identity providers; people also sign in with the first.
struct Stage {
    fleet: Fleet,
    provider: Provider,
    /// Believed for one client only.
    second: Provider,
    client: Credentials,
    /// The only one that may bring assertions of the second.
    partner: Credentials,
}

impl Stage {
    fn shared(db: Db) -> Arc<Self> {
        static SQLITE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        static POSTGRES: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        let place = if db == Db::Sqlite { &SQLITE } else { &POSTGRES };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = place.upgrade() {
            return stage;
        }
        let stage = Arc::new(Self::set(db, ""));
        *place = Arc::downgrade(&stage);
        stage
    }

    fn set(db: Db, federation: &str) -> Self {
        let mut fleet = Fleet::start(db, &Wishes::default());
        let (provider, second) = (
            Provider::start(Key::p256("i-1")),
            Provider::start(Key::p256("i-2")),
        );
        let client = fleet.client_for_any(&["--grants", "jwt_bearer", "--scopes", "mcp:read mcp:call"]);
        let partner = fleet.client_for_any(&["--grants", "jwt_bearer"]);
        let tables = format!(
            "\n[[federation.id_jag]]\nissuer = \"{}\"\n\n[[federation.id_jag]]\nissuer = \"{}\"\njwks_uri = \"{}/keys\"\nclients = [\"{}\"]\n",
            provider.url, second.url, second.url, partner.id
        );
        fleet.server.extra = UNLIMITED_SERVER.to_owned() + &provider.section(federation) + &tables;
        fleet.server.write_config().unwrap();
        fleet.restart_server();
        Self {
            fleet,
            provider,
            second,
            client,
            partner,
        }
    }

    /// The claims of a good ID-JAG for the client.
    fn claims(&self) -> Value {
        let now = forge::now();
        json!({
            "iss": self.provider.url, "sub": "ada", "aud": self.fleet.server.issuer, "client_id": self.client.id,
            "resource": self.fleet.node.url(), "jti": forge::fresh_id(), "iat": now, "exp": now + 300,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        sign_with(&self.provider.key, claims)
    }

    fn ask(&self, assertion: &str, more: &[(&str, &str)]) -> Answer {
        self.ask_as(&self.client, assertion, more)
    }

    fn ask_as(&self, client: &Credentials, assertion: &str, more: &[(&str, &str)]) -> Answer {
        if !assertion.is_empty() {
            self.fleet.remember(assertion);
        }
        let usual = [("grant_type", JWT_BEARER), ("assertion", assertion)];
        self.fleet.post("/oauth/token", client, &[&usual, more].concat())
    }

    /// The answer for a good ID-JAG with one claim changed; `null` leaves it out.
    fn changed(&self, name: &str, value: Value) -> Answer {
        self.ask(&self.sign(&with(&self.claims(), name, value)), &[])
    }

    fn logged(&self, reason: &str) -> bool {
        self.fleet.logs().contains(reason)
    }
}

/// As the conformance suite's provider does: no `kid`.
fn sign_with(key: &Key, claims: &Value) -> String {
    key.sign(
        &json!({"alg": key.algorithm(), "typ": "oauth-id-jag+jwt"}),
        claims,
    )
}

fn claims_of(answer: &Value) -> Value {
    forge::part(answer["access_token"].as_str().unwrap(), 1)
}

both!(ema_an_id_jag_is_exchanged_for_a_token);
fn ema_an_id_jag_is_exchanged_for_a_token(db: Db) {
    let stage = Stage::shared(db);
    let answer = stage.ask(&stage.sign(&stage.claims()), &[]);
    not_stored(&answer);
    let answer = granted(&answer);
    assert_eq!(answer["scope"], "mcp:call mcp:read");
    assert_eq!(answer["resource"], stage.fleet.node.url());
    assert!(
        answer.get("refresh_token").is_none() && answer.get("id_token").is_none(),
        "{answer}"
    );
    let claims = claims_of(&answer);
    assert_eq!(claims["aud"], stage.fleet.node.url());
    assert_eq!(claims["client_id"], stage.client.id.as_str());
    let subject = claims["sub"].as_str().unwrap();
    assert!(subject.starts_with("e_"), "{subject}");
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(stage.fleet.call(token).status, 200);
    assert_eq!(stage.fleet.introspect(&stage.client, token)["active"], true);
    // The same person has the same name, and nobody else has it.
    let again = granted(&stage.ask(&stage.sign(&stage.claims()), &[]));
    assert_eq!(claims_of(&again)["sub"], subject);
    let other = granted(&stage.changed("sub", json!("bob")));
    assert_ne!(claims_of(&other)["sub"], subject);
    let metadata = granted(&http::get(&stage.fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    assert_eq!(
        metadata["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
}

both!(ema_the_client_proves_who_it_is);
fn ema_the_client_proves_who_it_is(db: Db) {
    let stage = Stage::shared(db);
    let assertion = stage.sign(&stage.claims());
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    refused_client(&stage.fleet.post_bare("/oauth/token", &form), false);
    let named = [form[0], form[1], ("client_id", stage.client.id.as_str())];
    refused_client(&stage.fleet.post_bare("/oauth/token", &named), false);
    let wrong = Credentials {
        secret: "ehs_wrong".to_owned(),
        ..stage.client.clone()
    };
    refused_client(&stage.ask_as(&wrong, &assertion, &[]), true);
    // A public client with an assertion that was made for it.
    let words = ["--public", "--grants", "jwt_bearer", "--scopes", "mcp:read"];
    let public = stage.fleet.server.create_public_client("public", &words).unwrap();
    let theirs = stage.sign(&with(&stage.claims(), "client_id", json!(public)));
    let form = [
        ("grant_type", JWT_BEARER),
        ("assertion", &theirs),
        ("client_id", &public),
    ];
    refused_400(
        &stage.fleet.post_bare("/oauth/token", &form),
        "unauthorized_client",
    );
    let elsewhere = stage.fleet.client(&[]);
    refused_400(&stage.ask_as(&elsewhere, &assertion, &[]), "unauthorized_client");
    // It was for nobody but the client, and none of this has used it up.
    refused_400(&stage.ask_as(&stage.partner, &assertion, &[]), "invalid_grant");
    assert!(stage.logged("client_id is not the client that authenticated"));
    granted(&stage.ask(&assertion, &[]));
}

both!(ema_a_provider_speaks_for_the_clients_it_was_given);
fn ema_a_provider_speaks_for_the_clients_it_was_given(db: Db) {
    let stage = Stage::shared(db);
    let of = |client: &Credentials| {
        let claims = with(&stage.claims(), "iss", json!(stage.second.url));
        sign_with(&stage.second.key, &with(&claims, "client_id", json!(client.id)))
    };
    granted(&stage.ask_as(&stage.partner, &of(&stage.partner), &[]));
    refused_400(&stage.ask(&of(&stage.client), &[]), "unauthorized_client");
    // JWT-26: the key of another issuer that is believed too.
    let crossed = sign_with(&stage.second.key, &stage.claims());
    refused_400(&stage.ask(&crossed, &[]), "invalid_grant");
    // One person at two providers is two.
    let claims = |answer: Answer| claims_of(&granted(&answer))["sub"].clone();
    let mine = claims(stage.ask(&stage.sign(&stage.claims()), &[]));
    let theirs = claims(stage.ask_as(&stage.partner, &of(&stage.partner), &[]));
    assert_ne!(mine, theirs);
}

both!(ema_every_claim_is_demanded_and_compared);
fn ema_every_claim_is_demanded_and_compared(db: Db) {
    let stage = Stage::shared(db);
    let (issuer, now) = (stage.fleet.server.issuer.clone(), forge::now());
    for name in ["iss", "sub", "aud", "client_id", "jti", "exp", "iat"] {
        refused_400(&stage.changed(name, Value::Null), "invalid_grant");
    }
    for (name, value) in [
        ("iss", json!("https://unknown.example")),
        ("aud", json!("https://wrong.example")),
        ("aud", json!([issuer, "https://wrong.example"])),
        ("aud", json!(stage.fleet.at("/oauth/token"))),
        ("aud", json!(stage.fleet.node.url())),
        ("client_id", json!("c_other")),
        ("client_id", json!([stage.client.id])),
        ("exp", json!(now - 60)),
        ("exp", json!(now + 7200)),
        ("exp", json!("soon")),
        ("iat", json!(now + 120)),
        ("nbf", json!(now + 120)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("jti", json!(7)),
        ("scope", json!(["mcp:read"])),
        ("scope", json!("a  b")),
        ("resource", json!(7)),
        ("resource", json!([])),
        ("resource", json!("https://elsewhere.example/mcp")),
        ("cnf", json!({"jkt": "A".repeat(43)})),
        ("cnf", json!({"kid": "x"})),
        ("cnf", json!({})),
    ] {
        refused_400(&stage.changed(name, value.clone()), "invalid_grant");
    }
    for reason in [
        "aud is not this server alone",
        "exp lies too far ahead",
        "resource is not registered here",
        "cnf names a key that was not shown",
    ] {
        assert!(stage.logged(reason), "{reason}");
    }
    for (name, value) in [
        ("aud", json!(format!("{issuer}/"))),
        ("aud", json!([issuer])),
        ("tenant", json!("acme")),
        ("resource", json!([stage.fleet.node.url()])),
    ] {
        granted(&stage.changed(name, value));
    }
}

both!(jwt_28_an_id_jag_says_that_it_is_one);
fn jwt_28_an_id_jag_says_that_it_is_one(db: Db) {
    let stage = Stage::shared(db);
    let key = &stage.provider.key;
    for typ in ["JWT", "at+jwt", "id-jag+jwt", "oauth-id-jag"] {
        let assertion = key.sign(&json!({"alg": "ES256", "typ": typ}), &stage.claims());
        refused_400(&stage.ask(&assertion, &[]), "invalid_grant");
    }
    let untyped = key.sign(&json!({"alg": "ES256"}), &stage.claims());
    refused_400(&stage.ask(&untyped, &[]), "invalid_grant");
    // Known to nobody as a platform: the two lists of issuers are apart.
    assert!(stage.logged("is no issuer that is believed here"));
    let spelled = key.sign(
        &json!({"alg": "ES256", "typ": "application/OAuth-ID-JAG+jwt"}),
        &stage.claims(),
    );
    granted(&stage.ask(&spelled, &[]));
    refused_400(&stage.ask("", &[]), "invalid_request");
}

both!(ema_the_scope_is_what_all_agree_to);
fn ema_the_scope_is_what_all_agree_to(db: Db) {
    let stage = Stage::shared(db);
    let with_scope = |stated: &str, asked: &str| {
        let assertion = stage.sign(&with(&stage.claims(), "scope", json!(stated)));
        stage.ask(&assertion, &[("scope", asked)])
    };
    assert_eq!(
        granted(&with_scope("mcp:read mcp:call", ""))["scope"],
        "mcp:call mcp:read"
    );
    assert_eq!(
        granted(&with_scope("mcp:read mcp:call", "mcp:read"))["scope"],
        "mcp:read"
    );
    assert_eq!(
        granted(&with_scope("mcp:read", "mcp:read mcp:call"))["scope"],
        "mcp:read"
    );
    // The resource knows it, the client may not have it.
    assert_eq!(
        granted(&with_scope("mcp:read mcp:subscribe", ""))["scope"],
        "mcp:read"
    );
    for (stated, asked) in [
        ("mcp:read", "mcp:call"),
        ("mcp:subscribe", ""),
        ("openid", "openid"),
    ] {
        refused_400(&with_scope(stated, asked), "invalid_scope");
    }
}

both!(ema_the_resource_is_that_of_the_assertion);
fn ema_the_resource_is_that_of_the_assertion(db: Db) {
    let stage = Stage::shared(db);
    let (node, other) = (stage.fleet.node.url(), stage.fleet.resource(&[]));
    let ask = |named: Value, asked: &str| {
        let assertion = stage.sign(&with(&stage.claims(), "resource", named));
        stage.ask(&assertion, &[("resource", asked)])
    };
    let audience = |answer: Answer| claims_of(&granted(&answer))["aud"].clone();
    assert_eq!(audience(ask(json!(node), &node)), node);
    assert_eq!(audience(ask(json!(format!("{node}/")), "")), node);
    refused_400(&ask(json!(node), &other), "invalid_target");
    assert_eq!(audience(ask(json!([node, other]), &other)), other);
    refused_400(&ask(json!([node, other]), ""), "invalid_target");
    // Without one, the request says it.
    assert_eq!(audience(ask(Value::Null, &other)), other);
    refused_400(&ask(Value::Null, ""), "invalid_target");
}

both!(ema_an_assertion_is_used_once);
fn ema_an_assertion_is_used_once(db: Db) {
    let stage = Stage::shared(db);
    let assertion = stage.sign(&stage.claims());
    // What is refused uses nothing up.
    refused_400(
        &stage.ask(&assertion, &[("scope", "mcp:subscribe")]),
        "invalid_scope",
    );
    granted(&stage.ask(&assertion, &[]));
    refused_400(&stage.ask(&assertion, &[]), "invalid_grant");
    assert!(stage.logged("id_jag_replayed"));
    // JWT-15: by its id, not by its bytes.
    let claims = stage.claims();
    granted(&stage.ask(&stage.sign(&claims), &[]));
    refused_400(&stage.ask(&stage.sign(&claims), &[]), "invalid_grant");
    // Of a crowd with one assertion, one wins.
    let claims = stage.sign(&stage.claims());
    let granted: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| usize::from(stage.ask(&claims, &[]).status == 200)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(granted, 1);
}

both!(ema_the_operator_may_let_it_come_again);
fn ema_the_operator_may_let_it_come_again(db: Db) {
    let stage = Stage::set(db, "id_jag_replay = \"allow\"");
    let assertion = stage.sign(&stage.claims());
    for _ in 0..3 {
        granted(&stage.ask(&assertion, &[]));
    }
}

both!(ema_a_person_who_is_known_here_is_that_person);
fn ema_a_person_who_is_known_here_is_that_person(db: Db) {
    let stage = Stage::set(db, "");
    let before = granted(&stage.ask(&stage.sign(&stage.claims()), &[]));
    assert!(claims_of(&before)["sub"].as_str().unwrap().starts_with("e_"));
    // Ada signs in here with her account there.
    let mut browser = stage.fleet.person();
    let page = browser.page("/login");
    let there = browser
        .submit(&page, &page.form("/login/upstream"), &[])
        .redirect();
    let code = stage.provider.code(&there, &stage.provider.claims(&there, "ada"));
    let state = there.param("state").unwrap();
    let answer = browser.get(&format!("/login/upstream/callback?state={state}&code={code}"));
    assert_eq!(answer.status, 303, "{answer}");
    let users = stage.fleet.server.json(&["user", "list"]).unwrap();
    let users = users
        .as_array()
        .or_else(|| users["users"].as_array())
        .unwrap()
        .clone();
    let (user_id, username) = (
        users[0]["user_id"].clone(),
        users[0]["username"].as_str().unwrap(),
    );
    let known = granted(&stage.ask(&stage.sign(&stage.claims()), &[]));
    assert_eq!(claims_of(&known)["sub"], user_id);
    let is_active = |answer: &Value| {
        let token = answer["access_token"].as_str().unwrap();
        stage.fleet.introspect(&stage.client, token)["active"] == true
    };
    assert!(is_active(&known));
    // Whoever is not welcome here is not welcome with an assertion either.
    stage.fleet.server.json(&["user", "disable", username]).unwrap();
    refused_400(&stage.ask(&stage.sign(&stage.claims()), &[]), "invalid_grant");
    assert!(!is_active(&known));
    granted(&stage.changed("sub", json!("bob")));
}

both!(ema_a_bound_assertion_comes_with_its_key);
fn ema_a_bound_assertion_comes_with_its_key(db: Db) {
    let stage = Stage::shared(db);
    let (holder, other) = (Holder::fresh(), Holder::fresh());
    let place = stage.fleet.at("/oauth/token");
    let show = |claims: &Value, holder: &Holder| {
        let assertion = stage.sign(claims);
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
        let request = Request::post(&place)
            .unwrap()
            .basic(&stage.client.id, &stage.client.secret);
        with_proofs(request.form(&form), &[&holder.proof("POST", &place)])
            .send()
            .unwrap()
    };
    let bound = with(&stage.claims(), "cnf", json!({"jkt": holder.thumbprint()}));
    refused_400(&show(&bound, &other), "invalid_grant");
    refused_400(&stage.ask(&stage.sign(&bound), &[]), "invalid_grant");
    // And without having been used up, it works with the right one.
    let answer = granted(&show(&bound, &holder));
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(claims_of(&answer)["cnf"]["jkt"], holder.thumbprint());
    // An assertion that is not bound may be exchanged for a token that is.
    let answer = granted(&show(&stage.claims(), &other));
    assert_eq!(claims_of(&answer)["cnf"]["jkt"], other.thumbprint());
    for unknown in [json!({"jkt": holder.thumbprint(), "kid": "x"}), json!("x")] {
        refused_400(
            &show(&with(&stage.claims(), "cnf", unknown), &holder),
            "invalid_grant",
        );
    }
}

both!(ema_what_would_bound_the_yes_is_not_passed_over);
fn ema_what_would_bound_the_yes_is_not_passed_over(db: Db) {
    let stage = Stage::shared(db);
    for (claim, value) in [
        ("act", json!({"sub": "agent-7"})),
        ("authorization_details", json!([{"type": "payment", "limit": 1}])),
    ] {
        let claims = with(&stage.claims(), claim, value);
        refused_400(&stage.ask(&stage.sign(&claims), &[]), "invalid_grant");
    }
    granted(&stage.ask(&stage.sign(&stage.claims()), &[]));
}
