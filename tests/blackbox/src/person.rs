//! A person with a browser: cookies, forms, redirects within the server; everything else is shown to the test.

use xtask::http::{Answer, Request};

use crate::html::{self, Form};
use crate::location::{absolute, origin, query};

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

/// A cookie as the server set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its attributes as written, in lower case: `httponly`, `path=/`, `samesite=lax`.
    pub attributes: Vec<String>,
}

/// Where a visit has ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The server shows a page.
    Page(Page),
    /// The browser is sent elsewhere.
    Redirect(Redirect),
}

/// A page of the server.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// The whole answer.
    pub answer: Answer,
}

/// A redirect to another origin. It is not followed.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// The whole address.
    pub url: String,
    /// The answer that carries it.
    pub answer: Answer,
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

impl Cookie {
    /// Reads the value of a `Set-Cookie` header.
    #[must_use]
    pub fn read(line: &str) -> Self {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts
            .next()
            .unwrap_or_default()
            .split_once('=')
            .unwrap_or_default();
        Self {
            name: name.into(),
            value: value.into(),
            attributes: parts.map(str::to_lowercase).collect(),
        }
    }

    /// Whether it has this attribute, written in lower case.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|known| known == attribute)
    }
}

impl Outcome {
    /// The page.
    ///
    /// # Panics
    /// When the browser was sent elsewhere.
    #[must_use]
    #[track_caller]
    pub fn page(self) -> Page {
        match self {
            Self::Page(page) => page,
            Self::Redirect(redirect) => panic!("not a page: a redirect to {}", redirect.url),
        }
    }

    /// The redirect.
    ///
    /// # Panics
    /// When the server shows a page.
    #[must_use]
    #[track_caller]
    pub fn redirect(self) -> Redirect {
        match self {
            Self::Redirect(redirect) => redirect,
            Self::Page(page) => panic!("not a redirect: {} shows {}", page.url, page.answer),
        }
    }
}

impl Page {
    /// Its forms.
    #[must_use]
    pub fn forms(&self) -> Vec<Form> {
        html::forms(&self.answer.text())
    }

    /// The form whose action's path ends so.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn form(&self, action: &str) -> Form {
        let mut found = self.forms();
        found.retain(|form| goes_to(form, action));
        assert_eq!(
            found.len(),
            1,
            "forms to {action} at {}: {}",
            self.url,
            self.answer
        );
        found.remove(0)
    }

    /// Whether it has a form whose action's path ends so.
    #[must_use]
    pub fn has_form(&self, action: &str) -> bool {
        self.forms().iter().any(|form| goes_to(form, action))
    }

    /// Its HTML with character references resolved.
    #[must_use]
    pub fn text(&self) -> String {
        html::unescape(&self.answer.text())
    }
}

impl Redirect {
    /// The parameter with this name, decoded.
    ///
    /// # Panics
    /// When it stands there twice.
    #[must_use]
    #[track_caller]
    pub fn param(&self, name: &str) -> Option<String> {
        let mut found = self.params();
        found.retain(|(known, _)| known == name);
        assert!(found.len() < 2, "{name} more than once in {}", self.url);
        found.pop().map(|(_, value)| value)
    }

    /// Every parameter of the query, in order.
    #[must_use]
    pub fn params(&self) -> Vec<(String, String)> {
        query(&self.url)
    }

    /// The authorization code.
    ///
    /// # Panics
    /// When there is none, or an error beside it.
    #[must_use]
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.param("error"), None, "{}", self.url);
        self.param("code")
            .unwrap_or_else(|| panic!("no code in {}", self.url))
    }
}

fn goes_to(form: &Form, action: &str) -> bool {
    let path = form.action.split('?').next().unwrap_or_default();
    path.ends_with(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_with_its_attributes() {
        let cookie = Cookie::read("__Host-eh_session=a=b; Path=/; HttpOnly; Secure; SameSite=Lax");
        assert_eq!((&*cookie.name, &*cookie.value), ("__Host-eh_session", "a=b"));
        assert!(cookie.has("httponly") && cookie.has("samesite=lax") && cookie.has("path=/"));
        assert!(!cookie.has("max-age=0"));
    }

    #[test]
    fn addresses_and_queries() {
        assert_eq!(absolute("http://h:1/a?b", "/c?d"), "http://h:1/c?d");
        assert_eq!(absolute("http://h:1/a", "https://x/y"), "https://x/y");
        assert_eq!(
            absolute("http://h:1/a", "com.example:/cb?code=1"),
            "com.example:/cb?code=1"
        );
        let pairs = query("http://h/cb?kept=1&code=a%2Bb&state=x+y#f");
        assert_eq!(pairs[1], ("code".into(), "a+b".into()));
        assert_eq!(pairs[2], ("state".into(), "x y".into()));
        assert_eq!(query("http://h/cb"), vec![]);
    }
}
