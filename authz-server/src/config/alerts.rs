//! `[alerts]`: whom to tell at once, and from when on.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use shared::config::{Reader, Span, read_secret_file};
use shared::http_client::{HttpClient, NOT_TO_BE_ASKED, may_be_asked};
use url::Url;
use web::rates::Rate;

/// Standard Webhooks, "Signature scheme": a secret has 24 bytes at least.
const LEAST_SECRET: usize = 24;
const PREFIX: &[u8] = b"whsec_";

/// The webhook.
#[derive(Clone)]
pub(crate) struct Alerts {
    pub(crate) url: Url,
    pub(crate) key: hmac::Key,
    pub(crate) http: HttpClient,
    /// So many refused sign-ins of people, or of clients, are an alert.
    pub(crate) failures: Rate,
    /// So many refused registrations are.
    pub(crate) registrations: Rate,
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Alerts({})", self.url)
    }
}

impl Alerts {
    /// `None` without a webhook. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let mut section = reader.section("alerts");
        let url: Option<Url> = section.optional("url");
        let secret_file: Option<PathBuf> = section.optional("secret_file");
        let ca_file: Option<PathBuf> = section.optional("ca_file");
        let failures = section.value("failures", "60/min");
        let registrations = section.value("registrations", "20/h");
        let Some(url) = url else {
            if secret_file.is_some() {
                section.fault("url", "is missing: whom are alerts for?");
            }
            return None;
        };
        if !may_be_asked(&url) {
            section.fault("url", NOT_TO_BE_ASKED);
        }
        let Some(secret_file) = secret_file else {
            section.fault("secret_file", "is missing: with what are alerts signed?");
            return None;
        };
        let secret = match read_secret_file(&secret_file) {
            Ok(secret) => decoded(&secret),
            Err(fault) => {
                section.fault("secret_file", fault);
                return None;
            }
        };
        let Some(secret) = secret.filter(|secret| secret.len() >= LEAST_SECRET) else {
            section.fault(
                "secret_file",
                "must hold 24 bytes at least, or whsec_ and as many in base64",
            );
            return None;
        };
        let http = match HttpClient::new(ca_file.as_deref()) {
            Ok(http) => http,
            Err(fault) => {
                section.fault("ca_file", fault);
                return None;
            }
        };
        Some(Self {
            url,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            http,
            failures: failures?,
            registrations: registrations?,
        })
    }
}

/// After how long a node that says nothing is silent; zero is never. It counts without a webhook too: operators see it.
pub(super) fn node_silent_after(reader: &mut Reader) -> Duration {
    /// Of reports that come each second, one may be late.
    const LEAST: Duration = Duration::from_secs(3);
    let mut section = reader.section("alerts");
    let Span(after) = section.value("node_silent_after", "5m").unwrap_or(Span(LEAST));
    if !after.is_zero() && after < LEAST {
        section.fault("node_silent_after", "is 3s at least, or 0s for never");
    }
    after
}

/// The secret itself: what follows `whsec_` is base64.
fn decoded(text: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii();
    let secret = match text.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => text.to_vec(),
    };
    Some(zeroize::Zeroizing::new(secret))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn silence_has_a_length_or_none() {
        let read = |lines: &str| {
            let mut reader = Reader::from_text(lines.to_owned(), &BTreeMap::new()).unwrap();
            let after = node_silent_after(&mut reader);
            reader.finish().map(|_| after.as_secs()).ok()
        };
        assert_eq!(read(""), Some(300));
        for (text, seconds) in [
            ("0s", Some(0)),
            ("3s", Some(3)),
            ("1d", Some(86_400)),
            ("2s", None),
            ("soon", None),
        ] {
            assert_eq!(
                read(&format!("[alerts]\nnode_silent_after = \"{text}\"")),
                seconds,
                "{text}"
            );
        }
    }

    #[test]
    fn alerts_go_somewhere_and_are_signed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let read = |secret: &str, lines: &str| {
            std::fs::write(&file, secret).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let text = format!("[alerts]\n{lines}").replace("FILE", &file.display().to_string());
            let mut reader = Reader::from_text(text, &BTreeMap::new()).unwrap();
            let alerts = Alerts::read(&mut reader);
            reader
                .finish()
                .map(|_| alerts.is_some())
                .map_err(|faults| faults.to_string())
        };
        const GOOD: &str = "url = \"https://hooks.example/x\"\nsecret_file = \"FILE\"";
        let long = "x".repeat(LEAST_SECRET);
        assert!(!read("", "").unwrap());
        assert!(read(&long, GOOD).unwrap());
        assert!(read(&format!("whsec_{}\n", STANDARD.encode(&long)), GOOD).unwrap());
        for (secret, lines, key) in [
            ("short", GOOD, "alerts.secret_file"),
            ("whsec_!", GOOD, "alerts.secret_file"),
            (&*long, "secret_file = \"FILE\"", "alerts.url"),
            (&*long, "url = \"https://hooks.example/x\"", "alerts.secret_file"),
            (
                &*long,
                "url = \"http://hooks.example/x\"\nsecret_file = \"FILE\"",
                "alerts.url",
            ),
        ] {
            let faults = read(secret, lines).unwrap_err();
            assert!(faults.contains(key), "{faults}");
        }
    }
}
