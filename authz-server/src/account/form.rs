//! Forms that people send: read once, and only from a page that we showed to this very browser.

use actix_web::{HttpRequest, web};

use super::Browser;
use crate::app::App;
use crate::error::Failure;
use crate::params::{MAX_FORM_BYTES, Params};

/// Reads a form. `known` are its fields besides the anti-forgery token, which is checked first: a form without it, or
/// with another browser's, is [`Failure::Forbidden`] and has changed nothing.
pub(crate) async fn form(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
    known: &[&'static str],
) -> Result<(Browser, Params), Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let fields: Vec<&'static str> = known.iter().copied().chain(["csrf"]).collect();
    let mut params = Params::form(request, &body, &fields)?;
    let browser = Browser::of(app, request)?;
    let token = params.take("csrf").unwrap_or_default();
    if !browser.made(app, &token) {
        return Err(Failure::Forbidden(
            "the form has no anti-forgery token of this browser",
        ));
    }
    Ok((browser, params))
}
