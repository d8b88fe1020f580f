//! The introspection endpoint itself: where it is, how this node proves who it is, what came back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::access_token::{AnswerFault, Introspected};
use shared::client_assertion::{self, ASSERTION_TYPE};
use shared::clock::UnixSeconds;
use shared::discovery::{DiscoveryFault, discover};
use shared::http_client::{FetchFault, HttpClient};
use shared::jose::ClientKeyFault;
use shared::secret::NoRandomness;
use shared::uri::Issuer;
use url::Url;

use crate::config::{ClientProof, IntrospectionConfig};

/// A longer answer is none.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long an address from the issuer's metadata counts.
const ADDRESS_FOR: Duration = Duration::from_secs(3600);

/// Why nothing was learnt about a token. Never names it.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointFault {
    #[error(transparent)]
    Discovery(#[from] DiscoveryFault),
    #[error("{url} {fault}")]
    Fetch { url: Url, fault: FetchFault },
    #[error("{0} refused this node: check client_id and its secret or key there (status {1})")]
    NotKnownThere(Url, u16),
    #[error("{0} answered with something else than application/json")]
    NoJson(Url),
    #[error("{url}: {fault}")]
    Answer { url: Url, fault: AnswerFault },
    #[error("the node cannot prove who it is: {0}")]
    Key(#[from] ClientKeyFault),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl EndpointFault {
    /// Whether another token may fare better: some servers refuse what they cannot read instead of saying that it is not
    /// active.
    pub(super) fn is_about_this_token(&self) -> bool {
        matches!(
            self,
            Self::Fetch {
                fault: FetchFault::Status(400 | 413 | 414 | 422),
                ..
            }
        )
    }
}

pub(super) struct Endpoint {
    client: HttpClient,
    issuer: Issuer,
    config: Arc<IntrospectionConfig>,
    found: Mutex<Option<(Url, Instant)>>,
}

impl Endpoint {
    pub(super) fn new(client: HttpClient, issuer: Issuer, config: Arc<IntrospectionConfig>) -> Self {
        Self {
            client,
            issuer,
            config,
            found: Mutex::default(),
        }
    }

    /// Where it is: configured, or in the issuer's metadata.
    pub(super) async fn address(&self) -> Result<Url, EndpointFault> {
        if let Some(configured) = &self.config.endpoint {
            return Ok(configured.clone());
        }
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((url, until)) = known
            && Instant::now() < until
        {
            return Ok(url);
        }
        let url = discover(&self.client, &self.issuer)
            .await?
            .introspection_endpoint()?;
        self.keep(Some((url.clone(), Instant::now() + ADDRESS_FOR)));
        Ok(url)
    }

    fn keep(&self, found: Option<(Url, Instant)>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// What the issuer says of `token`; `None` when it is not active.
    pub(super) async fn ask(
        &self,
        token: &str,
        now: UnixSeconds,
    ) -> Result<Option<Introspected>, EndpointFault> {
        let url = self.address().await?;
        let mut form = vec![("token", token), ("token_type_hint", "access_token")];
        let assertion = self.assertion(&url, now)?;
        if let Some(assertion) = &assertion {
            form.push(("client_assertion_type", ASSERTION_TYPE));
            form.push(("client_assertion", assertion));
        }
        let basic = match &self.config.proof {
            ClientProof::Secret(secret) => Some((self.config.client_id.as_str(), secret)),
            ClientProof::Key { .. } => None,
        };
        let answer = self.client.post_form(&url, &form, basic, MAX_ANSWER_BYTES).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(FetchFault::Status(status @ (401 | 403))) => {
                return Err(EndpointFault::NotKnownThere(url, status));
            }
            Err(fault) => {
                // It may have moved.
                self.keep(None);
                return Err(EndpointFault::Fetch { url, fault });
            }
        };
        if !answer.is_json() {
            return Err(EndpointFault::NoJson(url));
        }
        Introspected::parse(&answer.body).map_err(|fault| EndpointFault::Answer { url, fault })
    }

    /// A fresh assertion that this node is its client (RFC 7523 §3), where it proves that with a key.
    fn assertion(&self, url: &Url, now: UnixSeconds) -> Result<Option<String>, EndpointFault> {
        let ClientProof::Key { key, for_endpoint } = &self.config.proof else {
            return Ok(None);
        };
        let audience = if *for_endpoint {
            url.as_str()
        } else {
            self.issuer.as_str()
        };
        let claims = client_assertion::claims(&self.config.client_id, audience, now)?;
        Ok(Some(key.sign("JWT", &claims)?))
    }
}
