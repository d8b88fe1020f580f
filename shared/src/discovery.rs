//! What an authorization server says of itself (RFC 8414 §3, OpenID Connect Discovery §4), as far as a resource server
//! needs it: where its keys are, and where to ask about tokens.

use serde_json::Value;
use url::Url;

use crate::http_client::{FetchFault, HttpClient};
use crate::json;
use crate::metadata::IssuerDocument;
use crate::uri::Issuer;

/// Real documents have 2 to 6 KiB.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// Why the metadata cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryFault {
    /// It could not be fetched.
    #[error("{url} {fault}")]
    Fetch {
        /// What was asked.
        url: String,
        /// What happened.
        fault: FetchFault,
    },
    /// It is no such document.
    #[error("the metadata at {0} is not a metadata document")]
    Metadata(String),
    /// It is that of another issuer (RFC 8414 §3.3: it must not be used).
    #[error("the metadata at {url} names another issuer: {found}")]
    OtherIssuer {
        /// Where it was found.
        url: String,
        /// The issuer in the document, shortened.
        found: String,
    },
    /// An endpoint is not in the metadata.
    #[error("the issuer's metadata have no {0}; configure it")]
    Missing(&'static str),
    /// An endpoint points away from the issuer, and the operator did not configure it.
    #[error("the issuer's {0} is on another host; configure {0} if that is meant")]
    OtherHost(&'static str),
}

/// Metadata that name the issuer that was asked.
#[derive(Debug)]
pub struct Discovered {
    document: IssuerDocument,
    place: String,
    issuer: Issuer,
}

impl Discovered {
    /// Where the keys are: on the issuer's own host (RFC 9700 §4.4).
    pub fn jwks_uri(&self) -> Result<Url, DiscoveryFault> {
        match &self.document.jwks_uri {
            Some(named) => self.endpoint("jwks_uri", named),
            None => Err(DiscoveryFault::Metadata(self.place.clone())),
        }
    }

    /// Where to ask about tokens, with a secret of ours: on the issuer's own host.
    pub fn introspection_endpoint(&self) -> Result<Url, DiscoveryFault> {
        const NAME: &str = "introspection_endpoint";
        match &self.document.introspection_endpoint {
            Some(named) => self.endpoint(NAME, named),
            None => Err(DiscoveryFault::Missing(NAME)),
        }
    }

    fn endpoint(&self, name: &'static str, named: &str) -> Result<Url, DiscoveryFault> {
        // A password in it would be sent, and named in every fault.
        let named = named.parse::<Url>().ok();
        let url = named
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| DiscoveryFault::Metadata(self.place.clone()))?;
        if url.host() != self.issuer.url().host() {
            return Err(DiscoveryFault::OtherHost(name));
        }
        Ok(url)
    }
}

/// Asks the three places in the order of the MCP authorization chapter. Only "not here" leads to the next.
pub async fn discover(client: &HttpClient, issuer: &Issuer) -> Result<Discovered, DiscoveryFault> {
    let mut places = vec![
        issuer.well_known("oauth-authorization-server"),
        issuer.well_known("openid-configuration"),
        issuer.endpoint("/.well-known/openid-configuration"),
    ];
    places.dedup();
    let mut first_fault = None;
    for place in places {
        let url: Url = place
            .parse()
            .map_err(|_| DiscoveryFault::Metadata(place.clone()))?;
        match client.fetch_json(&url, MAX_METADATA_BYTES).await {
            Ok(fetched) => return read(issuer, place, &fetched.body),
            Err(fault @ FetchFault::Status(400..=499)) => {
                first_fault.get_or_insert(DiscoveryFault::Fetch { url: place, fault });
            }
            Err(fault) => return Err(DiscoveryFault::Fetch { url: place, fault }),
        }
    }
    Err(first_fault.unwrap_or_else(|| DiscoveryFault::Metadata(issuer.to_string())))
}

fn read(issuer: &Issuer, place: String, body: &[u8]) -> Result<Discovered, DiscoveryFault> {
    let members = json::object(body).ok();
    let document =
        members.and_then(|members| serde_json::from_value::<IssuerDocument>(Value::Object(members)).ok());
    let Some(document) = document else {
        return Err(DiscoveryFault::Metadata(place));
    };
    if document.issuer != issuer.as_str() {
        let found = document.issuer.chars().take(128).filter(|c| !c.is_control());
        return Err(DiscoveryFault::OtherIssuer {
            url: place,
            found: found.collect(),
        });
    }
    Ok(Discovered {
        document,
        place,
        issuer: issuer.clone(),
    })
}
