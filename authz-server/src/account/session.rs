//! Sessions: a browser that is signed in. Only [`find`] makes a [`SignedIn`], from a cookie that the database knows.

use ::web::address::ClientAddress;
use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::UnixSeconds;
use shared::secret::{Secret, SecretKind, random_bytes};

use super::{Browser, User};
use crate::app::App;
use crate::db;
use crate::db::session::SessionRow;
use crate::error::Failure;

/// Longest user agent that is kept.
const MAX_USER_AGENT: usize = 200;
/// Seconds between two notes that a session was seen: not every page needs a write.
const SEEN_EVERY: i64 = 60;

/// A person whose browser is signed in, and whose account is not disabled.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) session_id: String,
    pub(crate) user: User,
    /// When they last proved who they are (OpenID Connect Core §2, `auth_time`).
    pub(crate) authenticated_at: UnixSeconds,
    /// How, space separated (RFC 8176): `pwd`, `otp`, `hwk`, `fed`.
    pub(crate) methods: String,
}

impl SignedIn {
    /// Whether they signed in with an account elsewhere, not here.
    pub(crate) fn is_from_elsewhere(&self) -> bool {
        self.methods.split(' ').next() == Some(super::upstream::METHODS)
    }

    /// Whether they have shown something that is not known or told, but had: a passkey, or a second factor.
    pub(crate) fn has_second_factor(&self) -> bool {
        self.methods
            .split(' ')
            .any(|method| matches!(method, "hwk" | "otp"))
    }
}

/// The session of this browser, if it has a living one.
pub(crate) async fn find(
    app: &App,
    browser: &Browser,
    now: UnixSeconds,
) -> Result<Option<SignedIn>, Failure> {
    let Some(cookie) = browser.session() else {
        return Ok(None);
    };
    let idle_since = now - app.config.login.session_idle;
    let Some(row) = db::session::find(&app.db, &cookie.hash(), now, idle_since).await? else {
        return Ok(None);
    };
    let user = db::user_account::find(&app.db, &row.user_id)
        .await?
        .map(User::from);
    let Some(user) = user.filter(|user| !user.is_disabled) else {
        return Ok(None);
    };
    if now.0 - row.last_seen_at >= SEEN_EVERY {
        db::session::seen(&app.db, &cookie.hash(), now).await?;
    }
    Ok(Some(SignedIn {
        session_id: row.session_id,
        user,
        authenticated_at: UnixSeconds(row.authenticated_at),
        methods: row.methods,
    }))
}

/// What a person has just proven.
pub(crate) struct Proof<'a> {
    pub(crate) user_id: &'a str,
    /// As [`SignedIn::methods`].
    pub(crate) methods: &'a str,
    /// The PHC string that the password was checked against: the session begins only if it is still the account's.
    pub(crate) password_hash: Option<&'a str>,
}

/// Signs the browser in without a password: as [`begin_with`]. A disabled account is [`Failure::Forbidden`].
pub(crate) async fn begin(
    app: &App,
    request: &HttpRequest,
    (user_id, methods): (&str, &str),
    response: &mut HttpResponse,
    now: UnixSeconds,
) -> Result<(), Failure> {
    let proof = Proof {
        user_id,
        methods,
        password_hash: None,
    };
    if begin_with(app, request, &proof, response, now).await? {
        return Ok(());
    }
    Err(Failure::Forbidden("the account is disabled"))
}

/// Signs the browser in: a new session under a new cookie, whatever it had before (no fixation). `response` is what
/// it is answered with. The session that it had is ended. `false`, and nothing has happened, when the account was
/// disabled or its password changed since it was checked.
pub(crate) async fn begin_with(
    app: &App,
    request: &HttpRequest,
    proof: &Proof<'_>,
    response: &mut HttpResponse,
    now: UnixSeconds,
) -> Result<bool, Failure> {
    let browser = Browser::of(app, request)?;
    let cookie = Secret::generate(SecretKind::Session)?;
    let row = SessionRow {
        session_id: format!("s_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)),
        user_id: proof.user_id.to_owned(),
        methods: proof.methods.to_owned(),
        user_agent: user_agent(request),
        address: ClientAddress::of(request).0.to_string(),
        authenticated_at: now.0,
        last_seen_at: now.0,
        expires_at: (now + app.config.login.session_ttl).0,
    };
    let before = browser.session().map(Secret::hash);
    let has_begun = db::session::begin(
        &app.db,
        &cookie.hash(),
        &row,
        proof.password_hash,
        before.as_ref(),
    )
    .await?;
    if has_begun {
        browser.remember(response);
        browser.set_session(response, Some(&cookie));
    }
    Ok(has_begun)
}

/// Signs this browser out.
pub(crate) async fn end_here(
    app: &App,
    browser: &Browser,
    response: &mut HttpResponse,
    now: UnixSeconds,
) -> Result<(), Failure> {
    if let Some(cookie) = browser.session() {
        db::session::end_by_cookie(&app.db, &cookie.hash(), now).await?;
        browser.set_session(response, None);
    }
    Ok(())
}

/// The program that a request says it comes from, without what a page should not show.
pub(crate) fn user_agent(request: &HttpRequest) -> String {
    let text = request
        .headers()
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_USER_AGENT)
        .collect()
}
