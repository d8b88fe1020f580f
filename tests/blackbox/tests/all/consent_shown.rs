//! UI-13: nobody grants more than the page showed, whatever has changed since it was made.

use blackbox::answers::{granted, refused_400};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, PASSWORD, both};

use super::device::{Device, type_code};

/// What a page lists.
fn permissions(page: &Page) -> usize {
    page.answer.text().matches("<li>").count()
}

/// Allows what a page shows; the scope that it gives.
fn allow(fleet: &Fleet, person: &mut Person, page: &Page, (client, pkce): (&str, &Pkce)) -> String {
    let code = person.decide(page, "allow", &[]).redirect().code();
    let tokens = granted(&fleet.redeem(client, &code, pkce, &[]));
    tokens["scope"].as_str().unwrap().to_owned()
}

/// Says yes to a page that is not what a yes would give any more; the page that comes instead.
fn shown_again(person: &mut Person, page: &Page, fields: &[(&str, &str)]) -> Page {
    let again = person.decide(page, "allow", fields).page();
    assert!(again.has_form("/consent"), "{}", again.answer);
    again
}

/// Somebody who is asked for everything that the client may have.
fn asked(fleet: &Fleet, client: &str, pkce: &Pkce) -> (Person, Page) {
    let username = fleet.person_account();
    let mut person = fleet.person();
    let page = person.page(&fleet.authorization_url(client, pkce, &[]));
    let page = person.sign_in_at(&page, &username, PASSWORD).page();
    (person, page)
}

both!(ui_13_what_the_operator_adds_meanwhile_is_shown_first);
fn ui_13_what_the_operator_adds_meanwhile_is_shown_first(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, pkce) = (
        fleet.web_client(CALLBACK, &["--scopes", "mcp:read"]),
        Pkce::fresh(),
    );
    let update = |scopes: &str| {
        let line = ["client", "update", &client, "--scopes", scopes];
        fleet.server.json(&line).unwrap();
    };
    let (mut person, page) = asked(&fleet, &client, &pkce);
    update("mcp:read mcp:call");
    let both = shown_again(&mut person, &page, &[]);
    assert_eq!((permissions(&page), permissions(&both)), (1, 2));
    // A page that does not say what it showed has shown nothing.
    for scope in ["", "mcp:read", "mcp:read  mcp:call"] {
        shown_again(&mut person, &both, &[("scope", scope)]);
    }
    assert_eq!(
        allow(&fleet, &mut person, &both, (&client, &pkce)),
        "mcp:call mcp:read"
    );
    // Less than was shown is no reason to ask again.
    let (mut person, page) = asked(&fleet, &client, &pkce);
    update("mcp:read");
    assert_eq!(allow(&fleet, &mut person, &page, (&client, &pkce)), "mcp:read");
}

both!(ui_13_what_another_tab_adds_meanwhile_is_shown_first);
fn ui_13_what_another_tab_adds_meanwhile_is_shown_first(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (pkce, other) = (Pkce::fresh(), Pkce::fresh());
    let (mut person, _) = asked(&fleet, &client, &pkce);
    let url = |pkce, scope| fleet.authorization_url(&client, pkce, &[("scope", scope)]);
    let first = person.page(&url(&pkce, "mcp:read"));
    let second = person.page(&url(&other, "mcp:call"));
    assert_eq!(allow(&fleet, &mut person, &second, (&client, &other)), "mcp:call");
    // With what was granted there, this one would now give both.
    let both = shown_again(&mut person, &first, &[]);
    assert_eq!((permissions(&first), permissions(&both)), (1, 2));
    assert_eq!(
        allow(&fleet, &mut person, &both, (&client, &pkce)),
        "mcp:call mcp:read"
    );
}

both!(dev_16_what_a_device_would_get_more_is_shown_first);
fn dev_16_what_a_device_would_get_more_is_shown_first(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let update = |scopes: &str| {
        let line = ["client", "update", &device.client_id, "--scopes", scopes];
        fleet.server.json(&line).unwrap();
    };
    update("mcp:read");
    let mut person = fleet.person();
    person.sign_in(&fleet.person_account(), PASSWORD);
    let mut page = type_code(&mut person, device.text("user_code"));
    update("mcp:read mcp:call");
    for expected in [1, 2] {
        assert_eq!(permissions(&page), expected, "{}", page.answer);
        refused_400(
            &device.poll(&fleet),
            if expected == 1 {
                "authorization_pending"
            } else {
                "slow_down"
            },
        );
        let form = page.form("/device/decision");
        page = person.submit(&page, &form, &[("decision", "allow")]).page();
    }
    assert_eq!(granted(&device.poll(&fleet))["scope"], "mcp:call mcp:read");
}
