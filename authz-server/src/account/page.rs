//! The account page: what a person granted, where they are signed in, and how they sign in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};

use super::gate::{Stop, answered, to};
use super::view::Reader;
use super::{Browser, SignedIn, find, password};
use crate::app::App;
use crate::client::{Origin, document};
use crate::db::{self, user_account::UserRow};
use crate::error::Failure;
use crate::pages::{Account, GrantRow, Lang, LinkedRow, PasskeyRow, ScopeLine, SessionRow, Texts};

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
    PasswordTooShort,
    PasswordTooLong,
    PasswordTooCommon,
}

impl Notice {
    const ALL: [Self; 15] = [
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
        Self::PasswordTooShort,
        Self::PasswordTooLong,
        Self::PasswordTooCommon,
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
            Self::PasswordTooShort => "password-too-short",
            Self::PasswordTooLong => "password-too-long",
            Self::PasswordTooCommon => "password-too-common",
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
            Self::PasswordTooShort => return Err(texts.password_too_short),
            Self::PasswordTooLong => return Err(texts.password_too_long),
            Self::PasswordTooCommon => return Err(texts.password_too_common),
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
    let reader = Reader::new(app, request, browser, None);
    let page = reader.page();
    let notice = Notice::of(request.query_string()).sentence(page.texts());
    let grants = grants(app, &row.user_id, page.lang).await?;
    let sessions = sessions(app, person, now).await?;
    let passkeys = passkeys(app, &row.user_id).await?;
    let linked = linked(app, &row.user_id).await?;
    let left = db::recovery_code::left(&app.db, &row.user_id).await?;
    let shown = Account {
        page,
        display_name: &row.display_name,
        username: &row.username,
        notice: notice.ok().flatten(),
        error: notice.err(),
        grants: &grants,
        sessions: &sessions,
        passkeys: app.passkeys.is_some().then_some(passkeys.as_slice()),
        has_totp: row.totp_confirmed_at.is_some(),
        recovery_codes_left: usize::try_from(left).unwrap_or(0),
        linked: &linked,
        has_password: app.config.login.passwords && row.password_hash.is_some(),
        min_length: password::MIN_CHARACTERS,
    };
    let status = if notice.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(reader.show(&shown, status))
}

async fn grants(app: &App, user_id: &str, lang: Lang) -> Result<Vec<GrantRow>, Failure> {
    let rows = db::access_grant::list_of_user(&app.db, user_id).await?;
    let resources = app.resources().await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            // Whatever cannot be read: nobody vouches for it.
            let origin = row.client_origin.parse().unwrap_or(Origin::Registration);
            GrantRow {
                grant_id: row.grant_id,
                client: row.client_name,
                origin,
                host: document::host_of(origin, &row.client_id),
                node: resources
                    .find(&row.resource)
                    .map(|resource| resource.title())
                    .unwrap_or_default(),
                node_uri: row.resource,
                scopes: ScopeLine::list(lang, row.scopes.split_ascii_whitespace()),
                since: UnixSeconds(row.created_at),
                last_used: row.last_used_at.map(UnixSeconds),
                ends: row.expires_at.map(UnixSeconds),
            }
        })
        .collect())
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

/// The accounts elsewhere that sign in to this one. One whose provider is configured no more is shown by its issuer.
async fn linked(app: &App, user_id: &str) -> Result<Vec<LinkedRow>, Failure> {
    let rows = db::federated_identity::of_user(&app.db, user_id).await?;
    let in_force = app.in_force();
    let name = |issuer: String| match &in_force.changeable.federation {
        Some(provider) if provider.issuer == issuer => provider.name.clone(),
        _ => issuer,
    };
    Ok(rows
        .into_iter()
        .map(|row| LinkedRow {
            provider: name(row.issuer),
            subject: row.subject,
            since: UnixSeconds(row.created_at),
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
