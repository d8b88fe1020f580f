//! `/oauth/authorize` (OAuth 2.1 §3.1): the first step of a request.

use ::web::address::ClientAddress;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};

use super::approval::Lasts;
use super::arrival::{self, Arrival, Way};
use super::code::{self, Approver, Basis, Outcome};
use super::interaction::{self, Purpose};
use super::raw::Raw;
use super::request::{AuthorizationRequest, Stop};
use super::step::{self, Step};
use crate::account::{self, Browser};
use crate::app::App;
use crate::client::document;
use crate::db::{self, access_grant};
use crate::error::{self, Failure, Trouble};
use crate::params::{MAX_FORM_BYTES, Params};

/// `GET /oauth/authorize`.
pub(crate) async fn authorize(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let answered = begin(&app, &request, request.query_string()).await;
    answered.unwrap_or_else(|stop| stopped(&app, &request, stop))
}

/// `POST /oauth/authorize`: the same parameters as a form (OpenID Connect Core §3.1.2.1). It comes from clients, so
/// it has no anti-forgery token; it decides nothing.
pub(crate) async fn authorize_form(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let answered = begin_form(&app, &request, body).await;
    answered.unwrap_or_else(|stop| stopped(&app, &request, stop))
}

async fn begin_form(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES)
        .await
        .map_err(Failure::from)?;
    let query = Params::text(request, &body).map_err(Failure::from)?;
    // It becomes a part of an address below.
    if !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Failure::from(unreadable()).into());
    }
    if Browser::of(app, request).map_err(Failure::from)?.is_new() && !query.is_empty() {
        // A form of a foreign page comes without our cookies (SameSite=Lax), also when the browser has some. Sent on
        // as a GET they come along, and nobody who is signed in is asked to sign in again.
        let base = app.config.issuer.path();
        return Ok(see(format!("{base}/oauth/authorize?{query}")));
    }
    begin(app, request, query).await
}

/// From the query to the next page, or back to the client.
async fn begin(app: &App, request: &HttpRequest, query: &str) -> Result<HttpResponse, Stop> {
    // It is kept as it came, for anybody who comes.
    if query.len() > MAX_FORM_BYTES {
        return Err(Failure::from(unreadable()).into());
    }
    let now = clock::now();
    app.catch_up().await.map_err(Failure::from)?;
    let from = ClientAddress::of(request);
    if let Some(client_id) = Raw::scan(query).ok().and_then(|mut raw| raw.take("client_id")) {
        document::admit(app, &client_id, from).await?;
    }
    let (arrival, way) = Arrival::open(app, query, from, now).await?;
    let answered = proceed(app, request, (&arrival, way), now).await;
    if let (Err(Stop::Back(..)), Some(reference)) = (&answered, arrival.pushed()) {
        // The client has its answer.
        let finish = app
            .db
            .write(async |tx| db::pushed_request::finish(tx, &reference, now).await);
        finish.await.map_err(Failure::from)?;
    }
    answered
}

async fn proceed(
    app: &App,
    request: &HttpRequest,
    (arrival, way): (&Arrival, Way),
    now: UnixSeconds,
) -> Result<HttpResponse, Stop> {
    let asked = AuthorizationRequest::read(app, arrival).await?;
    arrival::check_way(app, &asked, way)?;
    if let Some(username) = &asked.client.approves_as {
        return through_the_door(app, &asked, username, now).await;
    }
    let browser = Browser::of(app, request).map_err(Failure::from)?;
    let person = account::find(app, &browser, now).await?;
    let page = match step::next(app, &asked, person.as_ref(), None, now).await? {
        Step::Remembered(person, grant) => {
            let basis = (Approver::person(person), Basis::Standing(&grant));
            match code::issue(app, &asked, basis, None, now).await? {
                Outcome::Code(code) => return Ok(asked.to.grant(app, code.reveal())),
                Outcome::Decided => return Err(Failure::Shown(Trouble::Decided).into()),
                // Revoked at this very moment: they are asked again.
                Outcome::Gone => Page::Consent,
            }
        }
        Step::Enter(person, grant) => {
            let basis = Basis::entering(grant.as_ref());
            match code::issue(app, &asked, (Approver::person(person), basis), None, now).await? {
                Outcome::Code(code) => return Ok(asked.to.grant(app, code.reveal())),
                Outcome::Decided => return Err(Failure::Shown(Trouble::Decided).into()),
                // Signed out at this very moment.
                Outcome::Gone => Page::SignIn,
            }
        }
        Step::Ask(..) => Page::Consent,
        Step::SignIn => Page::SignIn,
    };
    if asked.prompt.none {
        return Err(match page {
            Page::SignIn => asked.refuse(ErrorCode::LoginRequired, "nobody is signed in"),
            Page::Consent => asked.refuse(ErrorCode::ConsentRequired, "the person has not allowed this"),
        });
    }
    let purpose = Purpose::Authorize {
        arrival: arrival.clone(),
        allowed: None,
        session_id: person.map(|person| person.session_id),
    };
    let interaction = interaction::open(app, request, &browser, purpose, now).await?;
    let mut response = match page {
        Page::SignIn => to_sign_in(app, &interaction.id),
        Page::Consent => see(interaction.resume_path(app)),
    };
    browser.remember(&mut response);
    Ok(response)
}

/// For a page: who asks cannot be told from it.
fn unreadable() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidRequest,
        "the request is too long, or is not form-encoded",
    )
}

/// What a person is shown next.
enum Page {
    SignIn,
    Consent,
}

/// The testing door: a client whose requests are approved as one person, without a browser that is signed in. It is
/// open on a loopback server that was configured for it, and nowhere else.
async fn through_the_door(
    app: &App,
    asked: &AuthorizationRequest,
    username: &str,
    now: UnixSeconds,
) -> Result<HttpResponse, Stop> {
    let closed = || Failure::Shown(Trouble::Client);
    if !app.config.login.testing_door {
        return Err(closed().into());
    }
    // Nothing is written of a grant that allows all of it already.
    let grant =
        access_grant::live_of_username(&app.db, username, &asked.client.client_id, &asked.resource.uri)
            .await
            .map_err(Failure::from)?;
    if let Some(grant) = grant.filter(|grant| step::is_for(grant, asked, now) && step::allows(grant, asked)) {
        let approver = door(&grant.user_id, now);
        if let Outcome::Code(code) =
            code::issue(app, asked, (approver, Basis::Standing(&grant)), None, now).await?
        {
            return Ok(asked.to.grant(app, code.reveal()));
        }
    }
    let user = db::user_account::find_by_username(&app.db, username)
        .await
        .map_err(Failure::from)?;
    let user = user
        .filter(|user| user.disabled_at.is_none())
        .ok_or_else(closed)?;
    let approver = door(&user.user_id, now);
    let basis = Basis::Approved {
        before: None,
        remember: false,
        lasts: Lasts::AsBefore,
    };
    match code::issue(app, asked, (approver, basis), None, now).await? {
        Outcome::Code(code) => Ok(asked.to.grant(app, code.reveal())),
        Outcome::Decided | Outcome::Gone => Err(Failure::Shown(Trouble::Decided).into()),
    }
}

/// Somebody whom the testing door lets in without a session.
fn door(user_id: &str, now: UnixSeconds) -> Approver<'_> {
    Approver {
        user_id,
        session_id: None,
        auth_time: now,
        methods: "",
    }
}

/// Tells whoever is to be told.
pub(super) fn stopped(app: &App, request: &HttpRequest, stop: Stop) -> HttpResponse {
    match stop {
        Stop::Page(failure) => error::page(app, request, failure),
        Stop::Back(to, refusal) => to.refuse(app, &refusal),
    }
}

/// To the sign-in page, and from there on with the interaction.
pub(super) fn to_sign_in(app: &App, interaction: &str) -> HttpResponse {
    see(format!("{}/login?i={interaction}", app.config.issuer.path()))
}

/// 303: whatever was posted here is not posted on (RFC 9700 §4.12).
pub(super) fn see(path: String) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, path)).finish()
}
