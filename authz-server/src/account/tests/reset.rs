//! What an operator's reset leaves of how somebody signs in, on both databases.

use super::*;
use crate::account::users::Factors;

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_takes_passkeys_and_codes_away_when_it_is_told_to() {
    let servers = Servers::new();
    for app in servers.each().await {
        let (user_id, other) = (account(&app).await, account(&app).await);
        let home = Browsing::signed_in(&app, &user_id, 0).await;
        let (_, codes, _) = enrol(&home).await;
        let (mut key, _) = add_passkey(&home, "").await;
        add_passkey(&Browsing::signed_in(&app, &other, 0).await, "").await;
        let mut present_key = async || {
            let browsing = Browsing::new(&app);
            let started = challenge(&browsing).await;
            let credential = key.get(&started["options"]["publicKey"], ORIGIN);
            present(&browsing, &started, &credential).await.status
        };
        let reset = async |factors| {
            let to = (Some("a PHC string"), factors);
            let now = clock::now();
            let done = app
                .db
                .write(async |tx| users::reset_in(tx, &user_id, to, now).await);
            done.await.unwrap();
        };
        reset(Factors::Keep).await;
        assert_eq!(home.is_signed_in().await, None);
        assert_eq!(present_key().await, StatusCode::OK);
        let browsing = Browsing::new(&app);
        let i = asked_for_code(&browsing, &user_id).await;
        assert_eq!(try_code(&browsing, &i, &codes[0]).await.location, "/account");

        let i = asked_for_code(&browsing, &user_id).await;
        reset(Factors::Remove).await;
        assert_eq!(browsing.is_signed_in().await, None);
        assert_eq!(present_key().await, StatusCode::BAD_REQUEST);
        // A second step that was under way comes too late.
        assert_ne!(try_code(&browsing, &i, &codes[1]).await.location, "/account");
        assert_eq!(browsing.is_signed_in().await, None);
        let row = db::user_account::find(&app.db, &user_id).await.unwrap().unwrap();
        assert!(!second_factor::is_required(&row) && row.totp_sealed.is_none());
        assert_eq!(db::recovery_code::left(&app.db, &user_id).await.unwrap(), 0);
        assert_eq!(db::passkey::of_user(&app.db, &user_id).await.unwrap().len(), 0);
        assert_eq!(db::passkey::of_user(&app.db, &other).await.unwrap().len(), 1);
    }
}
