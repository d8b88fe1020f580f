//! Sender constraint: what the client of a token request proves possession of, and to which its tokens are bound
//! (RFC 9449, RFC 8705 §3).

use ::web::client_certificate;
use actix_web::HttpRequest;
use serde::{Deserialize, Serialize};
use shared::access_token::Confirmation;
use shared::clock::UnixSeconds;
use shared::dpop::Proof;
use shared::oauth_error::{ErrorCode, OAuthError};

use super::family;
use super::request::TokenRequest;
use crate::app::App;
use crate::client::AuthMethod;
use crate::client::authenticate::AuthenticatedClient;
use crate::dpop;
use crate::error::Failure;

/// Checks the proofs that came with `request`. `None` when there are none and the client needs none: its tokens are
/// bearer tokens.
pub(super) async fn prove(
    app: &App,
    request: &HttpRequest,
    client: &AuthenticatedClient,
    now: UnixSeconds,
) -> Result<Option<Confirmation>, Failure> {
    let proven = Confirmation {
        jkt: key(app, request, client, now).await?,
        certificate: certificate(request, client)?,
    };
    Ok(Some(proven).filter(|proven| *proven != Confirmation::default()))
}

/// The thumbprint of the key of the DPoP proof (RFC 9449 §5). A client that registered for it gets no token without
/// (§5.2).
async fn key(
    app: &App,
    request: &HttpRequest,
    client: &AuthenticatedClient,
    now: UnixSeconds,
) -> Result<Option<String>, Failure> {
    let proof = dpop::proof_of(app, request, None, now).await?;
    if proof.is_none() && client.client().details.dpop_bound_access_tokens {
        return Err(unproven("the client is registered with dpop_bound_access_tokens").into());
    }
    Ok(proof.as_ref().map(Proof::key).map(str::to_owned))
}

/// The thumbprint of the certificate of the connection, for a client that registered for it: it gets no token without
/// (RFC 8705 §3.4).
fn certificate(request: &HttpRequest, client: &AuthenticatedClient) -> Result<Option<String>, Failure> {
    if !client.client().details.tls_client_certificate_bound_access_tokens {
        return Ok(None);
    }
    let shown = client_certificate::of(request).map(|shown| shown.thumbprint());
    shown.map(Some).ok_or_else(|| {
        let sentence =
            "this client's tokens are bound to its certificate: show it, at the mutual-TLS address";
        let reason = "the client is registered with tls_client_certificate_bound_access_tokens";
        OAuthError::new(ErrorCode::InvalidRequest, sentence)
            .because(reason)
            .into()
    })
}

/// What must be shown with every refresh token of a family; kept with it as JSON.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    keys: Confirmation,
    /// Whether the client must authenticate, though it may begin as a public one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    authenticated: bool,
}

/// To what the refresh tokens of a new family are bound. Those of a client that always authenticates are bound to it
/// already (RFC 9449 §5): it may take another key at any time. A client that may come as a public one, too, goes on as
/// it began: or whoever found its refresh token could come with less.
pub(super) fn kept_for(
    client: &AuthenticatedClient,
    asked: &TokenRequest,
) -> Result<Option<String>, Failure> {
    let authenticated = !client.is_public();
    let kept = Kept {
        keys: match authenticated {
            true => Confirmation::default(),
            false => asked.confirmation.clone().unwrap_or_default(),
        },
        authenticated: authenticated && client.client().auth_methods.contains(&AuthMethod::None),
    };
    if kept == Kept::default() {
        return Ok(None);
    }
    let kept = serde_json::to_string(&kept).map_err(|e| Failure::Internal(e.to_string()))?;
    Ok(Some(kept))
}

/// Whether the request proves everything that was `kept` ([`kept_for`]).
pub(super) fn check(
    kept: Option<&str>,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
) -> Result<(), Failure> {
    let Some(kept) = kept else { return Ok(()) };
    let kept: Kept = serde_json::from_str(kept)
        .map_err(|_| Failure::Internal("the confirmation of a family is damaged".to_owned()))?;
    if kept.authenticated && client.is_public() {
        let reason = "the family began with an authenticated client, which shows nothing now";
        return Err(family::no_longer().because(reason).into());
    }
    let kept = kept.keys;
    let shown = asked.confirmation.clone().unwrap_or_default();
    if kept.jkt.is_some() && shown.jkt.is_none() {
        return Err(unproven("the refresh token is bound to a key").into());
    }
    let fits = |kept: &Option<String>, shown: &Option<String>| kept.is_none() || kept == shown;
    if fits(&kept.jkt, &shown.jkt) && fits(&kept.certificate, &shown.certificate) {
        return Ok(());
    }
    let refusal = family::no_longer();
    Err(refusal
        .because("the refresh token is bound to another key")
        .into())
}

/// `invalid_dpop_proof` for a request that needed a proof and had none.
pub(super) fn unproven(reason: &'static str) -> OAuthError {
    let sentence = "a DPoP proof is needed: send the DPoP header";
    OAuthError::new(ErrorCode::InvalidDpopProof, sentence).because(reason)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::test::TestRequest;
    use shared::secret::Secret;

    use super::*;
    use crate::client::Client;
    use crate::db::client::ClientRow;
    use crate::db::tests::NOW;
    use crate::token::testing::{House, client_row, code_of, with_refresh_token};

    /// A client whose methods are `methods`; it authenticated, unless it cannot.
    fn anybody(methods: &str) -> AuthenticatedClient {
        let row = ClientRow {
            auth_methods: methods.to_owned(),
            ..client_row("authorization_code refresh_token", "a")
        };
        let client = Arc::new(Client::from_rows(row, Vec::new()).unwrap());
        match methods {
            "none" => AuthenticatedClient::assumed_public(client),
            _ => AuthenticatedClient::assumed(client),
        }
    }

    #[test]
    fn who_may_come_as_a_public_client_goes_on_as_it_began() {
        let asked = |jkt: Option<&str>| {
            let mut asked = with_refresh_token(&Secret::from("ehr_x".to_owned()));
            asked.confirmation = jkt.map(|jkt| Confirmation {
                jkt: Some(jkt.to_owned()),
                certificate: None,
            });
            asked
        };
        let both = anybody("private_key_jwt none");
        let kept = kept_for(&both, &asked(Some("k"))).unwrap();
        assert!(
            check(kept.as_deref(), &both, &asked(None)).is_ok(),
            "it may take another key"
        );
        let weaker = AuthenticatedClient::assumed_public(Arc::clone(both.client()));
        assert_eq!(
            code_of(check(kept.as_deref(), &weaker, &asked(Some("k")))),
            ErrorCode::InvalidGrant
        );
        let begun_in_public = kept_for(&weaker, &asked(Some("k"))).unwrap();
        assert!(check(begun_in_public.as_deref(), &weaker, &asked(Some("k"))).is_ok());
        assert_eq!(
            code_of(check(begun_in_public.as_deref(), &both, &asked(None))),
            ErrorCode::InvalidDpopProof
        );
        assert_eq!(
            kept_for(&anybody("private_key_jwt"), &asked(Some("k"))).unwrap(),
            None
        );
        assert_eq!(kept_for(&anybody("none"), &asked(None)).unwrap(), None);
    }

    fn verdict(kept: Option<&str>, jkt: Option<&str>, certificate: Option<&str>) -> Result<(), Failure> {
        let mut asked = with_refresh_token(&Secret::from("ehr_x".to_owned()));
        asked.confirmation = Some(Confirmation {
            jkt: jkt.map(str::to_owned),
            certificate: certificate.map(str::to_owned),
        });
        check(kept, &anybody("none"), &asked)
    }

    #[test]
    fn what_was_kept_must_be_shown() {
        let key = Some(r#"{"jkt":"k"}"#);
        assert!(verdict(key, Some("k"), None).is_ok());
        assert!(verdict(key, Some("k"), Some("c")).is_ok());
        assert_eq!(
            code_of(verdict(key, None, Some("c"))),
            ErrorCode::InvalidDpopProof
        );
        assert_eq!(
            code_of(verdict(key, Some("other"), None)),
            ErrorCode::InvalidGrant
        );
        let certificate = Some(r#"{"x5t#S256":"c"}"#);
        assert!(verdict(certificate, None, Some("c")).is_ok());
        assert_eq!(code_of(verdict(certificate, None, None)), ErrorCode::InvalidGrant);
        assert_eq!(
            code_of(verdict(certificate, Some("c"), Some("d"))),
            ErrorCode::InvalidGrant
        );
        // What is bound to nothing may come with a proof.
        assert!(verdict(None, Some("k"), None).is_ok());
        assert!(matches!(
            verdict(Some("?"), None, None),
            Err(Failure::Internal(_))
        ));
    }

    /// What comes of a request without proof, for a client with these details.
    async fn unproven_request(details: &str) -> Result<Option<Confirmation>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let house = House::new(&format!("sqlite:{}/test.db", folder.path().display()), "").await;
        let mut row = client_row("client_credentials", "a");
        details.clone_into(&mut row.details);
        let client = Client::from_rows(row, Vec::new()).unwrap();
        let client = AuthenticatedClient::assumed(Arc::new(client));
        let request = TestRequest::post().uri("/oauth/token").to_http_request();
        prove(&house.app, &request, &client, NOW).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dpop_33_a_client_that_registered_for_it_gets_nothing_without_a_proof() {
        assert_eq!(unproven_request("{}").await.unwrap(), None);
        let refused = unproven_request(r#"{"dpop_bound_access_tokens":true}"#).await;
        assert_eq!(code_of(refused), ErrorCode::InvalidDpopProof);
    }
}
