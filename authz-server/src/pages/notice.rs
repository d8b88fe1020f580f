//! Pages that say one thing.

use askama::Template;

use super::{Page, Reason};

/// Something did not work. Nothing of the request is repeated.
#[derive(Template)]
#[template(path = "failed.html")]
pub(crate) struct Failed<'a> {
    pub(crate) page: Page<'a>,
    /// What and what to do: one of [`super::Texts`].
    pub(crate) reason: &'static Reason,
    /// For the person's support, such as `invalid_request`.
    pub(crate) code: &'a str,
}

/// `GET /logout`. Its form goes to `/logout`.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub(crate) struct SignOut<'a> {
    pub(crate) page: Page<'a>,
    /// The interaction that goes on with somebody else.
    pub(crate) interaction: Option<&'a str>,
    pub(crate) person: &'a str,
}

/// Something is done.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) title: &'a str,
    pub(crate) sentence: &'a str,
}
