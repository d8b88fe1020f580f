use actix_web::http::header::AUTHORIZATION;
use serde_json::json;
use shared::jose::sha256_base64url;

use super::*;
use crate::auth::{Door, nonces};
use crate::config::NodeConfig;
use crate::issuers::Issuers;
use crate::testing::{Forge, Holder, NOW};

#[test]
fn the_address_is_the_configured_one() {
    let target = |resource: &str, path: &str| {
        let bindings = Bindings::new(resource.parse().unwrap(), Nonces::new(b"k", false));
        bindings.target(path).as_str().to_owned()
    };
    for (resource, path, seen) in [
        ("https://n.example/mcp", "/mcp", "https://n.example/mcp"),
        (
            "https://n.example/mcp",
            "/mcp/stream",
            "https://n.example/mcp/stream",
        ),
        (
            "https://n.example/a/mcp/",
            "/mcp/stream",
            "https://n.example/a/mcp/stream",
        ),
        ("https://n.example/api", "/mcp", "https://n.example/api"),
        ("https://n.example/", "/mcp", "https://n.example/"),
        ("https://n.example/mcp", "/mcpx", "https://n.example/mcpx"),
    ] {
        assert_eq!(target(resource, path), seen);
    }
}

fn door(issuer: &str, more: &str) -> Door {
    let text = format!("{more}\n[[issuer]]\nurl = \"{issuer}\"\n");
    let config = NodeConfig::from_text(&text).unwrap();
    let bindings = Bindings::new(config.resource.clone(), nonces(&config).unwrap());
    Door::new(Issuers::in_memory(&config).unwrap(), bindings)
}

/// What the door says to these two headers: `ok`, or the word for metrics with the scheme of the answer.
async fn verdict(door: &Door, authorization: &str, proofs: &[&str]) -> String {
    verdict_on(door, None, authorization, proofs).await
}

/// As [`verdict`], on a connection with this certificate.
async fn verdict_on(door: &Door, certificate: Option<&[u8]>, authorization: &str, proofs: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    for proof in proofs {
        headers.append(PROOF, HeaderValue::from_str(proof).unwrap());
    }
    let shown = Shown {
        headers: &headers,
        method: "POST",
        path: "/mcp",
        certificate: certificate.and_then(|der| ClientCertificate::new(vec![der.to_vec().into()])),
    };
    match door.authenticate(&shown, NOW).await {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => {
            let scheme = match refusal {
                Refusal::BoundToken(_) | Refusal::Proof(_) => "DPoP",
                _ => "Bearer",
            };
            format!("{scheme} {}", refusal.reason())
        }
    }
}

#[tokio::test]
async fn dpop_18_23_24_27_a_bound_token_comes_with_its_proof_every_time() {
    let (_server, forge) = Forge::published().await;
    let door = door(&forge.issuer, "");
    let (holder, thief) = (Holder::new(1), Holder::new(2));
    let token = forge.token(|claims| claims["cnf"] = holder.confirmation());
    let header = format!("DPoP {token}");
    let proof = holder.proof(&token, "j-1", |_| {});
    assert_eq!(verdict(&door, &header, &[&proof]).await, "ok");
    // The token is remembered now, and its proof is asked for all the same.
    assert_eq!(verdict(&door, &header, &[]).await, "DPoP dpop_proof");
    assert_eq!(verdict(&door, &header, &[&proof]).await, "DPoP dpop_proof");
    let next = holder.proof(&token, "j-2", |_| {});
    assert_eq!(verdict(&door, &header, &[&next, &next]).await, "DPoP dpop_proof");
    // DPOP-24: another key, with the jti of a proof that was taken.
    let foreign = thief.proof(&token, "j-1", |_| {});
    assert_eq!(verdict(&door, &header, &[&foreign]).await, "DPoP binding");
    // DPOP-23: of another token, and of none.
    let other = holder.proof("other", "j-3", |_| {});
    assert_eq!(verdict(&door, &header, &[&other]).await, "DPoP dpop_proof");
    let none = holder.proof(&token, "j-3", |claims| {
        claims.as_object_mut().unwrap().remove("ath");
    });
    assert_eq!(verdict(&door, &header, &[&none]).await, "DPoP dpop_proof");
    for (name, value) in [("htm", "GET"), ("htu", "http://localhost:8080/mcp/stream")] {
        let elsewhere = holder.proof(&token, "j-3", |claims| claims[name] = value.into());
        assert_eq!(
            verdict(&door, &header, &[&elsewhere]).await,
            "DPoP dpop_proof",
            "{name}"
        );
    }
    // DPOP-36: none of them has used anything up.
    let unspoilt = holder.proof(&token, "j-3", |_| {});
    assert_eq!(verdict(&door, &header, &[&unspoilt]).await, "ok");
    assert_eq!(verdict(&door, &header, &[&next]).await, "ok");
    assert_eq!(verdict(&door, "DPoP nonsense", &[&next]).await, "DPoP structure");
}

#[tokio::test]
async fn dpop_25_26_the_scheme_goes_with_the_token() {
    let (_server, forge) = Forge::published().await;
    let door = door(&forge.issuer, "");
    let holder = Holder::new(1);
    let bound = forge.token(|claims| claims["cnf"] = holder.confirmation());
    let free = forge.token(|_| {});
    let proof = |token: &str, jti: &str| holder.proof(token, jti, |_| {});
    let as_bearer = format!("Bearer {bound}");
    assert_eq!(verdict(&door, &as_bearer, &[]).await, "Bearer binding");
    assert_eq!(
        verdict(&door, &as_bearer, &[&proof(&bound, "a")]).await,
        "Bearer binding"
    );
    let as_bound = format!("DPoP {free}");
    assert_eq!(verdict(&door, &as_bound, &[]).await, "DPoP binding");
    assert_eq!(
        verdict(&door, &as_bound, &[&proof(&free, "b")]).await,
        "DPoP binding"
    );
    assert_eq!(verdict(&door, &format!("Bearer {free}"), &[]).await, "ok");
    assert_eq!(
        verdict(&door, &format!("dpop {bound}"), &[&proof(&bound, "c")]).await,
        "ok"
    );
}

#[tokio::test]
async fn where_proofs_are_required_a_bearer_token_is_not_enough() {
    let (_server, forge) = Forge::published().await;
    let text = format!("[[issuer]]\nurl = \"{}\"\ndpop = \"required\"\n", forge.issuer);
    let config = NodeConfig::from_text(&text).unwrap();
    assert!(config.is_dpop_only());
    let bindings = Bindings::new(config.resource.clone(), nonces(&config).unwrap());
    let door = Door::new(Issuers::in_memory(&config).unwrap(), bindings);
    let holder = Holder::new(1);
    assert_eq!(
        verdict(&door, &format!("Bearer {}", forge.token(|_| {})), &[]).await,
        "Bearer binding"
    );
    let bound = forge.token(|claims| claims["cnf"] = holder.confirmation());
    let proof = holder.proof(&bound, "a", |_| {});
    assert_eq!(verdict(&door, &format!("DPoP {bound}"), &[&proof]).await, "ok");
    assert!(NodeConfig::from_text(&text.replace("required", "maybe")).is_err());
}

#[tokio::test]
async fn dpop_28_a_nonce_is_asked_for_where_it_is_required() {
    let (_server, forge) = Forge::published().await;
    let door = door(&forge.issuer, "[server]\ndpop_nonce = \"required\"");
    let holder = Holder::new(1);
    let token = forge.token(|claims| claims["cnf"] = holder.confirmation());
    let header = format!("DPoP {token}");
    let with = |nonce: &str, jti: &str| holder.proof(&token, jti, |claims| claims["nonce"] = nonce.into());
    let without = holder.proof(&token, "a", |_| {});
    assert_eq!(verdict(&door, &header, &[&without]).await, "DPoP dpop_nonce");
    assert_eq!(
        verdict(&door, &header, &[&with("forged", "b")]).await,
        "DPoP dpop_nonce"
    );
    let nonce = door.nonces().current(NOW);
    assert_eq!(verdict(&door, &header, &[&with(&nonce, "c")]).await, "ok");
    assert_eq!(
        verdict(&door, &header, &[&with(&nonce, "c")]).await,
        "DPoP dpop_proof"
    );
}

#[tokio::test]
async fn what_is_bound_to_something_else_too_is_refused() {
    let (_server, forge) = Forge::published().await;
    let door = door(&forge.issuer, "");
    let holder = Holder::new(1);
    let token = forge.token(|claims| {
        claims["cnf"] = holder.confirmation();
        claims["cnf"]["x5t#S256"] = "A".repeat(43).into();
    });
    let proof = holder.proof(&token, "a", |_| {});
    assert_eq!(
        verdict(&door, &format!("DPoP {token}"), &[&proof]).await,
        "DPoP binding"
    );
}

#[tokio::test]
async fn jwt_39_a_token_bound_to_a_certificate_needs_that_certificate() {
    let (_server, forge) = Forge::published().await;
    let door = door(&forge.issuer, "");
    let own: &[u8] = b"the certificate";
    let thumbprint = sha256_base64url(own);
    let token = forge.token(|claims| claims["cnf"] = json!({"x5t#S256": thumbprint}));
    let header = format!("Bearer {token}");
    assert_eq!(verdict_on(&door, Some(own), &header, &[]).await, "ok");
    // The token is remembered now, and its certificate is asked for all the same.
    assert_eq!(verdict_on(&door, None, &header, &[]).await, "Bearer binding");
    assert_eq!(
        verdict_on(&door, Some(b"another"), &header, &[]).await,
        "Bearer binding"
    );
    // A token that is bound to nothing is taken on any connection.
    let free = format!("Bearer {}", forge.token(|_| {}));
    assert_eq!(verdict_on(&door, Some(own), &free, &[]).await, "ok");
    // Bound to both, it needs both.
    let holder = Holder::new(1);
    let both = forge.token(|claims| {
        claims["cnf"] = holder.confirmation();
        claims["cnf"]["x5t#S256"] = json!(thumbprint);
    });
    let (header, proof) = (format!("DPoP {both}"), holder.proof(&both, "j-1", |_| {}));
    assert_ne!(verdict(&door, &header, &[&proof]).await, "ok");
    assert_ne!(verdict_on(&door, Some(own), &header, &[]).await, "ok");
    assert_eq!(verdict_on(&door, Some(own), &header, &[&proof]).await, "ok");
}
