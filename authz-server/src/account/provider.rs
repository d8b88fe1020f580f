//! The OpenID Provider with whose accounts people may sign in here: what it says of itself (OpenID Connect
//! Discovery §4), where it sends people back from, and what its codes are worth.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::http_client::{ClientFault, FetchFault, HttpClient};
use shared::id_token::{Expected, Identity, UnverifiedIdToken};
use shared::json;
use shared::jwks::{DEFAULT_MAX_STALE, KeyLookup, KeySetSettings, RemoteKeySet};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;
use shared::uri::is_loopback;
use tokio::runtime::Handle;
use tokio::time::Instant;
use url::Url;

use crate::config::Federation;
use crate::error::{Failure, Trouble};

/// Real documents have 2 to 8 KiB.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// How long a page waits for an address that it can do without.
const MOMENT: Duration = Duration::from_millis(500);
/// How long its metadata is fresh.
const FRESH: Duration = Duration::from_secs(3600);

/// Why nobody could be signed in.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderFault {
    /// It does not answer; trying again may help.
    #[error("the provider cannot be asked: {0}")]
    Away(String),
    /// What it says is not acceptable.
    #[error("{0}")]
    Refused(String),
}

impl From<ProviderFault> for Failure {
    fn from(fault: ProviderFault) -> Self {
        match fault {
            ProviderFault::Away(_) => {
                let sentence = "the other sign-in cannot be reached; try again";
                let refusal = OAuthError::new(ErrorCode::TemporarilyUnavailable, sentence);
                refusal.because(fault.to_string()).into()
            }
            ProviderFault::Refused(reason) => {
                tracing::warn!(reason, "a sign-in elsewhere was refused");
                Self::Shown(Trouble::Upstream)
            }
        }
    }
}

/// What the provider says of itself. Everything else is left unread.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// The same, checked.
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    /// RFC 9207 §3: an answer without `iss` is not its own.
    pub(super) sends_issuer: bool,
    /// Whether our secret goes into the `Authorization` header, the default of OpenID Connect Core §9.
    takes_basic: bool,
}

struct Known {
    metadata: Arc<Metadata>,
    keys: RemoteKeySet,
    since: Instant,
}

/// One provider.
pub(crate) struct Provider {
    pub(super) settings: Federation,
    http: HttpClient,
    /// Where key sets are kept fresh: a web worker is no place for a task that outlives requests.
    runtime: Handle,
    known: ArcSwapOption<Known>,
    /// Held while it is asked, so that a crowd asks once.
    asking: tokio::sync::Mutex<()>,
}

/// An answer to our authorization request, with what we remember of it.
pub(super) struct Answer<'a> {
    pub(super) code: &'a Secret,
    pub(super) verifier: &'a Secret,
    pub(super) nonce: &'a Secret,
    pub(super) redirect_uri: &'a str,
    /// When the person was asked to prove who they are, if they were.
    pub(super) asked_for_proof_at: Option<UnixSeconds>,
}

impl Provider {
    /// Asks nothing yet. Call it on the program's own runtime.
    pub(crate) fn new(settings: &Federation) -> Result<Self, ClientFault> {
        Ok(Self {
            http: HttpClient::new(settings.ca_file.as_deref())?,
            settings: settings.clone(),
            runtime: Handle::current(),
            known: ArcSwapOption::empty(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Whether it is the one that `settings` name, and we the same to it.
    pub(crate) fn is_of(&self, settings: &Federation) -> bool {
        self.settings == *settings
    }

    /// What the button says.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where a form that leads to the provider ends: browsers apply `form-action` to redirects too. What is known is
    /// taken, however old; no page waits for the provider longer than a moment, nor behind another page.
    pub(crate) async fn address(&self) -> Url {
        if let Some(known) = self.known.load_full() {
            return known.metadata.authorization_endpoint.clone();
        }
        let is_free = self.asking.try_lock().is_ok();
        if is_free && let Ok(Ok(metadata)) = tokio::time::timeout(MOMENT, self.metadata()).await {
            return metadata.authorization_endpoint.clone();
        }
        self.settings.base.url().clone()
    }

    /// What the provider says of itself: fresh, or as old as keys may be when it does not answer.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderFault> {
        self.known().await.map(|known| Arc::clone(&known.metadata))
    }

    async fn known(&self) -> Result<Arc<Known>, ProviderFault> {
        let younger_than = |age: Duration| self.known.load_full().filter(|known| known.since.elapsed() < age);
        if let Some(known) = younger_than(FRESH) {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = younger_than(FRESH) {
            return Ok(known);
        }
        match self.ask().await {
            Ok(metadata) => {
                let known = Arc::new(self.remembered(metadata));
                self.known.store(Some(Arc::clone(&known)));
                Ok(known)
            }
            Err(fault) => {
                tracing::warn!(issuer = self.settings.issuer, %fault, "the provider's metadata could not be read");
                younger_than(DEFAULT_MAX_STALE).ok_or(fault)
            }
        }
    }

    async fn ask(&self) -> Result<Metadata, ProviderFault> {
        let place = self.settings.base.endpoint("/.well-known/openid-configuration");
        let url: Url = place.parse().map_err(|_| refused("its address is no URL"))?;
        let fetched = self
            .http
            .fetch_json(&url, MAX_DOCUMENT_BYTES)
            .await
            .map_err(away)?;
        read(&fetched.body, &self.settings)
    }

    /// Keys that are kept fresh already go on being kept.
    fn remembered(&self, metadata: Metadata) -> Known {
        let before = self.known.load_full();
        let same = before.filter(|known| known.metadata.jwks_uri == metadata.jwks_uri);
        let keys = match same {
            Some(known) => known.keys.clone(),
            None => {
                let _runtime = self.runtime.enter();
                let settings = KeySetSettings {
                    issuer: self.settings.base.clone(),
                    jwks_uri: Some(metadata.jwks_uri.clone()),
                    algorithms: Vec::new(),
                    max_stale: DEFAULT_MAX_STALE,
                    kept: None,
                };
                RemoteKeySet::new(self.http.clone(), settings)
            }
        };
        Known {
            metadata: Arc::new(metadata),
            keys,
            since: Instant::now(),
        }
    }

    /// Exchanges a code (OAuth 2.1 §4.1.3) and checks the ID token that it brings.
    pub(super) async fn identify(
        &self,
        answer: &Answer<'_>,
        now: UnixSeconds,
    ) -> Result<Identity, ProviderFault> {
        let known = self.known().await?;
        let settings = &self.settings;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", answer.code.reveal()),
            ("redirect_uri", answer.redirect_uri),
            ("code_verifier", answer.verifier.reveal()),
        ];
        let mut basic = None;
        match &settings.client_secret {
            Some(secret) if known.metadata.takes_basic => basic = Some((settings.client_id.as_str(), secret)),
            Some(secret) => form.extend([
                ("client_id", &*settings.client_id),
                ("client_secret", secret.reveal()),
            ]),
            None => form.push(("client_id", &settings.client_id)),
        }
        let url = &known.metadata.token_endpoint;
        let fetched = self.http.post_form(url, &form, basic, MAX_DOCUMENT_BYTES).await;
        let members = json::object(&fetched.map_err(away)?.body)
            .map_err(|_| refused("its token answer is no JSON object"))?;
        let text = |name: &str| {
            let text = members.get(name).and_then(Value::as_str);
            text.map(|text| Secret::from(text.to_owned()))
        };
        let id_token = text("id_token").ok_or_else(|| refused("its token answer has no ID token"))?;
        let unverified = UnverifiedIdToken::parse(id_token.reveal())
            .map_err(|fault| refused(&format!("ID token: {fault}")))?;
        let looked_up = match unverified.kid() {
            Some(kid) => known.keys.key(kid).await,
            None => known.keys.only_key(unverified.algorithm()).await,
        };
        let key = match looked_up {
            KeyLookup::Key(key) => key,
            KeyLookup::UnknownKid => {
                return Err(refused(
                    "ID token: it names no key that the provider has, nor is there only one",
                ));
            }
            KeyLookup::Unavailable { .. } => {
                return Err(ProviderFault::Away("its keys cannot be fetched".to_owned()));
            }
        };
        let access_token = text("access_token");
        let expected = Expected {
            issuer: &settings.issuer,
            client_id: &settings.client_id,
            nonce: answer.nonce,
            access_token: access_token.as_ref(),
            authenticated_since: answer.asked_for_proof_at,
        };
        let identity = unverified.verify(&key, &expected, now);
        identity.map_err(|fault| refused(&format!("ID token: {fault}")))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.settings.issuer)
    }
}

/// Reads a provider's metadata. It must be that of the provider that was asked, byte for byte (OpenID Connect
/// Discovery §4.3).
fn read(body: &[u8], settings: &Federation) -> Result<Metadata, ProviderFault> {
    let members = json::object(body).map_err(|_| refused("its metadata is no JSON object"))?;
    let document: Document = serde_json::from_value(Value::Object(members))
        .map_err(|_| refused("its metadata lacks a member or has one of another type"))?;
    if document.issuer != settings.issuer {
        return Err(refused("its metadata is that of another issuer"));
    }
    let is_here = settings.base.url().host().is_some_and(|host| is_loopback(&host));
    let endpoint = |text: &str| {
        let url = text.parse::<Url>().ok().filter(|url| {
            let is_secure = url.scheme() == "https" || (is_here && url.scheme() == "http" && is_local(url));
            is_secure && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
        });
        url.ok_or_else(|| refused("an endpoint in its metadata is not an https address"))
    };
    let methods = document.token_endpoint_auth_methods_supported;
    Ok(Metadata {
        authorization_endpoint: endpoint(&document.authorization_endpoint)?,
        token_endpoint: endpoint(&document.token_endpoint)?,
        jwks_uri: endpoint(&document.jwks_uri)?,
        sends_issuer: document.authorization_response_iss_parameter_supported,
        takes_basic: methods.is_none_or(|methods| methods.iter().any(|one| one == "client_secret_basic")),
    })
}

fn is_local(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback(&host))
}

fn refused(reason: &str) -> ProviderFault {
    ProviderFault::Refused(reason.to_owned())
}

/// A refusal of the request is final; anything else may pass.
fn away(fault: FetchFault) -> ProviderFault {
    match fault {
        FetchFault::Status(400..=499) => ProviderFault::Refused(format!("the provider {fault}")),
        fault => ProviderFault::Away(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::config::NamedFile;

    use super::*;

    fn settings(issuer: &str) -> Federation {
        Federation {
            issuer: issuer.to_owned(),
            base: issuer.trim_end_matches('/').parse().unwrap(),
            client_id: "us".to_owned(),
            client_secret: None,
            name: "x".to_owned(),
            scopes: "openid".parse().unwrap(),
            create_accounts: true,
            ca_file: None,
            authorities: NamedFile::default(),
        }
    }

    fn document() -> Value {
        json!({
            "issuer": "https://op.example/", "authorization_endpoint": "https://op.example/authorize?x=1",
            "token_endpoint": "https://op.example/token", "jwks_uri": "https://keys.example/jwks",
        })
    }

    fn with(name: &str, value: Value) -> Result<Metadata, ProviderFault> {
        let mut document = document();
        document[name] = value;
        read(document.to_string().as_bytes(), &settings("https://op.example/"))
    }

    #[test]
    fn metadata_is_that_of_the_provider_and_names_safe_addresses() {
        let metadata = with("x", json!(1)).unwrap();
        assert!(metadata.takes_basic && !metadata.sends_issuer);
        assert!(with("issuer", json!("https://op.example")).is_err());
        for bad in [
            json!("http://op.example/x"),
            json!("http://127.0.0.1/x"),
            json!("https://u@op.example/x"),
            json!("https://op.example/x#y"),
            json!("javascript:alert(1)"),
            json!(1),
        ] {
            for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
                assert!(with(name, bad.clone()).is_err(), "{name} {bad}");
            }
        }
        let post = with(
            "token_endpoint_auth_methods_supported",
            json!(["client_secret_post"]),
        );
        assert!(!post.unwrap().takes_basic);
        assert!(
            with("authorization_response_iss_parameter_supported", json!(true))
                .unwrap()
                .sends_issuer
        );
    }

    #[test]
    fn plain_http_is_for_a_provider_on_this_machine() {
        let text = document()
            .to_string()
            .replace("https://op.example/", "http://127.0.0.1:8/");
        let local = Federation {
            issuer: "http://127.0.0.1:8/".to_owned(),
            ..settings("http://127.0.0.1:8")
        };
        assert!(read(text.as_bytes(), &local).is_ok());
        let far = text.replace("http://127.0.0.1:8/token", "http://192.0.2.1/token");
        assert!(read(far.as_bytes(), &local).is_err());
    }
}
