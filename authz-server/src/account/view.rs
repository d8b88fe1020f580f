//! The pages of this folder: from what the database knows to what a template shows.

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT_LANGUAGE;
use actix_web::{HttpRequest, HttpResponse};

use super::Browser;
use crate::app::App;
use crate::pages::{self, Code, EnrolTotp, Lang, Page, RecoveryCodes, SecondFactor};

/// The language of the person who sent `request`.
pub(super) fn lang(request: &HttpRequest) -> Lang {
    let accepted = request.headers().get(ACCEPT_LANGUAGE);
    Lang::choose(None, accepted.and_then(|value| value.to_str().ok()))
}

/// `url` as a QR code, the same secret as text. A status that is no success says that the code was wrong.
pub(super) fn enrol_totp(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    (url, secret, status): (&str, String, StatusCode),
) -> HttpResponse {
    let csrf = browser.csrf(app);
    let page = frame(app, request, &csrf);
    let code = Code::new(url);
    let shown = EnrolTotp {
        page,
        code: code.as_ref(),
        secret: &secret,
        error: (!status.is_success()).then_some(page.texts().wrong_code),
    };
    remembered(browser, pages::render(&shown, status, &[]))
}

/// New recovery codes, once.
pub(super) fn recovery_codes(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    codes: &[String],
) -> HttpResponse {
    let csrf = browser.csrf(app);
    let shown = RecoveryCodes {
        page: frame(app, request, &csrf),
        codes,
    };
    remembered(browser, pages::render(&shown, StatusCode::OK, &[]))
}

/// The second step of a sign-in; with [`StatusCode::UNAUTHORIZED`] after a wrong code.
pub(super) fn second_factor(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    (interaction, status): (&str, StatusCode),
) -> HttpResponse {
    let csrf = browser.csrf(app);
    let page = frame(app, request, &csrf);
    let shown = SecondFactor {
        page,
        interaction,
        error: (!status.is_success()).then_some(page.texts().wrong_code),
    };
    remembered(browser, pages::render(&shown, status, &[]))
}

/// What every page needs.
pub(super) fn frame<'a>(app: &'a App, request: &HttpRequest, csrf: &'a str) -> Page<'a> {
    Page {
        lang: lang(request),
        base: app.config.issuer.path(),
        csrf,
    }
}

/// `answer`, with the cookie that its forms need.
pub(super) fn remembered(browser: &Browser, mut answer: HttpResponse) -> HttpResponse {
    browser.remember(&mut answer);
    answer
}
