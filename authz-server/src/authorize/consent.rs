//! `/consent`: the person sees who asks for what, and decides (RFC 9700 §4.14 on clickjacking, OAuth 2.1 §7.3).
//!
//! The page carries the id of an interaction, and the scopes that it shows. What is granted is read again from what the
//! client sent, for the person who is signed in now, and is never more than they were shown.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT_LANGUAGE;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use url::Url;

use super::approval::Lasts;
use super::code::{self, Approver, Basis, Outcome};
use super::endpoint::{see, stopped, to_sign_in};
use super::interaction::{self, Interaction, Purpose};
use super::redirect_uri;
use super::request::{AuthorizationRequest, Stop};
use super::step::{self, Step};
use crate::account::{self, Browser, Provider, SignedIn};
use crate::app::App;
use crate::client::document;
use crate::db;
use crate::db::access_grant::GrantRow;
use crate::error::{Failure, Trouble};
use crate::pages::{self, ClientIdentity, Consent, DetailItem, Lang, Page, ScopeLine};

/// The fields of the form.
const FIELDS: &[&str] = &["i", "decision", "duration", "remember", "scope"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `GET /consent?i=`.
pub(crate) async fn show(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = resume(&app, &request).await;
    shown.unwrap_or_else(|stop| stopped(&app, &request, stop))
}

/// `POST /consent`.
pub(crate) async fn decide(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let decided = answer(&app, &request, body).await;
    decided.unwrap_or_else(|stop| stopped(&app, &request, stop))
}

/// The person's no (RFC 6749 §4.1.2.1 `access_denied`), for pages of other parts that ask on behalf of a client.
pub(crate) async fn deny(
    app: &App,
    request: &HttpRequest,
    interaction: &Interaction,
    browser: &Browser,
    now: UnixSeconds,
) -> HttpResponse {
    let denied = async {
        let asked = read(app, interaction).await?;
        refuse(app, (&asked, interaction), browser, now).await
    };
    denied.await.unwrap_or_else(|stop| stopped(app, request, stop))
}

/// The page before somebody signs in elsewhere: there, a client could ride on a session that the provider already has.
pub(crate) async fn ask_before_upstream(
    app: &App,
    request: &HttpRequest,
    interaction: &Interaction,
    browser: &Browser,
    provider: &Provider,
) -> HttpResponse {
    match read(app, interaction).await {
        Ok(asked) => {
            let before = Asked::Before(provider.name(), &provider.address().await);
            page(app, request, (&asked, interaction), browser, &before)
        }
        Err(stop) => stopped(app, request, stop),
    }
}

/// Who is asked.
enum Asked<'a> {
    /// Somebody who is signed in, with what they have granted so far.
    Person(&'a SignedIn, Option<&'a GrantRow>),
    /// Nobody yet; they sign in at this provider afterwards, at this address.
    Before(&'a str, &'a Url),
}

async fn resume(app: &App, request: &HttpRequest) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    app.catch_up().await.map_err(Failure::from)?;
    let browser = Browser::of(app, request).map_err(Failure::from)?;
    let id = only_i(request.query_string());
    let interaction = open_one(app, &browser, id, now).await?;
    let asked = read(app, &interaction).await?;
    let person = account::find(app, &browser, now).await?;
    let next = step::next(app, &asked, person.as_ref(), Some(&interaction), now).await?;
    let (person, grant, basis) = match &next {
        Step::SignIn => return Ok(to_sign_in(app, &interaction.id)),
        Step::Remembered(person, grant) => (*person, Some(grant), Some(Basis::Standing(grant))),
        Step::Enter(person, grant) => (*person, grant.as_ref(), Some(Basis::entering(grant.as_ref()))),
        Step::Ask(person, grant) => {
            let approved = Basis::Approved {
                // Nobody was signed in then, so the page showed nothing that was granted before.
                before: None,
                remember: false,
                lasts: Lasts::AsBefore,
            };
            // They have said yes to just this before they signed in elsewhere.
            let was_allowed = step::was_allowed(&asked, person, &interaction);
            (*person, grant.as_ref(), was_allowed.then_some(approved))
        }
    };
    if let Some(basis) = basis {
        let finishing = Some((interaction.id.as_str(), browser.hash()));
        let basis = (Approver::person(person), basis);
        match code::issue(app, &asked, basis, finishing, now).await? {
            Outcome::Code(code) => return Ok(asked.to.grant(app, code.reveal())),
            Outcome::Decided | Outcome::Gone => return Err(Failure::Shown(Trouble::Decided).into()),
        }
    }
    let to_whom = Asked::Person(person, grant);
    Ok(page(app, request, (&asked, &interaction), &browser, &to_whom))
}

async fn answer(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let (browser, mut fields) = account::form(app, request, body, FIELDS).await?;
    app.catch_up().await.map_err(Failure::from)?;
    let id = fields.take("i").unwrap_or_default();
    let interaction = open_one(app, &browser, &id, now).await?;
    let asked = read(app, &interaction).await?;
    let person = account::find(app, &browser, now).await?;
    let next = step::next(app, &asked, person.as_ref(), Some(&interaction), now).await?;
    let (person, before) = match &next {
        Step::SignIn => return Ok(to_sign_in(app, &interaction.id)),
        Step::Remembered(person, grant) => (*person, Some(grant)),
        Step::Ask(person, grant) | Step::Enter(person, grant) => (*person, grant.as_ref()),
    };
    match fields.take("decision").as_deref() {
        Some("allow") => {}
        Some("deny") => return refuse(app, (&asked, &interaction), &browser, now).await,
        _ => return Err(malformed("the form has no decision").into()),
    }
    let shown = fields.take("scope").and_then(|text| text.parse::<Scope>().ok());
    if !step::code_scope(&asked, before).is_subset(&shown.unwrap_or_default()) {
        // The operator, or the person in another tab, has changed what a yes would give: they look once more.
        return Ok(see(interaction.resume_path(app)));
    }
    let basis = Basis::Approved {
        before,
        remember: fields.take("remember").is_some(),
        lasts: lasts(fields.take("duration").as_deref())?,
    };
    let finishing = Some((interaction.id.as_str(), browser.hash()));
    match code::issue(app, &asked, (Approver::person(person), basis), finishing, now).await? {
        Outcome::Code(code) => Ok(asked.to.grant(app, code.reveal())),
        Outcome::Decided | Outcome::Gone => Err(Failure::Shown(Trouble::Decided).into()),
    }
}

/// Finishes the interaction and tells the client. The person has seen a page, so any client may be told.
async fn refuse(
    app: &App,
    (asked, interaction): (&AuthorizationRequest, &Interaction),
    browser: &Browser,
    now: UnixSeconds,
) -> Result<HttpResponse, Stop> {
    let hash = browser.hash();
    let finished = app.db.write(async |tx| {
        if !db::interaction::finish(tx, &interaction.id, &hash, now).await? {
            return Ok(false);
        }
        match &asked.pushed {
            Some(reference) => db::pushed_request::finish(tx, reference, now).await,
            None => Ok(true),
        }
    });
    if !finished.await.map_err(Failure::from)? {
        return Err(Failure::Shown(Trouble::Decided).into());
    }
    let refusal = OAuthError::new(ErrorCode::AccessDenied, "the person did not allow it");
    Ok(asked.to.refuse(app, &refusal))
}

/// The open interaction `id` of this browser. One that was its own is over; another browser's is none of its business.
async fn open_one(app: &App, browser: &Browser, id: &str, now: UnixSeconds) -> Result<Interaction, Failure> {
    if let Some(open) = interaction::find(app, browser, id, now).await?
        && matches!(open.purpose, Purpose::Authorize { .. })
    {
        return Ok(open);
    }
    match db::interaction::state(&app.db, id, &browser.hash()).await? {
        Some(true) => Err(Failure::Shown(Trouble::Decided)),
        Some(false) => Err(Failure::Shown(Trouble::Expired)),
        None => Err(Failure::Forbidden("the interaction is not this browser's")),
    }
}

/// The client's request, read again.
async fn read(app: &App, interaction: &Interaction) -> Result<AuthorizationRequest, Stop> {
    match &interaction.purpose {
        Purpose::Authorize { arrival, .. } => AuthorizationRequest::read(app, arrival).await,
        Purpose::Device { .. } | Purpose::Approval { .. } => {
            Err(Failure::Forbidden("the interaction is no authorization request").into())
        }
    }
}

fn page(
    app: &App,
    request: &HttpRequest,
    (asked, interaction): (&AuthorizationRequest, &Interaction),
    browser: &Browser,
    to_whom: &Asked<'_>,
) -> HttpResponse {
    let header = request.headers().get(ACCEPT_LANGUAGE);
    let lang = Lang::choose(
        asked.ui_locales.as_deref(),
        header.and_then(|value| value.to_str().ok()),
    );
    let csrf = browser.csrf(app);
    let (person, grant, before_upstream) = match to_whom {
        Asked::Person(person, grant) => (person.user.display_name.as_str(), *grant, None),
        Asked::Before(provider, _) => ("", None, Some(*provider)),
    };
    let before: Scope = grant
        .and_then(|grant| grant.scopes.parse().ok())
        .unwrap_or_default();
    let granted = step::code_scope(asked, grant);
    let scopes: Vec<_> = granted
        .iter()
        .map(|scope| ScopeLine::new(lang, scope, grant.is_some() && !before.contains(scope)))
        .collect();
    let uri = &asked.to.redirect_uri;
    let host = document::host(&asked.client);
    let template = Consent {
        page: Page {
            lang,
            base: app.config.issuer.path(),
            csrf: &csrf,
        },
        interaction: &interaction.id,
        client: &asked.client.name,
        identity: ClientIdentity::new(asked.client.origin, host.as_deref()),
        redirect_host: &redirect_uri::shown(uri),
        is_loopback: redirect_uri::is_loopback(uri),
        node: &asked.resource.title(),
        node_uri: &asked.resource.uri,
        scopes: &scopes,
        details: &DetailItem::list(lang, asked.authorization_details.as_ref()),
        granted: &granted.to_string(),
        person,
        before_upstream,
    };
    // The redirect that ends the form's POST goes to the client, or to the provider.
    let client = Url::parse(uri)
        .map(|url| pages::form_source(&url))
        .unwrap_or_default();
    let provider = match to_whom {
        Asked::Person(..) => String::new(),
        Asked::Before(_, address) => pages::form_source(address),
    };
    let mut response = pages::render(&template, StatusCode::OK, &[&client, &provider]);
    browser.remember(&mut response);
    response
}

/// The value of `i` in a query; empty without one. It is base64url, so there is nothing to decode.
fn only_i(query: &str) -> &str {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("i="))
        .unwrap_or_default()
}

fn lasts(choice: Option<&str>) -> Result<Lasts, Failure> {
    match choice {
        None | Some("until-revoked") => Ok(Lasts::UntilRevoked),
        Some("30-days") => Ok(Lasts::For(DAY * 30)),
        Some("1-day") => Ok(Lasts::For(DAY)),
        Some(_) => Err(malformed("the form has an unknown duration")),
    }
}

fn malformed(sentence: &'static str) -> Failure {
    OAuthError::new(ErrorCode::InvalidRequest, sentence).into()
}
