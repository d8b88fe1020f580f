//! Signing in with a password. An unknown name, a wrong password and a disabled account get one answer, after the same
//! work.

use ::web::address::ClientAddress;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::{self, UnixSeconds};
use shared::secret::{Secret, random_bytes};

use super::session::{self, Proof};
use super::throttle::Try;
use super::view::Reader;
use super::{Browser, Provider, crowd, form, known, password, second_factor, users};
use crate::app::App;
use crate::authorize;
use crate::authorize::interaction::{self, Interaction};
use crate::db;
use crate::db::interaction::InteractionRow;
use crate::db::user_account::UserRow;
use crate::error::{self, Failure};
use crate::pages::{self, SecondFactor, SignIn};

/// Time to look up a code.
const SECOND_FACTOR_LIFE: std::time::Duration = std::time::Duration::from_secs(600);
/// What `done` says on the way from the page of a link. A word, so that a link cannot put sentences into the page.
const PASSWORD_SET: &str = "password-set";
/// Longest value that is read from a query.
const MAX_QUERY_VALUE: usize = 200;

/// What is kept of a sign-in between the password and the second factor: the content of an interaction of the kind
/// `second-factor`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HalfSignedIn {
    pub(crate) user_id: String,
    /// What has been proven so far (RFC 8176): `pwd`.
    pub(crate) methods: String,
    /// The interaction that goes on afterwards.
    pub(crate) i: Option<String>,
    /// [`fingerprint`] of the password that was right. The sign-in is worth nothing once it has changed.
    pub(crate) password: String,
    /// Wrong codes so far.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Where the answer to the client's request goes ([`authorize::asking`]), for the policy of the page.
    #[serde(default)]
    pub(crate) answer_to: String,
}

/// The form of `GET /login`, as it is shown at first and again.
#[derive(Default)]
struct Shown<'a> {
    i: Option<&'a str>,
    username: Option<&'a str>,
    is_wrong: bool,
    /// Whether they have just set a password by a link.
    has_new_password: bool,
}

/// `GET /login?i=…`
pub(crate) async fn page(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = begin_page(&app, &request).await;
    shown.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /login`: `username`, `password`, `i`.
pub(crate) async fn submit(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = check(&app, &request, body).await;
    answered.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// A value of the query; `None` when it is absent, stands twice or is too long to be ours.
pub(crate) fn query_value(request: &HttpRequest, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(request.query_string().as_bytes())
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned());
    let value = values.next()?;
    (values.next().is_none() && !value.is_empty() && value.len() <= MAX_QUERY_VALUE).then_some(value)
}

/// 303, also after a POST: the browser asks for `location` with GET and sends the form to nobody else (RFC 9110
/// §15.4.4).
pub(crate) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish()
}

/// To the sign-in page, which says that the password is set.
pub(super) fn with_new_password(app: &App) -> HttpResponse {
    see_other(&format!("{}/login?done={PASSWORD_SET}", app.config.issuer.path()))
}

/// Where a person goes once they are signed in: on with the interaction `i` if it is this browser's, else to their
/// account. Never to an address that somebody else wrote.
pub(crate) async fn after_sign_in(
    app: &App,
    browser: &Browser,
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<String, Failure> {
    let open = open_interaction(app, browser, i, now).await?;
    Ok(open.map_or_else(
        || format!("{}/account", app.config.issuer.path()),
        |interaction| interaction.resume_path(app),
    ))
}

/// Ends a sign-in: the browser gets a session and goes on. For every way to sign in that has proven the person fully
/// without a password. A disabled account is [`Failure::Forbidden`].
pub(crate) async fn complete(
    app: &App,
    request: &HttpRequest,
    (user_id, methods): (&str, &str),
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let proof = Proof {
        user_id,
        methods,
        password_hash: None,
    };
    let response = complete_with(app, request, &proof, i, now).await?;
    response.ok_or(Failure::Forbidden("the account is disabled"))
}

/// [`complete`] where a password was checked. `None`, and nothing has happened, when the account was disabled, or its
/// password changed, meanwhile.
pub(crate) async fn complete_with(
    app: &App,
    request: &HttpRequest,
    proof: &Proof<'_>,
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<Option<HttpResponse>, Failure> {
    let browser = Browser::of(app, request)?;
    let mut response = see_other(&after_sign_in(app, &browser, i, now).await?);
    if !session::begin_with(app, request, proof, &mut response, now).await? {
        return Ok(None);
    }
    known::set(app, &browser, (proof.user_id, now), &mut response)?;
    tracing::info!(user = proof.user_id, methods = proof.methods, "signed in");
    Ok(Some(response))
}

/// Names the password that an account has now, without telling anything of it.
pub(crate) fn fingerprint(user: &UserRow) -> String {
    let phc = Secret::from(user.password_hash.clone().unwrap_or_default());
    URL_SAFE_NO_PAD.encode(phc.hash().as_bytes())
}

async fn begin_page(app: &App, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    let browser = Browser::of(app, request)?;
    let i = query_value(request, "i");
    let open = open_interaction(app, &browser, i.as_deref(), now).await?;
    if let Some(signed_in) = session::find(app, &browser, now).await? {
        let wants_proof = match &open {
            Some(interaction) => authorize::wants_sign_in(app, interaction, &signed_in, now).await?,
            None => false,
        };
        if !wants_proof {
            let i = open.as_ref().map(|interaction| interaction.id.as_str());
            return Ok(see_other(&after_sign_in(app, &browser, i, now).await?));
        }
    }
    let shown = Shown {
        i: i.as_deref(),
        has_new_password: query_value(request, "done").as_deref() == Some(PASSWORD_SET),
        ..Shown::default()
    };
    show(app, request, &browser, (&shown, open.as_ref())).await
}

async fn check(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let (browser, mut params) = form(app, request, body, &["username", "password", "i"]).await?;
    let now = clock::now();
    let typed = params.take("username").unwrap_or_default();
    let secret = Secret::from(params.take("password").unwrap_or_default());
    let i = params.take("i");
    if !app.config.login.passwords {
        return Err(Failure::Forbidden("passwords are off"));
    }
    let username = users::normalised(&typed);
    let user = db::user_account::find_by_username(&app.db, &username).await?;
    let mark = user
        .as_ref()
        .and_then(|user| known::mark(app, &browser, request, (&user.user_id, now)));
    let who = Try {
        username: &username,
        address: ClientAddress::of(request).limit_key(),
        known_browser: mark.as_deref(),
    };
    // Whoever is made to wait is guessing still, for those who watch.
    app.sign_ins
        .enter(&who, now)
        .inspect_err(|_| app.metrics.refused("sign_in"))?;
    let is_right = match password::verify(app, user.as_ref(), secret).await {
        Ok(is_right) => is_right,
        Err(failure) => {
            // No verdict, so no failure of theirs.
            app.sign_ins.succeed(&who);
            return Err(failure);
        }
    };
    let user = user.filter(|user| is_right && user.disabled_at.is_none());
    if let Some(user) = &user {
        app.sign_ins.succeed(&who);
        if let Some(response) = enter(app, request, (user, i.as_deref()), now).await? {
            return Ok(response);
        }
    }
    app.metrics.refused("sign_in");
    tracing::info!(client = %ClientAddress::of(request).0, "refused: sign-in");
    let open = open_interaction(app, &browser, i.as_deref(), now).await?;
    let shown = Shown {
        i: i.as_deref(),
        username: Some(&typed),
        is_wrong: true,
        has_new_password: false,
    };
    show(app, request, &browser, (&shown, open.as_ref())).await
}

/// The password was right: a session, or the second step.
async fn enter(
    app: &App,
    request: &HttpRequest,
    (user, i): (&UserRow, Option<&str>),
    now: UnixSeconds,
) -> Result<Option<HttpResponse>, Failure> {
    if second_factor::is_required(user) {
        return ask_second_factor(app, request, (user, "pwd", i), now)
            .await
            .map(Some);
    }
    let proof = Proof {
        user_id: &user.user_id,
        methods: "pwd",
        password_hash: user.password_hash.as_deref(),
    };
    complete_with(app, request, &proof, i, now).await
}

/// Asks for the second step of a sign-in whose first was one of `methods`.
pub(super) async fn ask_second_factor(
    app: &App,
    request: &HttpRequest,
    (user, methods, i): (&UserRow, &str, Option<&str>),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let browser = Browser::of(app, request)?;
    let open = open_interaction(app, &browser, i, now).await?;
    let asking = match &open {
        Some(interaction) => authorize::asking(app, interaction).await?,
        None => None,
    };
    let answer_to = asking.map(|asking| asking.answer_to).unwrap_or_default();
    let half = HalfSignedIn {
        user_id: user.user_id.clone(),
        methods: methods.to_owned(),
        i: open.map(|interaction| interaction.id),
        password: fingerprint(user),
        failures: 0,
        answer_to,
    };
    let row = InteractionRow {
        interaction_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        kind: "second-factor".to_owned(),
        content: serde_json::to_string(&half).map_err(|e| Failure::Internal(e.to_string()))?,
        started_at: now.0,
    };
    crowd::open(app, request, (&row, &browser), now + SECOND_FACTOR_LIFE).await?;
    let reader = Reader::new(app, request, &browser, None);
    let template = SecondFactor {
        page: reader.page(),
        interaction: &row.interaction_id,
        error: None,
    };
    Ok(reader.show_leading_to(&[&half.answer_to], &template, StatusCode::OK))
}

async fn open_interaction(
    app: &App,
    browser: &Browser,
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<Option<Interaction>, Failure> {
    match i {
        Some(i) if i.len() <= MAX_QUERY_VALUE => interaction::find(app, browser, i, now).await,
        _ => Ok(None),
    }
}

async fn show(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    (shown, open): (&Shown<'_>, Option<&Interaction>),
) -> Result<HttpResponse, Failure> {
    let asking = match open {
        Some(interaction) => authorize::asking(app, interaction).await?,
        None => None,
    };
    let asking = asking.as_ref();
    let ui_locales = asking.and_then(|asking| asking.ui_locales.as_deref());
    let reader = Reader::new(app, request, browser, ui_locales);
    let hint = asking.and_then(|asking| asking.login_hint.as_deref());
    let page = reader.page();
    let other = app.in_force().provider.clone();
    let template = SignIn {
        page,
        interaction: shown.i.filter(|_| open.is_some()),
        client: asking.map(|asking| asking.client_name.as_str()),
        username: shown.username.or(hint).unwrap_or_default(),
        notice: shown
            .has_new_password
            .then_some(page.texts().sign_in_with_new_password),
        error: shown.is_wrong.then_some(page.texts().wrong_password),
        passwords: app.config.login.passwords,
        passkeys: app.passkeys.is_some(),
        upstream: other.as_deref().map(Provider::name),
    };
    let provider = match &other {
        Some(provider) => pages::form_source(&provider.address().await),
        None => String::new(),
    };
    let status = if shown.is_wrong {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    let client = asking.map_or("", |asking| &asking.answer_to);
    Ok(reader.show_leading_to(&[&provider, client], &template, status))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_query_value_stands_once() {
        let value = |uri: &str| query_value(&TestRequest::with_uri(uri).to_http_request(), "i");
        assert_eq!(value("/login?i=a%20b&x=1").as_deref(), Some("a b"));
        for uri in ["/login", "/login?i=", "/login?i=a&i=b", "/login?I=a"] {
            assert_eq!(value(uri), None, "{uri}");
        }
        assert_eq!(value(&format!("/login?i={}", "x".repeat(201))), None);
    }
}
