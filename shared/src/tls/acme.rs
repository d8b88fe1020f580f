//! Certificates by ACME (RFC 8555), of Let's Encrypt or of an authority of one's own (docs/decisions/0022-acme.md). The
//! protocol is rustls-acme's; when to order, where to keep what came and what to say of a failure is ours.

mod failure;
mod kept;
mod orders;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

pub use self::failure::{ALL as FAILURES, Failure};
use self::kept::Kept;
pub use self::orders::Orders;
use crate::config::Section;
use crate::http_client::{NOT_TO_BE_ASKED, may_be_asked};

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// How many names one certificate may have there.
const MAX_DOMAINS: usize = 100;

/// `[tls.acme]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcmeSettings {
    /// The names that the certificate is for, lower case.
    pub(super) domains: Vec<String>,
    /// Where the authority may write to: `mailto:` addresses.
    contact: Vec<String>,
    /// Whether the operator has agreed to the terms of the authority, which we then tell it.
    terms_agreed: bool,
    /// Where the authority says what it can.
    directory: String,
    /// Where the account's key, the certificate and its key are.
    folder: PathBuf,
    /// Authorities (PEM) to trust at the directory, besides the public ones.
    pub(super) ca_file: Option<PathBuf>,
    /// How we show that a domain is ours.
    challenge: Challenge,
}

/// How control of a domain is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Challenge {
    /// At the TLS listener (RFC 8737).
    TlsAlpn,
    /// At the listener that redirects (RFC 8555 §8.3).
    Http,
}

impl FromStr for Challenge {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tls-alpn-01" => Ok(Self::TlsAlpn),
            "http-01" => Ok(Self::Http),
            _ => Err("must be tls-alpn-01 or http-01"),
        }
    }
}

impl AcmeSettings {
    /// Reads what stands below `[tls.acme]`. `names` are those under which the program is reached.
    pub(super) fn read(section: &mut Section<'_>, data_dir: &Path, names: &[String]) -> Self {
        let reached = reached(names).join(", ");
        let domains: Vec<String> = section.list("domains", &reached);
        let contact: Vec<String> = section.list("contact", "");
        let directory: Option<Url> = section.value("directory", LETS_ENCRYPT);
        let folder = section.optional("folder");
        let challenge: Option<Challenge> = section.value("challenge", "tls-alpn-01");
        Self {
            domains: domains.iter().map(|name| name.to_ascii_lowercase()).collect(),
            contact: contact.iter().map(|address| mailto(address)).collect(),
            terms_agreed: section.value("terms_agreed", "false").unwrap_or(false),
            directory: directory.map(String::from).unwrap_or_default(),
            folder: folder.unwrap_or_else(|| data_dir.join("acme")),
            ca_file: section.optional("ca_file"),
            challenge: challenge.unwrap_or(Challenge::TlsAlpn),
        }
    }

    /// Names what cannot work.
    pub(super) fn check(&self, section: &mut Section<'_>, names: &[String]) {
        for name in self.domains.iter().filter(|name| !is_domain(name)) {
            section.fault(
                "domains",
                format!(
                    "{name:?}: a domain is written like auth.example; an address, a name without a dot and a pattern get \
                     no certificate by this way"
                ),
            );
        }
        let reached = reached(names);
        if self.domains.is_empty() || self.domains.len() > MAX_DOMAINS {
            section.fault("domains", format!("name 1 to {MAX_DOMAINS} domains"));
        } else if !reached.is_empty() && !reached.iter().any(|name| self.domains.iter().any(|d| d == name)) {
            let reached = reached.join(", ");
            section.fault(
                "domains",
                format!("callers come to {reached}, for which the certificate would not be"),
            );
        }
        for address in self.contact.iter().filter(|address| !is_contact(address)) {
            section.fault(
                "contact",
                format!("{address:?}: write an e-mail address, operations@example.org for example"),
            );
        }
        let directory: Option<Url> = self.directory.parse().ok();
        if directory.is_some_and(|url| !may_be_asked(&url)) {
            section.fault("directory", NOT_TO_BE_ASKED);
        }
        if !self.terms_agreed {
            section.fault(
                "terms_agreed",
                "read the terms of the authority (Let's Encrypt: https://letsencrypt.org/repository) and say true",
            );
        }
    }

    /// Whether the authority asks us over plain HTTP.
    pub(super) fn is_answered_in_clear(&self) -> bool {
        self.challenge == Challenge::Http
    }

    /// The certificate in use with its key, as far as there is one.
    pub(super) fn certificate_file(&self) -> PathBuf {
        Kept::of(self).certificate_file()
    }
}

/// Those of the names that can have a certificate.
fn reached(names: &[String]) -> Vec<&str> {
    let names = names.iter().map(String::as_str);
    names.filter(|name| is_domain(name)).collect()
}

/// A name for which a public authority can vouch by these challenges (RFC 8555 §7.1.4, RFC 8738 aside): letters, digits
/// and hyphens (RFC 5890 A-labels among them), with a dot, and no pattern.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    name.len() <= 253 && name.contains('.') && !is_address && name.split('.').all(is_label)
}

fn is_contact(text: &str) -> bool {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let parts = address.split_once('@');
    let is_plain = |c: char| c.is_ascii_graphic() && !",?&%\"<>".contains(c);
    parts.is_some_and(|(local, domain)| !local.is_empty() && is_domain(domain))
        && address.chars().all(is_plain)
}

/// RFC 8555 §7.3: one address, without header fields.
fn mailto(text: &str) -> String {
    format!("mailto:{}", text.strip_prefix("mailto:").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{TlsMode, read_mode, read_redirect};
    use super::*;
    use crate::config::Reader;

    fn read(text: &str) -> Result<AcmeSettings, String> {
        let mut reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        let names = ["auth.example", "localhost", "192.0.2.1"].map(str::to_owned);
        let mode = read_mode(&mut reader, Path::new("/data"), names.to_vec());
        read_redirect(&mut reader, &mode);
        reader.finish().map_err(|faults| faults.to_string())?;
        match mode {
            TlsMode::Acme(settings) => Ok(*settings),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_terms_are_all_that_must_be_said() {
        let settings = read("[tls]\nmode = \"acme\"\n[tls.acme]\nterms_agreed = true\n").unwrap();
        assert_eq!(settings.domains, ["auth.example"]);
        assert_eq!(settings.directory, LETS_ENCRYPT);
        assert_eq!(settings.folder, Path::new("/data/acme"));
        assert_eq!(settings.challenge, Challenge::TlsAlpn);
        let more = "[tls]\nmode = \"acme\"\nredirect_listen = \"0.0.0.0:80\"\n[tls.acme]\nterms_agreed = true\n\
                    contact = [\"ops@auth.example\"]\nchallenge = \"http-01\"\ndomains = [\"Auth.example\", \"b.example\"]\n";
        let settings = read(more).unwrap();
        assert_eq!(settings.contact, ["mailto:ops@auth.example"]);
        assert_eq!(settings.domains, ["auth.example", "b.example"]);
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        for (bad, part) in [
            ("", "terms_agreed"),
            ("terms_agreed = false", "terms_agreed"),
            (
                "terms_agreed = true\ndomains = [\"*.auth.example\"]",
                "is written like",
            ),
            (
                "terms_agreed = true\ndomains = [\"192.0.2.1\"]",
                "is written like",
            ),
            (
                "terms_agreed = true\ndomains = [\"localhost\"]",
                "is written like",
            ),
            (
                "terms_agreed = true\ndomains = [\"b.example\"]",
                "come to auth.example",
            ),
            ("terms_agreed = true\ndomains = []", "name 1 to"),
            ("terms_agreed = true\ncontact = [\"ops\"]", "e-mail"),
            (
                "terms_agreed = true\ndirectory = \"http://ca.example/directory\"",
                "must be https",
            ),
            ("terms_agreed = true\nchallenge = \"dns-01\"", "tls-alpn-01"),
            (
                "terms_agreed = true\nchallenge = \"http-01\"",
                "tls.redirect_listen",
            ),
        ] {
            let faults = read(&format!("[tls]\nmode = \"acme\"\n[tls.acme]\n{bad}\n")).unwrap_err();
            assert!(faults.contains(part), "{bad}: {faults}");
        }
        let plain = read("[tls]\nredirect_listen = \"0.0.0.0:80\"").unwrap_err();
        assert!(plain.contains("needs tls.mode"), "{plain}");
    }
}
