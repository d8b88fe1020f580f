//! DPoP at our own endpoints (RFC 9449): a proof is checked, then remembered by every instance.

use ::web::client_certificate;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use shared::access_token::VerifiedClaims;
use shared::clock::{self, UnixSeconds};
use shared::dpop::{Expected, Proof, ProofFault, Target};
use shared::oauth_error::{AuthScheme, ErrorCode, OAuthError};
use shared::secret::SecretHash;

use crate::app::App;
use crate::db;
use crate::error::Failure;

/// RFC 9449 §4.1.
const PROOF: HeaderName = HeaderName::from_static("dpop");
/// RFC 9449 §8.
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The proof that came with `request`, if one did; with an access token that is shown, a proof of that. A proof that is
/// good is good once, at whichever instance.
pub(crate) async fn proof_of(
    app: &App,
    request: &HttpRequest,
    access_token: Option<&str>,
    now: UnixSeconds,
) -> Result<Option<Proof>, Failure> {
    // Most requests carry none, and pay for none.
    if !request.headers().contains_key(PROOF) {
        return Ok(None);
    }
    let expected = Expected {
        method: request.method().as_str(),
        target: &Target::at(app.base_of(request).url(), request.path()),
        access_token,
        nonces: &app.nonces,
    };
    let headers = request.headers().get_all(PROOF).map(HeaderValue::as_bytes);
    let Some(proof) = Proof::of_request(headers, &expected, now).map_err(refused)? else {
        return Ok(None);
    };
    // Last of all: only a proof that holds in every other respect is worth a row.
    let seen = SecretHash::of(proof.fingerprint());
    if !db::used_proof::consume(&app.db, &seen, proof.good_until()).await? {
        return Err(refused(ProofFault::Invalid("the proof was used before".into())).into());
    }
    Ok(Some(proof))
}

/// Whether a request that shows a token of ours proves possession of what the token is bound to: with the scheme and
/// the proof that its `cnf` asks for, and with no other (RFC 9449 §7).
pub(crate) async fn check_binding(
    app: &App,
    request: &HttpRequest,
    (scheme, token): (AuthScheme, &str),
    (claims, now): (&VerifiedClaims, UnixSeconds),
) -> Result<(), Failure> {
    let refusal = |reason: &'static str| {
        let sentence = "the access token is bound to a key that was not shown in the right way";
        Failure::from(OAuthError::new(ErrorCode::InvalidToken, sentence).because(reason))
    };
    let bound = claims.confirmation();
    if let Some(certificate) = bound.and_then(|bound| bound.certificate.as_deref()) {
        let shown = client_certificate::of(request);
        if shown.is_none_or(|shown| shown.thumbprint() != certificate) {
            return Err(refusal("the token is bound to a certificate that was not shown"));
        }
    }
    match (scheme, bound.and_then(|bound| bound.jkt.as_deref())) {
        (AuthScheme::Bearer, None) => Ok(()),
        (AuthScheme::Bearer, Some(_)) => {
            Err(refusal("a token that is bound to a key came as a bearer token"))
        }
        (AuthScheme::Dpop, None) => Err(refusal(
            "a token that is bound to nothing came with the scheme DPoP",
        )),
        (AuthScheme::Dpop, Some(key)) => match proof_of(app, request, Some(token), now).await? {
            Some(proof) if proof.key() == key => Ok(()),
            Some(_) => Err(refusal("the proof is made with another key than the token's")),
            None => {
                let sentence = "a DPoP proof is needed: send the DPoP header";
                Err(OAuthError::new(ErrorCode::InvalidDpopProof, sentence).into())
            }
        },
    }
}

fn refused(fault: ProofFault) -> OAuthError {
    match fault {
        ProofFault::Invalid(reason) => {
            OAuthError::new(ErrorCode::InvalidDpopProof, "the DPoP proof is not valid").because(reason)
        }
        ProofFault::Nonce(reason) => {
            let sentence = "the DPoP proof needs the nonce of the header DPoP-Nonce";
            OAuthError::new(ErrorCode::UseDpopNonce, sentence).because(reason)
        }
    }
}

/// The nonce for the client's next proof (RFC 9449 §8).
pub(crate) fn offer_nonce(app: &App, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&app.nonces.current(clock::now())) {
        headers.insert(NONCE, value);
    }
}

/// An answer of an endpoint that takes proofs: with a nonce where proofs need one (RFC 9449 §8.2).
pub(crate) fn with_nonce(app: &App, mut answer: HttpResponse) -> HttpResponse {
    if app.nonces.are_required() {
        offer_nonce(app, answer.headers_mut());
    }
    answer
}
