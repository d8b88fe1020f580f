//! Signing out: only by a form, so that no link of a stranger does it (OpenID Connect RP-Initiated Logout §2).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock;

use super::sign_in::{query_value, see_other};
use super::view::Reader;
use super::{Browser, form, session};
use crate::app::App;
use crate::authorize::interaction;
use crate::error::{self, Failure};
use crate::pages::{Message, SignOut};

/// `GET /logout?i=…`: asks.
pub(crate) async fn page(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = ask(&app, &request).await;
    shown.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /logout`: ends the session. With `i`, somebody else signs in and the interaction goes on.
pub(crate) async fn submit(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let done = end(&app, &request, body).await;
    done.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

async fn ask(app: &App, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    let browser = Browser::of(app, request)?;
    let reader = Reader::new(app, request, &browser, None);
    let Some(signed_in) = session::find(app, &browser, clock::now()).await? else {
        return Ok(signed_out(&reader));
    };
    let i = query_value(request, "i");
    let template = SignOut {
        page: reader.page(),
        interaction: i.as_deref(),
        person: &signed_in.user.display_name,
    };
    Ok(reader.show(&template, StatusCode::OK))
}

async fn end(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let (browser, mut params) = form(app, request, body, &["i"]).await?;
    let now = clock::now();
    let open = match params.take("i") {
        Some(i) => interaction::find(app, &browser, &i, now).await?,
        None => None,
    };
    let base = app.config.issuer.path();
    let mut response = match open {
        Some(interaction) => see_other(&format!("{base}/login?i={}", interaction.id)),
        // The page that says so is fetched without the session, so that its forms are of no session either.
        None => see_other(&format!("{base}/logout")),
    };
    session::end_here(app, &browser, &mut response, now).await?;
    Ok(response)
}

fn signed_out(reader: &Reader<'_>) -> HttpResponse {
    let page = reader.page();
    let texts = page.texts();
    let template = Message {
        page,
        title: texts.signed_out_title,
        sentence: texts.signed_out,
    };
    reader.show(&template, StatusCode::OK)
}
