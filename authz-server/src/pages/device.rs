//! Connecting a device that has no browser (RFC 8628 §3.3).

use askama::Template;
use shared::clock::UnixSeconds;

use super::{ClientIdentity, Code, DetailItem, Page, ScopeLine};

/// `GET /device`. Its form goes to `/device` (`user_code`).
#[derive(Template)]
#[template(path = "device_entry.html")]
pub(crate) struct DeviceEntry<'a> {
    pub(crate) page: Page<'a>,
    /// What the field shows at first.
    pub(crate) user_code: &'a str,
    /// The address of this page, for going on with a phone.
    pub(crate) code: Option<&'a Code>,
    pub(crate) error: Option<&'a str>,
}

/// The question. Its form goes to `/device/decision` (`user_code`, `scope`, `decision` = `allow` or `deny`). RFC 8628
/// §5.4: the person must see which device asks, or a link that somebody sent is enough to connect a stranger's.
#[derive(Template)]
#[template(path = "device_confirm.html")]
pub(crate) struct DeviceConfirm<'a> {
    pub(crate) page: Page<'a>,
    /// As the device shows it: `XXXX-XXXX`.
    pub(crate) user_code: &'a str,
    pub(crate) client: &'a str,
    pub(crate) identity: ClientIdentity<'a>,
    /// The address that asked for the code.
    pub(crate) address: &'a str,
    /// The `User-Agent` that it named; empty when it named none.
    pub(crate) agent: &'a str,
    pub(crate) asked_at: UnixSeconds,
    pub(crate) node: &'a str,
    pub(crate) node_uri: &'a str,
    pub(crate) scopes: &'a [ScopeLine],
    pub(crate) details: &'a [DetailItem],
    /// The same, space separated: the form says what was shown.
    pub(crate) granted: &'a str,
    /// Who is signed in.
    pub(crate) person: &'a str,
}

/// After the decision.
#[derive(Template)]
#[template(path = "device_done.html")]
pub(crate) struct DeviceDone<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) is_allowed: bool,
}
