//! DUR-13: every statement of every flow fails once, on both databases. Whoever asked is told to come back, nothing has
//! happened, and the same request then does what it should.

mod fleet;
mod flows;

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::web;

use shared::clock;

use crate::app::App;
use crate::browsing::{Answer, Browsing, Servers};
use crate::db::How;

/// More statements than any request has.
const ENDLESS: u32 = 60;

/// A request that waits to be sent, and may be sent again.
struct Ask {
    browsing: Browsing,
    request: Box<dyn Fn(&Browsing) -> TestRequest>,
    /// What it does when nothing fails.
    done: Done,
    /// What it may do instead when an earlier one was carried out and not answered: what works once has worked.
    over: Option<Done>,
}

/// How an answer begins: its status, and what its place or text contains.
#[derive(Clone, Copy, Debug)]
struct Done(StatusCode, &'static str);

impl Done {
    fn is(self, answer: &Answer) -> bool {
        let found = answer.location.contains(self.1) || answer.text.contains(self.1);
        answer.status == self.0 && found
    }
}

impl Ask {
    async fn send(&self) -> Answer {
        self.browsing.send((self.request)(&self.browsing)).await
    }
}

/// A flow up to one of its requests.
trait Flow: AsyncFn(&web::Data<App>) -> Ask {}
impl<F: AsyncFn(&web::Data<App>) -> Ask> Flow for F {}

/// Lets every statement of the request that `flow` comes to fail, one after the other, in each way.
async fn examine(flow: impl Flow) {
    let servers = Servers::new();
    for app in servers.each().await {
        for how in [How::Before, How::After, How::Collides] {
            let mut n = 1;
            while fails(&servers, &app, &flow, (n, how)).await {
                n += 1;
                assert!(n < ENDLESS, "{how:?}: there is no end of statements");
            }
            assert!(n > 1, "{how:?}: there is no statement");
        }
    }
}

/// Whether the request has an `n`th statement, which then fails.
async fn fails(servers: &Servers, app: &web::Data<App>, flow: &impl Flow, (n, how): (u32, How)) -> bool {
    let mut ask = flow(app).await;
    // Nothing in memory yet, so that every statement is needed.
    ask.browsing.app = servers.serve_on(app.db.clone()).await;
    // To begin a list is no part of the flow.
    for resource in app.resources().await.unwrap().iter() {
        let place = app.status_lists.allot(app, resource, None, clock::now()).await;
        place.unwrap();
    }
    let before = app.db.content().await;
    app.db.points().fail(n, how);
    let answer = ask.send().await;
    let failed = app.db.points().have_failed();
    let seen = format!(
        "{how:?} {n}: {} {} {}",
        answer.status, answer.location, answer.text
    );
    if !failed {
        assert!(ask.done.is(&answer), "{seen}");
        return false;
    }
    if how == How::Collides && ask.done.is(&answer) {
        // It was tried again.
        return true;
    }
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{seen}");
    assert!(answer.retry_after.parse::<u32>().is_ok_and(|s| s > 0), "{seen}");
    assert_eq!(answer.location, "", "{seen}");
    assert!(answer.text.contains("temporarily_unavailable"), "{seen}");
    for secret in ["access_token", "eha_", "ehr_", "ehd_"] {
        assert!(!answer.text.contains(secret), "{seen}");
    }
    let after = app.db.content().await;
    // A statement that was carried out may have been the last: then all of it has happened.
    let is_over = how == How::After && after != before;
    if !is_over {
        assert_eq!(difference(&before, &after), "", "{seen}");
    }
    let again = ask.send().await;
    let over = ask.over.filter(|_| is_over);
    assert!(
        ask.done.is(&again) || over.is_some_and(|over| over.is(&again)),
        "{seen}\nagain: {} {} {}",
        again.status,
        again.location,
        again.text
    );
    true
}

/// The rows that are in one of them only.
fn difference(before: &str, after: &str) -> String {
    let only = |these: &str, those: &str| {
        let lines = these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!("{}{}", only(before, after), only(after, before))
}
