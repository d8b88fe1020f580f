//! A flood of what anybody may begin, on both databases.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::*;
use crate::db::DbFault;
use crate::error::Failure;

/// Thousands of rows, twice which nothing more is begun.
const HALF: i64 = 100;

/// Begins something, without being signed in.
async fn begin_something(app: &web::Data<App>) -> StatusCode {
    let answer = Browsing::new(app)
        .post("/device", &[("user_code", "BBBBBBBB")])
        .await;
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_keeps_no_other_out() {
    let servers = Servers::new();
    let other: IpAddr = "192.0.2.2".parse().unwrap();
    for app in servers.each().await {
        for _ in 0..130 {
            assert_eq!(begin_something(&app).await, StatusCode::SEE_OTHER);
        }
        let now = clock::now();
        let later = UnixSeconds(now.0 + 600);
        db::interaction::fill(&app.db, HALF, later).await.unwrap();
        app.crowd.counted_at.store(0, Ordering::Release);
        let mut begun = 0;
        while begin_something(&app).await == StatusCode::SEE_OTHER {
            begun += 1;
            assert!(begun < 200, "there is no end to what one address begins");
        }
        assert!(begun >= 100, "{begun}");
        assert_eq!(begin_something(&app).await, StatusCode::TOO_MANY_REQUESTS);
        let admit = async |address, at| app.crowd.admit(&app.db, (address, 100), at).await;
        admit(other, now).await.unwrap();
        // Two kilobytes more take the room of two: too much is open for them already.
        let long = app.crowd.admit(&app.db, (other, 2049), now).await;
        assert!(matches!(long, Err(Failure::Db(DbFault::Unavailable(_)))));

        // From everywhere: then nobody can begin anything, until what is open has ended.
        db::interaction::fill(&app.db, HALF, later).await.unwrap();
        let full = admit(other, UnixSeconds(now.0 + 100)).await;
        assert!(matches!(full, Err(Failure::Db(DbFault::Unavailable(_)))));
        admit(other, UnixSeconds(now.0 + 700)).await.unwrap();
    }
}
