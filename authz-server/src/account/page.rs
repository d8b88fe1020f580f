//! The account page: what a person granted, where they are signed in, how they sign in, and how to end each.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};

use super::gate::{Posted, Stop, answered, posted, posted_recently, to};
use super::{Browser, SignedIn, find, recovery, view};
use crate::app::App;
use crate::db::{self, user_account::UserRow};
use crate::error::Failure;
use crate::pages::{self, Account, PasskeyRow, SessionRow, Texts};

/// What the last form did. In the address as a word, so that a link cannot put sentences into the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    Nothing,
    GrantRevoked,
    GrantsRevoked,
    SessionEnded,
    OthersEnded,
    PasskeyAdded,
    PasskeyRemoved,
    LastWayIn,
    TotpInForce,
    TotpRemoved,
    PasswordSet,
    WrongPassword,
}

impl Notice {
    const ALL: [Self; 12] = [
        Self::Nothing,
        Self::GrantRevoked,
        Self::GrantsRevoked,
        Self::SessionEnded,
        Self::OthersEnded,
        Self::PasskeyAdded,
        Self::PasskeyRemoved,
        Self::LastWayIn,
        Self::TotpInForce,
        Self::TotpRemoved,
        Self::PasswordSet,
        Self::WrongPassword,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::GrantRevoked => "grant-revoked",
            Self::GrantsRevoked => "grants-revoked",
            Self::SessionEnded => "session-ended",
            Self::OthersEnded => "others-ended",
            Self::PasskeyAdded => "passkey-added",
            Self::PasskeyRemoved => "passkey-removed",
            Self::LastWayIn => "last-way-in",
            Self::TotpInForce => "totp-in-force",
            Self::TotpRemoved => "totp-removed",
            Self::PasswordSet => "password-set",
            Self::WrongPassword => "wrong-password",
        }
    }

    fn of(query: &str) -> Self {
        let word = query.strip_prefix("done=").unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|notice| notice.word() == word)
            .unwrap_or(Self::Nothing)
    }

    /// What was done, or why nothing was.
    fn sentence(self, texts: &'static Texts) -> Result<Option<&'static str>, &'static str> {
        Ok(Some(match self {
            Self::Nothing => return Ok(None),
            Self::GrantRevoked => texts.done_revoked,
            Self::GrantsRevoked => texts.done_revoked_all,
            Self::SessionEnded => texts.done_session_ended,
            Self::OthersEnded => texts.done_others_ended,
            Self::PasskeyAdded => texts.done_passkey_added,
            Self::PasskeyRemoved => texts.done_passkey_removed,
            Self::TotpInForce => texts.done_totp_on,
            Self::TotpRemoved => texts.done_totp_off,
            Self::PasswordSet => texts.done_password,
            Self::LastWayIn => return Err(texts.last_way_in),
            Self::WrongPassword => return Err(texts.wrong_current_password),
        }))
    }
}

/// 303 to the account page, which says what was done.
pub(super) fn back(app: &App, notice: Notice) -> HttpResponse {
    to(app, &path(notice))
}

/// The account page with a notice, below the issuer.
pub(super) fn path(notice: Notice) -> String {
    match notice {
        Notice::Nothing => "/account".to_owned(),
        notice => format!("/account?done={}", notice.word()),
    }
}

/// `GET /account`.
pub(crate) async fn show(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let result = look(&app, &request).await;
    answered(&app, &request, result)
}

async fn look(app: &App, request: &HttpRequest) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    app.catch_up().await?;
    let browser = Browser::of(app, request)?;
    let Some(person) = find(app, &browser, now).await? else {
        return Ok(to(app, "/login"));
    };
    let row = db::user_account::find(&app.db, &person.user.user_id).await?;
    let Some(row) = row else {
        return Ok(to(app, "/login"));
    };
    render(app, request, (&browser, &person, &row), now).await
}

async fn render(
    app: &App,
    request: &HttpRequest,
    (browser, person, row): (&Browser, &SignedIn, &UserRow),
    now: UnixSeconds,
) -> Result<HttpResponse, Stop> {
    let csrf = browser.csrf(app);
    let page = view::frame(app, request, &csrf);
    let notice = Notice::of(request.query_string()).sentence(page.texts());
    let sessions = sessions(app, person, now).await?;
    let passkeys = passkeys(app, &row.user_id).await?;
    let left = db::recovery_code::left(&app.db, &row.user_id).await?;
    let shown = Account {
        page,
        display_name: &row.display_name,
        username: &row.username,
        notice: notice.ok().flatten(),
        error: notice.err(),
        grants: &[],
        sessions: &sessions,
        passkeys: app.passkeys.is_some().then_some(passkeys.as_slice()),
        has_totp: row.totp_confirmed_at.is_some(),
        recovery_codes_left: usize::try_from(left).unwrap_or(0),
        linked: &[],
        has_password: app.config.login.passwords && row.password_hash.is_some(),
        min_length: 8,
    };
    let status = if notice.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(view::remembered(browser, pages::render(&shown, status, &[])))
}

async fn sessions(app: &App, person: &SignedIn, now: UnixSeconds) -> Result<Vec<SessionRow>, Failure> {
    let idle_since = now - app.config.login.session_idle;
    let rows = db::session::of_user(&app.db, &person.user.user_id, now).await?;
    let living = rows.into_iter().filter(|row| row.last_seen_at > idle_since.0);
    Ok(living
        .map(|row| SessionRow {
            is_this: row.session_id == person.session_id,
            session_id: row.session_id,
            agent: row.user_agent,
            address: row.address,
            since: UnixSeconds(row.authenticated_at),
            last_seen: UnixSeconds(row.last_seen_at),
        })
        .collect())
}

async fn passkeys(app: &App, user_id: &str) -> Result<Vec<PasskeyRow>, Failure> {
    let rows = db::passkey::of_user(&app.db, user_id).await?;
    Ok(rows
        .into_iter()
        .map(|row| PasskeyRow {
            credential_id: row.credential_id,
            name: row.name,
            since: UnixSeconds(row.created_at),
            last_used: row.last_used_at.map(UnixSeconds),
        })
        .collect())
}

/// `POST /account/sessions/end`.
pub(crate) async fn end_session(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = end_one(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn end_one(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted(app, request, body, &["session_id"], now).await?;
    let session_id = required(&mut posted, "session_id")?;
    // One that has ended already is as ended as can be; another person's is as unknown as none.
    db::session::end_one(&app.db, &posted.person.user.user_id, &session_id, now).await?;
    Ok(back(app, Notice::SessionEnded))
}

/// `POST /account/sessions/end-others`.
pub(crate) async fn end_others(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = end_all_others(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn end_all_others(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted(app, request, body, &[], now).await?;
    let person = &posted.person;
    db::session::end_others(&app.db, &person.user.user_id, &person.session_id, now).await?;
    Ok(back(app, Notice::OthersEnded))
}

/// `POST /account/passkeys/remove`.
pub(crate) async fn remove_passkey(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = take_passkey_away(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn take_passkey_away(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted_recently(app, request, body, &["credential_id"], now).await?;
    let credential_id = required(&mut posted, "credential_id")?;
    let user_id = &posted.person.user.user_id;
    if db::passkey::remove(&app.db, user_id, &credential_id).await? {
        tracing::info!(user_id, "passkey removed");
        return Ok(back(app, Notice::PasskeyRemoved));
    }
    let kept = db::passkey::find(&app.db, &credential_id).await?;
    Ok(match kept.filter(|row| row.user_id == *user_id) {
        Some(_) => back(app, Notice::LastWayIn),
        None => back(app, Notice::PasskeyRemoved),
    })
}

/// `POST /account/recovery-codes`: new ones, and the old ones are worth nothing.
pub(crate) async fn new_recovery_codes(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = renew_codes(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn renew_codes(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted_recently(app, request, body, &[], now).await?;
    let user_id = &posted.person.user.user_id;
    match recovery::renew(&app.db, user_id, now).await? {
        Some(codes) => {
            tracing::info!(user_id, "recovery codes renewed");
            Ok(view::recovery_codes(app, request, &posted.browser, &codes.reveal()))
        }
        None => Ok(back(app, Notice::Nothing)),
    }
}

fn required(posted: &mut Posted, name: &str) -> Result<String, OAuthError> {
    posted
        .params
        .take(name)
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "a field of the form is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Lang;

    #[test]
    fn only_our_own_words_become_sentences() {
        for notice in Notice::ALL {
            let path = path(notice);
            let query = path.split_once('?').map_or("", |(_, query)| query);
            assert_eq!(Notice::of(query), notice);
        }
        for query in ["done=%3Cb%3E", "done=nothing", "x=1", "done=grant-revoked&done=x"] {
            assert_eq!(Notice::of(query), Notice::Nothing, "{query}");
        }
        assert_eq!(Notice::Nothing.sentence(Lang::En.texts()), Ok(None));
        assert!(Notice::LastWayIn.sentence(Lang::En.texts()).is_err());
    }
}
