//! An authorization request, read once at each step (OAuth 2.1 §4.1.1). Nothing behind it sees raw parameters.
//!
//! Until client and redirect URI are known to belong together, a fault is a page: a redirect would make this server a
//! tool for sending people anywhere (RFC 9700 §4.11). From there on it goes back to the client.

use std::sync::Arc;

use shared::access_token::is_thumbprint;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::{Scope, ScopeFault};
use shared::secret::SecretHash;

use super::answer::Destination;
use super::arrival::Arrival;
use super::negotiation;
use super::raw::{Raw, malformed};
use super::redirect_uri;
use crate::app::App;
use crate::authorization_details::AuthorizationDetails;
use crate::client::{Client, document};
use crate::error::{Failure, Trouble};
use crate::registry::Resource;
use crate::token::target;

/// Longest `state` that is given back.
const MAX_STATE: usize = 4096;
/// Longest `nonce` (OpenID Connect Core §3.1.2.1).
const MAX_NONCE: usize = 512;
/// Longest `login_hint`.
const MAX_HINT: usize = 200;

/// Why a request goes no further, and who is told.
#[derive(Debug)]
pub(super) enum Stop {
    /// The person, with a page.
    Page(Failure),
    /// The client, at its redirect URI.
    Back(Box<Destination>, OAuthError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Page(failure)
    }
}

/// `prompt` (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Prompt {
    /// Show nothing: answer at once or refuse.
    pub(super) none: bool,
    /// Sign in anew.
    pub(super) login: bool,
    /// Ask even if it was remembered.
    pub(super) consent: bool,
    /// Let the person choose who they are: asking does, since its page offers to change.
    pub(super) select_account: bool,
}

/// What a client asks a person for. Its parts belong together: nobody else can make one.
#[derive(Debug)]
pub(super) struct AuthorizationRequest {
    pub(super) client: Arc<Client>,
    pub(super) to: Destination,
    pub(super) resource: Arc<Resource>,
    /// What would be granted: asked for, and allowed to the client and at the resource.
    pub(super) scope: Scope,
    /// S256 of the verifier (RFC 7636 §4.2).
    pub(super) code_challenge: String,
    pub(super) prompt: Prompt,
    /// Seconds since the person proved who they are, at most.
    pub(super) max_age: Option<i64>,
    pub(super) nonce: Option<String>,
    /// The thumbprint of the key that must be shown when the code is redeemed (RFC 9449 §10).
    pub(super) dpop_jkt: Option<String>,
    pub(super) ui_locales: Option<String>,
    /// RFC 9396 §3.
    pub(super) authorization_details: Option<AuthorizationDetails>,
    /// What is used up with the answer, if the request was pushed.
    pub(super) pushed: Option<SecretHash>,
}

impl AuthorizationRequest {
    /// Reads the parameters and checks all of them.
    pub(super) async fn read(app: &App, arrival: &Arrival) -> Result<Self, Stop> {
        let mut raw = Raw::scan(&arrival.query).map_err(Failure::from)?;
        let client = living_client(app, raw.take("client_id")).await?;
        let redirect_uri = redirect_uri_of(&client, raw.take("redirect_uri"))?;
        let state = raw.take("state");
        let is_long = state.as_ref().is_some_and(|state| state.len() > MAX_STATE);
        let to = Destination {
            redirect_uri,
            state: state.filter(|_| !is_long),
        };
        if is_long {
            raw.note(malformed("the state is too long"));
        }
        let is_trusted = client.is_trusted();
        match Self::check(app, raw, client, &to).await {
            Ok(request) => Ok(Self {
                pushed: arrival.pushed(),
                ..request
            }),
            Err(Failure::Refused(refusal)) if is_trusted => Err(Stop::Back(Box::new(to), refusal)),
            Err(failure) => Err(Stop::Page(failure)),
        }
    }

    /// Refuses before anybody has seen a page. A client that nobody vouches for is not told: it could use us to send
    /// people to addresses of its own (OAuth 2.1 §7.12.2).
    pub(super) fn refuse(&self, code: ErrorCode, sentence: &'static str) -> Stop {
        let refusal = OAuthError::new(code, sentence);
        if self.client.is_trusted() {
            Stop::Back(Box::new(self.to.clone()), refusal)
        } else {
            Stop::Page(refusal.into())
        }
    }

    async fn check(app: &App, mut raw: Raw, client: Arc<Client>, to: &Destination) -> Result<Self, Failure> {
        if let Some(fault) = raw.take_fault() {
            return Err(fault.into());
        }
        check_form(&client, &mut raw)?;
        let code_challenge = raw.take("code_challenge");
        let method = raw.take("code_challenge_method");
        check_challenge(code_challenge.as_deref(), method.as_deref())?;
        let prompt = prompt(raw.take("prompt"))?;
        let max_age = max_age(raw.take("max_age"))?;
        let bounded = |value: Option<String>, most: usize, sentence| match value {
            Some(value) if value.len() > most => Err(malformed(sentence)),
            other => Ok(other),
        };
        let nonce = bounded(raw.take("nonce"), MAX_NONCE, "the nonce is too long")?;
        bounded(raw.take("login_hint"), MAX_HINT, "the login_hint is too long")?;
        let dpop_jkt = raw.take("dpop_jkt");
        // Any other value would be a code that nobody can redeem.
        if dpop_jkt.as_deref().is_some_and(|jkt| !is_thumbprint(jkt)) {
            return Err(malformed("dpop_jkt is not a SHA-256 thumbprint").into());
        }
        let [resource] = match raw.resources.as_slice() {
            [] => [None],
            [only] => [Some(only.as_str())],
            // RFC 8707 §2 lets us: a token for two resources could be used by one against the other.
            _ => {
                let sentence = "a token is for one resource; ask once for each";
                return Err(OAuthError::new(ErrorCode::InvalidTarget, sentence).into());
            }
        };
        let resource = target(app, &client, resource).await?;
        let asked = raw.take("scope").map(|text| scope(&text)).transpose()?;
        let facts = negotiation::Facts {
            client: &client,
            resource: &resource,
            redirect_uri: &to.redirect_uri,
            code_challenge: code_challenge.as_deref(),
        };
        let scope = negotiation::negotiate(&facts, asked.as_ref())?;
        let details = raw.take("authorization_details");
        let details = details.map(|text| AuthorizationDetails::ask(&text, (&client, &resource), &scope));
        let authorization_details = details.transpose()?;
        Ok(Self {
            client,
            to: to.clone(),
            resource,
            scope,
            code_challenge: code_challenge.unwrap_or_default(),
            prompt,
            max_age,
            nonce,
            dpop_jkt,
            ui_locales: raw.take("ui_locales"),
            authorization_details,
            pushed: None,
        })
    }

    /// Whether a sign-in at `at` answers `max_age` at `now`.
    pub(super) fn is_recent(&self, at: UnixSeconds, now: UnixSeconds) -> bool {
        self.max_age.is_none_or(|most| now.0.saturating_sub(at.0) <= most)
    }
}

/// The client, unless it is unknown or revoked: then nobody can be trusted to be told.
pub(super) async fn living_client(app: &App, client_id: Option<String>) -> Result<Arc<Client>, Failure> {
    let client_id = client_id.ok_or_else(|| malformed("client_id is missing"))?;
    let found = document::current(app, &client_id, clock::now()).await?;
    let found = found.filter(|client| !client.is_revoked);
    found.ok_or(Failure::Shown(Trouble::Client))
}

/// The requested redirect URI if it is registered; without one, the only one that is (OAuth 2.1 §2.3.3).
fn redirect_uri_of(client: &Client, requested: Option<String>) -> Result<String, Failure> {
    match (requested, client.redirect_uris.as_slice()) {
        (Some(requested), registered) => {
            let fits = |known: &String| redirect_uri::matches(known, &requested);
            if registered.iter().any(fits) {
                return Ok(requested);
            }
            tracing::info!(client_id = client.client_id, "the redirect_uri is not registered");
            Err(Failure::Shown(Trouble::Redirect))
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Failure::Shown(Trouble::Redirect)),
    }
}

/// Whether this client may ask in this way at all.
fn check_form(client: &Client, raw: &mut Raw) -> Result<(), OAuthError> {
    if !client.has_grant("authorization_code") {
        let sentence = "this client may not use authorization_code";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, sentence));
    }
    match raw.take("response_type").as_deref() {
        Some("code") => {}
        None => return Err(malformed("response_type is missing")),
        // Nothing but a code ever travels through the browser (RFC 9700 §2.1.2).
        Some(_) => {
            let sentence = "response_type must be code";
            return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, sentence));
        }
    }
    if raw.take("response_mode").is_some_and(|mode| mode != "query") {
        return Err(malformed("response_mode must be query"));
    }
    for (name, code) in [
        // Never fetched: an address that a stranger names. One of ours has been followed before.
        ("request_uri", ErrorCode::RequestUriNotSupported),
        ("registration", ErrorCode::RegistrationNotSupported),
    ] {
        if raw.take(name).is_some() {
            return Err(OAuthError::new(
                code,
                "put the parameters into the request itself",
            ));
        }
    }
    Ok(())
}

/// PKCE with S256 and nothing else (OAuth 2.1 §4.1.1, RFC 9700 §2.1.1). Without a method the standard means `plain`.
fn check_challenge(challenge: Option<&str>, method: Option<&str>) -> Result<(), OAuthError> {
    let challenge = challenge.ok_or_else(|| malformed("code_challenge is missing (PKCE, S256)"))?;
    if method != Some("S256") {
        return Err(malformed("code_challenge_method must be S256"));
    }
    // A SHA-256 in base64url without padding.
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if challenge.len() != 43 || !challenge.bytes().all(is_base64url) {
        return Err(malformed("code_challenge must be the base64url of a SHA-256"));
    }
    Ok(())
}

fn prompt(text: Option<String>) -> Result<Prompt, OAuthError> {
    let mut prompt = Prompt::default();
    for word in text
        .as_deref()
        .unwrap_or_default()
        .split(' ')
        .filter(|word| !word.is_empty())
    {
        let wish = match word {
            "none" => &mut prompt.none,
            "login" => &mut prompt.login,
            "consent" => &mut prompt.consent,
            "select_account" => &mut prompt.select_account,
            _ => return Err(malformed("this server does not know that prompt")),
        };
        *wish = true;
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(malformed("prompt none stands alone"));
    }
    Ok(prompt)
}

fn max_age(text: Option<String>) -> Result<Option<i64>, OAuthError> {
    let Some(text) = text else { return Ok(None) };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed("max_age must be a whole number of seconds"));
    }
    // What does not fit is longer than anybody lives.
    Ok(Some(text.parse().unwrap_or(i64::MAX)))
}

fn scope(text: &str) -> Result<Scope, OAuthError> {
    text.parse().map_err(|fault: ScopeFault| {
        OAuthError::new(ErrorCode::InvalidScope, "the scope is malformed or too long")
            .because(fault.to_string())
    })
}

impl From<Stop> for Failure {
    /// For a page even where the client could be told.
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Page(failure) => failure,
            Stop::Back(_, refusal) => refusal.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkce_is_s256_or_nothing() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(check_challenge(Some(good), Some("S256")).is_ok());
        for method in [None, Some("plain"), Some("s256"), Some("S512"), Some("S256 ")] {
            assert!(check_challenge(Some(good), method).is_err(), "{method:?}");
        }
        let padded = format!("{good}=");
        let long = good.repeat(3);
        for challenge in [
            &good[..42],
            &padded,
            &long,
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM",
        ] {
            assert!(
                check_challenge(Some(challenge), Some("S256")).is_err(),
                "{challenge}"
            );
        }
        assert!(check_challenge(None, Some("S256")).is_err());
    }

    #[test]
    fn prompts_and_ages() {
        let read = |text: &str| prompt(Some(text.to_owned()));
        assert_eq!(prompt(None).unwrap(), Prompt::default());
        assert!(read("login consent").is_ok_and(|prompt| prompt.login && prompt.consent && !prompt.none));
        assert!(read("none").is_ok_and(|prompt| prompt.none));
        assert!(read("none login").is_err() && read("create").is_err());
        assert_eq!(max_age(Some("0".to_owned())).unwrap(), Some(0));
        assert_eq!(max_age(Some("9".repeat(30))).unwrap(), Some(i64::MAX));
        assert!(max_age(Some("-1".to_owned())).is_err() && max_age(Some("1.5".to_owned())).is_err());
    }
}
