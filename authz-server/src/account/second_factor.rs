//! The second step of a sign-in (RFC 6238, or a recovery code) between a right password and a session.

use std::num::NonZeroU32;
use std::time::Duration;

use ::web::rates::Rate;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::{self, UnixSeconds};
use shared::jose::sha256_base64url;
use shared::secret::random_bytes;

use super::gate::to;
use super::{Browser, begin, form, recovery, totp, view};
use crate::app::App;
use crate::authorize::interaction;
use crate::db::interaction::InteractionRow;
use crate::db::user_account::UserRow;
use crate::db::{self, DbFault};
use crate::error::{self, Failure};

/// Time to find the phone.
const LIFE: Duration = Duration::from_secs(600);
/// Codes that one right password lets a person try.
const TRIES: u32 = 5;
/// Codes tried for one account. Only who has its password can use them up, and at this pace guessing takes decades.
pub(crate) const PER_ACCOUNT: Rate = Rate::per_hour(NonZeroU32::MIN.saturating_add(19));
const KIND: &str = "second-factor";

/// What is known of the person so far.
#[derive(Serialize, Deserialize)]
struct Pending {
    user_id: String,
    /// How they proved it (RFC 8176).
    methods: String,
    /// The SHA-256 of the account's password hash then: a password that was changed meanwhile proves nothing.
    password: Option<String>,
    /// The interaction that goes on afterwards.
    i: Option<String>,
    /// Codes tried so far.
    tries: u32,
}

/// Whether a password alone does not sign this person in.
pub(crate) fn is_required(row: &UserRow) -> bool {
    row.totp_confirmed_at.is_some()
}

/// Asks for the second step, after the password of `row` was right. `i` is the interaction that goes on afterwards.
pub(crate) async fn ask(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    (row, i): (&UserRow, Option<&str>),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let pending = Pending {
        user_id: row.user_id.clone(),
        methods: "pwd".to_owned(),
        password: fingerprint(row),
        i: i.map(str::to_owned),
        tries: 0,
    };
    let opened = InteractionRow {
        interaction_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        kind: KIND.to_owned(),
        content: content(&pending)?,
        started_at: now.0,
    };
    db::interaction::open(&app.db, &opened, &browser.hash(), now + LIFE).await?;
    let shown = (opened.interaction_id.as_str(), StatusCode::OK);
    Ok(view::second_factor(app, request, browser, shown))
}

/// `POST /login/second-factor`.
pub(crate) async fn check(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    match try_code(&app, &request, body).await {
        Ok(answer) => answer,
        Err(failure) => error::page(&app, &request, failure),
    }
}

/// How a try ended.
enum Outcome {
    Right,
    Wrong { was_last: bool },
    /// Another try of the same interaction came first; this one was not looked at.
    Overtaken,
}

async fn try_code(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let (browser, mut params) = form(app, request, body, &["code", "i"]).await?;
    let now = clock::now();
    app.catch_up().await?;
    let id = params.take("i").unwrap_or_default();
    let typed = params.take("code").unwrap_or_default();
    let found = db::interaction::find(&app.db, (&id, KIND), &browser.hash(), now).await?;
    // It has ended, or never was: the password again.
    let Some(opened) = found else {
        return Ok(to(app, "/login"));
    };
    let pending: Pending = serde_json::from_str(&opened.content).map_err(|e| Failure::Internal(e.to_string()))?;
    let row = db::user_account::find(&app.db, &pending.user_id).await?;
    let row = row.filter(|row| row.disabled_at.is_none() && fingerprint(row) == pending.password);
    let Some(row) = row else {
        return Ok(to(app, "/login"));
    };
    if typed.is_empty() {
        let shown = (id.as_str(), StatusCode::BAD_REQUEST);
        return Ok(view::second_factor(app, request, &browser, shown));
    }
    // Whoever has the password gets five tries for each time they enter it, and so many in an hour altogether.
    app.second_factor.check(&row.user_id)?;
    match decide(app, &browser, (&opened, &pending, &row), &typed, now).await? {
        Outcome::Right => {
            let methods = format!("{} otp", pending.methods);
            let place = resume(app, &browser, pending.i.as_deref(), now).await?;
            let mut answer = HttpResponse::SeeOther()
                .insert_header((LOCATION, place))
                .finish();
            begin(app, request, (&row.user_id, &methods), &mut answer, now).await?;
            Ok(answer)
        }
        Outcome::Wrong { was_last: true } => {
            tracing::info!(user_id = row.user_id, "second factor wrong too often");
            app.metrics.refused("second_factor");
            Ok(to(app, "/login"))
        }
        Outcome::Wrong { was_last: false } | Outcome::Overtaken => {
            app.metrics.refused("second_factor");
            let shown = (id.as_str(), StatusCode::UNAUTHORIZED);
            Ok(view::second_factor(app, request, &browser, shown))
        }
    }
}

async fn decide(
    app: &App,
    browser: &Browser,
    (opened, pending, row): (&InteractionRow, &Pending, &UserRow),
    typed: &str,
    now: UnixSeconds,
) -> Result<Outcome, Failure> {
    let step = match totp::secret_in_force(app, row)? {
        Some(secret) => totp::step(&secret, typed, now)?,
        None => None,
    };
    let recovery = recovery::hash(typed);
    let tries = pending.tries + 1;
    let counted = content(&Pending {
        user_id: pending.user_id.clone(),
        methods: pending.methods.clone(),
        password: pending.password.clone(),
        i: pending.i.clone(),
        tries,
    })?;
    let (id, hash) = (opened.interaction_id.as_str(), browser.hash());
    let outcome = app
        .db
        .write(async |tx| {
            // Counted before it is looked at: parallel tries cannot all be the first.
            let change = (opened.content.as_str(), counted.as_str());
            if !db::interaction::swap(tx, id, &hash, change, now).await? {
                return Ok(Outcome::Overtaken);
            }
            let is_right = match (step, &recovery) {
                (Some(step), _) => db::totp::use_step(tx, &row.user_id, step).await?,
                // A recovery code replaces a second factor that is still in force.
                (None, Some(code)) => {
                    db::totp::hold(tx, &row.user_id).await?
                        && db::recovery_code::use_up(tx, &row.user_id, code, now).await?
                }
                (None, None) => false,
            };
            let was_last = tries >= TRIES;
            if is_right || was_last {
                db::interaction::finish(tx, id, &hash, now).await?;
            }
            Ok::<_, DbFault>(if is_right {
                Outcome::Right
            } else {
                Outcome::Wrong { was_last }
            })
        })
        .await?;
    Ok(outcome)
}

fn fingerprint(row: &UserRow) -> Option<String> {
    let hash = row.password_hash.as_deref()?;
    Some(sha256_base64url(hash.as_bytes()))
}

fn content(pending: &Pending) -> Result<String, Failure> {
    serde_json::to_string(pending).map_err(|e| Failure::Internal(e.to_string()))
}

/// Where a person goes on who has just signed in: the interaction `i` of this browser, or the account page.
pub(super) async fn resume(
    app: &App,
    browser: &Browser,
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<String, Failure> {
    if let Some(i) = i
        && let Some(found) = interaction::find(app, browser, i, now).await?
    {
        return Ok(found.resume_path(app));
    }
    Ok(format!("{}/account", app.config.issuer.path()))
}
