//! Where a key set is fetched: the issuer's metadata says it (RFC 8414 §3, OpenID Connect Discovery §4), or the
//! operator.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::http_client::{FetchFault, HttpClient};
use crate::jose::{KeySetFault, MAX_SET_BYTES};
use crate::json;
use crate::metadata::IssuerKeys;
use crate::uri::Issuer;

/// Real documents have 2 to 6 KiB.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// Why an attempt brought no key set.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// The key set could not be fetched.
    #[error("{url} {fault}")]
    Fetch {
        /// What was asked.
        url: String,
        /// What happened.
        fault: FetchFault,
    },
    /// The file with the key set cannot be read.
    #[error("cannot read {0}")]
    File(String),
    /// Nothing came in time.
    #[error("the issuer is too slow")]
    Slow,
    /// The metadata is no such document.
    #[error("the metadata at {0} is not a metadata document")]
    Metadata(String),
    /// The metadata is that of another issuer (RFC 8414 §3.3: it must not be used).
    #[error("the metadata at {url} names another issuer: {found}")]
    OtherIssuer {
        /// Where it was found.
        url: String,
        /// The issuer in the document, shortened.
        found: String,
    },
    /// `jwks_uri` points away from the issuer, and the operator did not configure it.
    #[error("the issuer's jwks_uri is on another host; configure jwks_uri if that is meant")]
    OtherHost,
    /// The attempt panicked: a fault of ours.
    #[error("the attempt ended in a panic")]
    Panic,
    /// The set is refused as a whole.
    #[error(transparent)]
    Refused(#[from] KeySetFault),
}

/// A fetched key set, not yet read.
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

/// Something that key sets come from. Tests have one of their own.
pub(super) trait Source: Send + Sync {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>>;
}

/// The network.
pub(super) struct HttpSource {
    pub(super) client: HttpClient,
    pub(super) issuer: Issuer,
    pub(super) jwks_uri: Option<Url>,
}

impl Source for HttpSource {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Document, SourceFault>> + Send + '_>> {
        Box::pin(async {
            let url = match &self.jwks_uri {
                Some(configured) => configured.clone(),
                None => self.discover().await?,
            };
            let answer = self.client.fetch_json(&url, MAX_SET_BYTES).await;
            let fetched = answer.map_err(|fault| SourceFault::Fetch {
                url: url.into(),
                fault,
            })?;
            Ok(Document {
                body: fetched.body,
                max_age: fetched.max_age,
            })
        })
    }
}

impl HttpSource {
    /// Asks the three places in the order of the MCP authorization chapter. Only "not here" leads to the next.
    async fn discover(&self) -> Result<Url, SourceFault> {
        let mut places = vec![
            self.issuer.well_known("oauth-authorization-server"),
            self.issuer.well_known("openid-configuration"),
            self.issuer.endpoint("/.well-known/openid-configuration"),
        ];
        places.dedup();
        let mut first_fault = None;
        for place in places {
            let url: Url = place.parse().map_err(|_| SourceFault::Metadata(place.clone()))?;
            match self.client.fetch_json(&url, MAX_METADATA_BYTES).await {
                Ok(fetched) => return self.read(place, &fetched.body),
                Err(fault @ FetchFault::Status(400..=499)) => {
                    first_fault.get_or_insert(SourceFault::Fetch { url: place, fault });
                }
                Err(fault) => return Err(SourceFault::Fetch { url: place, fault }),
            }
        }
        Err(first_fault.unwrap_or_else(|| SourceFault::Metadata(self.issuer.to_string())))
    }

    fn read(&self, place: String, body: &[u8]) -> Result<Url, SourceFault> {
        let members = json::object(body).ok();
        let document =
            members.and_then(|members| serde_json::from_value::<IssuerKeys>(Value::Object(members)).ok());
        let Some(document) = document else {
            return Err(SourceFault::Metadata(place));
        };
        if document.issuer != self.issuer.as_str() {
            let found = document
                .issuer
                .chars()
                .take(128)
                .filter(|c| !c.is_control())
                .collect();
            return Err(SourceFault::OtherIssuer { url: place, found });
        }
        // A password in it would be sent, and named in every fault.
        let named = document.jwks_uri.parse::<Url>().ok();
        let jwks_uri = named
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or(SourceFault::Metadata(place))?;
        if jwks_uri.host() != self.issuer.url().host() {
            return Err(SourceFault::OtherHost);
        }
        Ok(jwks_uri)
    }
}
