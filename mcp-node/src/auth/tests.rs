use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use shared::access_token::Check;
use wiremock::MockServer;

use super::*;
use crate::config::NodeConfig;
use crate::testing::{Forge, NOW};

fn door(issuers: &[&str]) -> Door {
    let text: String = issuers
        .iter()
        .map(|url| format!("[[issuer]]\nurl = \"{url}\"\n"))
        .collect();
    let config = NodeConfig::from_text(&text).unwrap();
    let bindings = Bindings::new(config.resource.clone(), nonces(&config).unwrap());
    Door::new(Issuers::in_memory(&config).unwrap(), bindings)
}

async fn verdict(door: &Door, token: &str, now: UnixSeconds) -> Result<Arc<Caller>, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(
        AUTHORIZATION,
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap(),
    );
    let shown = Shown {
        headers: &headers,
        method: "POST",
        path: "/mcp",
        certificate: None,
    };
    door.authenticate(&shown, now).await
}

async fn failed_check(door: &Door, token: &str) -> Check {
    match verdict(door, token, NOW).await {
        Err(Refusal::Token(fault)) => fault.check,
        other => panic!("expected a refused token, got {other:?}"),
    }
}

#[tokio::test]
async fn a_good_token_is_verified_once_and_then_remembered() {
    let (server, forge) = Forge::published().await;
    let door = door(&[&forge.issuer]);
    let token = forge.token(|_| {});
    let first = verdict(&door, &token, NOW).await.unwrap();
    assert_eq!(
        (
            first.claims().client_id(),
            first.claims().scope().to_string().as_str()
        ),
        ("agent", "mcp:call mcp:read")
    );
    let second = verdict(&door, &token, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        2,
        "metadata and key set, once"
    );
}

#[tokio::test]
async fn a_remembered_token_still_expires() {
    let (_server, forge) = Forge::published().await;
    let door = door(&[&forge.issuer]);
    let token = forge.token(|_| {});
    let last_second = NOW + std::time::Duration::from_secs(300 + 59);
    verdict(&door, &token, NOW).await.unwrap();
    verdict(&door, &token, last_second).await.unwrap();
    let late = verdict(&door, &token, last_second + std::time::Duration::from_secs(1)).await;
    assert!(matches!(late, Err(Refusal::Token(fault)) if fault.check == Check::Times));
}

#[tokio::test]
async fn a_key_that_is_gone_ends_its_tokens() {
    let (server, old) = Forge::published().await;
    let door = door(&[&old.issuer]);
    let token = old.token(|_| {});
    verdict(&door, &token, NOW).await.unwrap();
    // The issuer drops the key; an unknown kid makes the node look again.
    server.reset().await;
    let new = Forge::with_key(&old.issuer, "key-2", [9; 32]);
    new.publish(&server).await;
    verdict(&door, &new.token(|_| {}), NOW).await.unwrap();
    assert_eq!(failed_check(&door, &token).await, Check::Key);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (_server, forge) = Forge::published().await;
    let door = door(&[&forge.issuer]);
    assert_eq!(failed_check(&door, "nonsense").await, Check::Structure);
    assert_eq!(
        failed_check(&door, &forge.token(|c| c["aud"] = "http://localhost:8080".into())).await,
        Check::Audience
    );
    assert_eq!(
        failed_check(&door, &forge.token(|c| c["exp"] = (NOW.0 - 60).into())).await,
        Check::Times
    );
    assert_eq!(
        failed_check(&door, &Forge::new("https://stranger.example").token(|_| {})).await,
        Check::Issuer
    );
    let imposter = Forge::with_key(&forge.issuer, "key-1", [8; 32]);
    assert_eq!(
        failed_check(&door, &imposter.token(|_| {})).await,
        Check::Signature
    );
    let unknown = Forge::with_key(&forge.issuer, "key-9", [8; 32]);
    assert_eq!(failed_check(&door, &unknown.token(|_| {})).await, Check::Key);
    verdict(&door, &forge.token(|_| {}), NOW).await.unwrap();
}

#[tokio::test]
async fn keys_belong_to_their_issuer() {
    let (_ours, ours) = Forge::published().await;
    let theirs_server = MockServer::start().await;
    let theirs = Forge::with_key(&theirs_server.uri(), "key-2", [9; 32]);
    theirs.publish(&theirs_server).await;
    let door = door(&[&ours.issuer, &theirs.issuer]);
    verdict(&door, &theirs.token(|_| {}), NOW).await.unwrap();
    // Signed by one trusted issuer in the name of the other.
    let crossed = theirs.token(|claims| claims["iss"] = ours.issuer.clone().into());
    assert_eq!(failed_check(&door, &crossed).await, Check::Key);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_not_the_callers_fault() {
    let forge = Forge::new("http://127.0.0.1:1");
    let door = door(&[&forge.issuer]);
    assert!(matches!(
        verdict(&door, &forge.token(|_| {}), NOW).await,
        Err(Refusal::Unavailable { .. })
    ));
    // A token that no key could make good is refused all the same.
    assert_eq!(failed_check(&door, "a.b.c").await, Check::Structure);
}
