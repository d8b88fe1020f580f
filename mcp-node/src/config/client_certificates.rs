//! `[tls]`, the part about certificates of callers (RFC 8705 §3).

use shared::config::Reader;
use shared::tls::{TlsMode, client_certificate_header};

/// How callers can show certificates. A token that is bound to one is worth nothing without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientCertificates {
    /// Whether every caller is asked for one, and may have none.
    pub are_requested: bool,
    /// Whether trusted proxies pass them on (RFC 9440).
    pub from_header: bool,
}

impl ClientCertificates {
    /// Whether a token that is bound to a certificate is any use here.
    pub(crate) fn can_be_shown(self) -> bool {
        self.are_requested || self.from_header
    }

    /// Reads the keys. `has_proxies`: whether `server.trusted_proxies` names any.
    pub(super) fn read(reader: &mut Reader, tls: &TlsMode, has_proxies: bool) -> Self {
        let mut section = reader.section("tls");
        let requested: Option<String> = section.value("client_certificates", "off");
        let are_requested = match requested.as_deref() {
            Some("request") if *tls == TlsMode::Off => {
                section.fault(
                    "client_certificates",
                    "\"request\" needs tls.mode \"self-signed\" or \"files\"",
                );
                false
            }
            Some("request") => true,
            Some("off") | None => false,
            Some(_) => {
                section.fault("client_certificates", "must be \"off\" or \"request\"");
                false
            }
        };
        Self {
            are_requested,
            from_header: client_certificate_header(&mut section, has_proxies),
        }
    }
}
