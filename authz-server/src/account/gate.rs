//! What stands before everything that a person changes about their own account: the form is ours, the browser is
//! signed in, and for what decides how they sign in, it has been so for a short time only.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::UnixSeconds;

use super::session::end_here;
use super::sign_in::see_other;
use super::{Browser, SignedIn, find, form};
use crate::app::App;
use crate::error::{self, Failure};
use crate::params::Params;

/// How recent a sign-in must be to change how one signs in: a browser left open must not be enough.
const RECENT: Duration = Duration::from_secs(600);

/// A form that a signed-in person sent.
pub(super) struct Posted {
    pub(super) browser: Browser,
    pub(super) params: Params,
    pub(super) person: SignedIn,
}

/// Why a request went no further.
pub(super) enum Stop {
    /// Somewhere else first: usually to sign in.
    Elsewhere(HttpResponse),
    /// It failed.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// The answer to a person.
pub(super) fn answered(app: &App, request: &HttpRequest, result: Result<HttpResponse, Stop>) -> HttpResponse {
    match result {
        Ok(answer) | Err(Stop::Elsewhere(answer)) => answer,
        Err(Stop::Failed(failure)) => error::page(app, request, failure),
    }
}

/// Reads a form of a person who is signed in.
pub(super) async fn posted(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
    known: &[&'static str],
    now: UnixSeconds,
) -> Result<Posted, Stop> {
    let (browser, params) = form(app, request, body, known).await?;
    app.catch_up().await?;
    match find(app, &browser, now).await? {
        Some(person) => Ok(Posted {
            browser,
            params,
            person,
        }),
        None => Err(Stop::Elsewhere(to(app, "/login"))),
    }
}

/// As [`posted`], of a person who signed in a short time ago.
pub(super) async fn posted_recently(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
    known: &[&'static str],
    now: UnixSeconds,
) -> Result<Posted, Stop> {
    let posted = posted(app, request, body, known, now).await?;
    if is_recent(&posted.person, now) {
        return Ok(posted);
    }
    Err(sign_in_again(app, &posted.browser, now).await)
}

/// Whether the person signed in a short time ago.
pub(super) fn is_recent(person: &SignedIn, now: UnixSeconds) -> bool {
    now.since(person.authenticated_at) <= RECENT
}

/// Ends this session, and asks to sign in: after that, the account page again.
pub(super) async fn sign_in_again(app: &App, browser: &Browser, now: UnixSeconds) -> Stop {
    let mut answer = to(app, "/login");
    match end_here(app, browser, &mut answer, now).await {
        Ok(()) => Stop::Elsewhere(answer),
        Err(failure) => Stop::Failed(failure),
    }
}

/// 303 to a page of ours (RFC 9110 §15.4.4). `path` is below the issuer.
pub(super) fn to(app: &App, path: &str) -> HttpResponse {
    see_other(&format!("{}{path}", app.config.issuer.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::User;

    #[test]
    fn a_sign_in_is_recent_for_ten_minutes() {
        let person = SignedIn {
            session_id: "s_x".to_owned(),
            user: User {
                user_id: "u_x".to_owned(),
                username: "ana".to_owned(),
                display_name: "Ana".to_owned(),
                email: None,
                is_admin: false,
                is_disabled: false,
            },
            authenticated_at: UnixSeconds(1000),
            methods: "pwd".to_owned(),
        };
        assert!(is_recent(&person, UnixSeconds(1600)));
        assert!(!is_recent(&person, UnixSeconds(1601)));
    }
}
