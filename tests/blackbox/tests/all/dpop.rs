//! DPOP-01 … DPOP-36 at the server: a proof at the token endpoint binds what is issued, and is good once.

use blackbox::answers::{granted, json, oauth_error, refused_400};
use blackbox::dpop::{Holder, with_proofs};
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both, forge};
use serde_json::{Value, json as value};
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{Answer, Request};

const PLACE: &str = "/oauth/token";

/// Asks for a token of the client's own with these proofs.
fn ask(fleet: &Fleet, client: &Credentials, proofs: &[&str]) -> Answer {
    let form = [("grant_type", "client_credentials")];
    let request = Request::post(&fleet.at(PLACE)).unwrap();
    let request = request.basic(&client.id, &client.secret).form(&form);
    let answer = with_proofs(request, proofs).send().unwrap();
    kept(fleet, answer)
}

/// A public client's request with these proofs.
fn ask_bare(fleet: &Fleet, form: &[(&str, &str)], proofs: &[&str]) -> Answer {
    let request = Request::post(&fleet.at(PLACE)).unwrap().form(form);
    kept(fleet, with_proofs(request, proofs).send().unwrap())
}

/// No log may contain the tokens of an answer.
fn kept(fleet: &Fleet, answer: Answer) -> Answer {
    let body = answer.json().unwrap_or_default();
    for name in ["access_token", "refresh_token"] {
        if let Some(token) = body[name].as_str() {
            fleet.remember(token);
        }
    }
    answer
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
}

both!(dpop_33_35_a_proof_binds_the_token);
fn dpop_33_35_a_proof_binds_the_token(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for holder in [Holder::fresh(), Holder::ed25519()] {
        let bound = granted(&ask(&fleet, &client, &[&holder.proof("POST", &fleet.at(PLACE))]));
        assert_eq!(bound["token_type"], "DPoP");
        let token = text(&bound, "access_token");
        assert_eq!(forge::part(token, 1)["cnf"]["jkt"], holder.thumbprint());
        let told = fleet.introspect(&client, token);
        assert_eq!(
            (&told["active"], &told["token_type"]),
            (&value!(true), &value!("DPoP"))
        );
        assert_eq!(told["cnf"]["jkt"], holder.thumbprint());
        // MCP-31: the node takes it with a proof of its own, and in no other way.
        assert_eq!(holder.call(&fleet.node.url(), token).status, 200);
        assert_eq!(fleet.call(token).status, 401);
    }
    // Without a proof, the same client gets a bearer token.
    let free = granted(&ask(&fleet, &client, &[]));
    assert_eq!(free["token_type"], "Bearer");
    assert!(forge::part(text(&free, "access_token"), 1).get("cnf").is_none());
    assert_eq!(fleet.call(text(&free, "access_token")).status, 200);
}

both!(dpop_01_to_17_a_proof_that_is_not_good_gets_no_token);
fn dpop_01_to_17_a_proof_that_is_not_good_gets_no_token(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let holder = Holder::fresh();
    let url = fleet.at(PLACE);
    let good = || holder.proof("POST", &url);
    let spoil = |change: &dyn Fn(&mut Value, &mut Value)| holder.spoilt("POST", &url, change);
    let claim = |name: &str, bad: Value| spoil(&|_, claims| claims[name] = bad.clone());
    let header = |name: &str, bad: Value| spoil(&|header, _| header[name] = bad.clone());
    let without = |name: &str| {
        spoil(&|header, claims| {
            header.as_object_mut().unwrap().remove(name);
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let now = forge::now();
    let mut bad: Vec<(&str, String)> = ["typ", "alg", "jwk", "jti", "htm", "htu", "iat"]
        .iter()
        .map(|name| ("DPOP-03", without(name)))
        .collect();
    bad.extend([
        ("DPOP-01", format!("{},{}", good(), good())),
        ("DPOP-02", "nonsense".into()),
        ("DPOP-04", header("typ", value!("JWT"))),
        ("DPOP-05 none", header("alg", value!("none"))),
        ("DPOP-05 HS256", header("alg", value!("HS256"))),
        ("DPOP-05 RS256", header("alg", value!("RS256"))),
        ("DPOP-06", header("jwk", Holder::fresh().jwk())),
        ("DPOP-07", spoil(&|header, _| header["jwk"]["d"] = value!("AAAA"))),
        ("DPOP-08", claim("htm", value!("post"))),
        ("DPOP-09 path", claim("htu", value!(fleet.at("/oauth/par")))),
        (
            "DPOP-09 host",
            claim("htu", value!(url.replace("localhost", "127.0.0.1"))),
        ),
        ("DPOP-12", claim("htu", value!([url]))),
        ("DPOP-14 old", claim("iat", value!(now - 3600))),
        ("DPOP-14 new", claim("iat", value!(now + 3600))),
        ("DPOP-16 huge", claim("iat", value!(1e300))),
        ("DPOP-16 text", claim("iat", value!(now.to_string()))),
        ("DPOP-16 negative", claim("iat", value!(-1))),
        ("DPOP-17", claim("exp", value!(now - 60))),
    ]);
    for (id, proof) in &bad {
        let answer = ask(&fleet, &client, &[proof]);
        assert_eq!(json(&answer)["error"], "invalid_dpop_proof", "{id}: {answer}");
        oauth_error(&answer, 400, "invalid_dpop_proof");
        // DPOP-36
        assert_eq!(
            granted(&ask(&fleet, &client, &[&good()]))["token_type"],
            "DPoP",
            "{id}"
        );
    }
    refused_400(&ask(&fleet, &client, &[&good(), &good()]), "invalid_dpop_proof");
    // DPOP-10, 11, 15, 31: what is only unusual.
    let unusual = [
        claim("htu", value!(format!("{url}?a=b#c"))),
        claim("htu", value!(url.replace("http://localhost", "HTTP://LOCALHOST"))),
        claim("iat", value!(now - 10)),
        claim("iat", value!(now + 10)),
        claim("exp", value!(now + 60)),
        claim("sub", value!("x")),
        header("kid", value!("x")),
        header("typ", value!("application/dpop+jwt")),
    ];
    for proof in &unusual {
        granted(&ask(&fleet, &client, &[proof]));
    }
    // The reasons are in the log, and none of the proofs.
    let logs = fleet.logs();
    for reason in [
        "htm is another method",
        "iat lies ahead",
        "there are two DPoP headers",
    ] {
        assert!(logs.contains(reason), "{reason}");
    }
    assert!(bad.iter().all(|(_, proof)| !logs.contains(proof.as_str())));
}

both!(dpop_18_20_34_a_proof_is_good_once);
fn dpop_18_20_34_a_proof_is_good_once(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let (holder, other) = (Holder::fresh(), Holder::fresh());
    let named = |holder: &Holder, url: &str| {
        holder.spoilt("POST", url, |_, claims| claims["jti"] = value!("one-name"))
    };
    let proof = named(&holder, &fleet.at(PLACE));
    granted(&ask(&fleet, &client, &[&proof]));
    refused_400(&ask(&fleet, &client, &[&proof]), "invalid_dpop_proof");
    // Signed once more, it is still the same proof.
    refused_400(
        &ask(&fleet, &client, &[&named(&holder, &fleet.at(PLACE))]),
        "invalid_dpop_proof",
    );
    let respelt = named(&holder, &format!("{}?x", fleet.at(PLACE)));
    refused_400(&ask(&fleet, &client, &[&respelt]), "invalid_dpop_proof");
    assert!(fleet.logs().contains("the proof was used before"));
    // DPOP-20: another key may choose the same name.
    granted(&ask(&fleet, &client, &[&named(&other, &fleet.at(PLACE))]));
    // The other address of the endpoint is another address.
    let elsewhere = named(&holder, &fleet.at("/mcp/auth/token"));
    refused_400(&ask(&fleet, &client, &[&elsewhere]), "invalid_dpop_proof");
    let request = Request::post(&fleet.at("/mcp/auth/token")).unwrap();
    let request = request
        .basic(&client.id, &client.secret)
        .form(&[("grant_type", "client_credentials")]);
    let answer = with_proofs(request, &[&elsewhere]).send().unwrap();
    assert_eq!(granted(&kept(&fleet, answer))["token_type"], "DPoP");
}

both!(code_13_a_code_that_is_bound_to_a_key_needs_its_proof);
fn code_13_a_code_that_is_bound_to_a_key_needs_its_proof(db: Db) {
    let fleet = Fleet::shared(db);
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let (holder, thief) = (Holder::fresh(), Holder::fresh());
    let mut person = fleet.person();
    let pkce = Pkce::fresh();
    let jkt = holder.thumbprint();
    let more = [("dpop_jkt", jkt.as_str())];
    let code = fleet
        .allowed(&mut person, &username, &client_id, (&pkce, &more))
        .code();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client_id),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    let proof = |holder: &Holder| holder.proof("POST", &fleet.at(PLACE));
    refused_400(&ask_bare(&fleet, &form, &[]), "invalid_dpop_proof");
    refused_400(&ask_bare(&fleet, &form, &[&proof(&thief)]), "invalid_grant");
    assert!(fleet.logs().contains("another key than dpop_jkt"));
    let tokens = granted(&ask_bare(&fleet, &form, &[&proof(&holder)]));
    assert_eq!(forge::part(text(&tokens, "access_token"), 1)["cnf"]["jkt"], jkt);
    // A thief with code and verifier, but without the key, cannot end what came of it.
    refused_400(&ask_bare(&fleet, &form, &[]), "invalid_dpop_proof");
    refused_400(&ask_bare(&fleet, &form, &[&proof(&thief)]), "invalid_grant");
    assert_eq!(
        holder
            .call(&fleet.node.url(), text(&tokens, "access_token"))
            .status,
        200
    );
    // With the key it is a replay (CODE-01).
    refused_400(&ask_bare(&fleet, &form, &[&proof(&holder)]), "invalid_grant");
    // What is no thumbprint is refused before anybody allows anything.
    let odd = fleet.authorization_url(&client_id, &Pkce::fresh(), &[("dpop_jkt", "short")]);
    let redirect = person.open(&odd).redirect();
    assert_eq!(redirect.param("error").as_deref(), Some("invalid_request"));
}

/// A person's tokens for a public client, redeemed with a proof.
fn bound_tokens(fleet: &Fleet, holder: &Holder) -> (Value, String) {
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let pkce = Pkce::fresh();
    let more = [("scope", "openid mcp:read mcp:call")];
    let redirect = fleet.allowed(&mut fleet.person(), &username, &client_id, (&pkce, &more));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client_id),
        ("code", &redirect.code()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    let tokens = granted(&ask_bare(
        fleet,
        &form,
        &[&holder.proof("POST", &fleet.at(PLACE))],
    ));
    (tokens, client_id)
}

both!(rfc_9449_5_refresh_tokens_of_public_clients_are_bound);
fn rfc_9449_5_refresh_tokens_of_public_clients_are_bound(db: Db) {
    let fleet = Fleet::shared(db);
    let (holder, thief) = (Holder::fresh(), Holder::fresh());
    let (tokens, client_id) = bound_tokens(&fleet, &holder);
    let refresh = |token: &str, proofs: &[&str]| {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &client_id),
            ("refresh_token", token),
        ];
        ask_bare(&fleet, &form, proofs)
    };
    let proof = |holder: &Holder| holder.proof("POST", &fleet.at(PLACE));
    let first = text(&tokens, "refresh_token");
    refused_400(&refresh(first, &[]), "invalid_dpop_proof");
    refused_400(&refresh(first, &[&proof(&thief)]), "invalid_grant");
    assert!(fleet.logs().contains("the refresh token is bound to another key"));
    let second = granted(&refresh(first, &[&proof(&holder)]));
    assert_eq!(second["token_type"], "DPoP");
    // RT-05: the answer was lost; the client asks again, with a new proof.
    let again = granted(&refresh(first, &[&proof(&holder)]));
    assert_eq!(again["refresh_token"], second["refresh_token"]);
    let third = granted(&refresh(text(&second, "refresh_token"), &[&proof(&holder)]));
    // Whoever stole an old one without the key cannot even end the family.
    refused_400(&refresh(first, &[&proof(&thief)]), "invalid_grant");
    let fourth = granted(&refresh(text(&third, "refresh_token"), &[&proof(&holder)]));
    assert_eq!(
        holder
            .call(&fleet.node.url(), text(&fourth, "access_token"))
            .status,
        200
    );
}

both!(rfc_9449_5_a_client_that_authenticates_may_take_another_key);
fn rfc_9449_5_a_client_that_authenticates_may_take_another_key(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--redirect-uri", CALLBACK]);
    let username = fleet.person_account();
    let pkce = Pkce::fresh();
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client.id, (&pkce, &[]))
        .code();
    let post = |form: &[(&str, &str)], proofs: &[&str]| {
        let request = Request::post(&fleet.at(PLACE)).unwrap();
        let request = request.basic(&client.id, &client.secret).form(form);
        kept(&fleet, with_proofs(request, proofs).send().unwrap())
    };
    let redemption = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    let proof = || Holder::fresh().proof("POST", &fleet.at(PLACE));
    let tokens = granted(&post(&redemption, &[&proof()]));
    assert_eq!(tokens["token_type"], "DPoP");
    let refresh = |token: &str, proofs: &[&str]| {
        granted(&post(
            &[("grant_type", "refresh_token"), ("refresh_token", token)],
            proofs,
        ))
    };
    let renewed = refresh(text(&tokens, "refresh_token"), &[&proof()]);
    assert_eq!(renewed["token_type"], "DPoP");
    assert_eq!(
        refresh(text(&renewed, "refresh_token"), &[])["token_type"],
        "Bearer"
    );
}

both!(dpop_25_userinfo_takes_a_bound_token_with_its_proof_only);
fn dpop_25_userinfo_takes_a_bound_token_with_its_proof_only(db: Db) {
    let fleet = Fleet::shared(db);
    let holder = Holder::fresh();
    let (tokens, _) = bound_tokens(&fleet, &holder);
    let token = text(&tokens, "access_token");
    let url = fleet.at("/oauth/userinfo");
    let ask = |scheme: &str, proofs: &[&str]| {
        let request = Request::new("GET", &url)
            .unwrap()
            .header("Authorization", &format!("{scheme} {token}"));
        with_proofs(request, proofs).send().unwrap()
    };
    let refused = |answer: &Answer, scheme: &str, code: &str| {
        oauth_error(answer, 401, code);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with(&format!("{scheme} error=\"{code}\"")),
            "{challenge}"
        );
    };
    let proof = || holder.proof_for("GET", &url, token);
    refused(&ask("Bearer", &[]), "Bearer", "invalid_token");
    refused(&ask("Bearer", &[&proof()]), "Bearer", "invalid_token");
    refused(&ask("DPoP", &[]), "DPoP", "invalid_dpop_proof");
    refused(
        &ask("DPoP", &[&holder.proof("GET", &url)]),
        "DPoP",
        "invalid_dpop_proof",
    );
    let foreign = Holder::fresh().proof_for("GET", &url, token);
    refused(&ask("DPoP", &[&foreign]), "DPoP", "invalid_token");
    let once = proof();
    assert!(granted(&ask("DPoP", &[&once]))["sub"].is_string());
    refused(&ask("DPoP", &[&once]), "DPoP", "invalid_dpop_proof");
    assert!(granted(&ask("dpop", &[&proof()]))["sub"].is_string());
}

both!(dpop_28_29_30_nonces_survive_a_restart);
fn dpop_28_29_30_nonces_survive_a_restart(db: Db) {
    let server = format!("[tokens]\ndpop_nonce = \"required\"\n{UNLIMITED_SERVER}");
    let wishes = Wishes {
        server: Some(server),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client = fleet.client(&[]);
    let holder = Holder::fresh();
    let url = fleet.at(PLACE);
    let with = |nonce: &str| holder.spoilt("POST", &url, |_, claims| claims["nonce"] = value!(nonce));
    let nonce_of = |answer: &Answer| answer.header("dpop-nonce").unwrap_or_default().to_owned();
    let asked = ask(&fleet, &client, &[&holder.proof("POST", &url)]);
    refused_400(&asked, "use_dpop_nonce");
    let exposed = asked.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("DPoP-Nonce"), "{exposed}");
    refused_400(&ask(&fleet, &client, &[&with("forged")]), "use_dpop_nonce");
    let nonce = nonce_of(&asked);
    assert!(!nonce.is_empty());
    let answer = ask(&fleet, &client, &[&with(&nonce)]);
    assert_eq!(granted(&answer)["token_type"], "DPoP");
    assert!(
        !nonce_of(&answer).is_empty(),
        "the next nonce comes with the answer"
    );
    // Whoever shows no proof needs no nonce.
    assert_eq!(granted(&ask(&fleet, &client, &[]))["token_type"], "Bearer");
    fleet.restart_server();
    granted(&ask(&fleet, &client, &[&with(&nonce)]));
    // A proof with a nonce is good once, too.
    let once = with(&nonce);
    granted(&ask(&fleet, &client, &[&once]));
    refused_400(&ask(&fleet, &client, &[&once]), "invalid_dpop_proof");
}

both!(meta_02_the_advertised_algorithms_are_those_that_work);
fn meta_02_the_advertised_algorithms_are_those_that_work(db: Db) {
    let fleet = Fleet::shared(db);
    let metadata = granted(&xtask::http::get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    let listed: Vec<&str> = metadata["dpop_signing_alg_values_supported"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        listed.contains(&"ES256") && listed.contains(&"EdDSA"),
        "{listed:?}"
    );
    assert!(
        listed
            .iter()
            .all(|name| !name.starts_with("HS") && *name != "none"),
        "{listed:?}"
    );
}

both!(dpop_a_device_is_bound_to_the_key_that_it_polls_with);
fn dpop_a_device_is_bound_to_the_key_that_it_polls_with(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fleet.node.url();
    let line = [
        "--public",
        "--grants",
        "device_code,refresh_token",
        "--scopes",
        "mcp:read mcp:call",
        "--resource",
        &resource,
    ];
    let client_id = fleet
        .server
        .create_public_client(&fleet.fresh_name(), &line)
        .unwrap();
    let begun = granted(&fleet.post_bare("/oauth/device_authorization", &[("client_id", &client_id)]));
    let username = fleet.person_account();
    let mut person = fleet.person();
    person.sign_in(&username, PASSWORD);
    let page = person.page("/device");
    let page = person
        .submit(
            &page,
            &page.form("/device"),
            &[("user_code", text(&begun, "user_code"))],
        )
        .page();
    let done = person
        .submit(&page, &page.form("/device/decision"), &[("decision", "allow")])
        .page();
    assert_eq!(done.answer.status, 200, "{}", done.answer);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", &client_id),
        ("device_code", text(&begun, "device_code")),
    ];
    let holder = Holder::ed25519();
    let proof = || holder.proof("POST", &fleet.at(PLACE));
    let tokens = granted(&ask_bare(&fleet, &form, &[&proof()]));
    assert_eq!(tokens["token_type"], "DPoP");
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", &client_id),
        ("refresh_token", text(&tokens, "refresh_token")),
    ];
    refused_400(&ask_bare(&fleet, &refresh, &[]), "invalid_dpop_proof");
    granted(&ask_bare(&fleet, &refresh, &[&proof()]));
}

both!(dpop_33_a_client_that_registered_for_it_gets_no_bearer_token);
fn dpop_33_a_client_that_registered_for_it_gets_no_bearer_token(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--dpop-bound"]);
    refused_400(&ask(&fleet, &client, &[]), "invalid_dpop_proof");
    assert!(fleet.logs().contains("registered with dpop_bound_access_tokens"));
    let proof = Holder::fresh().proof("POST", &fleet.at(PLACE));
    assert_eq!(granted(&ask(&fleet, &client, &[&proof]))["token_type"], "DPoP");
}

both!(par_11_dpop_34_a_proof_with_a_pushed_request_binds_its_code);
fn par_11_dpop_34_a_proof_with_a_pushed_request_binds_its_code(db: Db) {
    let fleet = Fleet::shared(db);
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let (holder, thief) = (Holder::fresh(), Holder::fresh());
    let (pkce, resource, url) = (Pkce::fresh(), fleet.node.url(), fleet.at("/oauth/par"));
    let push = |more: &[(&str, &str)], proof: &str| {
        let usual = [
            ("response_type", "code"),
            ("client_id", &client_id),
            ("redirect_uri", CALLBACK),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        let request = Request::post(&url).unwrap().form(&[&usual[..], more].concat());
        with_proofs(request, &[proof]).send().unwrap()
    };
    let jkt = holder.thumbprint();
    let named = [("dpop_jkt", jkt.as_str())];
    refused_400(&push(&named, &thief.proof("POST", &url)), "invalid_dpop_proof");
    assert_eq!(push(&named, &holder.proof("POST", &url)).status, 201);
    let proof = holder.proof("POST", &url);
    let answer = push(&[], &proof);
    assert_eq!(answer.status, 201, "{answer}");
    let reference = json(&answer)["request_uri"].as_str().unwrap().to_owned();
    let more = [
        ("request_uri", reference.as_str()),
        ("response_type", ""),
        ("redirect_uri", ""),
        ("state", ""),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
        ("resource", ""),
    ];
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client_id, (&pkce, &more))
        .code();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client_id),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    // The proof of the pushed request is for another address.
    refused_400(&ask_bare(&fleet, &form, &[&proof]), "invalid_dpop_proof");
    let at_token = |holder: &Holder| holder.proof("POST", &fleet.at(PLACE));
    refused_400(&ask_bare(&fleet, &form, &[&at_token(&thief)]), "invalid_grant");
    granted(&ask_bare(&fleet, &form, &[&at_token(&holder)]));
}
