//! A browser before and after sign-in: the cookie that it carries from its first page on, and the anti-forgery token
//! of every form.
//!
//! A form's token is an HMAC over this cookie and the session cookie, so a form made for one browser, or for the
//! session before sign-in, is worth nothing in another. With `SameSite=Lax` no cookie comes along from a foreign page.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use shared::secret::{NoRandomness, Secret, SecretHash, random_bytes};

use crate::app::App;

/// How long a browser keeps its cookie: as long as anything that it has begun.
const LIFE: Duration = Duration::hours(12);

/// The browser that sent a request.
pub(crate) struct Browser {
    id: Secret,
    session: Option<Secret>,
    is_new: bool,
    is_secure: bool,
}

impl Browser {
    /// Reads the cookies of `request`; a browser without any gets an id.
    pub(crate) fn of(app: &App, request: &HttpRequest) -> Result<Self, NoRandomness> {
        let is_secure = app.config.issuer.url().scheme() == "https";
        let read = |name: &str| {
            let cookie = request.cookie(&cookie_name(name, is_secure))?;
            Some(Secret::from(cookie.value().to_owned())).filter(|value| value.reveal().len() <= 128)
        };
        let known = read("browser").filter(|id| is_id(id.reveal()));
        let is_new = known.is_none();
        let id = match known {
            Some(id) => id,
            None => Secret::from(URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)),
        };
        Ok(Self {
            id,
            session: read("session"),
            is_new,
            is_secure,
        })
    }

    /// Whether it came without a cookie: on its first visit, or posted here by a foreign page.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What an interaction is bound to.
    pub(crate) fn hash(&self) -> SecretHash {
        self.id.hash()
    }

    /// The session cookie as it came, proven or not.
    pub(super) fn session(&self) -> Option<&Secret> {
        self.session.as_ref()
    }

    /// The anti-forgery token for this browser's next form.
    pub(crate) fn csrf(&self, app: &App) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(app.master().forms(), self.bound().as_bytes()))
    }

    /// Whether `token` was made by [`Self::csrf`] for this browser in this session.
    pub(crate) fn made(&self, app: &App, token: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        // A browser that came without its cookie has been shown no form.
        !self.is_new && hmac::verify(app.master().forms(), self.bound().as_bytes(), &tag).is_ok()
    }

    /// Lets the browser keep its id. Call it on every page with a form.
    pub(crate) fn remember(&self, response: &mut HttpResponse) {
        if self.is_new {
            let cookie = self.cookie("browser", self.id.reveal(), Some(LIFE));
            add(response, &cookie);
        }
    }

    /// The text of a further cookie.
    pub(super) fn read(&self, request: &HttpRequest, name: &str) -> Option<String> {
        let cookie = request.cookie(&cookie_name(name, self.is_secure))?;
        Some(cookie.value().to_owned()).filter(|value| value.len() <= 256)
    }

    /// Gives the browser a further cookie, with every attribute of the others.
    pub(super) fn set(&self, response: &mut HttpResponse, name: &str, value: &str, life: Duration) {
        add(response, &self.cookie(name, value, Some(life)));
    }

    /// Gives the browser a session, or takes it away.
    pub(super) fn set_session(&self, response: &mut HttpResponse, value: Option<&Secret>) {
        let cookie = match value {
            // It ends with the browser; the server ends it earlier.
            Some(value) => self.cookie("session", value.reveal(), None),
            None => self.cookie("session", "", Some(Duration::ZERO)),
        };
        add(response, &cookie);
    }

    fn bound(&self) -> String {
        let session = self.session.as_ref().map_or("", Secret::reveal);
        format!("form {}.{session}", self.id.reveal())
    }

    fn cookie<'a>(&self, name: &str, value: &'a str, life: Option<Duration>) -> Cookie<'a> {
        let mut cookie = Cookie::new(cookie_name(name, self.is_secure), value);
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_secure(self.is_secure);
        cookie.set_same_site(SameSite::Lax);
        cookie.set_max_age(life);
        cookie
    }
}

/// What we give a browser: 128 bits in base64url. Nothing else is taken for one, so that no text that we authenticate
/// begins as a stranger likes.
fn is_id(text: &str) -> bool {
    text.len() == 22
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `__Host-` ties a cookie to this host and to https. Plain http exists on loopback only, where browsers refuse it.
fn cookie_name(name: &str, is_secure: bool) -> String {
    let prefix = if is_secure { "__Host-" } else { "" };
    format!("{prefix}eh_{name}")
}

fn add(response: &mut HttpResponse, cookie: &Cookie<'_>) {
    if response.add_cookie(cookie).is_err() {
        tracing::error!("a cookie could not be written");
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::SET_COOKIE;

    use super::*;

    fn cookies(is_secure: bool) -> Vec<String> {
        let browser = Browser {
            id: Secret::from("id".to_owned()),
            session: None,
            is_new: true,
            is_secure,
        };
        let mut response = HttpResponse::Ok().finish();
        browser.remember(&mut response);
        browser.set_session(&mut response, Some(&Secret::from("value".to_owned())));
        browser.set(&mut response, "known", "mark", LIFE);
        let lines = response.headers().get_all(SET_COOKIE);
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn cookies_of_an_https_issuer_belong_to_its_host_alone() {
        let secure = cookies(true);
        assert_eq!(secure.len(), 3);
        for line in &secure {
            assert!(line.starts_with("__Host-eh_"), "{line}");
            for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
                assert!(line.contains(attribute), "{attribute}: {line}");
            }
            assert!(!line.contains("Domain"), "{line}");
        }
        // Plain http is for loopback, where a browser would refuse the prefix.
        for line in cookies(false) {
            assert!(line.starts_with("eh_") && !line.contains("Secure"), "{line}");
        }
    }
}
