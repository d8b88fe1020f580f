//! UI-11, OpenID Connect Core §3.1.3.7, RFC 9207, RFC 9700 §4.4: people sign in with accounts elsewhere, and nobody
//! rides on them.

use blackbox::answers::granted;
use blackbox::fleet::Wishes;
use blackbox::forge::{self, Key};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::person::{Outcome, Page, Person, Redirect};
use blackbox::provider::{CLIENT_ID, Provider};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::{Answer, base64};

/// A fleet whose server knows a provider.
pub(super) struct Elsewhere {
    pub(super) fleet: Fleet,
    pub(super) provider: Provider,
}

pub(super) fn elsewhere(db: Db, more: &str) -> Elsewhere {
    let provider = Provider::start(Key::ed25519("op-1"));
    let wishes = Wishes {
        server: Some(UNLIMITED_SERVER.to_owned() + &provider.section(more)),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    Elsewhere { fleet, provider }
}

impl Elsewhere {
    /// Presses the button; stops where the provider would show its page.
    pub(super) fn leave(&self, person: &mut Person) -> Redirect {
        let page = person.page("/login");
        press(person, &page).redirect()
    }

    /// Comes back with a code for these claims.
    pub(super) fn come_back(&self, person: &mut Person, there: &Redirect, claims: &Value) -> Answer {
        let code = self.provider.code(there, claims);
        self.answer(person, there, &[("code", &code)])
    }

    /// Comes back with these parameters and the state of `there`.
    pub(super) fn answer(
        &self,
        person: &mut Person,
        there: &Redirect,
        parameters: &[(&str, &str)],
    ) -> Answer {
        let state = there.param("state").unwrap();
        let mut path = format!("/login/upstream/callback?state={state}");
        for (name, value) in parameters {
            path.push_str(&format!("&{name}={}", xtask::http::form_encode(value)));
        }
        person.get(&path)
    }

    /// Signs in from beginning to end.
    pub(super) fn sign_in(&self, person: &mut Person, subject: &str) -> Answer {
        let there = self.leave(person);
        let claims = self.provider.claims(&there, subject);
        self.come_back(person, &there, &claims)
    }
}

pub(super) fn press(person: &mut Person, page: &Page) -> Outcome {
    person.submit(page, &page.form("/login/upstream"), &[])
}

#[track_caller]
pub(super) fn is_in(answer: &Answer, person: &Person) {
    assert_eq!(answer.status, 303, "{answer}");
    assert_eq!(answer.header("location"), Some("/account"), "{answer}");
    assert!(person.cookie("eh_session").is_some());
}

#[track_caller]
pub(super) fn is_out(answer: &Answer, person: &Person, status: u16) {
    assert_eq!(answer.status, status, "{answer}");
    assert!(answer.header("location").is_none(), "{answer}");
    assert!(person.cookie("eh_session").is_none(), "signed in all the same");
}

both!(ui_11_an_account_elsewhere_opens_one_here);
fn ui_11_an_account_elsewhere_opens_one_here(db: Db) {
    let elsewhere = elsewhere(db, "");
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    assert!(
        there
            .url
            .starts_with(&format!("{}/authorize?", elsewhere.provider.url)),
        "{}",
        there.url
    );
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("scope", "email openid profile"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", &elsewhere.fleet.at("/login/upstream/callback")),
    ] {
        assert_eq!(there.param(name).as_deref(), Some(value), "{}", there.url);
    }
    let claims = elsewhere.provider.claims(&there, "ada");
    is_in(&elsewhere.come_back(&mut person, &there, &claims), &person);
    // Again, from another browser: the same account.
    let mut other = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut other, "ada"), &other);
    let mut third = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut third, "bob"), &third);
    let users = elsewhere.fleet.server.json(&["user", "list"]).unwrap();
    let users = users.as_array().or_else(|| users["users"].as_array()).unwrap();
    assert_eq!(users.len(), 2, "{users:?}");
    assert!(elsewhere.provider.asked().iter().all(|asked| asked.granted));
}

both!(ui_11_a_confidential_client_shows_its_secret);
fn ui_11_a_confidential_client_shows_its_secret(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cret/+\n").unwrap();
    let elsewhere = elsewhere(db, &format!("client_secret_file = \"{}\"", file.display()));
    elsewhere.fleet.remember("s3cret/+");
    let mut person = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut person, "ada"), &person);
    let asked = elsewhere.provider.asked();
    let expected = format!("Basic {}", base64(b"edge-hive:s3cret%2F%2B"));
    assert_eq!(asked[0].authorization, expected);
    assert!(!asked[0].form.iter().any(|(name, _)| name == "client_secret"));
}

both!(ui_11_an_id_token_is_checked_in_every_part);
fn ui_11_an_id_token_is_checked_in_every_part(db: Db) {
    let elsewhere = elsewhere(db, "");
    let now = forge::now();
    for (name, value) in [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("iss", json!("https://elsewhere.example")),
        ("iss", Value::Null),
        ("aud", json!("another-client")),
        ("aud", json!([CLIENT_ID, "another-client"])),
        ("azp", json!("another-client")),
        ("exp", json!(now - 120)),
        ("exp", Value::Null),
        ("iat", json!(now - 3600)),
        ("sub", json!("")),
        ("sub", Value::Null),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        let mut person = elsewhere.fleet.person();
        let there = elsewhere.leave(&mut person);
        let claims = forge::with(&elsewhere.provider.claims(&there, "ada"), name, value.clone());
        let answer = elsewhere.come_back(&mut person, &there, &claims);
        assert!(person.cookie("eh_session").is_none(), "{name} {value}: {answer}");
        is_out(&answer, &person, 400);
    }
    let mut person = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut person, "ada"), &person);
}

both!(ui_11_only_the_provider_signs_id_tokens);
fn ui_11_only_the_provider_signs_id_tokens(db: Db) {
    let elsewhere = elsewhere(db, "");
    let provider = &elsewhere.provider;
    let forger = Key::ed25519("op-1");
    let hmac = |there: &Redirect| {
        let header = json!({"alg": "HS256", "kid": "op-1"});
        forge::hs256(
            &header,
            &provider.claims(there, "ada"),
            &provider.key.public_bytes(),
        )
    };
    let unsigned = |there: &Redirect| {
        let header = forge::encode(json!({"alg": "none", "kid": "op-1"}).to_string());
        format!(
            "{header}.{}.",
            forge::encode(provider.claims(there, "ada").to_string())
        )
    };
    let forged = |there: &Redirect| {
        forger.sign(
            &json!({"alg": "EdDSA", "kid": "op-1"}),
            &provider.claims(there, "ada"),
        )
    };
    let unknown = |there: &Redirect| {
        provider.key.sign(
            &json!({"alg": "EdDSA", "kid": "op-2"}),
            &provider.claims(there, "ada"),
        )
    };
    let access_token = |there: &Redirect| provider.key.token(&provider.claims(there, "ada"));
    let attempts: [&dyn Fn(&Redirect) -> String; 5] = [&hmac, &unsigned, &forged, &unknown, &access_token];
    for (number, attempt) in attempts.iter().enumerate() {
        let mut person = elsewhere.fleet.person();
        let there = elsewhere.leave(&mut person);
        let code = provider.code_for(&there, json!({"id_token": attempt(&there)}));
        let answer = elsewhere.answer(&mut person, &there, &[("code", &code)]);
        assert!(person.cookie("eh_session").is_none(), "attempt {number}");
        is_out(&answer, &person, 400);
    }
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    let code = provider.code_for(&there, json!({}));
    is_out(
        &elsewhere.answer(&mut person, &there, &[("code", &code)]),
        &person,
        400,
    );
    is_in(&elsewhere.sign_in(&mut person, "ada"), &person);
}

both!(ui_11_an_answer_belongs_to_one_browser_and_works_once);
fn ui_11_an_answer_belongs_to_one_browser_and_works_once(db: Db) {
    let elsewhere = elsewhere(db, "");
    let (mut victim, mut attacker) = (elsewhere.fleet.person(), elsewhere.fleet.person());
    // The attacker signs in there and sends the victim their own answer (login CSRF).
    let there = elsewhere.leave(&mut attacker);
    elsewhere.leave(&mut victim);
    let code = elsewhere
        .provider
        .code(&there, &elsewhere.provider.claims(&there, "attacker"));
    is_out(
        &elsewhere.answer(&mut victim, &there, &[("code", &code)]),
        &victim,
        403,
    );
    let mut fresh = elsewhere.fleet.person();
    is_out(
        &elsewhere.answer(&mut fresh, &there, &[("code", &code)]),
        &fresh,
        403,
    );
    for state in ["", "x"] {
        let path = format!("/login/upstream/callback?code={code}&state={state}");
        let answer = victim.get(&path);
        assert!(matches!(answer.status, 400 | 403), "{answer}");
    }
    assert_eq!(elsewhere.provider.asked().len(), 0, "the code was sent on");
    is_in(
        &elsewhere.answer(&mut attacker, &there, &[("code", &code)]),
        &attacker,
    );
    // The same answer again, with a code that would still work.
    attacker.forget("eh_session");
    let again = elsewhere
        .provider
        .code(&there, &elsewhere.provider.claims(&there, "attacker"));
    is_out(
        &elsewhere.answer(&mut attacker, &there, &[("code", &again)]),
        &attacker,
        403,
    );
}

both!(ui_11_a_code_of_another_sign_in_is_worth_nothing);
fn ui_11_a_code_of_another_sign_in_is_worth_nothing(db: Db) {
    let elsewhere = elsewhere(db, "");
    let (mut victim, mut attacker) = (elsewhere.fleet.person(), elsewhere.fleet.person());
    let (of_victim, of_attacker) = (elsewhere.leave(&mut victim), elsewhere.leave(&mut attacker));
    // A stolen code, put into the attacker's own answer: the proof key does not fit.
    let stolen = elsewhere
        .provider
        .code(&of_victim, &elsewhere.provider.claims(&of_victim, "victim"));
    is_out(
        &elsewhere.answer(&mut attacker, &of_attacker, &[("code", &stolen)]),
        &attacker,
        400,
    );
    assert!(elsewhere.provider.asked().iter().all(|asked| !asked.granted));
    is_in(&elsewhere.sign_in(&mut attacker, "attacker"), &attacker);
}

both!(ui_11_an_answer_names_the_right_issuer);
fn ui_11_an_answer_names_the_right_issuer(db: Db) {
    let provider = Provider::start(Key::p256("op-1"));
    provider.set_metadata("authorization_response_iss_parameter_supported", json!(true));
    let wishes = Wishes {
        server: Some(UNLIMITED_SERVER.to_owned() + &provider.section("")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let elsewhere = Elsewhere { fleet, provider };
    let mut person = elsewhere.fleet.person();
    for iss in [None, Some("https://other.example"), Some("")] {
        let there = elsewhere.leave(&mut person);
        let code = elsewhere
            .provider
            .code(&there, &elsewhere.provider.claims(&there, "ada"));
        let mut parameters = vec![("code", code.as_str())];
        parameters.extend(iss.map(|iss| ("iss", iss)));
        is_out(&elsewhere.answer(&mut person, &there, &parameters), &person, 400);
    }
    assert_eq!(elsewhere.provider.asked().len(), 0, "the code was sent on");
    let there = elsewhere.leave(&mut person);
    let code = elsewhere
        .provider
        .code(&there, &elsewhere.provider.claims(&there, "ada"));
    let parameters = [("code", code.as_str()), ("iss", &elsewhere.provider.url)];
    is_in(&elsewhere.answer(&mut person, &there, &parameters), &person);
}

both!(ui_11_a_refusal_there_is_a_page_here);
fn ui_11_a_refusal_there_is_a_page_here(db: Db) {
    let elsewhere = elsewhere(db, "");
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    let parameters = [
        ("error", "access_denied"),
        ("error_description", "<script>alert(1)</script>"),
    ];
    let answer = elsewhere.answer(&mut person, &there, &parameters);
    is_out(&answer, &person, 400);
    assert!(!answer.text().contains("alert(1)"), "{answer}");
    is_in(&elsewhere.sign_in(&mut person, "ada"), &person);
}

both!(ui_11_metadata_of_another_issuer_is_not_used);
fn ui_11_metadata_of_another_issuer_is_not_used(db: Db) {
    for (name, value) in [
        ("issuer", json!("https://other.example")),
        ("token_endpoint", json!("http://192.0.2.1/token")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
    ] {
        let provider = Provider::start(Key::ed25519("op-1"));
        provider.set_metadata(name, value);
        let wishes = Wishes {
            server: Some(UNLIMITED_SERVER.to_owned() + &provider.section("")),
            ..Wishes::default()
        };
        let fleet = Fleet::start(db, &wishes);
        let mut person = fleet.person();
        let page = person.page("/login");
        assert_eq!(page.answer.status, 200);
        let answer = press(&mut person, &page).page().answer;
        assert!(matches!(answer.status, 400 | 503), "{answer}");
    }
}

both!(ui_11_strangers_get_no_account_unless_the_operator_wants_it);
fn ui_11_strangers_get_no_account_unless_the_operator_wants_it(db: Db) {
    let elsewhere = elsewhere(db, "create_accounts = false");
    // An address that is the same as somebody's here opens nothing.
    let name = elsewhere.fleet.fresh_name();
    elsewhere
        .fleet
        .user(&name, blackbox::people::PASSWORD, &["--email", "ada@x.example"]);
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    let mut claims = elsewhere.provider.claims(&there, "ada");
    claims["email"] = json!("ada@x.example");
    claims["email_verified"] = json!(true);
    claims["preferred_username"] = json!(name);
    is_out(&elsewhere.come_back(&mut person, &there, &claims), &person, 400);
}

both!(ui_11_an_address_links_no_account);
fn ui_11_an_address_links_no_account(db: Db) {
    let elsewhere = elsewhere(db, "");
    let name = elsewhere.fleet.fresh_name();
    elsewhere
        .fleet
        .user(&name, blackbox::people::PASSWORD, &["--email", "ada@x.example"]);
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    let mut claims = elsewhere.provider.claims(&there, "ada");
    claims["email"] = json!("ada@x.example");
    claims["email_verified"] = json!(true);
    claims["preferred_username"] = json!(name);
    is_in(&elsewhere.come_back(&mut person, &there, &claims), &person);
    let users = elsewhere.fleet.server.json(&["user", "list"]).unwrap();
    let users = users.as_array().or_else(|| users["users"].as_array()).unwrap();
    let names: Vec<&str> = users
        .iter()
        .filter_map(|user| user["username"].as_str())
        .collect();
    assert_eq!(names, [name.as_str(), &format!("{name}-2")]);
}

both!(ui_11_a_disabled_person_stays_out);
fn ui_11_a_disabled_person_stays_out(db: Db) {
    let elsewhere = elsewhere(db, "");
    let mut person = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut person, "ada"), &person);
    elsewhere
        .fleet
        .server
        .json(&["user", "disable", "adalovelace"])
        .unwrap();
    let mut again = elsewhere.fleet.person();
    let answer = elsewhere.sign_in(&mut again, "ada");
    assert!(matches!(answer.status, 400 | 403), "{answer}");
    assert!(again.cookie("eh_session").is_none());
}

both!(ui_11_our_consent_comes_first);
fn ui_11_our_consent_comes_first(db: Db) {
    let elsewhere = elsewhere(db, "");
    let fleet = &elsewhere.fleet;
    let client_id = fleet.web_client(CALLBACK, &[]);
    let (pkce, mut person) = (Pkce::fresh(), fleet.person());
    let page = person.page(&fleet.authorization_url(&client_id, &pkce, &[]));
    // The button leads to our question, not away: somebody who is signed in there would see nothing else.
    let question = press(&mut person, &page).page();
    let form = question.form("/login/upstream/consent");
    assert!(form.offers("decision", "allow") && form.offers("decision", "deny"));
    let policy = question
        .answer
        .header("content-security-policy")
        .unwrap_or_default()
        .to_owned();
    assert!(policy.contains(&elsewhere.provider.url), "{policy}");
    let there = person
        .submit(&question, &form, &[("decision", "allow")])
        .redirect();
    let claims = elsewhere.provider.claims(&there, "ada");
    let code = elsewhere.provider.code(&there, &claims);
    let back = format!(
        "/login/upstream/callback?state={}&code={code}",
        there.param("state").unwrap()
    );
    let redirect = person.open(&back).redirect();
    fleet.remember(&redirect.code());
    granted(&fleet.redeem(&client_id, &redirect.code(), &pkce, &[]));
    // What was allowed was this request and no other.
    let next = person.page(&fleet.authorization_url(&client_id, &Pkce::fresh(), &[]));
    assert!(next.has_form("/consent"), "{}", next.answer);
}

both!(ui_11_who_says_no_is_not_sent_away);
fn ui_11_who_says_no_is_not_sent_away(db: Db) {
    let elsewhere = elsewhere(db, "");
    let fleet = &elsewhere.fleet;
    let client_id = fleet.web_client(CALLBACK, &[]);
    let mut person = fleet.person();
    let page = person.page(&fleet.authorization_url(&client_id, &Pkce::fresh(), &[]));
    let question = press(&mut person, &page).page();
    let form = question.form("/login/upstream/consent");
    // Another browser cannot answer for this one, nor can a form without its token.
    let mut other = fleet.person();
    let csrf = other
        .page("/login")
        .form("/login")
        .value("csrf")
        .unwrap()
        .to_owned();
    let i = form.value("i").unwrap().to_owned();
    let fields = [("i", i.as_str()), ("csrf", csrf.as_str()), ("decision", "allow")];
    assert_eq!(other.post("/login/upstream/consent", &fields).status, 403);
    assert_eq!(person.post("/login/upstream/consent", &fields).status, 403);
    let redirect = person
        .submit(&question, &form, &[("decision", "deny")])
        .redirect();
    assert_eq!(redirect.param("error").as_deref(), Some("access_denied"));
    assert_eq!(redirect.param("state").as_deref(), Some("st-1"));
    // It is over: allowing it now helps nothing.
    let late = person.submit(&question, &form, &[("decision", "allow")]).page();
    assert_eq!(late.answer.status, 403, "{}", late.answer);
}
