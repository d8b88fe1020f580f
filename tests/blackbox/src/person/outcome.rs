//! Where a visit has ended: a page of the server, or a redirect away from it.

use xtask::http::Answer;

use crate::html::{self, Form};
use crate::location::query;

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
