//! What is under way when somebody's session or password ends comes too late, on both databases.

use super::*;
use crate::account::passkey::Kept;
use crate::db::passkey::PasskeyRow;

/// The person as a request that began now sees them.
async fn person(browsing: &Browsing) -> SignedIn {
    let found = find(&browsing.app, &browsing.seen(), clock::now()).await.unwrap();
    found.unwrap()
}

fn passkey(user_id: &str, credential_id: &str) -> PasskeyRow {
    PasskeyRow {
        credential_id: format!("{user_id} {credential_id}"),
        user_id: user_id.to_owned(),
        name: "x".to_owned(),
        credential: "{}".to_owned(),
        created_at: clock::now().0,
        last_used_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_in_a_session_that_stands() {
    let servers = Servers::new();
    for app in servers.each().await {
        let user_id = account(&app).await;
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let work = Browsing::signed_in(&app, &user_id, 0).await;
        // Between the two halves of the ceremony.
        let started = work.ask("/account/passkeys/start", &json!({})).await.json();
        let (_, credential) = Authenticator::create(&started["options"]["publicKey"], ORIGIN);
        let at_work = person(&work).await;
        home.post("/account/sessions/end-others", &[]).await;
        let finish = json!({ "ceremony": started["ceremony"], "credential": credential });
        let refused = work.ask("/account/passkeys/finish", &finish).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.text);
        assert_eq!(refused.json()["error"], "login_required");
        // Between the look at the session and the write.
        let now = clock::now();
        let late = passkey::keep(&app, &at_work, &passkey(&user_id, "late"), now).await;
        assert_eq!(late.unwrap(), Kept::SessionEnded);
        assert!(db::passkey::of_user(&app.db, &user_id).await.unwrap().is_empty());

        let at_home = person(&home).await;
        for expected in [Kept::Added, Kept::Known] {
            let kept = passkey::keep(&app, &at_home, &passkey(&user_id, "good"), now).await;
            assert_eq!(kept.unwrap(), expected);
        }
        add_passkey(&home, "another").await;
        assert_eq!(db::passkey::of_user(&app.db, &user_id).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_change_under_way_loses_against_a_reset() {
    let servers = Servers::new();
    for app in servers.each().await {
        let (user_id, now) = (account(&app).await, clock::now());
        let current = async || {
            let row = db::user_account::find(&app.db, &user_id).await.unwrap();
            row.unwrap().password_hash
        };
        let reset = async |hash| {
            let to = (hash, users::Factors::Keep);
            let done = app
                .db
                .write(async |tx| users::reset_in(tx, &user_id, to, now).await);
            done.await.unwrap();
        };
        // Each begins with "old", in a session of its own, and has verified it when something happens.
        let begun = async || {
            reset(Some("old")).await;
            let browsing = Browsing::signed_in(&app, &user_id, 0).await;
            person(&browsing).await
        };
        let replace = async |at: &SignedIn| {
            change::replace(&app, at, (Some("old"), "mine"), now)
                .await
                .unwrap()
        };

        let at = begun().await;
        reset(Some("operator's")).await;
        assert!(!replace(&at).await);
        assert_eq!(current().await.as_deref(), Some("operator's"));

        let at = begun().await;
        reset(None).await;
        assert!(!replace(&at).await);
        assert_eq!(current().await, None);

        let at = begun().await;
        db::session::end_others(&app.db, &user_id, "", now).await.unwrap();
        assert!(!replace(&at).await);
        assert_eq!(current().await.as_deref(), Some("old"));

        let at = begun().await;
        assert!(replace(&at).await);
        assert_eq!(current().await.as_deref(), Some("mine"));
    }
}
