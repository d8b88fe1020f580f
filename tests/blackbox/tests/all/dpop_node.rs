//! DPOP-01 … DPOP-36, MCP-31 at a node: a token that is bound to a key is worth nothing without its proof.

use blackbox::answers::{granted, refused_401};
use blackbox::dpop::{Holder, ath, call, with_proofs};
use blackbox::forge;
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};
use xtask::http::{Answer, Request};
use xtask::journey::parameter;

/// A token of the node's issuer that is bound to the holder's key.
fn bound(node: &LoneNode, holder: &Holder) -> String {
    let cnf = json!({"jkt": holder.thumbprint()});
    node.ed.token(&forge::with(&node.claims(), "cnf", cnf))
}

/// 401 with one challenge of this scheme and error.
#[track_caller]
fn refused(answer: &Answer, scheme: &str, error: &str) {
    assert_eq!(answer.status, 401, "{answer}");
    let all: Vec<&str> = answer.all("www-authenticate").collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].starts_with(&format!("{scheme} error=\"{error}\"")),
        "{}",
        all[0]
    );
    assert!(parameter(all[0], "algs").is_some(), "{}", all[0]);
    assert!(parameter(all[0], "resource_metadata").is_some(), "{}", all[0]);
}

#[test]
fn dpop_01_to_24_a_call_needs_a_good_proof() {
    let node = LoneNode::shared();
    let url = node.node.url();
    for holder in [Holder::fresh(), Holder::ed25519()] {
        let token = bound(&node, &holder);
        let header = format!("DPoP {token}");
        let good = || holder.proof_for("POST", &url, &token);
        let spoil = |change: &dyn Fn(&mut Value, &mut Value)| {
            holder.spoilt("POST", &url, |header, claims| {
                claims["ath"] = json!(ath(&token));
                change(header, claims);
            })
        };
        let claim = |name: &str, bad: Value| spoil(&|_, claims| claims[name] = bad.clone());
        let member = |name: &str, bad: Value| spoil(&|header, _| header[name] = bad.clone());
        let without = |name: &str| {
            spoil(&|header, claims| {
                header.as_object_mut().unwrap().remove(name);
                claims.as_object_mut().unwrap().remove(name);
            })
        };
        let now = forge::now();
        let mut bad: Vec<(&str, String)> = ["typ", "alg", "jwk", "jti", "htm", "htu", "iat", "ath"]
            .iter()
            .map(|name| ("DPOP-03", without(name)))
            .collect();
        bad.extend([
            ("DPOP-01", format!("{},{}", good(), good())),
            ("DPOP-02", "nonsense".into()),
            ("DPOP-04", member("typ", json!("JWT"))),
            ("DPOP-05 none", member("alg", json!("none"))),
            ("DPOP-05 HS256", member("alg", json!("HS256"))),
            ("DPOP-05 RS256", member("alg", json!("RS256"))),
            ("DPOP-06", member("jwk", Holder::fresh().jwk())),
            ("DPOP-07", spoil(&|header, _| header["jwk"]["d"] = json!("AAAA"))),
            ("DPOP-08", claim("htm", json!("PUT"))),
            ("DPOP-09", claim("htu", json!(format!("{url}/stream")))),
            ("DPOP-12", claim("htu", json!(1))),
            ("DPOP-14 old", claim("iat", json!(now - 3600))),
            ("DPOP-14 new", claim("iat", json!(now + 3600))),
            ("DPOP-16", claim("iat", json!(1e300))),
            ("DPOP-17", claim("exp", json!(now - 60))),
            ("DPOP-23", claim("ath", json!(ath("other")))),
        ]);
        for (id, proof) in &bad {
            let answer = call(&url, &header, &[proof]);
            assert_eq!(answer.status, 401, "{id}: {answer}");
            refused(&answer, "DPoP", "invalid_dpop_proof");
            // DPOP-36
            assert_eq!(call(&url, &header, &[&good()]).status, 200, "{id}");
        }
        refused(
            &call(&url, &header, &[&good(), &good()]),
            "DPoP",
            "invalid_dpop_proof",
        );
        // DPOP-27
        refused(&call(&url, &header, &[]), "DPoP", "invalid_dpop_proof");
        // DPOP-24
        let foreign = Holder::fresh().proof_for("POST", &url, &token);
        refused(&call(&url, &header, &[&foreign]), "DPoP", "invalid_token");
        // DPOP-10, 11, 15, 31
        for proof in [
            claim("htu", json!(format!("{url}?a=b#c"))),
            claim("htu", json!(url.replace("http://localhost", "HTTP://LOCALHOST"))),
            claim("iat", json!(now - 10)),
            claim("iat", json!(now + 10)),
            claim("sub", json!("x")),
        ] {
            assert_eq!(call(&url, &header, &[&proof]).status, 200);
        }
        assert_eq!(
            call(&url, &header.replace("DPoP", "dpop"), &[&good()]).status,
            200,
            "GEN-09"
        );
    }
    let log = node.log();
    for reason in [
        "htm is another method",
        "ath is of another access token",
        "iat lies ahead",
    ] {
        assert!(log.contains(reason), "{reason}");
    }
}

#[test]
fn dpop_18_20_a_proof_is_good_once() {
    let node = LoneNode::shared();
    let url = node.node.url();
    let (holder, other) = (Holder::fresh(), Holder::fresh());
    let (token, others) = (bound(&node, &holder), bound(&node, &other));
    let named = |holder: &Holder, token: &str| {
        holder.spoilt("POST", &url, |_, claims| {
            claims["jti"] = json!("one-name");
            claims["ath"] = json!(ath(token));
        })
    };
    let proof = named(&holder, &token);
    assert_eq!(call(&url, &format!("DPoP {token}"), &[&proof]).status, 200);
    refused(
        &call(&url, &format!("DPoP {token}"), &[&proof]),
        "DPoP",
        "invalid_dpop_proof",
    );
    // Signed once more, and for another token of the same key.
    let second = bound(&node, &holder);
    refused(
        &call(&url, &format!("DPoP {second}"), &[&named(&holder, &second)]),
        "DPoP",
        "invalid_dpop_proof",
    );
    assert!(node.log().contains("the proof was used before"));
    assert_eq!(
        call(&url, &format!("DPoP {others}"), &[&named(&other, &others)]).status,
        200
    );
}

#[test]
fn dpop_25_26_the_scheme_goes_with_the_token() {
    let node = LoneNode::shared();
    let url = node.node.url();
    let holder = Holder::fresh();
    let (bound, free) = (bound(&node, &holder), node.good_token());
    refused_401(&node.call(&bound), Some("invalid_token"));
    let proof = holder.proof_for("POST", &url, &bound);
    refused_401(
        &call(&url, &format!("Bearer {bound}"), &[&proof]),
        Some("invalid_token"),
    );
    let proof = holder.proof_for("POST", &url, &free);
    refused(
        &call(&url, &format!("DPoP {free}"), &[&proof]),
        "DPoP",
        "invalid_token",
    );
    assert_eq!(node.call(&free).status, 200);
    assert_eq!(holder.call(&url, &bound).status, 200);
}

#[test]
fn dpop_every_place_of_a_node_has_the_same_door() {
    let node = LoneNode::shared();
    let holder = Holder::fresh();
    let token = bound(&node, &holder);
    let at = |path: &str| format!("http://localhost:{}{path}", node.node.port);
    let send = |method: &str, url: &str, proofs: &[&str]| {
        let request = Request::new(method, url)
            .unwrap()
            .header("Authorization", &format!("DPoP {token}"))
            .json(&json!({"name": "get_status"}));
        with_proofs(request, proofs).send().unwrap()
    };
    for (method, path) in [
        ("POST", "/mcp/tools/call"),
        ("GET", "/mcp/resources/edge-hive%3A%2F%2Fstatus"),
    ] {
        let url = at(path);
        refused(&send(method, &url, &[]), "DPoP", "invalid_dpop_proof");
        let proof = holder.proof_for(method, &url, &token);
        // Made for one place, it opens no other.
        refused(
            &send("POST", &at("/mcp"), &[&proof]),
            "DPoP",
            "invalid_dpop_proof",
        );
        granted(&send(method, &url, &[&proof]));
    }
    // Escapes may be spelt in lower case.
    let respelt = holder.proof_for("GET", &at("/mcp/resources/edge-hive%3a%2f%2fstatus"), &token);
    granted(&send(
        "GET",
        &at("/mcp/resources/edge-hive%3A%2F%2Fstatus"),
        &[&respelt],
    ));
    refused(
        &send("GET", &at("/mcp/stream"), &[]),
        "DPoP",
        "invalid_dpop_proof",
    );
}

#[test]
fn jwt_39_40_a_binding_that_nobody_checks_is_refused() {
    let node = LoneNode::shared();
    let holder = Holder::fresh();
    let print = holder.thumbprint();
    for cnf in [
        json!({"jkt": print, "x5t#S256": print}),
        json!({"kid": "x"}),
        json!({"jwk": holder.jwk()}),
        json!({}),
        json!({"jkt": 7}),
    ] {
        let token = node.ed.token(&forge::with(&node.claims(), "cnf", cnf.clone()));
        assert_eq!(holder.call(&node.node.url(), &token).status, 401, "{cnf}");
        assert_eq!(node.call(&token).status, 401, "{cnf}");
    }
    assert_eq!(holder.call(&node.node.url(), &bound(&node, &holder)).status, 200);
}

#[test]
fn rfc_9728_2_a_node_may_take_bound_tokens_only() {
    let node = LoneNode::start("dpop = \"required\"\n");
    let url = node.node.url();
    let holder = Holder::fresh();
    let metadata = granted(&node.get("/.well-known/oauth-protected-resource"));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    assert!(metadata["dpop_signing_alg_values_supported"].is_array());
    let bare = Request::post(&url).unwrap().json(&json!({})).send().unwrap();
    let challenge = bare.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.starts_with("DPoP scope=") && !challenge.contains("Bearer"),
        "{challenge}"
    );
    let answer = node.call(&node.good_token());
    assert_eq!(answer.status, 401, "{answer}");
    assert!(node.log().contains("bound to no key"));
    assert_eq!(holder.call(&url, &bound(&node, &holder)).status, 200);
}
