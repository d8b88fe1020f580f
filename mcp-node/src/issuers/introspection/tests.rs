use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::access_token::Check;
use shared::jose::KeySet;
use shared::signed_jwt::SignedJwt;
use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::config::NodeConfig;
use crate::issuers::{Grounds, Issuers, NotVerified, Verified};
use crate::testing::{AUDIENCE, Forge, NOW};

/// An issuer that is asked, and a node's trust in it.
struct Asked {
    server: MockServer,
    issuers: Issuers,
    _folder: TempDir,
}

fn active() -> Value {
    json!({"active": true, "sub": "ada", "aud": AUDIENCE, "client_id": "agent", "exp": NOW.0 + 300, "scope": "mcp:read"})
}

fn answer(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

impl Asked {
    /// Answers always so; `more` is TOML of the `[[issuer]]` table.
    async fn answering(answer: ResponseTemplate, more: &str) -> Self {
        let server = MockServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s:cret%\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let proof = if more.contains("private_key_file") {
            String::new()
        } else {
            format!("client_secret_file = {secret:?}\n")
        };
        let text = format!(
            "[[issuer]]\nurl = \"{}\"\nkind = \"generic\"\nvalidation = \"introspection\"\nclient_id = \"node 1\"\n{proof}{more}\n",
            server.uri()
        );
        let config = NodeConfig::from_text(&text).unwrap();
        let metadata =
            json!({"issuer": server.uri(), "introspection_endpoint": format!("{}/ask", server.uri())});
        Mock::given(path("/.well-known/oauth-authorization-server"))
            .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
            .mount(&server)
            .await;
        let asked = Self {
            issuers: Issuers::in_memory(&config).unwrap(),
            server,
            _folder: folder,
        };
        asked.answer(answer).await;
        asked
    }

    async fn answer(&self, answer: ResponseTemplate) {
        Mock::given(method("POST"))
            .and(path("/ask"))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    async fn verify(&self, token: &str) -> Result<Verified, NotVerified> {
        self.issuers.verify(token, NOW).await
    }

    async fn refused(&self, token: &str) -> Check {
        match self.verify(token).await {
            Err(NotVerified::Refused(fault)) => fault.check,
            Err(NotVerified::Unavailable { .. }) => panic!("{token}: not available"),
            Ok(_) => panic!("{token} was taken"),
        }
    }

    async fn is_unavailable(&self, token: &str) -> bool {
        match self.verify(token).await {
            Err(NotVerified::Unavailable { retry_after }) => retry_after >= Duration::from_secs(1),
            _ => false,
        }
    }

    /// How the endpoint was asked.
    async fn questions(&self) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter()
            .filter(|request| request.url.path() == "/ask")
            .collect()
    }
}

fn form(request: &Request) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_with_the_nodes_own_secret() {
    let asked = Asked::answering(answer(&active()), "").await;
    let verified = asked.verify("opaque-1").await.unwrap();
    assert_eq!(
        (verified.claims.subject(), verified.claims.client_id()),
        ("ada", "agent")
    );
    assert_eq!(verified.claims.token_id(), name_of("opaque-1"));
    let questions = asked.questions().await;
    assert_eq!(
        form(&questions[0]),
        [
            ("token".to_owned(), "opaque-1".to_owned()),
            ("token_type_hint".to_owned(), "access_token".to_owned())
        ]
    );
    // RFC 6749 §2.3.1: both are form-encoded first.
    let basic = format!("Basic {}", STANDARD.encode("node+1:s%3Acret%25"));
    assert_eq!(
        questions[0]
            .headers
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap(),
        basic
    );
}

#[tokio::test]
async fn a_key_proves_who_asks_and_each_time_anew() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let file = folder.path().join("key.pem");
        let pem = rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
        std::fs::write(&file, &pem).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let asked = Asked::answering(answer(&active()), &format!("private_key_file = {file:?}")).await;
        asked.verify("opaque-1").await.unwrap();
        asked.verify("opaque-2").await.unwrap();
        let public = shared::jose::ClientKey::read(pem.as_bytes())
            .unwrap()
            .public_jwk();
        let set = KeySet::parse(json!({"keys": [public]}).to_string().as_bytes()).unwrap();
        let mut ids = Vec::new();
        for question in asked.questions().await {
            assert!(question.headers.get("authorization").is_none());
            let form = form(&question);
            assert_eq!(
                form[2].1,
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            let assertion = SignedJwt::parse(&form[3].1, 4096)
                .unwrap()
                .verify_with(&set)
                .unwrap();
            let claims = assertion.claims();
            assert_eq!(
                (&claims["iss"], &claims["sub"]),
                (&json!("node 1"), &json!("node 1"))
            );
            assert!(assertion.is_only_for(&asked.server.uri()));
            assert_eq!(claims["exp"], json!(NOW.0 + 60));
            ids.push(claims["jti"].clone());
        }
        assert!(ids.len() == 2 && ids[0] != ids[1]);
    }
}

#[tokio::test]
async fn equal_tokens_at_once_are_one_question() {
    let slow = answer(&active()).set_delay(Duration::from_millis(200));
    let asked = Asked::answering(slow, "").await;
    let all = join_all((0..50).map(|_| asked.verify("opaque"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(asked.questions().await.len(), 1);
    asked.verify("another").await.unwrap();
    assert_eq!(asked.questions().await.len(), 2);
}

#[tokio::test]
async fn a_refusal_is_remembered_and_is_the_tokens_fault() {
    let asked = Asked::answering(answer(&json!({"active": false})), "").await;
    for _ in 0..5 {
        assert_eq!(asked.refused("opaque").await, Check::Active);
    }
    assert_eq!(asked.questions().await.len(), 1);
    assert_eq!(asked.refused("another").await, Check::Active);
    assert_eq!(asked.questions().await.len(), 2);
}

#[tokio::test]
async fn what_is_said_of_the_token_is_checked() {
    for (name, odd, check) in [
        ("aud", json!("https://other/mcp"), Check::Audience),
        ("iss", json!("https://other"), Check::Issuer),
        ("exp", json!(NOW.0 - 61), Check::Times),
        ("token_type", json!("refresh_token"), Check::Type),
    ] {
        let mut said = active();
        said[name] = odd;
        let asked = Asked::answering(answer(&said), "").await;
        assert_eq!(asked.refused("opaque").await, check, "{name}");
    }
    let asked = Asked::answering(answer(&active()), "clients = [\"somebody\"]").await;
    assert_eq!(asked.refused("opaque").await, Check::Audience);
}

#[tokio::test]
async fn without_an_answer_nobody_is_refused_and_the_issuer_is_left_alone() {
    for odd in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(302).insert_header("location", "/other"),
        ResponseTemplate::new(401),
        answer(&json!({"active": "yes"})),
        answer(&json!([])),
        ResponseTemplate::new(200).set_body_string(r#"{"active":false}"#),
    ] {
        let asked = Asked::answering(odd, "").await;
        for n in 0..10 {
            assert!(asked.is_unavailable(&format!("opaque-{n}")).await);
        }
        assert_eq!(asked.questions().await.len(), 3, "then there is a pause");
        let condition = asked.issuers.iter().next().unwrap().condition();
        assert!(!condition.usable && condition.fault.is_some_and(|fault| !fault.contains("opaque")));
        assert!(!asked.issuers.iter().next().unwrap().is_ready().await);
    }
    // A server that refuses what it cannot read has not gone away.
    let asked = Asked::answering(ResponseTemplate::new(400), "").await;
    for n in 0..10 {
        assert!(asked.is_unavailable(&format!("opaque-{n}")).await);
    }
    assert_eq!(asked.questions().await.len(), 10);
}

#[tokio::test]
async fn it_is_asked_again_when_it_is_back() {
    let asked = Asked::answering(ResponseTemplate::new(500), "").await;
    for _ in 0..2 {
        assert!(asked.is_unavailable("opaque").await);
    }
    asked.server.reset().await;
    asked.answer(answer(&active())).await;
    // Its metadata are gone too: the address is asked for anew, and then the pause is not over yet.
    assert!(asked.is_unavailable("opaque").await);
    let known = Asked::answering(ResponseTemplate::new(500), "").await;
    let endpoint = format!("introspection_endpoint = \"{}/ask\"", known.server.uri());
    let asked = Asked::answering(answer(&active()), &endpoint).await;
    assert!(asked.is_unavailable("opaque").await);
    known.server.reset().await;
    known.answer(answer(&active())).await;
    asked.verify("opaque").await.unwrap();
    let issuer = asked.issuers.iter().next().unwrap();
    assert!(issuer.condition().usable && issuer.is_ready().await);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_shown_to_nobody() {
    let asked = Asked::answering(answer(&active()), "").await;
    let stranger = Forge::new("https://stranger.example");
    assert_eq!(asked.refused(&stranger.token(|_| {})).await, Check::Issuer);
    let odd = stranger.token(|claims| claims["iss"] = json!(7));
    assert_eq!(asked.refused(&odd).await, Check::Issuer);
    assert_eq!(asked.refused(&"x".repeat(9000)).await, Check::Size);
    assert!(asked.questions().await.is_empty());
    // Its own JWTs, and those that name nobody, are.
    let own = Forge::new(&asked.server.uri());
    asked.verify(&own.token(|_| {})).await.unwrap();
    let silent = own.token(|claims| {
        claims.as_object_mut().unwrap().remove("iss");
    });
    asked.verify(&silent).await.unwrap();
    assert_eq!(asked.questions().await.len(), 2);
}

#[tokio::test]
async fn opaque_tokens_go_where_the_operator_says() {
    let asked = Asked::answering(answer(&active()), "opaque_tokens = false").await;
    assert_eq!(asked.refused("opaque").await, Check::Structure);
    let own = Forge::new(&asked.server.uri());
    asked.verify(&own.token(|_| {})).await.unwrap();
    assert_eq!(asked.questions().await.len(), 1);
}

#[tokio::test]
async fn an_endpoint_elsewhere_gets_neither_secret_nor_token() {
    let elsewhere = MockServer::start().await;
    let asked = Asked::answering(answer(&active()), "").await;
    asked.server.reset().await;
    let other_host = elsewhere.uri().replace("127.0.0.1", "localhost");
    let metadata =
        json!({"issuer": asked.server.uri(), "introspection_endpoint": format!("{other_host}/ask")});
    Mock::given(path("/.well-known/oauth-authorization-server"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&asked.server)
        .await;
    assert!(asked.is_unavailable("opaque").await);
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
    let fault = asked.issuers.iter().next().unwrap().condition().fault.unwrap();
    assert!(fault.contains("introspection_endpoint"), "{fault}");
}

#[tokio::test]
async fn an_answer_counts_for_its_time_and_not_beyond_the_tokens() {
    let standing = |exp: i64, ttl: &'static str| async move {
        let mut said = active();
        said["exp"] = json!(exp);
        let asked = Asked::answering(answer(&said), &format!("introspection_ttl = \"{ttl}\"")).await;
        match asked.verify("opaque").await.unwrap().grounds {
            Grounds::Answer(standing) => standing,
            other => panic!("{other:?}"),
        }
    };
    let counts_for = |standing: &Standing, seconds: u64| {
        let at = |offset: f64| standing.given_at + Duration::from_secs_f64(seconds as f64 + offset);
        standing.counts(at(-0.5)) && !standing.counts(at(0.5))
    };
    assert!(counts_for(&*standing(NOW.0 + 300, "30s").await, 30));
    assert!(counts_for(&*standing(NOW.0 + 7, "30s").await, 7));
    // Within the leeway, it is taken once and not remembered.
    let late = standing(NOW.0 - 30, "30s").await;
    assert!(!late.counts(late.given_at));
    let never = standing(NOW.0 + 300, "0s").await;
    assert!(!never.counts(never.given_at));
}

#[tokio::test]
async fn who_came_in_stays_only_while_the_issuer_says_the_same() {
    let change = |name: &str, value: Value| {
        let mut said = active();
        said[name] = value;
        said
    };
    let asked = Asked::answering(answer(&active()), "introspection_ttl = \"0s\"").await;
    let Verified { issuer, grounds, .. } = asked.verify("opaque").await.unwrap();
    asked.server.reset().await;
    asked
        .answer(answer(&change("scope", json!("mcp:call mcp:read"))))
        .await;
    while asked.questions().await.len() < 4 {
        assert!(asked.issuers.may_stay(issuer, &grounds, NOW));
        tokio::task::yield_now().await;
    }
    for (worse, why) in [
        (change("aud", json!("https://other.example")), "aud"),
        (change("iss", json!("https://other.example")), "iss"),
        (change("exp", json!(NOW.0 - 300)), "exp"),
        (change("scope", json!("")), "scope"),
        (change("sub", json!("bob")), "sub"),
        (change("cnf", json!({"jkt": "A".repeat(43)})), "cnf"),
    ] {
        let asked = Asked::answering(answer(&active()), "introspection_ttl = \"0s\"").await;
        let Verified { issuer, grounds, .. } = asked.verify("opaque").await.unwrap();
        asked.server.reset().await;
        asked.answer(answer(&worse)).await;
        let ended = async {
            while asked.issuers.may_stay(issuer, &grounds, NOW) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .unwrap_or_else(|_| panic!("{why}"));
        // It was asked, and what it said was not good enough.
        assert_eq!(asked.questions().await.len(), 1, "{why}");
    }
}

#[tokio::test]
async fn who_came_in_stays_until_the_issuer_says_no() {
    let asked = Asked::answering(answer(&active()), "introspection_ttl = \"0s\"").await;
    let Verified { issuer, grounds, .. } = asked.verify("opaque").await.unwrap();
    assert!(!asked.issuers.still_has(issuer, &grounds, NOW));
    // The answer is asked for again behind their back.
    let renewed = async |questions: usize| {
        while asked.questions().await.len() < questions {
            tokio::task::yield_now().await;
        }
    };
    assert!(asked.issuers.may_stay(issuer, &grounds, NOW));
    renewed(2).await;
    asked.server.reset().await;
    asked.answer(answer(&json!({"active": false}))).await;
    let ended = async {
        while asked.issuers.may_stay(issuer, &grounds, NOW) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();
}
