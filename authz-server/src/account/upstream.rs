//! Signing in with an account elsewhere (OpenID Connect Core §3.1). Our own consent comes before the redirect there:
//! else whoever is signed in there already would grant everything by following a link.

mod account;

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use shared::clock::{self, UnixSeconds};
use shared::jose::sha256_base64url;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, random_bytes};
use url::{Url, form_urlencoded};

use self::account::account_of;
use super::provider::{Answer, Provider};
use super::{Browser, crowd, form, second_factor, sign_in};
use crate::app::App;
use crate::authorize;
use crate::authorize::interaction::{self, Interaction, Purpose};
use crate::db::interaction::InteractionRow;
use crate::db::{self};
use crate::error::{self, Failure, Trouble};

const KIND: &str = "upstream";
/// Where the provider sends people back to, below the issuer.
const CALLBACK: &str = "/login/upstream/callback";
/// A longer answer is not one of a provider.
const MAX_QUERY: usize = 8 * 1024;
/// How a person of the provider proved who they are, as far as we know (RFC 8176 has no word for it).
pub(super) const METHODS: &str = "fed";

/// What is remembered while a person is away. State, nonce and verifier are not: see [`Errand`].
#[derive(Serialize, Deserialize)]
struct Content {
    /// The interaction for which they sign in.
    i: Option<String>,
    /// When they were asked to prove who they are, if the client wants that.
    asked_for_proof_at: Option<UnixSeconds>,
    /// To whom they were sent. A release before this one did not write it down: who was away then begins again.
    #[serde(default)]
    sent_to: Option<SentTo>,
}

/// The provider to whom somebody was sent, and who we are to it. By the time that they are back, the configuration may
/// name another one: its code is not for them to redeem (RFC 9700 §4.4).
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct SentTo {
    issuer: String,
    client_id: String,
}

impl SentTo {
    fn of(provider: &Provider) -> Self {
        Self {
            issuer: provider.settings.issuer.clone(),
            client_id: provider.settings.client_id.clone(),
        }
    }
}

/// What ties the way back to the way there. Only the hash of `state` is kept; the others follow from it with a key of
/// ours, so that whoever reads the database, or the address in the browser, can complete nobody's sign-in.
struct Errand {
    state: Secret,
    nonce: Secret,
    verifier: Secret,
}

impl Errand {
    fn of(app: &App, state: Secret) -> Self {
        let derive = |purpose: &str| {
            let text = format!("upstream {purpose} {}", state.reveal());
            Secret::from(URL_SAFE_NO_PAD.encode(hmac::sign(app.master().forms(), text.as_bytes())))
        };
        Self {
            nonce: derive("nonce"),
            verifier: derive("verifier"),
            state,
        }
    }

    /// The row in which it is remembered.
    fn row_id(&self) -> String {
        sha256_base64url(self.state.reveal().as_bytes())
    }
}

/// `POST /login/upstream`: the button.
pub(crate) async fn begin(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = async {
        let (browser, mut params) = form(&app, &request, body, &["i"]).await?;
        let provider = provider(&app)?;
        let now = clock::now();
        let i = params.take("i");
        match open_interaction(&app, &browser, i.as_deref(), now).await? {
            Some(waiting) if matches!(waiting.purpose, Purpose::Authorize { allowed: None, .. }) => {
                Ok(authorize::ask_before_upstream(&app, &request, &waiting, &browser, &provider).await)
            }
            waiting => set_off(&app, &provider, (&request, &browser), waiting.map(|i| i.id), now).await,
        }
    };
    answered
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /login/upstream/consent`: what the person said before they were sent away.
pub(crate) async fn consent(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = async {
        let (browser, mut params) = form(&app, &request, body, &["i", "decision", "scope"]).await?;
        let provider = provider(&app)?;
        let now = clock::now();
        let i = params.take("i");
        let waiting = open_interaction(&app, &browser, i.as_deref(), now).await?;
        let Some(Interaction {
            id,
            purpose: Purpose::Authorize {
                arrival, session_id, ..
            },
            started_at,
        }) = waiting
        else {
            return Err(Failure::Forbidden(
                "the request is another browser's, or has ended",
            ));
        };
        if params.take("decision").as_deref() != Some("allow") {
            let purpose = Purpose::Authorize {
                arrival,
                allowed: None,
                session_id,
            };
            let waiting = Interaction {
                id,
                purpose,
                started_at,
            };
            return Ok(authorize::deny(&app, &request, &waiting, &browser, now).await);
        }
        let purpose = Purpose::Authorize {
            arrival,
            allowed: Some(params.take("scope").unwrap_or_default()),
            session_id,
        };
        let content = serde_json::to_string(&purpose).map_err(|e| Failure::Internal(e.to_string()))?;
        if !db::interaction::rewrite(&app.db, &id, &browser.hash(), &content).await? {
            return Err(Failure::Forbidden("the request has ended"));
        }
        set_off(&app, &provider, (&request, &browser), Some(id), now).await
    };
    answered
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `GET /login/upstream/callback`: the person is back, with a code or without.
pub(crate) async fn callback(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let answered = finish(&app, &request).await;
    answered.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

async fn finish(app: &App, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    let provider = app.in_force().provider.clone();
    let back = Back::read(request.query_string())?;
    let browser = Browser::of(app, request)?;
    let now = clock::now();
    app.catch_up().await?;
    let errand = Errand::of(app, back.state.clone());
    let Content {
        i,
        asked_for_proof_at,
        sent_to,
    } = used_up(app, &browser, &errand, now).await?;
    let is_the_same = |now: &Arc<Provider>| sent_to.as_ref().is_some_and(|then| *then == SentTo::of(now));
    let Some(provider) = provider.filter(is_the_same) else {
        tracing::info!("a sign-in elsewhere was refused: the provider is configured no more");
        return Err(Failure::Shown(Trouble::OtherProvider));
    };
    let metadata = provider.metadata().await?;
    // RFC 9207 §2.4: an answer of another issuer is not for our provider to exchange (mix-up).
    if back
        .iss
        .as_ref()
        .map_or(metadata.sends_issuer, |iss| *iss != provider.settings.issuer)
    {
        return Err(not_signed_in(
            "the answer is that of another issuer, or says of none",
        ));
    }
    let code = match (&back.code, &back.error) {
        (Some(code), None) => code,
        (_, Some(error)) => return Err(not_signed_in(&format!("the provider answered {error}"))),
        (None, None) => return Err(not_signed_in("the provider sent no code")),
    };
    let answer = Answer {
        code,
        verifier: &errand.verifier,
        nonce: &errand.nonce,
        redirect_uri: &app.config.issuer.endpoint(CALLBACK),
        asked_for_proof_at,
    };
    let identity = provider.identify(&answer, now).await?;
    let user_id = account_of(app, &provider, &identity, now).await?;
    let user = db::user_account::find(&app.db, &user_id).await?;
    let user = user.ok_or_else(|| not_signed_in("the account is gone"))?;
    if second_factor::is_required(&user) {
        // The person asked for it, whichever way they come.
        return sign_in::ask_second_factor(app, request, (&user, METHODS, i.as_deref()), now).await;
    }
    sign_in::complete(app, request, (&user_id, METHODS), i.as_deref(), now).await
}

/// Ends the errand: it is this browser's, and nobody has come back from it before. Returns what the person came for.
async fn used_up(
    app: &App,
    browser: &Browser,
    errand: &Errand,
    now: UnixSeconds,
) -> Result<Content, Failure> {
    let unknown = || Failure::Forbidden("state is unknown, used, expired or another browser's");
    let id = errand.row_id();
    let row = db::interaction::find(&app.db, (&id, KIND), &browser.hash(), now).await?;
    let content: Content = serde_json::from_str(&row.ok_or_else(unknown)?.content)
        .map_err(|e| Failure::Internal(e.to_string()))?;
    let hash = browser.hash();
    let is_ours = app
        .db
        .write(async |tx| db::interaction::finish(tx, &id, &hash, now).await)
        .await?;
    if is_ours { Ok(content) } else { Err(unknown()) }
}

/// Sends the person to the provider.
async fn set_off(
    app: &App,
    provider: &Provider,
    (request, browser): (&HttpRequest, &Browser),
    i: Option<String>,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let metadata = provider.metadata().await?;
    let wants_proof = match open_interaction(app, browser, i.as_deref(), now).await? {
        Some(waiting) => authorize::wants_proof(app, &waiting).await?,
        None => false,
    };
    let errand = Errand::of(app, Secret::from(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?)));
    let content = Content {
        i,
        asked_for_proof_at: wants_proof.then_some(now),
        sent_to: Some(SentTo::of(provider)),
    };
    let row = InteractionRow {
        interaction_id: errand.row_id(),
        kind: KIND.to_owned(),
        content: serde_json::to_string(&content).map_err(|e| Failure::Internal(e.to_string()))?,
        started_at: now.0,
    };
    crowd::open(app, request, (&row, browser), now + interaction::LIFE).await?;
    let mut url: Url = metadata.authorization_endpoint.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.settings.client_id)
        .append_pair("redirect_uri", &app.config.issuer.endpoint(CALLBACK))
        .append_pair("scope", &provider.settings.scopes.to_string())
        .append_pair("state", errand.state.reveal())
        .append_pair("nonce", errand.nonce.reveal())
        .append_pair(
            "code_challenge",
            &sha256_base64url(errand.verifier.reveal().as_bytes()),
        )
        .append_pair("code_challenge_method", "S256");
    if wants_proof {
        // The client wants the person to prove who they are now; a session there is not enough (Core §3.1.2.1). With
        // `max_age` the ID token must say when they did.
        url.query_pairs_mut()
            .append_pair("prompt", "login")
            .append_pair("max_age", "0");
    }
    let mut response = HttpResponse::SeeOther()
        .insert_header((LOCATION, url.as_str()))
        .insert_header(("referrer-policy", "no-referrer"))
        .finish();
    browser.remember(&mut response);
    Ok(response)
}

/// The provider's answer (OAuth 2.1 §4.1.2), read once: a parameter that stands twice is no answer.
#[derive(Debug)]
struct Back {
    state: Secret,
    code: Option<Secret>,
    iss: Option<String>,
    /// The code of a refusal, with nothing in it that a log should not have.
    error: Option<String>,
}

impl Back {
    fn read(query: &str) -> Result<Self, OAuthError> {
        let malformed = |sentence| OAuthError::new(ErrorCode::InvalidRequest, sentence);
        if query.len() > MAX_QUERY {
            return Err(malformed("the answer is too long"));
        }
        let (mut state, mut code, mut iss, mut error) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "iss" => &mut iss,
                "error" => &mut error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(malformed("a parameter stands twice"));
            }
        }
        let printable = |text: String| text.chars().filter(char::is_ascii_graphic).take(64).collect();
        Ok(Self {
            state: Secret::from(state.ok_or_else(|| malformed("state is missing"))?),
            code: code.map(Secret::from),
            iss,
            error: error.map(printable),
        })
    }
}

fn provider(app: &App) -> Result<Arc<Provider>, Failure> {
    app.in_force().provider.clone().ok_or_else(|| {
        OAuthError::new(ErrorCode::InvalidRequest, "no other sign-in is configured here").into()
    })
}

async fn open_interaction(
    app: &App,
    browser: &Browser,
    i: Option<&str>,
    now: UnixSeconds,
) -> Result<Option<Interaction>, Failure> {
    match i {
        Some(i) => interaction::find(app, browser, i, now).await,
        None => Ok(None),
    }
}

fn not_signed_in(reason: &str) -> Failure {
    tracing::info!(reason, "a sign-in elsewhere was refused");
    Failure::Shown(Trouble::Upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once() {
        let back = Back::read("state=s&code=c&iss=https%3A%2F%2Fop&x=1").unwrap();
        assert_eq!((back.state.reveal(), back.code.unwrap().reveal()), ("s", "c"));
        assert_eq!(back.iss.as_deref(), Some("https://op"));
        for bad in [
            "",
            "code=c",
            "state=a&state=b",
            "state=s&code=a&code=b",
            "state=s&iss=a&iss=a",
        ] {
            assert!(Back::read(bad).is_err(), "{bad}");
        }
        assert!(Back::read(&format!("state={}", "x".repeat(MAX_QUERY))).is_err());
        let refused = Back::read("state=s&error=access_denied%0d%0aX").unwrap();
        assert_eq!(refused.error.as_deref(), Some("access_deniedX"));
    }
}
