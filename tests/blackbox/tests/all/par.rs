//! PAR-01 … PAR-16, AZ-37, AZ-38, RFC 9126: a request that is left with the server before anybody is sent there.

use blackbox::answers::{granted, json, not_stored, oauth_error, refused_400, refused_client, retry_after};
use blackbox::dpop::{Holder, with_proofs};
use blackbox::fleet::Wishes;
use blackbox::forge::{Key, with};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Outcome, Page, Person, Redirect};
use blackbox::{Db, Fleet, assertion, both};
use serde_json::Value;
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{Answer, Request, form_encode};

const PAR: &str = "/oauth/par";

/// The parameters of a request; `more` goes over the usual ones, and an empty value leaves one out.
fn request(fleet: &Fleet, client_id: &str, pkce: &Pkce, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let url = fleet.authorization_url(client_id, pkce, more);
    blackbox::location::query(&url)
}

fn pushed(fleet: &Fleet, client_id: &str, pkce: &Pkce, more: &[(&str, &str)]) -> Answer {
    let request = request(fleet, client_id, pkce, more);
    let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    fleet.post_bare(PAR, &form)
}

/// The reference of a good answer.
#[track_caller]
fn reference(fleet: &Fleet, answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer}");
    not_stored(answer);
    let body = json(answer);
    let uri = body["request_uri"].as_str().unwrap();
    fleet.remember(uri);
    uri.to_owned()
}

fn push(fleet: &Fleet, client_id: &str, pkce: &Pkce, more: &[(&str, &str)]) -> String {
    reference(fleet, &pushed(fleet, client_id, pkce, more))
}

/// Where a person is sent.
fn sent(fleet: &Fleet, client_id: &str, reference: &str, more: &[(&str, &str)]) -> String {
    let mut url = format!(
        "{}/oauth/authorize?client_id={client_id}&request_uri={}",
        fleet.server.issuer,
        form_encode(reference)
    );
    for (name, value) in more {
        url.push_str(&format!("&{name}={}", form_encode(value)));
    }
    url
}

/// `PAGE` with `invalid_request_uri`, for a browser that is not signed in.
#[track_caller]
fn is_over(fleet: &Fleet, url: &str) {
    told(&fleet.person().page(url));
}

#[track_caller]
fn told(page: &Page) {
    assert_eq!(page.answer.status, 400, "{}", page.answer);
    assert!(page.text().contains("invalid_request_uri"), "{}", page.answer);
}

/// A confidential client of people.
fn web_app(fleet: &Fleet) -> Credentials {
    fleet.client(&["--redirect-uri", CALLBACK])
}

/// Somebody who is signed in.
fn signed_in(fleet: &Fleet) -> Person {
    let name = fleet.person_account();
    let mut person = fleet.person();
    person.sign_in(&name, PASSWORD);
    person
}

#[track_caller]
fn code(fleet: &Fleet, redirect: &Redirect) -> String {
    let code = redirect.code();
    fleet.remember(&code);
    code
}

both!(par_01_a_confidential_client_proves_who_it_is);
fn par_01_a_confidential_client_proves_who_it_is(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (web_app(&fleet), Pkce::fresh());
    let request = request(&fleet, &client.id, &pkce, &[]);
    let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    refused_client(&fleet.post_bare(PAR, &form), false);
    let wrong = Credentials {
        id: client.id.clone(),
        secret: "ehs_wrong".into(),
    };
    refused_client(&fleet.post(PAR, &wrong, &form), true);
    let in_header = fleet.post(PAR, &client, &form);
    let reference = reference(&fleet, &in_header);
    let mut ada = signed_in(&fleet);
    let page = ada.page(&sent(&fleet, &client.id, &reference, &[]));
    let code = code(&fleet, &ada.decide(&page, "allow", &[]).redirect());
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("code_verifier", &pkce.verifier),
        ("redirect_uri", CALLBACK),
    ];
    let tokens = granted(&fleet.post("/oauth/token", &client, &redeem));
    fleet.remember(tokens["refresh_token"].as_str().unwrap());
    // Another client cannot push in its name.
    let other = web_app(&fleet);
    refused_400(&fleet.post(PAR, &other, &form), "invalid_request");
}

both!(par_02_a_request_cannot_refer_to_another);
fn par_02_a_request_cannot_refer_to_another(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let first = push(&fleet, &client, &pkce, &[]);
    for uri in [&*first, "https://client.example/request", "urn:x"] {
        refused_400(
            &pushed(&fleet, &client, &pkce, &[("request_uri", uri)]),
            "invalid_request",
        );
    }
}

both!(par_03_it_is_checked_as_the_authorization_endpoint_would);
fn par_03_it_is_checked_as_the_authorization_endpoint_would(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    push(&fleet, &client, &pkce, &[("prompt", "login"), ("nonce", "n")]);
    for (name, value, error) in [
        ("redirect_uri", "https://evil.example/cb", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "mcp:nothing", "invalid_scope"),
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("prompt", "none login", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("registration", "{}", "registration_not_supported"),
    ] {
        refused_400(&pushed(&fleet, &client, &pkce, &[(name, value)]), error);
    }
    let twice = [("client_id", &*client), ("state", "a"), ("state", "b")];
    refused_400(&fleet.post_bare(PAR, &twice), "invalid_request");
    // A client that has no business with people.
    let service = fleet.client(&[]);
    let answer = fleet.post(
        PAR,
        &service,
        &[("response_type", "code"), ("redirect_uri", CALLBACK)],
    );
    refused_400(&answer, "invalid_request");
}

both!(par_04_the_answer_is_a_reference_that_nobody_guesses);
fn par_04_the_answer_is_a_reference_that_nobody_guesses(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let answer = pushed(&fleet, &client, &pkce, &[]);
    let uri = reference(&fleet, &answer);
    let random = uri.strip_prefix("urn:ietf:params:oauth:request_uri:").unwrap();
    assert_eq!(random.len(), 43, "{uri}");
    assert_ne!(uri, push(&fleet, &client, &pkce, &[]));
    let seconds = json(&answer)["expires_in"].as_u64().unwrap();
    assert!((60..=90).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

both!(par_05_az_38_a_reference_is_its_clients_own);
fn par_05_az_38_a_reference_is_its_clients_own(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, other) = (fleet.web_client(CALLBACK, &[]), fleet.web_client(CALLBACK, &[]));
    let uri = push(&fleet, &client, &Pkce::fresh(), &[]);
    is_over(&fleet, &sent(&fleet, &other, &uri, &[]));
    is_over(&fleet, &sent(&fleet, "c_nobody", &uri, &[]));
    let none = format!(
        "{}/oauth/authorize?request_uri={}",
        fleet.server.issuer,
        form_encode(&uri)
    );
    assert_eq!(fleet.person().page(&none).answer.status, 400);
    let unknown = format!("{uri}x");
    is_over(&fleet, &sent(&fleet, &client, &unknown, &[]));
    assert!(fleet.logs().contains("the pushed request is another client's"));
    // The positive twin, after all of that.
    let page = fleet.person().page(&sent(&fleet, &client, &uri, &[]));
    assert!(page.has_form("/login"), "{}", page.answer);
}

both!(par_07_con_a_reference_serves_one_answer);
fn par_07_con_a_reference_serves_one_answer(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let uri = push(&fleet, &client, &pkce, &[]);
    let url = sent(&fleet, &client, &uri, &[]);
    let mut ada = signed_in(&fleet);
    // Two tabs, two interactions, one request.
    let (one, two) = (ada.page(&url), ada.page(&url));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let click = |page| {
            let (mut browser, page): (Person, &Page) = (ada.clone(), page);
            let form = page.form("/consent");
            scope.spawn(move || browser.submit_once(page, &form, &[("decision", "allow")]).1)
        };
        let clicks = [click(&one), click(&two)];
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 303).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let location = won[0].header("location").unwrap();
    let found = blackbox::location::query(location)
        .into_iter()
        .find(|(name, _)| name == "code");
    let code = found.unwrap().1;
    fleet.remember(&code);
    granted(&fleet.redeem(&client, &code, &pkce, &[]));
    told(&ada.page(&url));
    assert!(fleet.logs().contains("the pushed request was answered before"));
}

both!(par_07_a_no_and_an_error_use_it_up_too);
fn par_07_a_no_and_an_error_use_it_up_too(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let mut ada = signed_in(&fleet);
    let url = sent(&fleet, &client, &push(&fleet, &client, &Pkce::fresh(), &[]), &[]);
    let page = ada.page(&url);
    let denied = ada.decide(&page, "deny", &[]).redirect();
    assert_eq!(denied.param("error").as_deref(), Some("access_denied"));
    told(&ada.page(&url));
    let silent = push(&fleet, &client, &Pkce::fresh(), &[("prompt", "none")]);
    let url = sent(&fleet, &client, &silent, &[]);
    let refused = ada.open(&url).redirect();
    assert_eq!(refused.param("error").as_deref(), Some("consent_required"));
    assert_eq!(refused.param("state").as_deref(), Some("st-1"));
    told(&ada.page(&url));
}

both!(par_08_a_page_can_be_loaded_again_until_it_is_answered);
fn par_08_a_page_can_be_loaded_again_until_it_is_answered(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let url = sent(&fleet, &client, &push(&fleet, &client, &pkce, &[]), &[]);
    let mut ada = fleet.person();
    let name = fleet.person_account();
    assert!(ada.page(&url).has_form("/login"));
    let login = ada.page(&url);
    let consent = ada.sign_in_at(&login, &name, PASSWORD).page();
    assert!(ada.page(&url).has_form("/consent"));
    let redirect = ada.decide(&consent, "allow", &[]).redirect();
    assert_eq!(redirect.param("state").as_deref(), Some("st-1"));
    assert_eq!(redirect.param("iss"), Some(fleet.server.issuer.clone()));
    granted(&fleet.redeem(&client, &code(&fleet, &redirect), &pkce, &[]));
    told(&ada.page(&url));
}

both!(par_09_only_what_was_pushed_counts);
fn par_09_only_what_was_pushed_counts(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let read = [("scope", "mcp:read"), ("state", "")];
    let uri = push(&fleet, &client, &pkce, &read);
    let others = [
        ("redirect_uri", "https://evil.example/cb"),
        ("state", "from-the-url"),
        ("scope", "mcp:read mcp:call"),
        ("code_challenge", &*Pkce::fresh().challenge),
        ("prompt", "none"),
        ("nonce", "x"),
    ];
    let mut ada = signed_in(&fleet);
    let page = ada.page(&sent(&fleet, &client, &uri, &others));
    let redirect = ada.decide(&page, "allow", &[]).redirect();
    assert!(
        redirect.url.starts_with(&format!("{CALLBACK}?")),
        "{}",
        redirect.url
    );
    assert_eq!(redirect.param("state"), None);
    let tokens = granted(&fleet.redeem(&client, &code(&fleet, &redirect), &pkce, &[]));
    assert_eq!(tokens["scope"], "mcp:read");
}

both!(par_what_is_remembered_needs_no_page);
fn par_what_is_remembered_needs_no_page(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let mut ada = signed_in(&fleet);
    let url = sent(&fleet, &client, &push(&fleet, &client, &pkce, &[]), &[]);
    let page = ada.page(&url);
    code(
        &fleet,
        &ada.decide(&page, "allow", &[("remember", "on")]).redirect(),
    );
    let url = sent(&fleet, &client, &push(&fleet, &client, &pkce, &[]), &[]);
    let Outcome::Redirect(at_once) = ada.open(&url) else {
        panic!("asked again");
    };
    granted(&fleet.redeem(&client, &code(&fleet, &at_once), &pkce, &[]));
    told(&ada.page(&url));
}

both!(par_15_too_many_is_429);
fn par_15_too_many_is_429(db: Db) {
    let wishes = Wishes {
        server: Some("\n[limits]\nper_ip = \"off\"\nper_client = \"5/h\"\n".into()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let (client, calm) = (fleet.web_client(CALLBACK, &[]), fleet.web_client(CALLBACK, &[]));
    for _ in 0..5 {
        push(&fleet, &client, &Pkce::fresh(), &[]);
    }
    let answer = pushed(&fleet, &client, &Pkce::fresh(), &[]);
    assert_eq!(answer.status, 429, "{answer}");
    retry_after(&answer);
    push(&fleet, &calm, &Pkce::fresh(), &[]);
}

both!(par_16_a_long_request_is_413);
fn par_16_a_long_request_is_413(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let state = "s".repeat(20_000);
    assert_eq!(pushed(&fleet, &client, &pkce, &[("state", &state)]).status, 413);
    let state = "s".repeat(4000);
    push(&fleet, &client, &pkce, &[("state", &state)]);
}

both!(az_37_whoever_must_push_cannot_ask_directly);
fn az_37_whoever_must_push_cannot_ask_directly(db: Db) {
    let wishes = Wishes {
        server: Some(format!(
            "[clients]\nrequire_pushed_requests = true\n{UNLIMITED_SERVER}"
        )),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let metadata = fleet.at("/.well-known/oauth-authorization-server");
    let metadata = granted(&xtask::http::get(&metadata).unwrap());
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let direct = fleet.authorization_url(&client, &pkce, &[]);
    let refused = fleet.person().open(&direct).redirect();
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"));
    assert_eq!(refused.param("state").as_deref(), Some("st-1"));
    let url = sent(&fleet, &client, &push(&fleet, &client, &pkce, &[]), &[]);
    assert!(fleet.person().page(&url).has_form("/login"));
}

both!(par_the_reference_may_come_in_a_form);
fn par_the_reference_may_come_in_a_form(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let uri = push(&fleet, &client, &Pkce::fresh(), &[]);
    let mut ada = signed_in(&fleet);
    let answer = ada.post(
        "/oauth/authorize",
        &[("client_id", &*client), ("request_uri", &*uri)],
    );
    assert_eq!(answer.status, 303, "{answer}");
    let place = answer.header("location").unwrap().to_owned();
    assert!(ada.page(&place).has_form("/consent"));
}

both!(par_a_body_that_is_no_form_is_refused);
fn par_a_body_that_is_no_form_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let body = serde_json::json!({"client_id": client, "response_type": "code"});
    let answer = Request::post(&fleet.at(PAR)).unwrap().json(&body).send().unwrap();
    oauth_error(&answer, 400, "invalid_request");
    push(&fleet, &client, &pkce, &[]);
}

both!(par_11_a_proof_at_the_endpoint_binds_the_code);
fn par_11_a_proof_at_the_endpoint_binds_the_code(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &[]), Pkce::fresh());
    let (holder, other) = (Holder::fresh(), Holder::fresh());
    let par = fleet.at(PAR);
    let push = |holder: &Holder, more: &[(&str, &str)]| {
        let request = self::request(&fleet, &client, &pkce, more);
        let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
        let request = Request::post(&par).unwrap().form(&form);
        with_proofs(request, &[&holder.proof("POST", &par)])
            .send()
            .unwrap()
    };
    let thumbprint = holder.thumbprint();
    let mismatch = push(&other, &[("dpop_jkt", &thumbprint)]);
    refused_400(&mismatch, "invalid_dpop_proof");
    reference(&fleet, &push(&holder, &[("dpop_jkt", &thumbprint)]));
    let uri = reference(&fleet, &push(&holder, &[]));
    let mut ada = signed_in(&fleet);
    let page = ada.page(&sent(&fleet, &client, &uri, &[]));
    let code = code(&fleet, &ada.decide(&page, "allow", &[]).redirect());
    let token = fleet.at("/oauth/token");
    let redeem = |holder: &Holder| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &*client),
            ("code", &*code),
            ("code_verifier", &pkce.verifier),
        ];
        let request = Request::post(&token).unwrap().form(&form);
        with_proofs(request, &[&holder.proof("POST", &token)])
            .send()
            .unwrap()
    };
    // No proof, and another key's: the code stays good for the right one.
    refused_400(&fleet.redeem(&client, &code, &pkce, &[]), "invalid_dpop_proof");
    refused_400(&redeem(&other), "invalid_grant");
    let tokens = granted(&redeem(&holder));
    assert_eq!(tokens["token_type"], "DPoP");
    for name in ["access_token", "refresh_token"] {
        fleet.remember(tokens[name].as_str().unwrap());
    }
}

both!(az_37_a_client_can_be_told_to_push);
fn az_37_a_client_can_be_told_to_push(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (fleet.web_client(CALLBACK, &["--require-par"]), Pkce::fresh());
    let direct = fleet.authorization_url(&client, &pkce, &[]);
    let refused = fleet.person().open(&direct).redirect();
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"));
    let url = sent(&fleet, &client, &push(&fleet, &client, &pkce, &[]), &[]);
    assert!(fleet.person().page(&url).has_form("/login"));
}

both!(par_ca_12_13_an_assertion_for_this_server);
fn par_ca_12_13_an_assertion_for_this_server(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::p256("a"), Pkce::fresh());
    let client = assertion::client(&fleet, &[&key], &["--redirect-uri", CALLBACK]);
    let request = request(&fleet, &client, &pkce, &[("client_id", "")]);
    let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    let show = |claims: &Value| {
        let shown = key.sign(&assertion::header(&key), claims);
        assertion::post(&fleet, PAR, &shown, &form)
    };
    let claims = assertion::claims(&fleet, &client);
    for audience in [fleet.at(PAR), fleet.at("/oauth/token")] {
        refused_client(&show(&with(&claims, "aud", audience.into())), false);
    }
    let good = assertion::claims(&fleet, &client);
    let uri = reference(&fleet, &show(&good));
    let page = fleet.person().page(&sent(&fleet, &client, &uri, &[]));
    assert!(page.has_form("/login"), "{}", page.answer);
    // What authenticated the client is not a part of the request, and good once.
    refused_client(&show(&good), false);
}
