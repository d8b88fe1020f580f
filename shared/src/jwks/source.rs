//! Where a key set is fetched: the issuer's metadata says it (RFC 8414 §3, OpenID Connect Discovery §4), or the
//! operator.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use url::Url;

use crate::discovery::{DiscoveryFault, discover};
use crate::http_client::{FetchFault, HttpClient};
use crate::jose::{KeySetFault, MAX_SET_BYTES};
use crate::uri::Issuer;

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
    /// The issuer's metadata do not say where its keys are.
    #[error(transparent)]
    Discovery(#[from] DiscoveryFault),
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
                None => discover(&self.client, &self.issuer).await?.jwks_uri()?,
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
