//! A person with a browser and an authenticator, against the routes, on both databases.

mod authenticator;
mod crowd;
mod in_flight;
mod reset;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::web;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::{self, UnixSeconds};
use shared::config::Reader;
use shared::secret::random_bytes;

use self::authenticator::Authenticator;
use super::*;
use crate::app::App;
use crate::browsing::{Answer, Browsing, Servers, account};
use crate::config::Config;
use crate::db;

const ORIGIN: &str = "http://localhost:9000";

/// The secret that a page shows, in groups of four.
fn shown_secret(page: &str) -> Vec<u8> {
    let shown = page
        .split("<p class=\"secret\"><code>")
        .nth(1)
        .unwrap_or_else(|| panic!("{page}"));
    let shown = shown.split('<').next().unwrap();
    let text: String = shown.split_whitespace().collect();
    totp_rs::Secret::try_from_base32(text).unwrap().to_vec()
}

/// The recovery codes that a page shows.
fn shown_codes(page: &str) -> Vec<String> {
    let is_code = |text: &str| {
        text.len() == 14 && text.split('-').count() == 3 && text.split('-').all(|group| group.len() == 4)
    };
    let parts = page.split(['<', '>', ' ', '\n']);
    parts.filter(|text| is_code(text)).map(str::to_owned).collect()
}

fn code_at(secret: &[u8], step: i64) -> String {
    let seconds = u64::try_from(step * 30).unwrap();
    let generator = totp_rs::Builder::new()
        .with_secret(secret.to_vec())
        .with_account_name("x");
    generator.build().unwrap().generate(seconds).to_string()
}

fn step_now() -> i64 {
    clock::now().0 / 30
}

/// Sets two-step codes up with the code of this step; the next one's is still good.
async fn enrol(browsing: &Browsing) -> (Vec<u8>, Vec<String>, String) {
    let page = browsing.post("/account/totp/start", &[]).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let secret = shown_secret(&page.text);
    let wrong = browsing.post("/account/totp/confirm", &[("code", "000")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(shown_secret(&wrong.text), secret);
    let code = code_at(&secret, step_now());
    let done = browsing.post("/account/totp/confirm", &[("code", &code)]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let codes = shown_codes(&done.text);
    assert_eq!(codes.len(), 10, "{}", done.text);
    (secret, codes, code)
}

/// After a right password; the id of the interaction.
async fn asked_for_code(browsing: &Browsing, user_id: &str) -> String {
    let row = db::user_account::find(&browsing.app.db, user_id)
        .await
        .unwrap()
        .unwrap();
    assert!(second_factor::is_required(&row));
    browsing.csrf();
    let half = sign_in::HalfSignedIn {
        user_id: user_id.to_owned(),
        methods: "pwd".to_owned(),
        i: None,
        password: sign_in::fingerprint(&row),
        failures: 0,
        answer_to: String::new(),
    };
    let opened = db::interaction::InteractionRow {
        interaction_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>().unwrap()),
        kind: "second-factor".to_owned(),
        content: serde_json::to_string(&half).unwrap(),
        started_at: clock::now().0,
    };
    let (browser, ends) = (browsing.seen().hash(), UnixSeconds(clock::now().0 + 600));
    db::interaction::open(&browsing.app.db, &opened, &browser, ends)
        .await
        .unwrap();
    opened.interaction_id
}

async fn try_code(browsing: &Browsing, i: &str, code: &str) -> Answer {
    browsing
        .post("/login/second-factor", &[("i", i), ("code", code)])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_in_its_own_browser_only() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let (secret, _, used) = enrol(&Browsing::signed_in(&app, &user_id, 0).await).await;
        let (first, second) = (Browsing::new(&app), Browsing::new(&app));
        let (i, j) = (
            asked_for_code(&first, &user_id).await,
            asked_for_code(&second, &user_id).await,
        );
        // The code with which it was set up has been used (RFC 6238 §5.2).
        assert_eq!(try_code(&first, &i, &used).await.status, StatusCode::UNAUTHORIZED);
        let code = code_at(&secret, step_now() + 1);
        let foreign = try_code(&second, &i, &code).await;
        assert_eq!(
            (foreign.status, foreign.location.as_str()),
            (StatusCode::SEE_OTHER, "/login")
        );
        assert_eq!(second.is_signed_in().await, None);

        let done = try_code(&first, &i, &code).await;
        assert_eq!(
            (done.status, done.location.as_str()),
            (StatusCode::SEE_OTHER, "/account")
        );
        assert_eq!(first.is_signed_in().await, Some(format!("{user_id} pwd otp")));
        assert_eq!(
            try_code(&second, &j, &code).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(second.is_signed_in().await, None);
        // And the interaction is over.
        assert_eq!(try_code(&first, &i, &code).await.location, "/login");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_use_one_code_at_once_one_gets_in() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let (secret, codes, _) = enrol(&Browsing::signed_in(&app, &user_id, 0).await).await;
        for code in [&code_at(&secret, step_now() + 1), &codes[3]] {
            let (first, second) = (Browsing::new(&app), Browsing::new(&app));
            let i = asked_for_code(&first, &user_id).await;
            let j = asked_for_code(&second, &user_id).await;
            tokio::join!(try_code(&first, &i, code), try_code(&second, &j, code));
            let let_in = [first.is_signed_in().await, second.is_signed_in().await];
            assert_eq!(let_in.iter().flatten().count(), 1, "{let_in:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_codes_end_the_sign_in() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let (secret, ..) = enrol(&Browsing::signed_in(&app, &user_id, 0).await).await;
        let browsing = Browsing::new(&app);
        let i = asked_for_code(&browsing, &user_id).await;
        for _ in 0..4 {
            assert_eq!(
                try_code(&browsing, &i, "0000000").await.status,
                StatusCode::UNAUTHORIZED
            );
        }
        assert_eq!(try_code(&browsing, &i, "0000000").await.location, "/login");
        let code = code_at(&secret, step_now() + 1);
        assert_eq!(try_code(&browsing, &i, &code).await.location, "/login");
        assert_eq!(browsing.is_signed_in().await, None);
        // The password again, and again: there is an end to that too.
        let mut limited = false;
        for _ in 0..20 {
            let i = asked_for_code(&browsing, &user_id).await;
            limited |= try_code(&browsing, &i, "0000000").await.status == StatusCode::TOO_MANY_REQUESTS;
        }
        assert!(limited);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_replaces_the_phone_once_and_new_ones_replace_the_old() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let (_, codes, _) = enrol(&home).await;
        let browsing = Browsing::new(&app);
        let i = asked_for_code(&browsing, &user_id).await;
        let typed = codes[0].to_uppercase().replace('-', " ");
        assert_eq!(try_code(&browsing, &i, &typed).await.location, "/account");
        assert!(browsing.is_signed_in().await.is_some());
        assert_eq!(db::recovery_code::left(&app.db, &user_id).await.unwrap(), 9);

        let other = Browsing::new(&app);
        let i = asked_for_code(&other, &user_id).await;
        assert_eq!(
            try_code(&other, &i, &codes[0]).await.status,
            StatusCode::UNAUTHORIZED
        );
        let renewed = home.post("/account/recovery-codes", &[]).await;
        let new = shown_codes(&renewed.text);
        assert_eq!(
            (
                new.len(),
                db::recovery_code::left(&app.db, &user_id).await.unwrap()
            ),
            (10, 10)
        );
        assert_eq!(
            try_code(&other, &i, &codes[1]).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(try_code(&other, &i, &new[1]).await.location, "/account");

        // Another person's code is nothing.
        let stranger = account(&app).await;
        enrol(&Browsing::signed_in(&app, &stranger, 0).await).await;
        let i = asked_for_code(&other, &stranger).await;
        assert_eq!(
            try_code(&other, &i, &new[2]).await.status,
            StatusCode::UNAUTHORIZED
        );

        let removed = home.post("/account/totp/remove", &[]).await;
        assert_eq!(removed.location, "/account?done=totp-removed");
        assert_eq!(db::recovery_code::left(&app.db, &user_id).await.unwrap(), 0);
        let row = db::user_account::find(&app.db, &user_id).await.unwrap().unwrap();
        assert!(!second_factor::is_required(&row) && row.totp_sealed.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decides_how_one_signs_in_needs_a_recent_sign_in() {
    let servers = Servers::new();
    let [app, _] = servers.each().await;
    let user_id = account(&app).await;
    for path in [
        "/account/totp/start",
        "/account/totp/remove",
        "/account/totp/confirm",
        "/account/recovery-codes",
        "/account/passkeys/remove",
    ] {
        let browsing = Browsing::signed_in(&app, &user_id, 700).await;
        let answer = browsing.post(path, &[("credential_id", "x")]).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (StatusCode::SEE_OTHER, "/login"),
            "{path}"
        );
        assert_eq!(browsing.is_signed_in().await, None, "{path}");
    }
    let browsing = Browsing::signed_in(&app, &user_id, 700).await;
    let answer = browsing.ask("/account/passkeys/start", &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (StatusCode::UNAUTHORIZED, &json!("login_required"))
    );
    assert_eq!(browsing.is_signed_in().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happens_without_the_browsers_own_token() {
    let servers = Servers::new();
    let [app, _] = servers.each().await;
    let user_id = account(&app).await;
    let (home, other) = (
        Browsing::signed_in(&app, &user_id, 0).await,
        Browsing::signed_in(&app, &user_id, 0).await,
    );
    let foreign = other.csrf();
    for path in [
        "/account/totp/start",
        "/account/totp/confirm",
        "/account/totp/remove",
        "/account/recovery-codes",
        "/account/passkeys/remove",
        "/account/grants/revoke",
        "/account/grants/revoke-all",
        "/account/password",
        "/account/sessions/end",
        "/account/sessions/end-others",
        "/login/second-factor",
    ] {
        for fields in [vec![], vec![("csrf", foreign.as_str())]] {
            let answer = home.send(TestRequest::post().uri(path).set_form(fields)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(
            home.get(path).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{path}"
        );
    }
    for path in [
        "/account/passkeys/start",
        "/account/passkeys/finish",
        "/login/passkey/start",
        "/login/passkey/finish",
    ] {
        let request = TestRequest::post().uri(path).set_json(json!({}));
        assert_eq!(home.send(request).await.status, StatusCode::FORBIDDEN, "{path}");
        let request = TestRequest::post()
            .uri(path)
            .insert_header(("x-csrf-token", foreign.as_str()))
            .set_json(json!({}));
        assert_eq!(home.send(request).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(home.is_signed_in().await.is_some() && other.is_signed_in().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        assert_eq!(Browsing::new(&app).get("/account").await.location, "/login");
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let work = Browsing::signed_in(&app, &user_id, 0).await;
        let phone = Browsing::signed_in(&app, &user_id, 0).await;
        let stranger = Browsing::signed_in(&app, &account(&app).await, 0).await;
        let session_of = async |browsing: &Browsing| {
            let found = find(&app, &browsing.seen(), clock::now()).await.unwrap();
            found.unwrap().session_id
        };
        let page = home.get("/account").await;
        assert_eq!(page.status, StatusCode::OK);
        for browsing in [&work, &phone] {
            assert!(page.text.contains(&session_of(browsing).await));
        }
        assert!(!page.text.contains(&session_of(&stranger).await));

        let others = session_of(&stranger).await;
        home.post("/account/sessions/end", &[("session_id", &others)])
            .await;
        assert!(stranger.is_signed_in().await.is_some());
        let at_work = session_of(&work).await;
        let ended = home
            .post("/account/sessions/end", &[("session_id", &at_work)])
            .await;
        assert_eq!(ended.location, "/account?done=session-ended");
        assert!(work.is_signed_in().await.is_none() && phone.is_signed_in().await.is_some());
        home.post("/account/sessions/end-others", &[]).await;
        assert!(phone.is_signed_in().await.is_none() && home.is_signed_in().await.is_some());
        assert!(stranger.is_signed_in().await.is_some());
    }
}

/// Adds a passkey to the account that is signed in; its answer to the last step is returned too.
async fn add_passkey(browsing: &Browsing, name: &str) -> (Authenticator, Value) {
    let started = browsing.ask("/account/passkeys/start", &json!({})).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    let started = started.json();
    let options = &started["options"]["publicKey"];
    assert_eq!(options["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    let (authenticator, credential) = Authenticator::create(options, ORIGIN);
    let finish = json!({ "ceremony": started["ceremony"], "credential": credential, "name": name });
    let done = browsing.ask("/account/passkeys/finish", &finish).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert_eq!(done.json()["location"], "/account?done=passkey-added");
    (authenticator, finish)
}

async fn challenge(browsing: &Browsing) -> Value {
    let started = browsing.ask("/login/passkey/start", &json!({})).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    started.json()
}

async fn present(browsing: &Browsing, started: &Value, credential: &Value) -> Answer {
    let finish = json!({ "ceremony": started["ceremony"], "credential": credential });
    browsing.ask("/login/passkey/finish", &finish).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_signs_its_owner_in_and_no_answer_works_twice() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let (mut authenticator, finish) = add_passkey(&home, "Blue <key>").await;
        assert!(home.get("/account").await.text.contains("Blue &#60;key&#62;"));
        let again = home.ask("/account/passkeys/finish", &finish).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST);

        let browsing = Browsing::new(&app);
        let started = challenge(&browsing).await;
        let options = &started["options"]["publicKey"];
        let credential = authenticator.get(options, ORIGIN);
        let done = present(&browsing, &started, &credential).await;
        assert_eq!(
            (done.status, &done.json()["location"]),
            (StatusCode::OK, &json!("/account"))
        );
        assert_eq!(browsing.is_signed_in().await, Some(format!("{user_id} hwk")));
        let row = &db::passkey::of_user(&app.db, &user_id).await.unwrap()[0];
        assert!(row.last_used_at.is_some());

        // UI-23: the same answer again, in the same ceremony and in a new one.
        let thief = Browsing::new(&app);
        for started in [started, challenge(&thief).await] {
            let replayed = present(&thief, &started, &credential).await;
            assert_eq!(replayed.status, StatusCode::BAD_REQUEST);
        }
        // A counter that does not grow is a copy of the device (WebAuthn §7.2, step 22).
        let started = challenge(&thief).await;
        authenticator.counter -= 1;
        let copied = authenticator.get(&started["options"]["publicKey"], ORIGIN);
        assert_eq!(
            present(&thief, &started, &copied).await.status,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(thief.is_signed_in().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_owners_own_answer_here_and_now_is_refused() {
    let servers = Servers::new();
    for app in servers.each().await {
        let (ana, bob) = (account(&app).await, account(&app).await);
        let at_anas = Browsing::signed_in(&app, &ana, 0).await;
        let (mut key, _) = add_passkey(&at_anas, "").await;
        add_passkey(&Browsing::signed_in(&app, &bob, 0).await, "").await;
        let browsing = Browsing::new(&app);
        let refused = async |browsing: &Browsing, started: &Value, credential: &Value| {
            let answer = present(browsing, started, credential).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
            assert_eq!(browsing.is_signed_in().await, None);
        };
        // Ana's passkey that calls itself Bob's.
        let started = challenge(&browsing).await;
        let options = &started["options"]["publicKey"];
        let mut credential = key.get(options, ORIGIN);
        let bobs = bob.trim_start_matches("u_");
        credential["response"]["userHandle"] = json!(bobs);
        refused(&browsing, &started, &credential).await;
        // For another site.
        let started = challenge(&browsing).await;
        let credential = key.get(&started["options"]["publicKey"], "http://localhost:9001");
        refused(&browsing, &started, &credential).await;
        // Without user verification.
        let started = challenge(&browsing).await;
        key.flags = 0x01;
        let credential = key.get(&started["options"]["publicKey"], ORIGIN);
        key.flags = 0x05;
        refused(&browsing, &started, &credential).await;
        // In another browser than the one that was asked.
        let started = challenge(&browsing).await;
        let credential = key.get(&started["options"]["publicKey"], ORIGIN);
        refused(&Browsing::new(&app), &started, &credential).await;
        // A key that nobody registered.
        let started = challenge(&browsing).await;
        let options = &started["options"]["publicKey"];
        let (mut unknown, _) =
            Authenticator::create(&json!({"challenge": "AA", "user": {"id": bobs}}), ORIGIN);
        let credential = unknown.get(options, ORIGIN);
        refused(&browsing, &started, &credential).await;
        // One person's ceremony, finished by another.
        let started = at_anas.ask("/account/passkeys/start", &json!({})).await.json();
        let (_, credential) = Authenticator::create(&started["options"]["publicKey"], ORIGIN);
        at_anas.sign_in(&bob, 0).await;
        let finish = json!({ "ceremony": started["ceremony"], "credential": credential });
        let answer = at_anas.ask("/account/passkeys/finish", &finish).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        // And then the right way, to see that it was none of the above.
        let started = challenge(&browsing).await;
        let credential = key.get(&started["options"]["publicKey"], ORIGIN);
        assert_eq!(
            present(&browsing, &started, &credential).await.status,
            StatusCode::OK
        );
        assert_eq!(browsing.is_signed_in().await, Some(format!("{ana} hwk")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_way_to_sign_in_stays() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let stranger = Browsing::signed_in(&app, &account(&app).await, 0).await;
        add_passkey(&home, "a").await;
        add_passkey(&home, "b").await;
        let rows = db::passkey::of_user(&app.db, &user_id).await.unwrap();
        assert_eq!(rows.len(), 2);
        stranger
            .post(
                "/account/passkeys/remove",
                &[("credential_id", &rows[0].credential_id)],
            )
            .await;
        assert_eq!(db::passkey::of_user(&app.db, &user_id).await.unwrap().len(), 2);
        let fields: Vec<_> = rows
            .iter()
            .map(|row| [("credential_id", row.credential_id.as_str())])
            .collect();
        tokio::join!(
            home.post("/account/passkeys/remove", &fields[0]),
            home.post("/account/passkeys/remove", &fields[1])
        );
        let left = db::passkey::of_user(&app.db, &user_id).await.unwrap();
        assert_eq!(left.len(), 1);
        let last = home
            .post(
                "/account/passkeys/remove",
                &[("credential_id", &left[0].credential_id)],
            )
            .await;
        assert_eq!(last.location, "/account?done=last-way-in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_without_a_domain_has_no_passkeys() {
    let party = |issuer: &str| {
        let text = format!("[server]\nissuer = \"{issuer}\"");
        let config = Config::read(Reader::from_text(text, &BTreeMap::new()).unwrap()).unwrap();
        passkey::relying_party(&config).is_some()
    };
    assert!(party("http://localhost:9000"));
    assert!(!party("http://127.0.0.1:9000"));
    assert!(!party("http://[::1]:9000"));
}
