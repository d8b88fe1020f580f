//! Codes from an authenticator app (RFC 6238): setting them up, and checking one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::secret::random_bytes;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use super::gate::{Posted, Stop, answered, posted_recently};
use super::page::{Notice, back};
use super::recovery::NewCodes;
use super::view::Reader;
use crate::app::App;
use crate::db::{self, user_account::UserRow};
use crate::error::Failure;
use crate::pages::{Code, EnrolTotp};

/// Seconds that one code is worth something; apps know no other.
const STEP: u64 = 30;
/// A clock may be one step off (RFC 6238 §5.2).
const SKEW: u16 = 1;

/// `POST /account/totp/start`: a new secret, not in force yet.
pub(crate) async fn start(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = begin(&app, &request, body).await;
    answered(&app, &request, result)
}

/// `POST /account/totp/confirm`: the first right code puts the secret in force.
pub(crate) async fn confirm(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = put_in_force(&app, &request, body).await;
    answered(&app, &request, result)
}

/// `POST /account/totp/remove`.
pub(crate) async fn remove(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = take_away(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn begin(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted_recently(app, request, body, &[], now).await?;
    let user_id = &posted.person.user.user_id;
    // 160 bits (RFC 4226 §4, requirement R6).
    let secret = Zeroizing::new(random_bytes::<20>().map_err(Failure::from)?);
    let sealed = app
        .master()
        .seal_value(&place(user_id), secret.as_slice())
        .map_err(|fault| Failure::Internal(fault.to_string()))?;
    if !db::totp::begin(&app.db, user_id, &sealed).await? {
        return Ok(back(app, Notice::TotpInForce));
    }
    show(app, request, &posted, (secret.as_slice(), StatusCode::OK))
}

async fn put_in_force(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted_recently(app, request, body, &["code"], now).await?;
    let typed = posted.params.take("code").unwrap_or_default();
    let user_id = posted.person.user.user_id.clone();
    let row = db::user_account::find(&app.db, &user_id).await?;
    let pending = row.and_then(|row| row.totp_sealed.filter(|_| row.totp_confirmed_at.is_none()));
    let Some(sealed) = pending else {
        return Ok(back(app, Notice::Nothing));
    };
    let secret = open(app, &user_id, &sealed)?;
    let Some(step) = step(&secret, &typed, now)? else {
        return show(app, request, &posted, (&secret, StatusCode::BAD_REQUEST));
    };
    let codes = NewCodes::generate().map_err(Failure::from)?;
    let confirmed = app
        .db
        .write(async |tx| {
            if !db::totp::confirm(tx, &user_id, (&sealed, step), now).await? {
                return Ok(false);
            }
            let key = app.master().recovery_codes();
            codes.keep(tx, (key, &user_id), now).await?;
            Ok(true)
        })
        .await?;
    if !confirmed {
        return Ok(back(app, Notice::Nothing));
    }
    tracing::info!(user_id, "second factor set up");
    Ok(codes.show(app, request, &posted.browser))
}

async fn take_away(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted_recently(app, request, body, &[], now).await?;
    let user_id = &posted.person.user.user_id;
    let removed = app
        .db
        .write(async |tx| {
            let removed = db::totp::remove(tx, user_id).await?;
            db::recovery_code::drop_all(tx, user_id).await?;
            Ok(removed)
        })
        .await?;
    if removed {
        tracing::info!(user_id, "second factor removed");
    }
    Ok(back(app, Notice::TotpRemoved))
}

fn show(
    app: &App,
    request: &HttpRequest,
    posted: &Posted,
    (secret, status): (&[u8], StatusCode),
) -> Result<HttpResponse, Stop> {
    let generator = generator(app, secret, &posted.person.user.username)?;
    let url = generator
        .to_url()
        .map_err(|fault| Failure::Internal(fault.to_string()))?;
    let secret = Zeroizing::new(generator.secret().to_base32());
    let code = Code::new(&url);
    let reader = Reader::new(app, request, &posted.browser, None);
    let page = reader.page();
    let template = EnrolTotp {
        page,
        code: code.as_ref(),
        secret: &secret,
        error: (!status.is_success()).then_some(page.texts().wrong_code),
    };
    Ok(reader.show(&template, status))
}

/// The time step whose code this is, if it is one of now. It must still be used up.
pub(super) fn step(secret: &[u8], typed: &str, now: UnixSeconds) -> Result<Option<i64>, Failure> {
    let code: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let Ok(seconds) = u64::try_from(now.0) else {
        return Ok(None);
    };
    let step = build(secret, "x", "x")?.check(&code, seconds);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// The secret of a person whose second factor is in force.
pub(super) fn secret_in_force(app: &App, row: &UserRow) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match (&row.totp_sealed, row.totp_confirmed_at) {
        (Some(sealed), Some(_)) => open(app, &row.user_id, sealed).map(Some),
        _ => Ok(None),
    }
}

fn open(app: &App, user_id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    app.master()
        .open_value(&place(user_id), sealed)
        .map_err(|fault| Failure::Internal(fault.to_string()))
}

fn place(user_id: &str) -> String {
    format!("totp:{user_id}")
}

fn generator(app: &App, secret: &[u8], username: &str) -> Result<Totp, Failure> {
    // A label has one colon, between issuer and account.
    let host = app.config.issuer.url().host_str().unwrap_or_default();
    let issuer = format!("Edge Hive {}", host.replace(':', "-"));
    build(secret, &username.replace(':', "-"), &issuer)
}

fn build(secret: &[u8], account: &str, issuer: &str) -> Result<Totp, Failure> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(SKEW)
        .with_step_duration(STEP)
        .with_secret(secret.to_vec())
        .with_account_name(account)
        .with_issuer(Some(issuer))
        .build()
        .map_err(|fault| Failure::Internal(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238 appendix B, the last six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (2_000_000_000, "279037"),
        ] {
            let found = step(SECRET, code, UnixSeconds(seconds)).unwrap();
            assert_eq!(found, Some(seconds / 30), "{code}");
        }
        assert_eq!(step(SECRET, " 287 082", UnixSeconds(59)).unwrap(), Some(1));
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_no_more() {
        for (now, is_right) in [(29, true), (59, true), (89, true), (90, false), (150, false)] {
            let found = step(SECRET, "287082", UnixSeconds(now)).unwrap();
            assert_eq!(found.is_some(), is_right, "{now}");
        }
        for typed in [
            "",
            "28708",
            "2870822",
            "28708a",
            "２８７０８２",
            "-87082",
            "+87082",
        ] {
            assert_eq!(step(SECRET, typed, UnixSeconds(59)).unwrap(), None, "{typed}");
        }
    }
}
