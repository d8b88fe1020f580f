//! Chromium holds every redirect behind a form against the policy of the page with the form (CSP 3 §6.4.1). A person
//! who signs in and is remembered is sent on to the client at once, so the sign-in page must allow that, and no more.

use blackbox::{CALLBACK, Db, Fleet, Pkce, both};

both!(a_sign_in_may_end_at_the_client_that_asked);

fn a_sign_in_may_end_at_the_client_that_asked(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let policy = |path: &str| {
        let page = fleet.person().page(path);
        let policy = page.answer.header("content-security-policy").unwrap().to_owned();
        let sources = policy.split(';').map(str::trim);
        sources
            .filter_map(|part| part.strip_prefix("form-action "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let asked = fleet.authorization_url(&client, &Pkce::fresh(), &[]);
    assert_eq!(policy(&asked), ["'self' http://127.0.0.1:9"]);
    assert_eq!(policy("/login"), ["'self'"]);
}
