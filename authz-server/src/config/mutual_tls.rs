//! `[tls]`, the part about certificates of clients (RFC 8705).

use std::net::SocketAddr;
use std::path::PathBuf;

use shared::config::Reader;
use shared::tls::TlsMode;
use shared::uri::Issuer;

/// Where and how clients may show certificates. Everywhere else nobody is asked for one: a browser that has some
/// would trouble its user with the choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct MutualTls {
    /// Addresses on which clients are asked for a certificate.
    pub(crate) listen: Vec<SocketAddr>,
    /// What stands before the paths of the endpoints there (`mtls_endpoint_aliases`).
    pub(crate) url: Option<Issuer>,
    /// The authorities whose certificates name clients.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// What those authorities revoked.
    pub(crate) client_crl_file: Option<PathBuf>,
    /// Whether trusted proxies pass certificates on (RFC 9440).
    pub(crate) from_header: bool,
}

impl MutualTls {
    /// Reads the keys. `has_proxies`: whether `server.trusted_proxies` names any.
    pub(super) fn read(reader: &mut Reader, has_proxies: bool) -> Self {
        let mut section = reader.section("tls");
        let read = Self {
            listen: section.list("mtls_listen", ""),
            url: section.optional("mtls_url"),
            client_ca_file: section.optional("client_ca_file"),
            client_crl_file: section.optional("client_crl_file"),
            from_header: shared::tls::client_certificate_header(&mut section, has_proxies),
        };
        if !read.listen.is_empty() && read.url.is_none() {
            section.fault(
                "mtls_url",
                "is missing: at which address do clients reach mtls_listen?",
            );
        }
        if read.url.as_ref().is_some_and(|url| url.url().scheme() != "https") {
            section.fault("mtls_url", "must begin with https");
        }
        if read.client_crl_file.is_some() && read.client_ca_file.is_none() {
            section.fault("client_crl_file", "counts only with client_ca_file");
        }
        if read.client_ca_file.is_some() && !read.is_on() {
            section.fault(
                "client_ca_file",
                "counts only with mtls_listen or client_certificate_header",
            );
        }
        read
    }

    /// What can be checked only together with the rest.
    pub(super) fn check(&self, reader: &mut Reader, tls: &TlsMode, issuer: Option<&Issuer>) {
        let mut section = reader.section("tls");
        if !self.listen.is_empty() && *tls == TlsMode::Off {
            section.fault("mtls_listen", "needs tls.mode \"self-signed\" or \"files\"");
        }
        if let (Some(url), Some(issuer)) = (&self.url, issuer)
            && url.path() != issuer.path()
        {
            section.fault(
                "mtls_url",
                format!("must have the path of server.issuer, {:?}", issuer.path()),
            );
        }
    }

    /// Whether any client can show a certificate.
    pub(crate) fn is_on(&self) -> bool {
        !self.listen.is_empty() || self.from_header
    }
}
