//! Workload identity federation (RFC 7523 §2.1, §3): a platform's token is worth what the operator's rules say.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use blackbox::answers::{granted, not_stored, refused_400, refused_503};
use blackbox::dpop::{Holder, with_proofs};
use blackbox::fleet::Wishes;
use blackbox::forge::{self, Key, with};
use blackbox::issuer::{Issuer, Manner};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{self, Answer, Request};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// What a cluster calls itself; nobody can fetch anything there from here.
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const SPIRE: &str = "https://spire.prod.example";

/// A fleet that believes a cluster (keys in a file), GitHub and SPIRE (keys at an address), and a platform that says
/// itself where its keys are.
struct Stage {
    fleet: Fleet,
    /// The client as which the workloads act.
    client: String,
    /// A second resource, for deployments from one branch only; the gateway may go on to it.
    other: String,
    gateway: Credentials,
    cluster: Key,
    /// Of GitHub, SPIRE and the platform: RS256, because that is what they use.
    key: Key,
    platform: Issuer,
    _keys: tempfile::TempDir,
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
        let stage = Arc::new(Self::set(db, UNLIMITED_SERVER));
        *place = Arc::downgrade(&stage);
        stage
    }

    fn set(db: Db, limits: &str) -> Self {
        let mut fleet = Fleet::start(db, &Wishes::default());
        let (cluster, key) = (Key::p256("c-1"), Key::rsa("k-1"));
        let keys = tempfile::tempdir().unwrap();
        let file = keys.path().join("cluster.json");
        std::fs::write(&file, forge::key_set(&[&cluster]).to_string()).unwrap();
        let platform = Issuer::start(forge::key_set(&[&key]));
        let words = [
            "--public",
            "--grants",
            "jwt_bearer",
            "--scopes",
            "mcp:read mcp:call",
        ];
        let client = fleet.server.create_public_client("workloads", &words).unwrap();
        let other = fleet.resource(&[]);
        let node = fleet.node.url();
        let gateway = fleet.client_for_any(&["--grants", "token_exchange"]);
        let url = &platform.url;
        let rule = |matches: &str, resource: &str, more: &str| {
            format!(
                "\n[[federation.workload.rule]]\nclient = \"{client}\"\nmatch = {{ {matches} }}\nresource = \"{resource}\"\n{more}\n"
            )
        };
        let table = |name: &str, issuer: &str, keys: &str| {
            format!("\n[[federation.workload]]\nname = \"{name}\"\nissuer = \"{issuer}\"\n{keys}\n")
        };
        let both = "scopes = \"mcp:read mcp:call mcp:subscribe\"";
        let agents =
            "\"kubernetes.io/namespace\" = \"agents\", \"kubernetes.io/serviceaccount/name\" = \"indexer\"";
        let named = "subject = \"{kubernetes.io/namespace}/{kubernetes.io/serviceaccount/name}\"";
        fleet.server.extra = [
            limits.to_owned(),
            table("cluster", CLUSTER, &format!("jwks_file = \"{}\"", file.display())),
            rule(agents, &node, &format!("{both}\n{named}")),
            table(
                "github",
                GITHUB,
                &format!("jwks_uri = \"{url}/keys\"\nalgorithms = [\"RS256\"]"),
            ),
            rule("sub = \"repo:acme/*\"", &node, "scopes = \"mcp:read\""),
            rule("sub = \"repo:acme/tools:ref:refs/heads/main\"", &other, both),
            table("spire", SPIRE, &format!("jwks_uri = \"{url}/keys\"")),
            rule("sub = \"spiffe://prod.example/ns/agents/*\"", &node, both),
            table("platform", url, ""),
            rule("sub = \"robot\"", &node, both),
            format!(
                "\n[[exchange]]\nfrom_client = \"{}\"\nsubject_audience = \"{node}\"\nto_resource = \"{other}\"\nscopes = \"mcp:read\"\n",
                gateway.id
            ),
        ]
        .concat();
        fleet.server.write_config().unwrap();
        fleet.restart_server();
        Self {
            fleet,
            client,
            other,
            gateway,
            cluster,
            key,
            platform,
            _keys: keys,
        }
    }

    fn claims(&self, issuer: &str, subject: &str) -> Value {
        let now = forge::now();
        json!({
            "iss": issuer, "sub": subject, "aud": self.fleet.server.issuer, "jti": forge::fresh_id(),
            "iat": now, "exp": now + 300,
        })
    }

    /// A projected service account token (Kubernetes, "Bound service account tokens").
    fn pod(&self, namespace: &str, account: &str) -> Value {
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        let claims = self.claims(CLUSTER, &subject);
        let claims = with(&claims, "nbf", claims["iat"].clone());
        let inner = json!({
            "namespace": namespace, "node": {"name": "n1", "uid": "1"},
            "pod": {"name": "indexer-0", "uid": "2"}, "serviceaccount": {"name": account, "uid": "3"},
        });
        with(
            &with(&claims, "kubernetes.io", inner),
            "aud",
            json!([self.fleet.server.issuer]),
        )
    }

    fn sign(&self, key: &Key, claims: &Value) -> String {
        let assertion = key.sign(&json!({"alg": key.algorithm(), "kid": key.kid}), claims);
        self.fleet.remember(&assertion);
        assertion
    }

    fn ask(&self, assertion: &str, more: &[(&str, &str)]) -> Answer {
        let usual = [("grant_type", JWT_BEARER), ("assertion", assertion)];
        self.fleet.post_bare("/oauth/token", &[&usual, more].concat())
    }

    /// The answer for the platform's robot with one claim changed; `null` leaves it out.
    fn robot(&self, name: &str, value: Value) -> Answer {
        let claims = with(&self.claims(&self.platform.url, "robot"), name, value);
        self.ask(&self.sign(&self.key, &claims), &[])
    }

    fn logged(&self, reason: &str) -> bool {
        self.fleet.logs().contains(reason)
    }
}

fn claims_of(answer: &Value) -> Value {
    forge::part(answer["access_token"].as_str().unwrap(), 1)
}

both!(wif_a_pod_gets_a_token_for_the_node);
fn wif_a_pod_gets_a_token_for_the_node(db: Db) {
    let stage = Stage::shared(db);
    let assertion = stage.sign(&stage.cluster, &stage.pod("agents", "indexer"));
    let answer = stage.ask(&assertion, &[("resource", &stage.fleet.node.url())]);
    not_stored(&answer);
    let answer = granted(&answer);
    assert_eq!(answer["token_type"], "Bearer");
    // What rule, client and resource all allow.
    assert_eq!(answer["scope"], "mcp:call mcp:read");
    assert_eq!(answer["resource"], stage.fleet.node.url());
    assert!(answer.get("refresh_token").is_none(), "{answer}");
    let claims = claims_of(&answer);
    assert_eq!(claims["sub"], "workload:cluster:agents/indexer");
    assert_eq!(claims["client_id"], stage.client.as_str());
    assert!(claims.get("kubernetes.io").is_none(), "{claims}");
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(stage.fleet.call(token).status, 200);
    // The kubelet hands a pod one token for an hour: it may come again.
    granted(&stage.ask(&assertion, &[]));
    // Another pod, and another cluster's pod of that name.
    for (namespace, account) in [
        ("agents", "other"),
        ("kube-system", "indexer"),
        ("agents2", "indexer"),
    ] {
        let stranger = stage.sign(&stage.cluster, &stage.pod(namespace, account));
        refused_400(&stage.ask(&stranger, &[]), "unauthorized_client");
    }
    let forged = stage.sign(&Key::p256("c-1"), &stage.pod("agents", "indexer"));
    refused_400(&stage.ask(&forged, &[]), "invalid_grant");
}

both!(wif_a_job_of_github_gets_what_its_branch_may);
fn wif_a_job_of_github_gets_what_its_branch_may(db: Db) {
    let stage = Stage::shared(db);
    let node = stage.fleet.node.url();
    let job = |repository: &str, git_ref: &str| {
        let claims = stage.claims(GITHUB, &format!("repo:{repository}:ref:{git_ref}"));
        let claims = with(&claims, "repository", json!(repository));
        let claims = with(&claims, "ref", json!(git_ref));
        stage.sign(&stage.key, &with(&claims, "repository_owner_id", json!("65")))
    };
    let main = job("acme/tools", "refs/heads/main");
    let answer = granted(&stage.ask(&main, &[("resource", &node)]));
    assert_eq!(answer["scope"], "mcp:read");
    assert_eq!(
        claims_of(&answer)["sub"],
        "workload:github:repo:acme/tools:ref:refs/heads/main"
    );
    let elsewhere = granted(&stage.ask(&main, &[("resource", &stage.other)]));
    assert_eq!(elsewhere["scope"], "mcp:call mcp:read");
    assert_eq!(claims_of(&elsewhere)["aud"], stage.other.as_str());
    // Two rules fit, for two places.
    refused_400(&stage.ask(&main, &[]), "invalid_target");
    let branch = job("acme/tools", "refs/heads/topic");
    refused_400(
        &stage.ask(&branch, &[("resource", &stage.other)]),
        "invalid_target",
    );
    refused_400(
        &stage.ask(&branch, &[("resource", "http://localhost/unknown")]),
        "invalid_target",
    );
    granted(&stage.ask(&branch, &[]));
    for stranger in ["acme-evil/tools", "evil/acme", "acm/e"] {
        refused_400(
            &stage.ask(&job(stranger, "refs/heads/main"), &[]),
            "unauthorized_client",
        );
    }
}

both!(wif_a_spiffe_workload_is_its_id);
fn wif_a_spiffe_workload_is_its_id(db: Db) {
    let stage = Stage::shared(db);
    let id = "spiffe://prod.example/ns/agents/sa/indexer";
    let answer = granted(&stage.ask(&stage.sign(&stage.key, &stage.claims(SPIRE, id)), &[]));
    assert_eq!(claims_of(&answer)["sub"], format!("workload:spire:{id}"));
    for other in [
        "spiffe://prod.example/ns/agent/sa/x",
        "spiffe://prod.example.evil/ns/agents/sa/x",
    ] {
        let assertion = stage.sign(&stage.key, &stage.claims(SPIRE, other));
        refused_400(&stage.ask(&assertion, &[]), "unauthorized_client");
    }
    // An issuer's rules are for its own assertions: GitHub cannot speak for SPIRE's workloads.
    let crossed = stage.sign(&stage.key, &stage.claims(GITHUB, id));
    refused_400(&stage.ask(&crossed, &[]), "unauthorized_client");
}

both!(wif_the_assertion_is_for_us_and_of_now);
fn wif_the_assertion_is_for_us_and_of_now(db: Db) {
    let stage = Stage::shared(db);
    let (issuer, now) = (stage.fleet.server.issuer.clone(), forge::now());
    let endpoint = stage.fleet.at("/oauth/token");
    for audience in [
        json!(issuer),
        json!(format!("{issuer}/")),
        json!(endpoint),
        json!([issuer]),
    ] {
        granted(&stage.robot("aud", audience));
    }
    for audience in [
        json!("https://wrong.example"),
        json!([issuer, "https://wrong.example"]),
        json!([]),
        json!(7),
        json!(format!("{issuer}//")),
        json!(format!("{endpoint}/")),
        json!(stage.fleet.node.url()),
        Value::Null,
    ] {
        refused_400(&stage.robot("aud", audience), "invalid_grant");
    }
    assert!(stage.logged("aud is not this server alone"));
    for (name, value) in [
        ("exp", json!(now - 60)),
        ("exp", json!("soon")),
        ("exp", json!(1e300)),
        ("exp", Value::Null),
        ("iat", json!(now + 120)),
        ("iat", Value::Null),
        ("nbf", json!(now + 120)),
        ("jti", Value::Null),
        ("jti", json!(7)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(300))),
        ("sub", Value::Null),
        ("sub", json!(["robot"])),
        ("iss", Value::Null),
        ("iss", json!("https://unknown.example")),
        ("iss", json!(format!("{}/", stage.platform.url))),
    ] {
        refused_400(&stage.robot(name, value.clone()), "invalid_grant");
    }
    for reason in [
        "it has expired",
        "jti is missing",
        "is no issuer that is believed here",
    ] {
        assert!(stage.logged(reason), "{reason}");
    }
    // A little behind, and for good.
    granted(&stage.robot("exp", json!(now + 86_400)));
    granted(&stage.robot("iat", json!(now + 10)));
}

both!(jwt_29_an_assertion_is_no_jwt_of_another_kind);
fn jwt_29_an_assertion_is_no_jwt_of_another_kind(db: Db) {
    let stage = Stage::shared(db);
    let claims = || stage.claims(&stage.platform.url, "robot");
    let with_header = |header: Value| stage.ask(&stage.key.sign(&header, &claims()), &[]);
    for typ in [
        "at+jwt",
        "DPoP+jwt",
        "client-authentication+jwt",
        "application/at+jwt",
        "logout+jwt",
    ] {
        refused_400(
            &with_header(json!({"alg": "RS256", "kid": "k-1", "typ": typ})),
            "invalid_grant",
        );
    }
    assert!(stage.logged("its typ is that of another purpose"));
    // One that calls itself an ID-JAG needs a client that authenticates, and is no workload's even then.
    let id_jag = json!({"alg": "RS256", "kid": "k-1", "typ": "oauth-id-jag+jwt"});
    assert_eq!(with_header(id_jag.clone()).status, 401);
    let client = stage.fleet.client(&["--grants", "jwt_bearer"]);
    let assertion = stage.key.sign(&id_jag, &claims());
    let form = [("grant_type", JWT_BEARER), ("assertion", &assertion)];
    refused_400(&stage.fleet.post("/oauth/token", &client, &form), "invalid_grant");
    for header in [
        json!({"alg": "none", "kid": "k-1"}),
        json!({"alg": "HS256", "kid": "k-1"}),
        json!({"alg": "RS256", "kid": "k-1", "crit": ["x"]}),
        json!({"alg": "RS256", "kid": 7}),
        json!({"alg": "RS256", "kid": "k-2"}),
        json!({"alg": "RS512", "kid": "k-1"}),
    ] {
        refused_400(&with_header(header.clone()), "invalid_grant");
    }
    let public = stage.key.public_bytes();
    let hs = forge::hs256(&json!({"alg": "HS256", "kid": "k-1"}), &claims(), &public);
    refused_400(&stage.ask(&hs, &[]), "invalid_grant");
    for broken in [
        "x",
        "a.b.c",
        &format!("{}.", stage.sign(&stage.key, &claims())),
        &"x".repeat(9000),
    ] {
        refused_400(&stage.ask(broken, &[]), "invalid_grant");
    }
    refused_400(&stage.ask("", &[]), "invalid_request");
    for typ in [json!("JWT"), json!("JOSE"), json!("jwt")] {
        granted(&with_header(json!({"alg": "RS256", "kid": "k-1", "typ": typ})));
    }
}

both!(wif_an_issuer_signs_with_what_it_was_configured_for);
fn wif_an_issuer_signs_with_what_it_was_configured_for(db: Db) {
    let stage = Stage::set(db, UNLIMITED_SERVER);
    let other = Key::p256("p-1");
    stage.platform.set_keys(forge::key_set(&[&stage.key, &other]));
    let claims = |issuer: &str| stage.claims(issuer, "repo:acme/tools:ref:x");
    // The key is GitHub's, but the operator allowed RS256 only.
    refused_400(
        &stage.ask(&stage.sign(&other, &claims(GITHUB)), &[]),
        "invalid_grant",
    );
    assert!(stage.logged("may not sign with ES256"));
    granted(&stage.ask(&stage.sign(&stage.key, &claims(GITHUB)), &[]));
    // Which key it was need not be said.
    let robot = stage.claims(&stage.platform.url, "robot");
    for key in [&other, &stage.key] {
        granted(&stage.ask(&key.sign(&json!({"alg": key.algorithm()}), &robot), &[]));
    }
    let stranger = Key::p256("p-1");
    let forged = stranger.sign(&json!({"alg": "ES256"}), &robot);
    refused_400(&stage.ask(&forged, &[]), "invalid_grant");
}

both!(wif_scopes_are_those_of_the_rule);
fn wif_scopes_are_those_of_the_rule(db: Db) {
    let stage = Stage::shared(db);
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    assert_eq!(
        granted(&stage.ask(&assertion, &[("scope", "mcp:read")]))["scope"],
        "mcp:read"
    );
    // Nobody's; not the client's, though the rule and the resource have it; not the rule's.
    for wide in [
        "wif.rejected",
        "mcp:read wif.rejected",
        "mcp:subscribe",
        "mcp:resources",
    ] {
        refused_400(&stage.ask(&assertion, &[("scope", wide)]), "invalid_scope");
    }
}

both!(wif_nobody_authenticates_and_who_does_is_checked);
fn wif_nobody_authenticates_and_who_does_is_checked(db: Db) {
    let stage = Stage::shared(db);
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    // A stray id names nobody.
    for id in ["conformance-wif-workload", &stage.client, "c_nobody"] {
        let answer = granted(&stage.ask(&assertion, &[("client_id", id)]));
        assert_eq!(claims_of(&answer)["client_id"], stage.client.as_str());
    }
    // RFC 7523 §3.1: credentials that are there are checked, and must be those of the client that the rule names.
    let other = stage.fleet.client(&["--grants", "jwt_bearer"]);
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    refused_400(
        &stage.fleet.post("/oauth/token", &other, &form),
        "unauthorized_client",
    );
    let wrong = Credentials {
        id: other.id.clone(),
        secret: "ehs_wrong".to_owned(),
    };
    assert_eq!(stage.fleet.post("/oauth/token", &wrong, &form).status, 401);
}

both!(wif_the_client_of_a_rule_bounds_it);
fn wif_the_client_of_a_rule_bounds_it(db: Db) {
    let stage = Stage::set(db, UNLIMITED_SERVER);
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    granted(&stage.ask(&assertion, &[]));
    let server = &stage.fleet.server;
    server
        .json(&["client", "update", &stage.client, "--resource", &stage.other])
        .unwrap();
    refused_400(&stage.ask(&assertion, &[]), "unauthorized_client");
    server
        .json(&["client", "update", &stage.client, "--any-resource"])
        .unwrap();
    granted(&stage.ask(&assertion, &[]));
    stage
        .fleet
        .server
        .command(&["client", "revoke", &stage.client])
        .output()
        .unwrap();
    refused_400(&stage.ask(&assertion, &[]), "unauthorized_client");
    assert!(stage.logged("which is revoked"));
}

both!(wif_a_platform_that_is_away_is_no_refusal);
fn wif_a_platform_that_is_away_is_no_refusal(db: Db) {
    let stage = Stage::set(db, UNLIMITED_SERVER);
    stage.platform.set_manner(Manner::Status(500));
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    refused_503(&stage.ask(&assertion, &[]));
    // The cluster's keys lie in a file.
    granted(&stage.ask(&stage.sign(&stage.cluster, &stage.pod("agents", "indexer")), &[]));
}

both!(wif_a_crowd_asks_for_keys_once);
fn wif_a_crowd_asks_for_keys_once(db: Db) {
    let stage = Stage::set(db, UNLIMITED_SERVER);
    assert_eq!(stage.platform.key_requests(), 0, "asked before anybody came");
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| granted(&stage.ask(&assertion, &[])));
        }
    });
    assert_eq!(stage.platform.key_requests(), 1);
    // Keys that nobody has: one more look, then none for a while.
    for _ in 0..5 {
        let claims = stage.claims(&stage.platform.url, "robot");
        let unknown = stage
            .key
            .sign(&json!({"alg": "RS256", "kid": forge::fresh_id()}), &claims);
        refused_400(&stage.ask(&unknown, &[]), "invalid_grant");
    }
    assert_eq!(stage.platform.key_requests(), 2);
    // An issuer that nobody believes is asked nothing at all.
    let stranger = Issuer::start(forge::key_set(&[&stage.key]));
    let claims = stage.claims(&stranger.url, "robot");
    refused_400(&stage.ask(&stage.sign(&stage.key, &claims), &[]), "invalid_grant");
    assert_eq!(
        stranger.key_requests() + stranger.requests("/.well-known/openid-configuration"),
        0
    );
}

both!(wif_guessing_is_slowed_down);
fn wif_guessing_is_slowed_down(db: Db) {
    let limits = "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"3/min\"\n";
    let stage = Stage::set(db, limits);
    let claims = stage.claims(&stage.platform.url, "robot");
    let forged = Key::p256("k-1").sign(&json!({"alg": "ES256", "kid": "k-1"}), &claims);
    let statuses: Vec<u16> = (0..5).map(|_| stage.ask(&forged, &[]).status).collect();
    assert_eq!(statuses, [400, 400, 400, 429, 429]);
    // Who has a good one is not kept waiting.
    granted(&stage.ask(&stage.sign(&stage.key, &claims), &[]));
}

both!(wif_metadata_names_the_grant_where_it_works);
fn wif_metadata_names_the_grant_where_it_works(db: Db) {
    let grants = |fleet: &Fleet| {
        let answer = http::get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap();
        let document = granted(&answer);
        let list = document["grant_types_supported"].as_array().unwrap();
        list.contains(&json!(JWT_BEARER))
    };
    assert!(grants(&Stage::shared(db).fleet));
    assert!(!grants(&Fleet::shared(db)));
}

both!(wif_a_workload_may_bind_its_token);
fn wif_a_workload_may_bind_its_token(db: Db) {
    let stage = Stage::shared(db);
    let (holder, place) = (Holder::fresh(), stage.fleet.at("/oauth/token"));
    let assertion = stage.sign(&stage.key, &stage.claims(&stage.platform.url, "robot"));
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    let show = |proof: &str| {
        let request = Request::post(&place).unwrap().form(&form);
        with_proofs(request, &[proof]).send().unwrap()
    };
    let proof = holder.proof("POST", &place);
    let answer = granted(&show(&proof));
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(claims_of(&answer)["cnf"]["jkt"], holder.thumbprint());
    stage.fleet.remember(answer["access_token"].as_str().unwrap());
    // The assertion may come again, the proof may not.
    refused_400(&show(&proof), "invalid_dpop_proof");
    assert!(granted(&show(&holder.proof("POST", &place)))["access_token"].is_string());
}

both!(rfc_7800_a_bound_workload_comes_with_its_key);
fn rfc_7800_a_bound_workload_comes_with_its_key(db: Db) {
    let stage = Stage::shared(db);
    let (holder, other, place) = (Holder::fresh(), Holder::fresh(), stage.fleet.at("/oauth/token"));
    let bound = |cnf: Value| {
        let claims = with(&stage.claims(&stage.platform.url, "robot"), "cnf", cnf);
        stage.sign(&stage.key, &claims)
    };
    let assertion = bound(json!({"jkt": holder.thumbprint()}));
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    let show = |holder: &Holder| {
        let request = Request::post(&place).unwrap().form(&form);
        with_proofs(request, &[&holder.proof("POST", &place)])
            .send()
            .unwrap()
    };
    refused_400(&stage.ask(&assertion, &[]), "invalid_grant");
    refused_400(&show(&other), "invalid_grant");
    assert!(stage.logged("cnf names a key that was not shown"));
    assert_eq!(granted(&show(&holder))["token_type"], "DPoP");
    for unknown in [json!(0), json!({}), json!({"jwk": {}})] {
        refused_400(&stage.ask(&bound(unknown), &[]), "invalid_grant");
    }
}

both!(tx_15_what_a_workload_began_ends_with_its_client);
fn tx_15_what_a_workload_began_ends_with_its_client(db: Db) {
    // The client is revoked and the resource deleted: a stage of its own.
    for end in ["client", "resource"] {
        let stage = Stage::set(db, UNLIMITED_SERVER);
        let own = granted(&stage.robot("sub", json!("robot")));
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", own["access_token"].as_str().unwrap()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ];
        let exchange = || stage.fleet.post("/oauth/token", &stage.gateway, &form);
        let new = granted(&exchange());
        let new = new["access_token"].as_str().unwrap();
        assert_eq!(stage.fleet.introspect(&stage.gateway, new)["active"], true);
        let node = stage.fleet.node.url();
        let line = match end {
            "client" => ["client", "revoke", stage.client.as_str()].to_vec(),
            _ => ["resource", "delete", "--uri", node.as_str()].to_vec(),
        };
        assert!(
            stage
                .fleet
                .server
                .command(&line)
                .output()
                .unwrap()
                .status
                .success()
        );
        assert_eq!(
            stage.fleet.introspect(&stage.gateway, new)["active"],
            false,
            "{end}"
        );
        refused_400(&exchange(), "invalid_request");
    }
}
