//! REV-09: whoever signs a browser out ends what it has begun, too: a question on its screen can no longer be answered,
//! and what it let in is not let in.

use blackbox::answers::{granted, refused_400};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::person::Person;
use blackbox::{Db, Fleet, PASSWORD, both};

use super::account::{send, signed_in};
use super::device::{Device, type_code};

/// Ends every other session of a person, from another browser of theirs.
fn end_others(fleet: &Fleet, username: &str) {
    let mut elsewhere = signed_in(fleet, username);
    assert_eq!(
        send(&mut elsewhere, "/account/sessions/end-others", &[]).status,
        303
    );
}

both!(rev_09_a_question_ends_with_the_session_that_was_asked);
fn rev_09_a_question_ends_with_the_session_that_was_asked(db: Db) {
    let fleet = Fleet::shared(db);
    let (username, client) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let pkce = Pkce::fresh();
    let mut person = signed_in(&fleet, &username);
    let question = person.page(&fleet.authorization_url(&client, &pkce, &[]));
    end_others(&fleet, &username);
    let again = person.decide(&question, "allow", &[]).page();
    assert!(again.has_form("/login"), "{}", again.answer);
    // Whoever signs in again is asked again, and may answer.
    let question = person.sign_in_at(&again, &username, PASSWORD).page();
    let code = person.decide(&question, "allow", &[]).redirect().code();
    granted(&fleet.redeem(&client, &code, &pkce, &[]));
}

both!(rev_09_a_device_is_let_in_by_a_session_that_stands);
fn rev_09_a_device_is_let_in_by_a_session_that_stands(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let question = |person: &mut Person, device: &Device| {
        let page = type_code(person, device.text("user_code"));
        let form = page.form("/device/decision");
        (page, form)
    };
    // Ended before the answer: nothing was decided.
    let device = Device::new(&fleet);
    let mut person = signed_in(&fleet, &username);
    let (page, form) = question(&mut person, &device);
    end_others(&fleet, &username);
    let again = person.submit(&page, &form, &[("decision", "allow")]).page();
    assert!(again.has_form("/login"), "{}", again.answer);
    refused_400(&device.poll(&fleet), "authorization_pending");
    // Ended after it, but before the device came: it is not let in.
    let (late, in_time) = (Device::new(&fleet), Device::new(&fleet));
    let mut person = signed_in(&fleet, &username);
    for device in [&late, &in_time] {
        let (page, form) = question(&mut person, device);
        let (_, answer) = person.submit_once(&page, &form, &[("decision", "allow")]);
        assert_eq!(answer.status, 200, "{answer}");
    }
    granted(&in_time.poll(&fleet));
    end_others(&fleet, &username);
    refused_400(&late.poll(&fleet), "access_denied");
}
