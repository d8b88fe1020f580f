//! How an authorization request came: as it is, as an object that the client signed (RFC 9101), or left here before
//! (RFC 9126). However it came, what goes on from here is one list of parameters.

use ::web::address::ClientAddress;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::SecretHash;

use super::raw::{Raw, understood};
use super::request::{AuthorizationRequest, Stop, living_client};
use super::request_object;
use crate::app::App;
use crate::db;
use crate::error::Failure;

/// What the references of pushed requests begin with (RFC 9126 §2.2).
pub(super) const REFERENCE: &str = "urn:ietf:params:oauth:request_uri:";

/// Longest plain request that is kept, without what is not understood: room for the longest `state` and a long list of
/// authorization details.
const MAX_KEPT: usize = 12 * 1024;

/// A request as it is kept, and read again at every step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// Its parameters, form-encoded.
    pub(super) query: String,
    /// The hash of its reference if it was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed: Option<String>,
}

/// The way it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Plain,
    Signed,
    Pushed,
}

impl Arrival {
    /// A request that was not pushed.
    pub(super) fn of(query: String) -> Self {
        Self { query, pushed: None }
    }

    /// What must be used up when it is answered.
    pub(super) fn pushed(&self) -> Option<SecretHash> {
        let bytes = URL_SAFE_NO_PAD.decode(self.pushed.as_deref()?).ok()?;
        SecretHash::from_stored(&bytes)
    }

    /// Reads the query of the authorization endpoint, with which `from` came.
    pub(super) async fn open(
        app: &App,
        query: &str,
        from: ClientAddress,
        now: UnixSeconds,
    ) -> Result<(Self, Way), Stop> {
        let mut raw = Raw::scan(query).map_err(Failure::from)?;
        let reference = raw.take("request_uri").filter(|uri| uri.starts_with(REFERENCE));
        let object = raw.take("request");
        if reference.is_none() && object.is_none() {
            let query = understood(query);
            if query.len() > MAX_KEPT {
                let sentence = "the request is too long; push it (RFC 9126)";
                return Err(Failure::from(OAuthError::new(ErrorCode::InvalidRequest, sentence)).into());
            }
            return Ok((Self::of(query), Way::Plain));
        }
        // From here on the rest of the query counts for nothing, so nobody knows yet where an error could be sent.
        if let Some(fault) = raw.take_fault() {
            return Err(Failure::from(fault).into());
        }
        match (reference, object) {
            (Some(reference), None) => {
                let client_id = raw.take("client_id");
                let arrival = find(app, &reference, client_id.as_deref(), now).await?;
                Ok((arrival, Way::Pushed))
            }
            (None, Some(object)) => {
                let client = living_client(app, raw.take("client_id")).await?;
                let query = request_object::read(app, &client, (&object, from), now).await?;
                Ok((Self::of(query), Way::Signed))
            }
            _ => {
                let sentence = "request and request_uri exclude each other";
                Err(Failure::from(OAuthError::new(ErrorCode::InvalidRequest, sentence)).into())
            }
        }
    }
}

/// The request that was pushed under `reference`, while nobody has answered it.
async fn find(
    app: &App,
    reference: &str,
    client_id: Option<&str>,
    now: UnixSeconds,
) -> Result<Arrival, Failure> {
    // RFC 9101 §5: the parameter comes along.
    let client_id =
        client_id.ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "client_id is missing"))?;
    let refused = |reason: &'static str| {
        let sentence = "the request_uri is unknown, expired or was used; begin again";
        Failure::from(OAuthError::new(ErrorCode::InvalidRequestUri, sentence).because(reason))
    };
    let hash = SecretHash::of(reference.as_bytes());
    let found = db::pushed_request::find(&app.db, &hash).await?;
    let found = found.ok_or_else(|| refused("there is no such pushed request"))?;
    if found.client_id != client_id {
        return Err(refused("the pushed request is another client's"));
    }
    if found.finished_at.is_some() {
        return Err(refused("the pushed request was answered before"));
    }
    if now.0 >= found.expires_at {
        return Err(refused("the pushed request has expired"));
    }
    Ok(Arrival {
        query: found.content,
        pushed: Some(URL_SAFE_NO_PAD.encode(hash.as_bytes())),
    })
}

/// Whether the client may ask in the way it did: some must push what they ask (RFC 9126 §5, §6), some must sign it
/// (RFC 9101 §10.5). What was pushed was looked at when it was.
pub(super) fn check_way(app: &App, asked: &AuthorizationRequest, way: Way) -> Result<(), Stop> {
    let details = &asked.client.details;
    let sentence = match way {
        Way::Pushed => return Ok(()),
        _ if app.in_force().changeable.clients.require_pushed_requests
            || details.require_pushed_authorization_requests =>
        {
            "this request must be pushed first"
        }
        Way::Plain if details.require_signed_request_object => "this client must sign its requests",
        Way::Plain | Way::Signed => return Ok(()),
    };
    Err(asked.refuse(ErrorCode::InvalidRequest, sentence))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::db::pushed_request::{Most, NewPushedRow};
    use crate::db::tests::{NOW, Places};
    use crate::token::testing::House;

    const MOST: Most = Most {
        unproven: 10,
        of_one: 10,
    };

    /// The query that is kept of one, or `None` when it is refused.
    async fn kept(app: &App, query: &str) -> Option<String> {
        let from = ClientAddress("192.0.2.1".parse().unwrap());
        let opened = Arrival::open(app, query, from, NOW).await;
        opened.ok().map(|(arrival, _)| arrival.query)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_kept_that_is_not_understood() {
        let places = Places::new();
        let app = House::new(&places.urls()[0], "").await.app;
        let wanted = "client_id=c_x&st%61te=a%2Bb&resource=a&resource=b&scope=a+b";
        let padding = format!("&x={}&%ff=1&claims=%7B%7D&&nonce=&", "y".repeat(MAX_KEPT));
        assert_eq!(kept(&app, wanted).await.as_deref(), Some(wanted));
        assert_eq!(
            kept(&app, &format!("{wanted}{padding}")).await.as_deref(),
            Some(wanted)
        );
        // What stands twice is still seen to.
        let twice = "client_id=c_x&scope=a&scope=b";
        assert_eq!(kept(&app, twice).await.as_deref(), Some(twice));
        let hint = |bytes: usize| format!("login_hint={}", "y".repeat(bytes));
        let most = MAX_KEPT - hint(0).len();
        assert!(kept(&app, &hint(most)).await.is_some());
        assert!(kept(&app, &hint(most + 1)).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn par_06_a_reference_opens_for_its_client_and_its_time() {
        let places = Places::new();
        for url in places.urls() {
            let app = House::new(&url, "").await.app;
            let reference = format!("{REFERENCE}x");
            let row = NewPushedRow {
                client_id: "c_x",
                address: "",
                content: "client_id=c_x",
                created_at: NOW,
                expires_at: NOW + Duration::from_secs(90),
            };
            let hash = SecretHash::of(reference.as_bytes());
            assert!(
                db::pushed_request::insert(&app.db, &hash, &row, MOST)
                    .await
                    .unwrap()
            );
            let open = async |client_id: Option<&str>, seconds: u64| {
                let now = NOW + Duration::from_secs(seconds);
                match find(&app, &reference, client_id, now).await {
                    Ok(arrival) => Ok((arrival.query.clone(), arrival.pushed() == Some(hash))),
                    Err(Failure::Refused(refusal)) => Err((refusal.code, refusal.reason)),
                    Err(other) => panic!("{other}"),
                }
            };
            let good = Ok(("client_id=c_x".to_owned(), true));
            assert_eq!(open(Some("c_x"), 0).await, good);
            assert_eq!(open(Some("c_x"), 89).await, good);
            let over = |reason: &'static str| Err((ErrorCode::InvalidRequestUri, reason.into()));
            assert_eq!(
                open(Some("c_x"), 90).await,
                over("the pushed request has expired")
            );
            assert_eq!(
                open(Some("c_y"), 0).await,
                over("the pushed request is another client's")
            );
            assert!(matches!(open(None, 0).await, Err((ErrorCode::InvalidRequest, _))));
            let finish = app
                .db
                .write(async |tx| db::pushed_request::finish(tx, &hash, NOW).await);
            assert!(finish.await.unwrap());
            assert_eq!(
                open(Some("c_x"), 0).await,
                over("the pushed request was answered before")
            );
        }
    }
}
