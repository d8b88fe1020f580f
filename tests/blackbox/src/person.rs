//! A person with a browser: cookies, forms, redirects within the server; everything else is shown to the test.

mod cookie;
mod outcome;

use xtask::http::{Answer, Request};

pub use self::cookie::Cookie;
pub use self::outcome::{Outcome, Page, Redirect};
use crate::html::Form;
use crate::location::{absolute, origin};

/// More redirects in a row than this go in circles.
const MOST_REDIRECTS: usize = 10;

/// A browser that visits one server. A clone is a copy of its cookies at that moment.
#[derive(Clone)]
pub struct Person {
    /// Scheme, host and port of the server, and the issuer's path if it has one.
    base: String,
    cookies: Vec<Cookie>,
    headers: Vec<(String, String)>,
}

impl Person {
    /// A browser without cookies for the server with this issuer.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        Self {
            base: issuer.trim_end_matches('/').to_owned(),
            cookies: Vec::new(),
            headers: vec![("Accept".into(), "text/html".into())],
        }
    }

    /// The same browser with one more header on every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The cookies it has.
    #[must_use]
    pub fn cookies(&self) -> &[Cookie] {
        &self.cookies
    }

    /// The cookie with this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|cookie| cookie.name == name)
    }

    /// Forgets the cookie with this name.
    pub fn forget(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }

    /// Takes this cookie in, over one of the same name.
    pub fn take(&mut self, cookie: Cookie) {
        self.forget(&cookie.name);
        self.cookies.push(cookie);
    }

    /// The address of a path below the issuer. What is an address already stays as it is.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        if path.starts_with("http://") || path.starts_with("https://") {
            path.into()
        } else {
            format!("{}{path}", self.base)
        }
    }

    /// Sends one request with the cookies and keeps those of the answer. Redirects are not followed.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn send(&mut self, mut request: Request) -> Answer {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let is_plain = self.base.starts_with("http:");
        let sent: Vec<String> = self
            .cookies
            .iter()
            .filter(|cookie| !(is_plain && cookie.has("secure")))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if !sent.is_empty() {
            request = request.header("Cookie", &sent.join("; "));
        }
        let answer = request.send().unwrap();
        self.keep(&answer);
        answer
    }

    /// GET without following redirects; `path` is below the issuer or a whole address.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let request = Request::new("GET", &self.at(path)).unwrap();
        self.send(request)
    }

    /// POSTs a form without following redirects.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::post(&self.at(path)).unwrap().form(fields);
        self.send(request)
    }

    /// Opens an address, following redirects within the server.
    ///
    /// # Panics
    /// When nobody answers, or the redirects do not end.
    #[track_caller]
    pub fn open(&mut self, path: &str) -> Outcome {
        let url = self.at(path);
        let answer = self.get(&url);
        self.follow(url, answer)
    }

    /// Opens an address that must show a page.
    ///
    /// # Panics
    /// When it leads elsewhere.
    #[track_caller]
    pub fn page(&mut self, path: &str) -> Page {
        self.open(path).page()
    }

    /// Sends a form of `page` with these fields set over what it says, and follows redirects within the server.
    ///
    /// # Panics
    /// When nobody answers, or the form's method is not POST.
    #[track_caller]
    pub fn submit(&mut self, page: &Page, form: &Form, fields: &[(&str, &str)]) -> Outcome {
        let (url, answer) = self.submit_once(page, form, fields);
        self.follow(url, answer)
    }

    /// The same without following: the address that was asked, and its answer.
    ///
    /// # Panics
    /// When nobody answers, or the form's method is not POST.
    #[track_caller]
    pub fn submit_once(&mut self, page: &Page, form: &Form, fields: &[(&str, &str)]) -> (String, Answer) {
        assert_eq!(form.method, "post", "{form:?}");
        let url = absolute(&page.url, &form.action);
        let kept = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !fields.iter().any(|(set, _)| set == name));
        let sent: Vec<(&str, &str)> = kept.chain(fields.iter().copied()).collect();
        let answer = self.post(&url, &sent);
        (url, answer)
    }

    /// Signs in at `/login`.
    ///
    /// # Panics
    /// When there is no such page.
    #[track_caller]
    pub fn sign_in(&mut self, username: &str, password: &str) -> Outcome {
        let page = self.page("/login");
        self.sign_in_at(&page, username, password)
    }

    /// Signs in at the page that is shown.
    ///
    /// # Panics
    /// When it has no form for that.
    #[track_caller]
    pub fn sign_in_at(&mut self, page: &Page, username: &str, password: &str) -> Outcome {
        let form = page.form("/login");
        self.submit(page, &form, &[("username", username), ("password", password)])
    }

    /// Allows or denies what the consent page asks: `decision` is `allow` or `deny`.
    ///
    /// # Panics
    /// When the page offers no such button.
    #[track_caller]
    pub fn decide(&mut self, page: &Page, decision: &str, fields: &[(&str, &str)]) -> Outcome {
        let form = page.form("/consent");
        assert!(form.offers("decision", decision), "{form:?}");
        let fields = [&[("decision", decision)], fields].concat();
        self.submit(page, &form, &fields)
    }

    /// From an authorization request to the redirect back: signs in if asked, allows if asked.
    ///
    /// # Panics
    /// When any page on the way is another one.
    #[track_caller]
    pub fn allow(&mut self, url: &str, (username, password): (&str, &str)) -> Redirect {
        let mut outcome = self.open(url);
        for _ in 0..3 {
            outcome = match outcome {
                Outcome::Redirect(redirect) => return redirect,
                Outcome::Page(page) if page.has_form("/login") => self.sign_in_at(&page, username, password),
                Outcome::Page(page) => self.decide(&page, "allow", &[]),
            };
        }
        outcome.redirect()
    }

    #[track_caller]
    fn follow(&mut self, mut url: String, mut answer: Answer) -> Outcome {
        for _ in 0..MOST_REDIRECTS {
            if !(300..400).contains(&answer.status) {
                return Outcome::Page(Page { url, answer });
            }
            // 307 and 308 would send a password on; after a POST only 303 is right (RFC 9700 §4.12).
            assert!(matches!(answer.status, 302 | 303), "{answer}");
            let location = answer.header("location").unwrap_or_default();
            let target = absolute(&url, location);
            if origin(&target) != origin(&self.base) {
                return Outcome::Redirect(Redirect { url: target, answer });
            }
            answer = self.get(&target);
            url = target;
        }
        panic!("redirects without end at {url}");
    }

    fn keep(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let cookie = Cookie::read(line);
            self.forget(&cookie.name);
            if !cookie.has("max-age=0") {
                self.cookies.push(cookie);
            }
        }
    }
}
