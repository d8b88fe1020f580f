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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    fn read(server: &str, tls: &str) -> Result<Config, String> {
        let text = format!("[server]\nissuer = \"https://as.example/a\"\n{server}\n[tls]\n{tls}\n");
        let reader = Reader::from_text(text, &BTreeMap::new()).unwrap();
        Config::read(reader).map_err(|faults| faults.to_string())
    }

    const LISTEN: &str = "mode = \"self-signed\"\nmtls_listen = [\"127.0.0.1:9443\"]\n";

    #[test]
    fn the_listener_and_its_address_belong_together() {
        let config = read(
            "",
            &format!("{LISTEN}mtls_url = \"https://mtls.example/a\"\nclient_ca_file = \"ca.pem\""),
        )
        .unwrap();
        assert!(config.mutual_tls.is_on());
        for host in ["mtls.example", "mtls.example:443", "127.0.0.1:9443", "as.example"] {
            assert!(config.hosts.contains(host), "{host}");
        }
        assert!(!read("", "mode = \"self-signed\"").unwrap().mutual_tls.is_on());
        for (server, tls, part) in [
            ("", LISTEN.to_owned(), "at which address"),
            (
                "",
                format!("{LISTEN}mtls_url = \"https://mtls.example\""),
                "must have the path of server.issuer",
            ),
            (
                "",
                format!("{LISTEN}mtls_url = \"http://localhost/a\""),
                "must begin with https",
            ),
            (
                "",
                "mtls_listen = [\"127.0.0.1:9443\"]\nmtls_url = \"https://mtls.example/a\"".to_owned(),
                "needs tls.mode",
            ),
            ("", "client_ca_file = \"ca.pem\"".to_owned(), "counts only with"),
            (
                "",
                format!("{LISTEN}mtls_url = \"https://mtls.example/a\"\nclient_crl_file = \"crl.pem\""),
                "counts only with client_ca_file",
            ),
            (
                "",
                "client_certificate_header = \"client-cert\"".to_owned(),
                "needs server.trusted_proxies",
            ),
            (
                "trusted_proxies = [\"10.0.0.1\"]",
                "client_certificate_header = \"x-ssl-cert\"".to_owned(),
                "must be \"client-cert\"",
            ),
        ] {
            let faults = read(server, &tls).unwrap_err();
            assert!(faults.contains(part), "{tls}: {faults}");
        }
        let proxied = read(
            "trusted_proxies = [\"10.0.0.1/32\"]",
            "client_certificate_header = \"client-cert\"",
        );
        assert!(proxied.unwrap().mutual_tls.from_header);
    }
}
