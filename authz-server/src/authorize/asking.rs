//! Who sent a person here, for the pages on the way.

use url::Url;

use super::interaction::{Interaction, Purpose};
use super::raw::Raw;
use super::request::{AuthorizationRequest, Stop};
use crate::app::App;
use crate::error::Failure;
use crate::pages;

/// What sign-in pages need to know of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking {
    pub(crate) client_name: String,
    pub(crate) login_hint: Option<String>,
    pub(crate) ui_locales: Option<String>,
    /// Where the answer goes, as a `form-action` source: a browser that has just signed in may be sent on to the client
    /// at once, and Chromium holds the whole chain of redirects against the policy of the page with the form.
    pub(crate) answer_to: String,
}

/// Who sent the person here; `None` when no client did, or its request would be refused.
pub(crate) async fn asking(app: &App, interaction: &Interaction) -> Result<Option<Asking>, Failure> {
    let Purpose::Authorize { arrival, .. } = &interaction.purpose else {
        return Ok(None);
    };
    let request = match AuthorizationRequest::read(app, arrival).await {
        Ok(request) => request,
        Err(Stop::Page(Failure::Db(fault))) => return Err(fault.into()),
        Err(_) => return Ok(None),
    };
    let hint = Raw::scan(&arrival.query)
        .ok()
        .and_then(|mut raw| raw.take("login_hint"));
    Ok(Some(Asking {
        client_name: request.client.name.clone(),
        login_hint: hint.filter(|hint| !hint.chars().any(char::is_control)),
        ui_locales: request.ui_locales,
        answer_to: Url::parse(&request.to.redirect_uri)
            .map(|url| pages::form_source(&url))
            .unwrap_or_default(),
    }))
}
