//! PKCE-01 … PKCE-04, PKCE-09: without S256 there is no code (OAuth 2.1 §4.1.1).

use blackbox::answers::{granted, refused_400};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both};

#[track_caller]
fn refused(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) {
    let url = fleet.authorization_url(client_id, &Pkce::fresh(), more);
    let redirect = fleet.person().open(&url).redirect();
    assert_eq!(
        redirect.param("error").as_deref(),
        Some("invalid_request"),
        "{}",
        redirect.url
    );
    assert_eq!(redirect.param("state").as_deref(), Some("st-1"));
    assert_eq!(redirect.param("iss"), Some(fleet.server.issuer.clone()));
    assert_eq!(redirect.param("code"), None);
}

#[track_caller]
fn good(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) {
    let url = fleet.authorization_url(client_id, &Pkce::fresh(), more);
    assert!(fleet.person().page(&url).has_form("/login"));
}

both!(pkce_01_02_03_s256_and_nothing_else);
fn pkce_01_02_03_s256_and_nothing_else(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    good(&fleet, &client, &[]);
    refused(&fleet, &client, &[("code_challenge", "")]);
    // Absent means plain (RFC 7636 §4.3).
    for method in ["", "plain", "s256", "S512", "S256 "] {
        refused(&fleet, &client, &[("code_challenge_method", method)]);
    }
    refused(
        &fleet,
        &client,
        &[("code_challenge", ""), ("code_challenge_method", "")],
    );
}

both!(pkce_01_a_confidential_client_is_no_exception);
fn pkce_01_a_confidential_client_is_no_exception(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--redirect-uri", CALLBACK]);
    good(&fleet, &client.id, &[]);
    refused(&fleet, &client.id, &[("code_challenge", "")]);
}

both!(pkce_04_a_challenge_is_the_base64url_of_a_sha_256);
fn pkce_04_a_challenge_is_the_base64url_of_a_sha_256(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let right = Pkce::fresh().challenge;
    good(&fleet, &client, &[("code_challenge", &right)]);
    let (long, padded) = ("a".repeat(129), format!("{right}="));
    let plus = format!("{}+", &right[..42]);
    let broken = format!("{}\u{e9}", &right[..41]);
    for challenge in [&right[..42], &long, &padded, &plus, &broken] {
        refused(&fleet, &client, &[("code_challenge", challenge)]);
    }
}

// What protects a code that somebody stole cannot be taken out of the request on its way (RFC 9700 §4.8).
both!(pkce_09_a_challenge_cannot_be_stripped);
fn pkce_09_a_challenge_cannot_be_stripped(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let ada = fleet.person_account();
    let mut browser = fleet.person();
    browser.sign_in(&ada, PASSWORD);
    let pkce = Pkce::fresh();
    for stripped in [
        &[("code_challenge", "")][..],
        &[("code_challenge", ""), ("code_challenge_method", "")],
    ] {
        let url = fleet.authorization_url(&client, &pkce, stripped);
        let redirect = browser.open(&url).redirect();
        assert_eq!(redirect.param("error").as_deref(), Some("invalid_request"));
        assert_eq!(redirect.param("code"), None);
        let request = blackbox::location::query(&url);
        let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
        refused_400(&fleet.post_bare("/oauth/par", &form), "invalid_request");
    }
    // Nor swapped: a code for the attacker's challenge is of no use to whoever has another verifier.
    let other = Pkce::fresh();
    let code = fleet.allowed(&mut browser, &ada, &client, (&other, &[])).code();
    refused_400(&fleet.redeem(&client, &code, &pkce, &[]), "invalid_grant");
    granted(&fleet.redeem(&client, &code, &other, &[]));
}
