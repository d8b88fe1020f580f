//! The device page (RFC 8628 §3.3): where a person types the code that a device shows, sees who asks, and decides.
//! Opening an address never decides anything (§5.4): whoever follows a stranger's link still has to compare and press.

use std::num::NonZeroU32;
use std::sync::Arc;

use ::web::address::ClientAddress;
use ::web::attempts::Attempts;
use ::web::rates::{Exceeded, Rate};
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::{self, UnixSeconds};
use shared::scope::Scope;
use shared::secret::random_bytes;
use url::form_urlencoded;

use super::approval::{Approval, Lasts, approve};
use super::interaction::{self, Purpose};
use crate::account::{self, Browser, SignedIn};
use crate::app::App;
use crate::authorization_details::AuthorizationDetails;
use crate::client::{Client, document};
use crate::db;
use crate::db::device_authorization::{Decider, DeviceRow};
use crate::error::{self, Failure};
use crate::pages::{
    ClientIdentity, Code, DetailItem, DeviceConfirm, DeviceDone, DeviceEntry, Lang, Page, ScopeLine, render,
};
use crate::registry::Resource;
use crate::token::device_authorization::{ALPHABET, CODE_LETTERS, shown};
use crate::token::{GrantType, scopes};

/// What a person types is hardly longer.
const MAX_TYPED: usize = 64;

/// Wrong user codes by person and by address.
#[derive(Debug)]
pub(crate) struct Guesses {
    by_person: Attempts,
    by_address: Attempts,
}

impl Guesses {
    /// Five tries of one person for one of 2^34.5 codes in its ten minutes: a chance below 2^-32 (RFC 8628 §5.1).
    pub(crate) fn new() -> Self {
        let limit = |wrong: u32| NonZeroU32::new(wrong).map_or_else(Rate::unlimited, Rate::per_hour);
        Self {
            by_person: Attempts::new(limit(5)),
            by_address: Attempts::new(limit(10)),
        }
    }

    /// Counts a try before it is known whether it is right.
    fn begin(&self, (person, address): (&str, ClientAddress), now: UnixSeconds) -> Result<(), Exceeded> {
        self.by_person.begin(person, now)?;
        self.by_address.begin(address.limit_key(), now)
    }

    fn was_right(&self, (person, address): (&str, ClientAddress)) {
        self.by_person.was_right(person);
        self.by_address.was_right(address.limit_key());
    }
}

/// A request that waits, and what it is about by now.
pub(super) struct Waiting {
    pub(super) row: DeviceRow,
    pub(super) client: Arc<Client>,
    pub(super) resource: Arc<Resource>,
    /// What of the wish is still allowed.
    pub(super) scopes: Scope,
    pub(super) details: Option<AuthorizationDetails>,
}

/// `GET /device`: the field for the code, filled in when the address has it; after sign-in, the question.
pub(crate) async fn entry(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let answered = async {
        let browser = Browser::of(&app, &request)?;
        let now = clock::now();
        app.catch_up().await?;
        let parameter = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        if let Some(i) = parameter("i")
            && let Some(waiting) = interaction::find(&app, &browser, &i, now).await?
            && let Purpose::Device { user_code } = waiting.purpose
        {
            return question(&app, &request, &browser, &user_code, now).await;
        }
        let code = parameter("user_code").and_then(|typed| normalised(&typed));
        Ok(field(&app, &request, &browser, code.as_deref()))
    };
    answered
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /device`: a code was typed.
pub(crate) async fn enter(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = async {
        let (browser, mut params) = account::form(&app, &request, body, &["user_code"]).await?;
        let now = clock::now();
        app.catch_up().await?;
        match params.take("user_code").and_then(|typed| normalised(&typed)) {
            Some(code) => question(&app, &request, &browser, &code, now).await,
            // Such a code was never made, so nothing was guessed.
            None => Ok(wrong(&app, &request, &browser)),
        }
    };
    answered
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /device/decision`: the person has compared and pressed.
pub(crate) async fn decide(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = async {
        let fields = ["user_code", "decision", "scope"];
        let (browser, mut params) = account::form(&app, &request, body, &fields).await?;
        let now = clock::now();
        app.catch_up().await?;
        let is_allowed = params.take("decision").as_deref() == Some("allow");
        let code = params.take("user_code").and_then(|typed| normalised(&typed));
        let Some(code) = code else {
            return Ok(wrong(&app, &request, &browser));
        };
        let Some(person) = account::find(&app, &browser, now).await? else {
            return sign_in_first(&app, (&request, &browser), code, now).await;
        };
        let Some(waiting) = look_up(&app, &request, &person, &code, now).await? else {
            return Ok(wrong(&app, &request, &browser));
        };
        let shown = params.take("scope").and_then(|text| text.parse().ok());
        if is_allowed && !waiting.scopes.is_subset(&shown.unwrap_or_default()) {
            // The operator has changed what a yes would give: they look once more.
            return question(&app, &request, &browser, &code, now).await;
        }
        if !write_down(&app, &person, &waiting, is_allowed, now).await? {
            return Ok(wrong(&app, &request, &browser));
        }
        let client_id = &waiting.client.client_id;
        tracing::info!(
            client_id,
            user_id = person.user.user_id,
            is_allowed,
            "device decided"
        );
        let done = DeviceDone {
            page: page(&app, &request, ""),
            is_allowed,
        };
        Ok(render(&done, StatusCode::OK, &[]))
    };
    answered
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// Shows who asks, once the person is known. Until then the code is kept for them.
async fn question(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    code: &str,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let Some(person) = account::find(app, browser, now).await? else {
        return sign_in_first(app, (request, browser), code.to_owned(), now).await;
    };
    let Some(waiting) = look_up(app, request, &person, code, now).await? else {
        return Ok(wrong(app, request, browser));
    };
    let csrf = browser.csrf(app);
    let page = page(app, request, &csrf);
    let host = document::host(&waiting.client);
    let confirm = DeviceConfirm {
        user_code: &shown(code),
        client: &waiting.client.name,
        identity: ClientIdentity::new(waiting.client.origin, host.as_deref()),
        address: &waiting.row.address,
        agent: &waiting.row.user_agent,
        asked_at: UnixSeconds(waiting.row.created_at),
        node: &waiting.resource.title(),
        node_uri: &waiting.resource.uri,
        scopes: &ScopeLine::list(page.lang, waiting.scopes.iter()),
        details: &DetailItem::list(page.lang, waiting.details.as_ref()),
        granted: &waiting.scopes.to_string(),
        person: &person.user.display_name,
        page,
    };
    let mut response = render(&confirm, StatusCode::OK, &[]);
    browser.remember(&mut response);
    Ok(response)
}

/// The request under `code`, if one waits there and its client may still have anything. Counts who guesses.
async fn look_up(
    app: &App,
    request: &HttpRequest,
    person: &SignedIn,
    code: &str,
    now: UnixSeconds,
) -> Result<Option<Waiting>, Failure> {
    let who = (person.user.user_id.as_str(), ClientAddress::of(request));
    app.guesses.begin(who, now)?;
    let Some(row) = db::device_authorization::pending(&app.db, code, now).await? else {
        return Ok(None);
    };
    app.guesses.was_right(who);
    let client = document::current(app, &row.client_id, now).await?;
    let resources = app.resources().await?;
    let (Some(client), Some(resource)) = (client, resources.find(&row.resource)) else {
        return Ok(None);
    };
    let wished: Scope = row
        .scopes
        .parse()
        .map_err(|_| Failure::Internal("a device's scope is damaged".to_owned()))?;
    let scopes = wished.intersection(&scopes::grantable(&client, resource));
    let details = row.authorization_details.as_deref();
    let details = details.map(AuthorizationDetails::stored).transpose()?;
    let are_allowed = details
        .as_ref()
        .is_none_or(|details| details.is_allowed(&client, resource));
    if client.is_revoked
        || !are_allowed
        || !client.has_grant(GrantType::DeviceCode.as_str())
        || scopes.is_empty()
    {
        return Ok(None);
    }
    Ok(Some(Waiting {
        resource: Arc::clone(resource),
        row,
        client,
        scopes,
        details,
    }))
}

/// Keeps the decision: `true` for exactly one. The request is taken before the grant is touched, against the order of
/// locks: nobody else can want a grant while they hold a request that still waits, so no circle comes of it.
pub(super) async fn write_down(
    app: &App,
    person: &SignedIn,
    waiting: &Waiting,
    is_allowed: bool,
    now: UnixSeconds,
) -> Result<bool, Failure> {
    let grant_id = format!("g_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?));
    let code = &waiting.row.user_code;
    let decider = Decider {
        user_id: &person.user.user_id,
        session_id: &person.session_id,
        auth_time: person.authenticated_at,
        methods: &person.methods,
    };
    let approval = Approval {
        user_id: decider.user_id,
        client_id: &waiting.client.client_id,
        resource: &waiting.resource.uri,
        scopes: &waiting.scopes,
        // A device comes with a new code each time, and the person is asked about it each time.
        remember: false,
        lasts: Lasts::AsBefore,
    };
    if is_allowed {
        document::keep(app, &waiting.client, now).await?;
    }
    let written = app.db.write(async |tx| {
        if !db::session::stands(tx, (decider.user_id, decider.session_id), now).await? {
            return Ok(false);
        }
        if !db::device_authorization::decide(tx, code, is_allowed, &decider, now).await? {
            return Ok(false);
        }
        if is_allowed {
            let grant_id = approve(tx, &approval, &grant_id, now).await?;
            db::device_authorization::set_grant(tx, code, &grant_id).await?;
        }
        Ok(true)
    });
    Ok(written.await?)
}

async fn sign_in_first(
    app: &App,
    (request, browser): (&HttpRequest, &Browser),
    user_code: String,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let opened = interaction::open(app, request, browser, Purpose::Device { user_code }, now).await?;
    let place = format!("{}/login?i={}", app.config.issuer.path(), opened.id);
    let mut response = HttpResponse::SeeOther().insert_header((LOCATION, place)).finish();
    browser.remember(&mut response);
    Ok(response)
}

/// The field. With a code from the address it shows a QR code of that address too: perhaps the person is signed in on
/// their phone, and not where they opened it.
fn field(app: &App, request: &HttpRequest, browser: &Browser, code: Option<&str>) -> HttpResponse {
    let csrf = browser.csrf(app);
    let code = code.map(shown);
    let address = code
        .as_ref()
        .map(|code| format!("{}?user_code={code}", app.config.issuer.endpoint("/device")));
    let qr = address.and_then(|address| Code::new(&address));
    let entry = DeviceEntry {
        page: page(app, request, &csrf),
        user_code: code.as_deref().unwrap_or_default(),
        code: qr.as_ref(),
        error: None,
    };
    let mut response = render(&entry, StatusCode::OK, &[]);
    browser.remember(&mut response);
    response
}

/// The field once more. What was typed is not repeated.
fn wrong(app: &App, request: &HttpRequest, browser: &Browser) -> HttpResponse {
    let csrf = browser.csrf(app);
    let page = page(app, request, &csrf);
    let entry = DeviceEntry {
        user_code: "",
        code: None,
        error: Some(page.texts().wrong_user_code),
        page,
    };
    let mut response = render(&entry, StatusCode::BAD_REQUEST, &[]);
    browser.remember(&mut response);
    response
}

fn page<'a>(app: &'a App, request: &HttpRequest, csrf: &'a str) -> Page<'a> {
    let accepted = request.headers().get(actix_web::http::header::ACCEPT_LANGUAGE);
    Page {
        lang: Lang::choose(None, accepted.and_then(|value| value.to_str().ok())),
        base: app.config.issuer.path(),
        csrf,
    }
}

/// What a person meant to type: eight letters of the alphabet, whatever the case and whatever lies between them. A
/// digit or vowel that looks like a letter of the alphabet is that letter. `None` when no code reads like this.
fn normalised(typed: &str) -> Option<String> {
    if typed.len() > MAX_TYPED {
        return None;
    }
    let mut code = String::with_capacity(CODE_LETTERS);
    for c in typed.chars() {
        if c.is_whitespace() || matches!(c, '-' | '_' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}') {
            continue;
        }
        let letter = match c.to_ascii_uppercase() {
            '0' | 'O' => 'Q',
            '1' | 'I' => 'L',
            '2' => 'Z',
            '5' => 'S',
            '6' => 'G',
            '8' => 'B',
            'U' => 'V',
            other => other,
        };
        if !letter.is_ascii() || !ALPHABET.contains(&(letter as u8)) {
            return None;
        }
        code.push(letter);
    }
    Some(code).filter(|code| code.len() == CODE_LETTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_meant() {
        for typed in [
            "BCDF-GHJK",
            "bcdfghjk",
            " bcdf ghjk ",
            "b c d f-g h j k",
            "BCDF\u{2013}GHJK",
            "8CDF-6HJK",
        ] {
            assert_eq!(normalised(typed).as_deref(), Some("BCDFGHJK"), "{typed}");
        }
        assert_eq!(normalised("1052-68UV").as_deref(), Some("LQSZGBVV"));
        for typed in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF-GHJ\u{0411}",
            "<script>",
            &"B".repeat(65),
        ] {
            assert_eq!(normalised(typed), None, "{typed}");
        }
    }

    #[test]
    fn who_guesses_is_stopped_by_person_and_by_address() {
        let guesses = Guesses::new();
        let (now, here) = (
            UnixSeconds(1_800_000_000),
            ClientAddress("192.0.2.1".parse().unwrap()),
        );
        for _ in 0..20 {
            assert!(guesses.begin(("right", here), now).is_ok());
            guesses.was_right(("right", here));
        }
        for _ in 0..5 {
            assert!(guesses.begin(("a", here), now).is_ok());
        }
        let elsewhere = ClientAddress("192.0.2.2".parse().unwrap());
        assert!(guesses.begin(("a", elsewhere), now).is_err());
        for _ in 0..5 {
            assert!(guesses.begin(("b", here), now).is_ok());
        }
        assert!(guesses.begin(("c", here), now).is_err());
        assert!(guesses.begin(("c", elsewhere), now).is_ok());
    }
}
