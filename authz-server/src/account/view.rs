//! What the pages of sign-in share: their frame, in the person's language, and the cookie of the browser that sees them.

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT_LANGUAGE;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::Browser;
use crate::app::App;
use crate::pages::{self, Lang, Page};

/// A browser that looks at a page, and the language that it reads.
pub(crate) struct Reader<'a> {
    app: &'a App,
    browser: &'a Browser,
    lang: Lang,
    csrf: String,
}

impl<'a> Reader<'a> {
    /// `ui_locales` is what the client asks for (OpenID Connect Core §3.1.2.1).
    pub(crate) fn new(
        app: &'a App,
        request: &HttpRequest,
        browser: &'a Browser,
        ui_locales: Option<&str>,
    ) -> Self {
        let accepted = request.headers().get(ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        Self {
            app,
            browser,
            lang: Lang::choose(ui_locales, accepted),
            csrf: browser.csrf(app),
        }
    }

    /// The frame of the page.
    pub(crate) fn page(&self) -> Page<'_> {
        Page {
            lang: self.lang,
            base: self.app.config.issuer.path(),
            csrf: &self.csrf,
        }
    }

    /// The page as an answer. The browser keeps its id, to which the forms are bound.
    pub(crate) fn show(&self, template: &impl Template, status: StatusCode) -> HttpResponse {
        self.show_leading_to(&[], template, status)
    }

    /// As [`Self::show`], when a form of the page may end at `targets` ([`pages::form_source`]).
    pub(crate) fn show_leading_to(
        &self,
        targets: &[&str],
        template: &impl Template,
        status: StatusCode,
    ) -> HttpResponse {
        let mut response = pages::render(template, status, targets);
        self.browser.remember(&mut response);
        response
    }
}
