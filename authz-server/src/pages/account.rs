//! What a person granted, where they are signed in, and how they sign in.

use askama::Template;
use shared::clock::UnixSeconds;

use super::{ClientIdentity, Code, Page, ScopeLine};
use crate::client::Origin;

/// `GET /account`. Every button is a form of its own; the rows name their fields.
#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct Account<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) display_name: &'a str,
    pub(crate) username: &'a str,
    /// What the last form did: a whole sentence of [`super::Texts`].
    pub(crate) notice: Option<&'a str>,
    /// Why the last form did nothing.
    pub(crate) error: Option<&'a str>,
    /// `/account/grants/revoke` (`grant_id`), `/account/grants/revoke-all`.
    pub(crate) grants: &'a [GrantRow],
    /// `/account/sessions/end` (`session_id`), `/account/sessions/end-others`.
    pub(crate) sessions: &'a [SessionRow],
    /// `/account/passkeys/remove` (`credential_id`); the script adds them. `None` where passkeys do not work.
    pub(crate) passkeys: Option<&'a [PasskeyRow]>,
    /// `/account/totp/start`, `/account/totp/remove` (RFC 6238).
    pub(crate) has_totp: bool,
    /// `/account/recovery-codes` makes new ones.
    pub(crate) recovery_codes_left: usize,
    pub(crate) linked: &'a [LinkedRow],
    /// `/account/password` (`current`, `new`).
    pub(crate) has_password: bool,
    /// The shortest password that is accepted.
    pub(crate) min_length: usize,
}

impl Account<'_> {
    /// Whether the person signs in with something that is one factor: a passkey alone is two.
    fn can_have_totp(&self) -> bool {
        self.has_totp || self.has_password || !self.linked.is_empty()
    }
}

/// One grant.
pub(crate) struct GrantRow {
    pub(crate) grant_id: String,
    pub(crate) client: String,
    pub(crate) origin: Origin,
    /// Where the client publishes who it is, if it does.
    pub(crate) host: Option<String>,
    pub(crate) node: String,
    pub(crate) node_uri: String,
    pub(crate) scopes: Vec<ScopeLine>,
    pub(crate) since: UnixSeconds,
    pub(crate) last_used: Option<UnixSeconds>,
    /// `None`: when it is revoked.
    pub(crate) ends: Option<UnixSeconds>,
}

impl GrantRow {
    fn identity(&self) -> ClientIdentity<'_> {
        ClientIdentity::new(self.origin, self.host.as_deref())
    }
}

/// One browser that is signed in.
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    /// Its `User-Agent`.
    pub(crate) agent: String,
    pub(crate) address: String,
    pub(crate) since: UnixSeconds,
    pub(crate) last_seen: UnixSeconds,
    pub(crate) is_this: bool,
}

/// One passkey.
pub(crate) struct PasskeyRow {
    pub(crate) credential_id: String,
    pub(crate) name: String,
    pub(crate) since: UnixSeconds,
    pub(crate) last_used: Option<UnixSeconds>,
}

/// One account elsewhere that signs in to this one.
pub(crate) struct LinkedRow {
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) since: UnixSeconds,
}

/// A new second factor. Its form goes to `/account/totp/confirm` (`code`).
#[derive(Template)]
#[template(path = "enrol_totp.html")]
pub(crate) struct EnrolTotp<'a> {
    pub(crate) page: Page<'a>,
    /// The `otpauth:` address.
    pub(crate) code: Option<&'a Code>,
    /// The secret in Base32, for typing.
    pub(crate) secret: &'a str,
    pub(crate) error: Option<&'a str>,
}

impl EnrolTotp<'_> {
    /// The secret in groups of four.
    fn groups(&self) -> String {
        let letters: Vec<char> = self.secret.chars().collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        groups.join(" ")
    }
}

/// New recovery codes, shown this once.
#[derive(Template)]
#[template(path = "recovery_codes.html")]
pub(crate) struct RecoveryCodes<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) codes: &'a [String],
}
