//! DEV-01 … DEV-16, RFC 8628: a device without keyboard or browser is let in from another screen.

use std::collections::HashSet;

use blackbox::answers::{granted, refused_400};
use blackbox::fleet::{SCOPES, Wishes};
use blackbox::people::PASSWORD;
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, both};
use serde_json::Value;
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A device that has begun.
pub(super) struct Device {
    pub(super) client_id: String,
    answer: Value,
}

impl Device {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let client_id = device_client(fleet, "device_code,refresh_token");
        Self::of(fleet, client_id, &[])
    }

    fn of(fleet: &Fleet, client_id: String, more: &[(&str, &str)]) -> Self {
        let answer = granted(&begin(fleet, &client_id, more));
        fleet.remember(answer["device_code"].as_str().unwrap());
        Self { client_id, answer }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap()
    }

    pub(super) fn poll(&self, fleet: &Fleet) -> Answer {
        self.poll_as(fleet, &self.client_id)
    }

    fn poll_as(&self, fleet: &Fleet, client_id: &str) -> Answer {
        let code = self.text("device_code");
        let form = [
            ("grant_type", GRANT),
            ("client_id", client_id),
            ("device_code", code),
        ];
        let answer = fleet.post_bare("/oauth/token", &form);
        if let Some(token) = answer
            .json()
            .ok()
            .and_then(|body| body["refresh_token"].as_str().map(str::to_owned))
        {
            fleet.remember(&token);
        }
        answer
    }
}

fn device_client(fleet: &Fleet, grants: &str) -> String {
    let resource = fleet.node.url();
    let line = [
        "--public",
        "--grants",
        grants,
        "--scopes",
        SCOPES,
        "--resource",
        &resource,
    ];
    fleet
        .server
        .create_public_client(&fleet.fresh_name(), &line)
        .unwrap()
}

fn begin(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) -> Answer {
    let form = [&[("client_id", client_id)], more].concat();
    fleet.post_bare("/oauth/device_authorization", &form)
}

/// A browser in which somebody is signed in.
fn signed_in(fleet: &Fleet) -> Person {
    let name = fleet.person_account();
    let mut person = fleet.person();
    person.sign_in(&name, PASSWORD);
    person
}

/// Types a code; shows what comes of it.
pub(super) fn type_code(person: &mut Person, code: &str) -> Page {
    let page = person.page("/device");
    let form = page.form("/device");
    person.submit(&page, &form, &[("user_code", code)]).page()
}

/// Types the code and decides.
fn decide(person: &mut Person, device: &Device, decision: &str) -> Page {
    let page = type_code(person, device.text("user_code"));
    let form = page.form("/device/decision");
    assert!(form.offers("decision", decision), "{form:?}");
    person.submit(&page, &form, &[("decision", decision)]).page()
}

both!(dev_01_a_device_waits_until_a_person_allows_it);
fn dev_01_a_device_waits_until_a_person_allows_it(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    assert_eq!(
        (&device.answer["interval"], &device.answer["expires_in"]),
        (&5.into(), &600.into())
    );
    assert_eq!(device.text("verification_uri"), fleet.at("/device"));
    refused_400(&device.poll(&fleet), "authorization_pending");
    let done = decide(&mut signed_in(&fleet), &device, "allow");
    assert_eq!(done.answer.status, 200, "{}", done.answer);
    let tokens = granted(&device.poll(&fleet));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(fleet.call(access).status, 200);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    granted(&fleet.refresh(&device.client_id, refresh, &[]));
}

both!(dev_02_who_polls_too_fast_is_slowed_down);
fn dev_02_who_polls_too_fast_is_slowed_down(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    refused_400(&device.poll(&fleet), "authorization_pending");
    refused_400(&device.poll(&fleet), "slow_down");
    refused_400(&device.poll(&fleet), "slow_down");
    // Whoever was let in need not wait.
    decide(&mut signed_in(&fleet), &device, "allow");
    granted(&device.poll(&fleet));
}

both!(dev_03_of_many_polls_at_once_one_succeeds);
fn dev_03_of_many_polls_at_once_one_succeeds(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    decide(&mut signed_in(&fleet), &device, "allow");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let polls: Vec<_> = (0..10).map(|_| scope.spawn(|| device.poll(&fleet))).collect();
        polls.into_iter().map(|poll| poll.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        refused_400(answer, "invalid_grant");
    }
}

both!(dev_04_a_device_that_waited_too_long_begins_again);
fn dev_04_a_device_that_waited_too_long_begins_again(db: Db) {
    let fleet = Fleet::shared(db);
    let (late, allowed, other) = (Device::new(&fleet), Device::new(&fleet), Device::new(&fleet));
    let mut person = signed_in(&fleet);
    decide(&mut person, &allowed, "allow");
    // Ten minutes pass, for these two.
    for device in [&late, &allowed] {
        let code = device.text("user_code").replace('-', "");
        fleet.sql(&format!(
            "UPDATE device_authorization SET expires_at = 1 WHERE user_code = '{code}'"
        ));
        refused_400(&device.poll(&fleet), "expired_token");
        refused_400(&device.poll(&fleet), "expired_token");
        assert_eq!(
            type_code(&mut person, device.text("user_code")).answer.status,
            400
        );
    }
    decide(&mut person, &other, "allow");
    granted(&other.poll(&fleet));
}

// A yes that comes while ten poll: whenever it comes, one of them has the tokens.
both!(con_06_polls_that_race_with_the_person_succeed_once);
fn con_06_polls_that_race_with_the_person_succeed_once(db: Db) {
    let fleet = Fleet::shared(db);
    let person = signed_in(&fleet);
    for _ in 0..10 {
        let device = Device::new(&fleet);
        let successes = std::thread::scope(|scope| {
            let poll = |_| {
                scope.spawn(|| {
                    loop {
                        let answer = device.poll(&fleet);
                        if answer.status == 200 {
                            return 1;
                        }
                        assert_eq!(answer.status, 400, "{answer}");
                        match answer.json().unwrap()["error"].as_str() {
                            Some("authorization_pending" | "slow_down") => {}
                            Some("invalid_grant") => return 0,
                            other => panic!("{other:?}"),
                        }
                    }
                })
            };
            let polls: Vec<_> = (0..10).map(poll).collect();
            decide(&mut person.clone(), &device, "allow");
            polls.into_iter().map(|poll| poll.join().unwrap()).sum::<usize>()
        });
        assert_eq!(successes, 1);
    }
}

both!(dev_05_a_person_says_no);
fn dev_05_a_person_says_no(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    decide(&mut signed_in(&fleet), &device, "deny");
    refused_400(&device.poll(&fleet), "access_denied");
    refused_400(&device.poll(&fleet), "access_denied");
}

both!(dev_06_a_device_code_belongs_to_its_client);
fn dev_06_a_device_code_belongs_to_its_client(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let other = device_client(&fleet, "device_code");
    refused_400(&device.poll_as(&fleet, &other), "invalid_grant");
    decide(&mut signed_in(&fleet), &device, "allow");
    refused_400(&device.poll_as(&fleet, &other), "invalid_grant");
    granted(&device.poll(&fleet));
    // Even after that the other one disturbs nothing.
    refused_400(&device.poll_as(&fleet, &other), "invalid_grant");
}

both!(dev_07_a_replayed_code_ends_what_came_of_it);
fn dev_07_a_replayed_code_ends_what_came_of_it(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let (device, other) = (Device::new(&fleet), Device::new(&fleet));
    let mut person = signed_in(&fleet);
    decide(&mut person, &device, "allow");
    decide(&mut person, &other, "allow");
    let tokens = granted(&device.poll(&fleet));
    let kept = granted(&other.poll(&fleet));
    refused_400(&device.poll_as(&fleet, &other.client_id), "invalid_grant");
    let watcher = fleet.client(&[]);
    let node = fleet.node.url();
    let line = ["resource", "update", "--uri", &node, "--client", &watcher.id];
    fleet.server.json(&line).unwrap();
    let is_active = |tokens: &Value| {
        let token = tokens["access_token"].as_str().unwrap();
        fleet.introspect(&watcher, token)["active"] == true
    };
    assert!(is_active(&tokens) && is_active(&kept));
    refused_400(&device.poll(&fleet), "invalid_grant");
    let refresh = |device: &Device, tokens: &Value| {
        fleet.refresh(&device.client_id, tokens["refresh_token"].as_str().unwrap(), &[])
    };
    refused_400(&refresh(&device, &tokens), "invalid_grant");
    granted(&refresh(&other, &kept));
    assert!(!is_active(&tokens));
    assert!(is_active(&kept));
}

both!(dev_08_codes_cannot_be_guessed);
fn dev_08_codes_cannot_be_guessed(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let device = Device::new(&fleet);
    let mut guesser = signed_in(&fleet);
    let statuses: Vec<u16> = (0..10)
        .map(|_| type_code(&mut guesser, "BBBB-BBBB").answer.status)
        .collect();
    assert_eq!(statuses[..5], [400; 5]);
    assert_eq!(statuses[5..], [429; 5]);
    // Now the right one helps no more, at either address.
    let page = type_code(&mut guesser, device.text("user_code"));
    assert_eq!(page.answer.status, 429, "{}", page.answer);
    assert!(page.answer.header("retry-after").is_some());
    let csrf = guesser
        .page("/device")
        .form("/device")
        .value("csrf")
        .unwrap()
        .to_owned();
    let fields = [
        ("csrf", csrf.as_str()),
        ("user_code", device.text("user_code")),
        ("decision", "allow"),
    ];
    assert_eq!(guesser.post("/device/decision", &fields).status, 429);
    refused_400(&device.poll(&fleet), "authorization_pending");
    // Others go on: the guesser has used up half of what their address has.
    assert_eq!(
        decide(&mut signed_in(&fleet), &device, "allow").answer.status,
        200
    );
}

both!(dev_09_an_address_decides_nothing);
fn dev_09_an_address_decides_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let mut person = signed_in(&fleet);
    let address = device.text("verification_uri_complete");
    for more in ["", "&decision=allow", "&i=x"] {
        let page = person.page(&format!("{address}{more}"));
        assert_eq!(page.answer.status, 200, "{}", page.answer);
        assert!(page.answer.text().contains("<svg"), "no QR code");
        assert_eq!(
            page.form("/device").value("user_code"),
            Some(device.text("user_code"))
        );
        assert!(!page.has_form("/device/decision"));
    }
    refused_400(&device.poll(&fleet), "authorization_pending");
    // The form that is filled in leads to the question, which shows the code again.
    let page = person.page(address);
    let form = page.form("/device");
    let question = person.submit(&page, &form, &[]).page();
    assert!(question.text().contains(device.text("user_code")));
    assert!(question.has_form("/device/decision"));
}

both!(dev_09_who_is_not_signed_in_signs_in_first);
fn dev_09_who_is_not_signed_in_signs_in_first(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let name = fleet.person_account();
    let mut person = fleet.person();
    let page = type_code(&mut person, device.text("user_code"));
    assert!(page.has_form("/login"), "{}", page.answer);
    let question = person.sign_in_at(&page, &name, PASSWORD).page();
    let form = question.form("/device/decision");
    person.submit(&question, &form, &[("decision", "allow")]);
    granted(&device.poll(&fleet));
}

both!(dev_10_a_code_is_read_as_it_was_meant);
fn dev_10_a_code_is_read_as_it_was_meant(db: Db) {
    let fleet = Fleet::shared(db);
    let mut person = signed_in(&fleet);
    let device = Device::new(&fleet);
    let code = device.text("user_code");
    let plain = code.replace('-', "");
    let spaced: String = plain.to_lowercase().chars().flat_map(|c| [c, ' ']).collect();
    for typed in [code.to_lowercase(), plain, spaced, code.replace('-', "\u{2013}")] {
        let page = type_code(&mut person, &typed);
        assert!(page.has_form("/device/decision"), "{typed:?}: {}", page.answer);
    }
    for hostile in ["\"><script>alert(1)</script>", "BCDF-GHJ", "AAAA-AAAA"] {
        let page = type_code(&mut person, hostile);
        assert_eq!(page.answer.status, 400);
        assert!(!page.answer.text().contains("alert(1)"), "{}", page.answer);
    }
    let page = person.page("/device?user_code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    assert_eq!(page.answer.status, 200);
    assert!(!page.answer.text().contains("alert(1)"), "{}", page.answer);
}

both!(dev_11_only_our_own_page_decides);
fn dev_11_only_our_own_page_decides(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let (mut person, mut stranger) = (signed_in(&fleet), signed_in(&fleet));
    let foreign = stranger
        .page("/device")
        .form("/device")
        .value("csrf")
        .unwrap()
        .to_owned();
    let code = device.text("user_code");
    for csrf in ["", "x", &foreign] {
        let fields = [("csrf", csrf), ("user_code", code), ("decision", "allow")];
        assert_eq!(person.post("/device/decision", &fields).status, 403);
        assert_eq!(person.post("/device", &fields[..2]).status, 403);
    }
    refused_400(&device.poll(&fleet), "authorization_pending");
    let page = type_code(&mut person, code);
    assert_eq!(page.answer.header("x-frame-options"), Some("DENY"));
    let policy = page.answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    decide(&mut person, &device, "allow");
    granted(&device.poll(&fleet));
}

both!(dev_12_what_ended_meanwhile_gives_no_token);
fn dev_12_what_ended_meanwhile_gives_no_token(db: Db) {
    let fleet = Fleet::shared(db);
    let name = fleet.person_account();
    let mut person = fleet.person();
    person.sign_in(&name, PASSWORD);
    let (of_disabled, of_revoked, narrowed) = (Device::new(&fleet), Device::new(&fleet), Device::new(&fleet));
    for device in [&of_disabled, &of_revoked, &narrowed] {
        decide(&mut person, device, "allow");
    }
    fleet
        .server
        .json(&["client", "revoke", &of_revoked.client_id])
        .unwrap();
    assert_eq!(of_revoked.poll(&fleet).status, 401);
    fleet
        .server
        .json(&["client", "update", &narrowed.client_id, "--scopes", "mcp:read"])
        .unwrap();
    assert_eq!(granted(&narrowed.poll(&fleet))["scope"], "mcp:read");
    fleet.server.json(&["user", "disable", &name]).unwrap();
    refused_400(&of_disabled.poll(&fleet), "access_denied");
}

both!(dev_13_codes_are_random_and_the_device_code_is_kept_as_a_hash);
fn dev_13_codes_are_random_and_the_device_code_is_kept_as_a_hash(db: Db) {
    let fleet = Fleet::shared(db);
    let client_id = device_client(&fleet, "device_code");
    let devices: Vec<Device> = (0..20)
        .map(|_| Device::of(&fleet, client_id.clone(), &[]))
        .collect();
    for name in ["device_code", "user_code"] {
        let different: HashSet<&str> = devices.iter().map(|device| device.text(name)).collect();
        assert_eq!(different.len(), devices.len(), "{name}");
    }
    for device in &devices {
        let code = device.text("device_code");
        assert!(
            code.starts_with("ehd_") && code.len() >= 4 + 43,
            "less than 256 bits"
        );
        let user_code = device.text("user_code");
        let letters = user_code.replace('-', "");
        assert!(user_code.len() == 9 && letters.len() == 8, "{user_code}");
        assert!(
            letters.chars().all(|c| "BCDFGHJKLMNPQRSTVWXZ".contains(c)),
            "{user_code}"
        );
    }
}

both!(dev_14_a_code_is_decided_about_once);
fn dev_14_a_code_is_decided_about_once(db: Db) {
    let fleet = Fleet::shared(db);
    let device = Device::new(&fleet);
    let (mut first, mut second) = (signed_in(&fleet), signed_in(&fleet));
    let page = type_code(&mut second, device.text("user_code"));
    decide(&mut first, &device, "deny");
    let form = page.form("/device/decision");
    let late = second.submit(&page, &form, &[("decision", "allow")]).page();
    assert_eq!(late.answer.status, 400, "{}", late.answer);
    refused_400(&device.poll(&fleet), "access_denied");
}

both!(dev_15_a_flood_of_requests_is_stopped);
fn dev_15_a_flood_of_requests_is_stopped(db: Db) {
    let wishes = Wishes {
        server: Some("\n[limits]\ndevice_codes = \"5/min\"\n".to_owned()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client_id = device_client(&fleet, "device_code");
    let statuses: Vec<u16> = (0..7).map(|_| begin(&fleet, &client_id, &[]).status).collect();
    assert_eq!(statuses[..5], [200; 5]);
    assert_eq!(statuses[5..], [429; 2]);
}

both!(dev_15_as_many_as_anybody_needs_may_wait);
fn dev_15_as_many_as_anybody_needs_may_wait(db: Db) {
    let wishes = Wishes {
        server: Some(UNLIMITED_SERVER.to_owned()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client_id = device_client(&fleet, "device_code");
    for _ in 0..100 {
        assert_eq!(begin(&fleet, &client_id, &[]).status, 200);
    }
    assert_eq!(begin(&fleet, &client_id, &[]).status, 503);
    let other = device_client(&fleet, "device_code");
    assert_eq!(begin(&fleet, &other, &[]).status, 200);
}

both!(dev_16_the_question_says_who_asks_for_what_and_warns);
fn dev_16_the_question_says_who_asks_for_what_and_warns(db: Db) {
    let fleet = Fleet::shared(db);
    let name = fleet.fresh_name();
    let resource = fleet.node.url();
    let line = [
        "--public",
        "--grants",
        "device_code",
        "--scopes",
        SCOPES,
        "--resource",
        &resource,
    ];
    let client_id = fleet
        .server
        .create_public_client(&format!("Kiosk {name}"), &line)
        .unwrap();
    let device = Device::of(&fleet, client_id, &[("scope", "mcp:read x:unknown")]);
    let page = type_code(&mut signed_in(&fleet), device.text("user_code"));
    let text = page.text();
    for expected in [
        &format!("Kiosk {name}"),
        "127.0.0.1",
        &resource,
        device.text("user_code"),
    ] {
        assert!(text.contains(expected), "{expected} is missing: {text}");
    }
    // One permission, in words: the one that was asked for and exists.
    assert_eq!(text.matches("<li>").count(), 1, "{text}");
    assert!(
        text.contains("See which tools") && !text.contains("x:unknown"),
        "{text}"
    );
    assert!(text.contains("class=\"warning\""), "{text}");
}

both!(dev_16_only_what_was_shown_is_granted);
fn dev_16_only_what_was_shown_is_granted(db: Db) {
    let fleet = Fleet::shared(db);
    let client_id = device_client(&fleet, "device_code");
    let device = Device::of(&fleet, client_id, &[("scope", "mcp:read")]);
    decide(&mut signed_in(&fleet), &device, "allow");
    let tokens = granted(&device.poll(&fleet));
    assert_eq!(tokens["scope"], "mcp:read");
    assert!(
        tokens.get("refresh_token").is_none(),
        "a client without that grant"
    );
}

both!(dev_00_what_is_malformed_or_not_allowed_is_refused);
fn dev_00_what_is_malformed_or_not_allowed_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let without = fleet.client(&[]);
    let answer = fleet.post("/oauth/device_authorization", &without, &[]);
    refused_400(&answer, "unauthorized_client");
    let client_id = device_client(&fleet, "device_code");
    for (more, code) in [
        (("scope", "x:unknown"), "invalid_scope"),
        (("scope", "a  b"), "invalid_scope"),
        (("resource", "https://nowhere.example/mcp"), "invalid_target"),
    ] {
        refused_400(&begin(&fleet, &client_id, &[more]), code);
    }
    let bare = [("grant_type", GRANT), ("client_id", client_id.as_str())];
    refused_400(&fleet.post_bare("/oauth/token", &bare), "invalid_request");
    let unknown = [&bare[..], &[("device_code", "ehd_unknown")]].concat();
    refused_400(&fleet.post_bare("/oauth/token", &unknown), "invalid_grant");
    let device = Device::of(&fleet, client_id, &[("resource", &fleet.node.url())]);
    refused_400(&device.poll(&fleet), "authorization_pending");
}
