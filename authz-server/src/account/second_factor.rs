//! The second step of a sign-in (RFC 6238, or a recovery code) between a right password and a session.

use std::num::NonZeroU32;

use ::web::rates::Rate;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};

use super::gate::to;
use super::session::Proof;
use super::sign_in::{HalfSignedIn, complete_with, fingerprint};
use super::view::Reader;
use super::{Browser, form, known, recovery, totp};
use crate::app::App;
use crate::db::interaction::InteractionRow;
use crate::db::user_account::UserRow;
use crate::db::{self, DbFault};
use crate::error::{self, Failure};
use crate::pages::SecondFactor;

/// Codes that one right password lets a person try.
const TRIES: u32 = 5;
/// Codes tried for one account. Only who has its password can use them up, and at this pace guessing takes decades.
pub(crate) const PER_ACCOUNT: Rate = Rate::per_hour(NonZeroU32::MIN.saturating_add(19));
const KIND: &str = "second-factor";

/// Whether a password alone does not sign this person in.
pub(crate) fn is_required(row: &UserRow) -> bool {
    row.totp_confirmed_at.is_some()
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
    Wrong {
        was_last: bool,
    },
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
    let half: HalfSignedIn =
        serde_json::from_str(&opened.content).map_err(|e| Failure::Internal(e.to_string()))?;
    let row = db::user_account::find(&app.db, &half.user_id).await?;
    // A password that was changed meanwhile proves nothing any more.
    let row = row.filter(|row| row.disabled_at.is_none() && fingerprint(row) == half.password);
    let Some(row) = row else {
        return Ok(to(app, "/login"));
    };
    if typed.is_empty() {
        return Ok(show(
            app,
            request,
            &browser,
            (&id, &half, StatusCode::BAD_REQUEST),
        ));
    }
    // Whoever has the password gets five tries for each time they enter it, and so many in an hour altogether.
    // A browser that the person has signed in with before counts by itself: a stranger with the password cannot use
    // its tries up.
    let mark = known::mark(app, &browser, request, (&row.user_id, now));
    app.second_factor.check((&row.user_id, mark))?;
    match decide(app, &browser, (&opened, &half, &row), &typed, now).await? {
        Outcome::Right => {
            let methods = format!("{} otp", half.methods);
            let proof = Proof {
                user_id: &row.user_id,
                methods: &methods,
                password_hash: row.password_hash.as_deref(),
            };
            let entered = complete_with(app, request, &proof, half.i.as_deref(), now).await?;
            Ok(entered.unwrap_or_else(|| to(app, "/login")))
        }
        Outcome::Wrong { was_last: true } => {
            tracing::info!(user_id = row.user_id, "second factor wrong too often");
            app.metrics.refused("second_factor");
            Ok(to(app, "/login"))
        }
        Outcome::Wrong { was_last: false } | Outcome::Overtaken => {
            app.metrics.refused("second_factor");
            Ok(show(
                app,
                request,
                &browser,
                (&id, &half, StatusCode::UNAUTHORIZED),
            ))
        }
    }
}

async fn decide(
    app: &App,
    browser: &Browser,
    (opened, half, row): (&InteractionRow, &HalfSignedIn, &UserRow),
    typed: &str,
    now: UnixSeconds,
) -> Result<Outcome, Failure> {
    let step = match totp::secret_in_force(app, row)? {
        Some(secret) => totp::step(&secret, typed, now)?,
        None => None,
    };
    let recovery = recovery::hash(app.master().recovery_codes(), typed);
    let tries = half.failures + 1;
    let counted = HalfSignedIn {
        failures: tries,
        ..half.clone()
    };
    let counted = serde_json::to_string(&counted).map_err(|e| Failure::Internal(e.to_string()))?;
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

/// The page again, with what was wrong.
fn show(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    (interaction, half, status): (&str, &HalfSignedIn, StatusCode),
) -> HttpResponse {
    let reader = Reader::new(app, request, browser, None);
    let page = reader.page();
    let template = SecondFactor {
        page,
        interaction,
        error: Some(page.texts().wrong_code),
    };
    reader.show_leading_to(&[&half.answer_to], &template, status)
}
