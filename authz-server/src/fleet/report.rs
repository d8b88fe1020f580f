//! `POST /fleet/report`: a node tells of itself, as its client. What the last one said is kept, and nothing before it.

use ::web::address::ClientAddress;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock;
use shared::fleet::report::{Heard, Report, interval};
use shared::oauth_error::{ErrorCode, OAuthError};

use super::ask::node_of;
use crate::app::App;
use crate::client::authenticate;
use crate::db;
use crate::db::node_contact::ContactRow;
use crate::error::{self, Failure};
use crate::params::Params;

/// A report, three bytes for each of its marks where they are escaped, and the assertion.
const MAX_BODY: usize = 48 * 1024;
/// The parameter.
const REPORT: &str = "report";

/// `POST /fleet/report`: `report`, a JSON object.
pub(crate) async fn report(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = Box::pin(take(&app, &request, body)).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

async fn take(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_BODY).await?;
    let known = [&authenticate::PARAMETERS[..], &[REPORT]].concat();
    let mut params = Params::form(request, &body, &known)?;
    let now = clock::now();
    let node = node_of(app, request, &mut params, now).await?;
    app.per_client
        .check((&node.client_id, ClientAddress::of(request).0))?;
    let malformed = |sentence| OAuthError::new(ErrorCode::InvalidRequest, sentence);
    let text = params.take(REPORT).unwrap_or_default();
    let report = Report::read(&text).map_err(|fault| malformed(fault.0))?;
    if report.sees.contains(&node.node_id) {
        return Err(malformed("a node does not see itself").into());
    }
    let every = interval(app.config.node_silent_after);
    let said = ContactRow {
        client_id: node.client_id,
        heard_at: now.0,
        source: ClientAddress::of(request).0.to_string(),
        report: report.to_json(),
    };
    // One that comes much too soon is believed and not written.
    db::node_contact::write(&app.db, &said, now - every / 2).await?;
    let heard = Heard {
        interval: every.as_secs(),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(heard))
}
