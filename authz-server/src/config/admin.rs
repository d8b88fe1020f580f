//! `[admin]`: where operators reach the API.

use std::net::SocketAddr;

use shared::config::Reader;
use shared::tls::TlsMode;
use shared::uri::Issuer;

use super::PLAIN;

/// Where the admin API is served (ADM-10).
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// Addresses of its own. What else the server serves is there too.
    pub(crate) listen: Vec<SocketAddr>,
    /// What stands before the paths there.
    pub(crate) url: Option<Issuer>,
    /// Whether it is served at every other address as well.
    is_everywhere: bool,
    /// Whether the console is there, where the API is.
    pub(crate) has_console: bool,
}

impl Admin {
    /// Reads the section. `is_local` tells whether the issuer and every listen address are this machine: then nobody else
    /// reaches the API anyway.
    pub(super) fn read(reader: &mut Reader, is_local: bool) -> Self {
        let mut section = reader.section("admin");
        let listen: Vec<SocketAddr> = section.list("listen", "");
        let is_public = section.value("public", "false").unwrap_or(false);
        Self {
            is_everywhere: is_public || (is_local && listen.is_empty()),
            url: section.optional("url"),
            has_console: section.value("console", "true").unwrap_or(true),
            listen,
        }
    }

    /// What can be checked only together with the rest.
    pub(super) fn check(
        &self,
        reader: &mut Reader,
        (tls, others): (&TlsMode, &[SocketAddr]),
        issuer: Option<&Issuer>,
    ) {
        let mut section = reader.section("admin");
        if *tls == TlsMode::Off && ::web::server::Listen::leaves_machine(&self.listen) {
            section.fault("listen", PLAIN);
        }
        if self.listen.iter().any(|address| others.contains(address)) {
            section.fault(
                "listen",
                "is an address of server.listen; it must be one of its own",
            );
        }
        if self.url.is_some() && self.listen.is_empty() {
            section.fault("url", "counts only with admin.listen");
        }
        if let (Some(url), Some(issuer)) = (&self.url, issuer)
            && url.path() != issuer.path()
        {
            section.fault(
                "url",
                format!("must have the path of server.issuer, {:?}", issuer.path()),
            );
        }
    }

    /// Whether it is served at all.
    pub(crate) fn is_served(&self) -> bool {
        self.is_everywhere || !self.listen.is_empty()
    }

    /// Whether it is served at `address`, one that this server listens on.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.is_everywhere || self.listen.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        Config::read(reader).map_err(|faults| faults.to_string())
    }

    fn is_at(text: &str, address: &str) -> bool {
        read(text).unwrap().admin.is_at(address.parse().unwrap())
    }

    const PUBLIC: &str = "[server]\nissuer = \"https://as.example\"\n";
    const TLS: &str = "[tls]\nmode = \"self-signed\"\n";

    #[test]
    fn adm_10_the_api_is_where_operators_are() {
        // On one machine everything is in one place.
        assert!(is_at("", "127.0.0.1:9000"));
        // A server that others reach keeps it away from them, also one behind a proxy on its own machine.
        assert!(!is_at(PUBLIC, "127.0.0.1:9000") && !read(PUBLIC).unwrap().admin.is_served());
        let own = format!("{PUBLIC}[admin]\nlisten = [\"127.0.0.1:9001\"]\nurl = \"http://localhost:9001\"");
        assert!(is_at(&own, "127.0.0.1:9001") && !is_at(&own, "127.0.0.1:9000"));
        let config = read(&own).unwrap();
        assert!(config.hosts.contains("localhost:9001") && config.hosts.contains("as.example"));
        assert!(is_at(
            &format!("{PUBLIC}[admin]\npublic = true"),
            "127.0.0.1:9000"
        ));
        // Whoever names an address of its own means it.
        assert!(!is_at("[admin]\nlisten = [\"127.0.0.1:9001\"]", "127.0.0.1:9000"));
    }

    #[test]
    fn the_address_and_the_url_belong_together() {
        let far = "[admin]\nlisten = [\"10.0.0.1:9001\"]";
        assert!(read(&format!("{PUBLIC}{TLS}{far}")).is_ok());
        for (text, part) in [
            (format!("{PUBLIC}{far}"), "loopback addresses only"),
            (
                "[admin]\nlisten = [\"127.0.0.1:9000\"]".to_owned(),
                "one of its own",
            ),
            (
                "[admin]\nurl = \"http://localhost:9001\"".to_owned(),
                "counts only with",
            ),
            (
                "[admin]\nlisten = [\"127.0.0.1:9001\"]\nurl = \"http://localhost:9001/x\"".to_owned(),
                "must have the path",
            ),
            ("[admin]\nrate = \"often\"".to_owned(), "a rate is written like"),
        ] {
            let faults = read(&text).unwrap_err();
            assert!(
                faults.contains("admin.") && faults.contains(part),
                "{text}: {faults}"
            );
        }
    }
}
