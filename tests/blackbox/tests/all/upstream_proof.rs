//! UI-11, OpenID Connect Core §3.1.2.1, §10.1: what a sign-in elsewhere proves, and what was allowed on the way there.

use blackbox::answers::granted;
use blackbox::forge::{self, Key};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::person::{Page, Person, Redirect};
use blackbox::{Db, PASSWORD, both};
use serde_json::{Value, json};

use super::upstream::{Elsewhere, elsewhere, is_in, is_out, press};

/// Allows what is asked before the way there, and goes.
fn allowed(person: &mut Person, sign_in: &Page) -> Redirect {
    let question = press(person, sign_in).page();
    let form = question.form("/login/upstream/consent");
    person
        .submit(&question, &form, &[("decision", "allow")])
        .redirect()
}

/// Comes back with these claims and goes on as far as the server lets them.
fn back(elsewhere: &Elsewhere, person: &mut Person, there: &Redirect) -> String {
    let claims = elsewhere.provider.claims(there, "ada");
    let answer = elsewhere.come_back(person, there, &claims);
    assert_eq!(answer.status, 303, "{answer}");
    answer.header("location").unwrap().to_owned()
}

both!(ui_11_what_was_allowed_before_is_that_of_who_comes_back);
fn ui_11_what_was_allowed_before_is_that_of_who_comes_back(db: Db) {
    let elsewhere = elsewhere(db, "");
    let fleet = &elsewhere.fleet;
    let client = fleet.web_client(CALLBACK, &[]);
    let (username, pkce) = (fleet.person_account(), Pkce::fresh());
    let url = fleet.authorization_url(&client, &pkce, &[]);
    // Allowed, but nobody comes back: somebody signs in here, and is asked themselves.
    let mut person = fleet.person();
    let sign_in = person.page(&url);
    let there = allowed(&mut person, &sign_in);
    let question = person.sign_in_at(&sign_in, &username, PASSWORD).page();
    assert!(question.has_form("/consent"), "{}", question.answer);
    fleet.remember(&person.decide(&question, "allow", &[]).redirect().code());
    assert_eq!(there.param("prompt"), None);

    // Who comes back is not asked again.
    let mut person = fleet.person();
    let sign_in = person.page(&url);
    let there = allowed(&mut person, &sign_in);
    let place = back(&elsewhere, &mut person, &there);
    let code = person.open(&place).redirect().code();
    granted(&fleet.redeem(&client, &code, &pkce, &[]));
}

both!(ui_13_more_than_was_allowed_before_is_asked_again);
fn ui_13_more_than_was_allowed_before_is_asked_again(db: Db) {
    let elsewhere = elsewhere(db, "");
    let fleet = &elsewhere.fleet;
    let client = fleet.web_client(CALLBACK, &["--scopes", "mcp:read"]);
    let pkce = Pkce::fresh();
    let mut person = fleet.person();
    let sign_in = person.page(&fleet.authorization_url(&client, &pkce, &[]));
    let there = allowed(&mut person, &sign_in);
    let line = ["client", "update", &client, "--scopes", "mcp:read mcp:call"];
    fleet.server.json(&line).unwrap();
    let place = back(&elsewhere, &mut person, &there);
    let question = person.page(&place);
    assert!(question.has_form("/consent"), "{}", question.answer);
    let code = person.decide(&question, "allow", &[]).redirect().code();
    let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[]));
    assert_eq!(tokens["scope"], "mcp:call mcp:read");
}

both!(core_3_1_2_1_a_new_proof_is_one_of_the_provider_too);
fn core_3_1_2_1_a_new_proof_is_one_of_the_provider_too(db: Db) {
    let elsewhere = elsewhere(db, "");
    let fleet = &elsewhere.fleet;
    let client = fleet.web_client(CALLBACK, &[]);
    let now = forge::now();
    for wish in [("prompt", "login"), ("max_age", "600")] {
        let pkce = Pkce::fresh();
        let mut person = fleet.person();
        let sign_in = person.page(&fleet.authorization_url(&client, &pkce, &[wish]));
        let mut there = allowed(&mut person, &sign_in);
        // A session that the provider had before, or one of which it says nothing.
        for auth_time in [Value::Null, json!(now - 3600), json!("now")] {
            assert_eq!(there.param("prompt").as_deref(), Some("login"), "{}", there.url);
            assert_eq!(there.param("max_age").as_deref(), Some("0"), "{}", there.url);
            let claims = forge::with(&elsewhere.provider.claims(&there, "ada"), "auth_time", auth_time);
            is_out(&elsewhere.come_back(&mut person, &there, &claims), &person, 400);
            there = press(&mut person, &sign_in).redirect();
        }
        let mut claims = elsewhere.provider.claims(&there, "ada");
        claims["auth_time"] = json!(forge::now());
        let answer = elsewhere.come_back(&mut person, &there, &claims);
        let place = answer.header("location").unwrap().to_owned();
        let code = person.open(&place).redirect().code();
        granted(&fleet.redeem(&client, &code, &pkce, &[]));
    }
    let logs = fleet.logs();
    for reason in ["auth_time is missing", "not asked to sign in again"] {
        assert!(logs.contains(reason), "{reason}");
    }
}

both!(core_10_1_a_token_without_kid_is_of_the_only_key);
fn core_10_1_a_token_without_kid_is_of_the_only_key(db: Db) {
    let sign_in = |elsewhere: &Elsewhere, person: &mut Person| {
        let there = elsewhere.leave(person);
        let provider = &elsewhere.provider;
        let header = json!({"alg": provider.key.algorithm()});
        let token = provider.key.sign(&header, &provider.claims(&there, "ada"));
        let code = provider.code_for(&there, json!({"id_token": token}));
        elsewhere.answer(person, &there, &[("code", &code)])
    };
    let one = elsewhere(db, "");
    // A key for another algorithm is no other key for this one.
    one.provider.publish(&Key::p256("op-2"));
    let mut person = one.fleet.person();
    is_in(&sign_in(&one, &mut person), &person);
    let two = elsewhere(db, "");
    two.provider.publish(&Key::ed25519("op-2"));
    let mut person = two.fleet.person();
    is_out(&sign_in(&two, &mut person), &person, 400);
    // By its name it is found.
    is_in(&two.sign_in(&mut person, "ada"), &person);
}
