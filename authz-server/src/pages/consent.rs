//! May this client act for you?

use askama::Template;

use super::{DetailItem, Page, ScopeLine};
use crate::client::Origin;

/// How a client is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientIdentity<'a> {
    /// The operator of this server registered it.
    Operator,
    /// It is whoever publishes at this host: its `client_id` is an address.
    Host(&'a str),
    /// It registered itself, and nobody checked its name.
    Unverified,
}

impl<'a> ClientIdentity<'a> {
    /// Who vouches for a client, and at which host if it publishes who it is.
    pub(crate) fn new(origin: Origin, host: Option<&'a str>) -> Self {
        match (origin, host) {
            (Origin::Operator, _) => Self::Operator,
            (Origin::Document, Some(host)) => Self::Host(host),
            (Origin::Document | Origin::Registration, _) => Self::Unverified,
        }
    }

    /// In words. They stand on a line of their own: beside the name they would be what the client can write into it.
    pub(crate) fn sentence(&self, page: &Page<'_>) -> String {
        let t = page.texts();
        match self {
            Self::Operator => t.by_operator.to_owned(),
            Self::Host(host) => page.fill(t.by_host, "host", host),
            Self::Unverified => t.by_nobody.to_owned(),
        }
    }
}

/// `GET /consent`. Its form goes to `/consent` (`i`, `scope`, `decision` = `allow` or `deny`, `duration` =
/// `until-revoked`, `30-days` or `1-day`, `remember` = `on` when ticked). With `before_upstream` it goes to
/// `/login/upstream/consent` (`i`, `scope`, `decision`).
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) interaction: &'a str,
    pub(crate) client: &'a str,
    pub(crate) identity: ClientIdentity<'a>,
    /// Where the answer goes: the host of the redirect URI, or its scheme (`cursor:`).
    pub(crate) redirect_host: &'a str,
    /// Whether that is only this device (RFC 8252 §8.6: any program here can claim to be that client).
    pub(crate) is_loopback: bool,
    pub(crate) node: &'a str,
    pub(crate) node_uri: &'a str,
    pub(crate) scopes: &'a [ScopeLine],
    pub(crate) details: &'a [DetailItem],
    /// The same, space separated: the form says what was shown.
    pub(crate) granted: &'a str,
    /// Who is signed in; not shown with `before_upstream`.
    pub(crate) person: &'a str,
    /// Nobody is signed in yet, and this provider is asked next: our own consent comes first.
    pub(crate) before_upstream: Option<&'a str>,
}

impl Consent<'_> {
    /// Whether the answer can be remembered: who is unverified is asked about each time.
    fn can_remember(&self) -> bool {
        self.identity != ClientIdentity::Unverified
    }

    /// Whether some of the permissions were granted before.
    fn is_step_up(&self) -> bool {
        self.scopes.iter().any(|line| line.is_new) && self.scopes.iter().any(|line| !line.is_new)
    }
}
