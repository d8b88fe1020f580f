use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use actix_web::test::{TestRequest, init_service};
use serde_json::{Value, json};
use wiremock::MockServer;

use super::*;
use crate::testing::{AUDIENCE, Forge, Holder};

async fn orders(caller: Admitted) -> String {
    format!("{} {}", caller.claims().subject(), caller.claims().scope())
}

async fn opened() -> (MockServer, Forge, Door) {
    let (server, forge) = Forge::published().await;
    let door = Door::open(AUDIENCE, &forge.issuer, &["orders:read", "orders:write"]).unwrap();
    (server, forge, door)
}

async fn send(door: &Door, request: TestRequest) -> ServiceResponse {
    let own = web::scope("/orders")
        .wrap(door.needs("orders:read").unwrap())
        .route("", web::get().to(orders));
    let app = App::new()
        .configure(|app| door.metadata(app))
        .service(own)
        .route("/open", web::get().to(orders));
    let app = init_service(app).await;
    match app.call(request.to_request()).await {
        Ok(answer) => answer.map_into_boxed_body(),
        Err(fault) => {
            let request = TestRequest::default().to_http_request();
            ServiceResponse::new(request, fault.error_response())
        }
    }
}

fn with(token: &str) -> TestRequest {
    TestRequest::get()
        .uri("/orders")
        .insert_header(("authorization", format!("Bearer {token}")))
}

fn challenge(answer: &ServiceResponse) -> String {
    let value = answer.headers().get(WWW_AUTHENTICATE).unwrap();
    value.to_str().unwrap().to_owned()
}

async fn text(answer: ServiceResponse) -> String {
    let bytes = to_bytes(answer.into_body()).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[actix_web::test]
async fn another_program_is_protected_as_the_node_is() {
    let (_server, forge, door) = opened().await;
    let now = now();
    let scoped = |scope: &str| forge.token_at(now, |claims| claims["scope"] = scope.into());

    let bare = send(&door, TestRequest::get().uri("/orders")).await;
    assert_eq!(bare.status(), 401);
    let metadata = "resource_metadata=\"http://localhost:8080/.well-known/oauth-protected-resource/mcp\"";
    assert!(challenge(&bare).starts_with(&format!("Bearer scope=\"orders:read\", {metadata}")));
    let elsewhere = forge.token_at(now, |claims| claims["aud"] = "https://other.example".into());
    let answer = send(&door, with(&elsewhere)).await;
    assert_eq!(answer.status(), 401);
    assert!(challenge(&answer).contains("error=\"invalid_token\""));
    let answer = send(&door, with(&scoped("orders:write"))).await;
    assert_eq!(answer.status(), 403);
    assert!(
        challenge(&answer).contains("error=\"insufficient_scope\"")
            && challenge(&answer).contains("orders:read")
    );
    for scope in ["orders:read", "orders:*"] {
        let answer = send(&door, with(&scoped(scope))).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(text(answer).await, format!("client:agent {scope}"));
    }
    // Where nobody stands before the endpoint, it has no caller to talk of.
    assert_eq!(send(&door, TestRequest::get().uri("/open")).await.status(), 500);
}

#[actix_web::test]
async fn its_metadata_leads_to_the_authorization_server() {
    let (_server, forge, door) = opened().await;
    for place in ["", "/mcp"] {
        let uri = format!("/.well-known/oauth-protected-resource{place}");
        let answer = send(&door, TestRequest::get().uri(&uri)).await;
        assert_eq!(answer.status(), 200, "{uri}");
        assert!(answer.headers().contains_key(CACHE_CONTROL));
        let document: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(document["resource"], AUDIENCE);
        assert_eq!(document["authorization_servers"], json!([forge.issuer]));
        assert_eq!(
            document["scopes_supported"],
            json!(["orders:read", "orders:write"])
        );
    }
}

#[actix_web::test]
async fn a_bound_token_needs_its_proof_here_too() {
    let (_server, forge, door) = opened().await;
    let (holder, now) = (Holder::new(1), now());
    let token = forge.token_at(now, |claims| {
        claims["cnf"] = holder.confirmation();
        claims["scope"] = "orders:read".into();
    });
    assert_eq!(send(&door, with(&token)).await.status(), 401);
    let proof = holder.proof(&token, "a", |claims| {
        claims["htm"] = json!("GET");
        claims["htu"] = json!("http://localhost:8080/orders");
        claims["iat"] = json!(now.0);
    });
    let shown = || {
        TestRequest::get()
            .uri("/orders")
            .insert_header(("authorization", format!("DPoP {token}")))
            .insert_header(("dpop", proof.clone()))
    };
    assert_eq!(send(&door, shown()).await.status(), 200);
    let again = send(&door, shown()).await;
    assert_eq!(again.status(), 401);
    assert!(challenge(&again).starts_with("DPoP error=\"invalid_dpop_proof\""));
}

#[test]
fn what_is_no_address_makes_no_door() {
    for (resource, issuer) in [
        ("orders", "https://as.example"),
        ("https://shop.example/#x", "https://as.example"),
        ("https://shop.example", "http://as.example"),
        ("https://shop.example\"\n[x]\ny=\"", "https://as.example"),
    ] {
        assert!(Door::open(resource, issuer, &[]).is_err(), "{resource} {issuer}");
    }
    let door = Door::open("https://shop.example", "https://as.example", &[]).unwrap();
    assert!(door.needs("a  b").is_err());
}
