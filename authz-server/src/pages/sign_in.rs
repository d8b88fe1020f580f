//! Signing in, and the first password.

use askama::Template;

use super::Page;

/// `GET /login`. Its forms go to `/login` (`username`, `password`) and `/login/upstream`, both with `i`.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn<'a> {
    pub(crate) page: Page<'a>,
    /// The interaction that goes on afterwards.
    pub(crate) interaction: Option<&'a str>,
    /// Who asks the person to sign in.
    pub(crate) client: Option<&'a str>,
    /// What the field shows at first (OpenID Connect Core §3.1.2.1 `login_hint`).
    pub(crate) username: &'a str,
    /// What was done before: a whole sentence of [`super::Texts`].
    pub(crate) notice: Option<&'a str>,
    /// Another such sentence.
    pub(crate) error: Option<&'a str>,
    /// Whether people have passwords here.
    pub(crate) passwords: bool,
    /// Whether passkeys work at this address.
    pub(crate) passkeys: bool,
    /// The name of the provider that people may sign in with instead.
    pub(crate) upstream: Option<&'a str>,
}

/// After the password, for who has two-step codes. Its form goes to `/login/second-factor` (`code`, `i`).
#[derive(Template)]
#[template(path = "second_factor.html")]
pub(crate) struct SecondFactor<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) interaction: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// What a one-time link opens. Its form goes to `/login/link` (`link`, `password`, `password_again`; for the first
/// administrator `username` and `display_name` too).
#[derive(Template)]
#[template(path = "set_password.html")]
pub(crate) struct SetPassword<'a> {
    pub(crate) page: Page<'a>,
    /// The secret of the link, for the form.
    pub(crate) link: &'a str,
    /// Whose password it is; `None` makes the first administrator.
    pub(crate) person: Option<&'a str>,
    /// What was typed before an error; empty at first, and for a known person their username, for password stores.
    pub(crate) username: &'a str,
    pub(crate) display_name: &'a str,
    /// The shortest password that is accepted.
    pub(crate) min_length: usize,
    pub(crate) error: Option<&'a str>,
}
