//! The pages that people meet: rendered here, usable without script, in the language their browser asks for.
//!
//! A page is a struct with plain fields and a template of the same name in `templates/`. It holds no secret but the
//! anti-forgery token of its forms, and what only the page may show once.

mod account;
mod agent;
mod approval;
pub(crate) mod assets;
mod code;
mod consent;
mod details;
mod device;
mod headers;
mod lang;
mod notice;
mod scopes;
mod sign_in;
#[cfg(test)]
mod tests;
mod times;

use std::time::Duration;

use shared::clock::UnixSeconds;

pub(crate) use self::account::{
    Account, EnrolTotp, GrantRow, LinkedRow, PasskeyRow, RecoveryCodes, SessionRow,
};
pub(crate) use self::approval::{ApprovalDone, ApprovalQuestion, indented, visible};
pub(crate) use self::code::Code;
pub(crate) use self::consent::{ClientIdentity, Consent};
pub(crate) use self::details::DetailItem;
pub(crate) use self::device::{DeviceConfirm, DeviceDone, DeviceEntry};
pub(crate) use self::headers::{form_source, render};
pub(crate) use self::lang::{Lang, Reason, Texts, fill};
pub(crate) use self::notice::{Failed, Message, SignOut};
pub(crate) use self::scopes::ScopeLine;
pub(crate) use self::sign_in::{SecondFactor, SetPassword, SignIn};
pub(crate) use self::times::{iso, iso_day};

/// What every page needs.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) lang: Lang,
    /// The issuer's path, "" usually: every link is below it.
    pub(crate) base: &'a str,
    /// The anti-forgery token of the page's forms; empty on a page without any.
    pub(crate) csrf: &'a str,
}

impl Page<'_> {
    /// The sentences of the page's language.
    pub(crate) fn texts(&self) -> &'static Texts {
        self.lang.texts()
    }

    /// `sentence` with one value in its place.
    pub(crate) fn fill(&self, sentence: &str, name: &str, value: &str) -> String {
        fill(sentence, &[(name, value)])
    }

    /// The address of an asset; it changes when the asset does.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::address(self.base, name)
    }

    /// A browser in words.
    pub(crate) fn agent(&self, agent: &str) -> String {
        agent::named(self, agent)
    }

    /// An instant as people read it, in UTC.
    pub(crate) fn date(&self, at: &UnixSeconds) -> String {
        times::date(self.lang, *at)
    }

    /// So many days in words.
    pub(crate) fn days(&self, days: u64) -> String {
        times::duration(self.lang, Duration::from_secs(days.saturating_mul(86_400)))
    }

    /// An instant for the `datetime` attribute.
    pub(crate) fn iso(&self, at: &UnixSeconds) -> String {
        times::iso(*at)
    }
}
