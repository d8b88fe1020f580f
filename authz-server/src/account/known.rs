//! The mark of a browser that has signed in to an account before. It opens nothing: it only keeps the owner's sign-in
//! from being slowed down by strangers who guess (`throttle`).

use actix_web::cookie::time::Duration;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use shared::clock::UnixSeconds;
use shared::secret::random_bytes;

use super::Browser;
use crate::app::App;
use crate::error::Failure;

/// How long a browser stays known after its last sign-in.
const LIFE: Duration = Duration::days(90);
/// The name of its cookie, before the prefix.
const COOKIE: &str = "known";

/// The mark of this browser for this account, if we made it and it has not expired.
pub(super) fn mark(
    app: &App,
    browser: &Browser,
    request: &HttpRequest,
    (user_id, now): (&str, UnixSeconds),
) -> Option<String> {
    let cookie = browser.read(request, COOKIE)?;
    let (text, tag) = cookie.rsplit_once('.')?;
    let (mark, expires_at) = text.split_once('.')?;
    let expires_at: i64 = expires_at.parse().ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    let is_ours = hmac::verify(app.master().forms(), signed(text, user_id).as_bytes(), &tag).is_ok();
    (is_ours && now.0 < expires_at).then(|| mark.to_owned())
}

/// Marks a browser that has just signed in to an account.
pub(super) fn set(
    app: &App,
    browser: &Browser,
    (user_id, now): (&str, UnixSeconds),
    response: &mut HttpResponse,
) -> Result<(), Failure> {
    let mark = URL_SAFE_NO_PAD.encode(random_bytes::<16>()?);
    let text = format!("{mark}.{}", now.0 + LIFE.whole_seconds());
    let tag = hmac::sign(app.master().forms(), signed(&text, user_id).as_bytes());
    let value = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag));
    browser.set(response, COOKIE, &value, LIFE);
    Ok(())
}

/// Not confusable with an anti-forgery token, whose text begins with another word.
fn signed(text: &str, user_id: &str) -> String {
    format!("known {text} {user_id}")
}
