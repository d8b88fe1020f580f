//! `authz-server.toml`, read into types. Start-up stops at a bad configuration and names every fault of it at once.

mod admin;
mod alerts;
mod assertions;
mod audit;
mod changeable;
mod clients;
mod exchange;
mod federation;
mod fetch_rule;
mod keys;
mod login;
mod mutual_tls;
mod registration;
mod trusted_issuer;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use shared::config::{ConfigFaults, Reader, Setting, Source, Span};
use shared::jose::Algorithm;
use shared::tls::{TlsMode, read_mode, read_redirect};
use shared::trace::TraceSettings;
use shared::uri::Issuer;

pub(crate) use self::admin::Admin;
pub(crate) use self::alerts::Alerts;
pub(crate) use self::assertions::{Assertions, IdentityProvider, Platform};
pub(crate) use self::changeable::Changeable;
pub(crate) use self::clients::{Clients, DocumentPolicy};
pub(crate) use self::federation::Federation;
use self::keys::Keys;
pub(crate) use self::login::Login;
pub(crate) use self::mutual_tls::MutualTls;
pub(crate) use self::registration::{RegistrationMode, StatementIssuer, StatementKeys};
pub(crate) use self::trusted_issuer::TrustedIssuer;
use crate::keys::life::Schedule;

/// The file that is read when no other is named.
pub(crate) const FILE: &str = "authz-server.toml";

/// The whole configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: Vec<SocketAddr>,
    /// A separate address for `/metrics`.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Who we are. Immutable once the database has seen it.
    pub(crate) issuer: Issuer,
    /// Values of `Host` that are ours.
    pub(crate) hosts: HashSet<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// TLS.
    pub(crate) tls: TlsMode,
    /// Where plain HTTP leads to https.
    pub(crate) redirect_listen: Vec<SocketAddr>,
    /// Where operators reach the API.
    pub(crate) admin: Admin,
    /// Certificates of clients.
    pub(crate) mutual_tls: MutualTls,
    /// `sqlite:` or `postgres:`.
    pub(crate) database_url: String,
    /// What resources sign with unless they say otherwise.
    pub(crate) default_algorithm: Algorithm,
    /// The key under which the signing keys are sealed.
    pub(crate) master_key_file: PathBuf,
    /// When the signing keys are rotated.
    pub(crate) key_schedule: Schedule,
    /// How long access tokens live unless the resource says otherwise.
    pub(crate) access_ttl: Duration,
    /// How long a code can be redeemed.
    pub(crate) code_ttl: Duration,
    /// How long a refresh token and its successors live, however they are used.
    pub(crate) refresh_ttl: Duration,
    /// How long a refresh token lives when nobody uses it.
    pub(crate) refresh_idle: Duration,
    /// How long after its rotation a refresh token still gives the same successor.
    pub(crate) refresh_retry_window: Duration,
    /// Whether a DPoP proof needs a nonce of ours (RFC 9449 §8).
    pub(crate) dpop_nonces_required: bool,
    /// How people sign in.
    pub(crate) login: Login,
    /// What a reload changes, as it was read. What the server goes by is [`crate::app::App::in_force`].
    pub(crate) as_read: Arc<Changeable>,
    /// How long events stay in the audit log; `None`: for ever.
    pub(crate) audit_retention: Option<Duration>,
    /// Whom to tell at once.
    pub(crate) alerts: Option<Arc<Alerts>>,
    /// A node that has said nothing for so long is silent; zero: none ever is.
    pub(crate) node_silent_after: Duration,
    /// Where spans go.
    pub(crate) traces: Option<Arc<TraceSettings>>,
    /// Every value, for `config show`.
    pub(crate) settings: Vec<Setting>,
}

/// The longest life of a code (OAuth 2.1 §4.1.2).
const MAX_CODE_TTL: Duration = Duration::from_secs(600);
/// The longest time in which a refresh token may be shown again.
const MAX_RETRY_WINDOW: Duration = Duration::from_secs(300);

/// Why an address is refused.
const PLAIN: &str =
    "plain HTTP is served on loopback addresses only; set tls.mode to \"acme\", \"files\" or \"self-signed\"";

impl Config {
    /// Reads `file`, the environment and `flags` (path and value).
    pub(crate) fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigFaults> {
        let path = shared::config::locate(file, FILE);
        let mut reader = Reader::open(path.as_deref(), &shared::config::environment())?;
        for (path, value) in flags {
            reader.set(path, value, Source::Flag);
        }
        Self::read(reader)
    }

    /// Reads everything that `reader` holds.
    pub(crate) fn read(mut reader: Reader) -> Result<Self, ConfigFaults> {
        let mut server = reader.section("server");
        let listen: Vec<SocketAddr> = server.list("listen", "127.0.0.1:9000, [::1]:9000");
        let issuer: Option<Issuer> = server.value("issuer", "http://localhost:9000");
        let data_dir: PathBuf = server.value("data_dir", "./data").unwrap_or_default();
        let more_hosts: Vec<String> = server.list("hosts", "");
        let trusted_proxies: Vec<IpNet> = server.list("trusted_proxies", "");
        let metrics_listen: Option<SocketAddr> = server.optional("metrics_listen");
        if listen.is_empty() {
            server.fault("listen", "at least one address is needed");
        }
        let mutual_tls = MutualTls::read(&mut reader, !trusted_proxies.is_empty());
        let is_local = is_local(&listen, issuer.as_ref());
        let admin = Admin::read(&mut reader, is_local);
        let addresses = [&listen[..], &mutual_tls.listen, &admin.listen].concat();
        let bases = [issuer.as_ref(), mutual_tls.url.as_ref(), admin.url.as_ref()];
        let names = certificate_names(&bases, &addresses);
        let tls = read_mode(&mut reader, &data_dir, names);
        let redirect_listen = read_redirect(&mut reader, &tls);
        mutual_tls.check(&mut reader, &tls, issuer.as_ref());
        admin.check(&mut reader, (&tls, &listen), issuer.as_ref());
        if tls == TlsMode::Off && web::server::Listen::leaves_machine(&listen) {
            reader.fault("server.listen", PLAIN);
        }
        if let Some(issuer) = issuer
            .as_ref()
            .filter(|i| tls != TlsMode::Off && i.url().scheme() == "http")
        {
            reader.fault(
                "server.issuer",
                format!("{issuer} is http, but tls.mode is on: begin it with https"),
            );
        }
        if let Some(issuer) = issuer
            .as_ref()
            .filter(|issuer| !web::frame::is_plain(issuer.path(), &[]))
        {
            reader.fault(
                "server.issuer",
                format!("{issuer} has a path with %, ; or //, which are not served"),
            );
        }
        let mut database = reader.section("database");
        let database_url = database
            .value("url", &format!("sqlite:{}/authz.db", data_dir.display()))
            .unwrap_or_default();
        let keys = Keys::read(&mut reader, &data_dir);
        let mut tokens = reader.section("tokens");
        let access_ttl = tokens.value("access_ttl", "1h").unwrap_or(Span(Duration::ZERO)).0;
        if access_ttl.is_zero() {
            tokens.fault("access_ttl", "must be longer than nothing");
        }
        let mut lifetime = |key: &str, default: &str| {
            let span: Option<Span> = tokens.value(key, default);
            span.map_or(Duration::ZERO, |span| span.0)
        };
        let code_ttl = lifetime("code_ttl", "60s");
        let refresh_ttl = lifetime("refresh_ttl", "30d");
        let refresh_idle = lifetime("refresh_idle", "14d");
        let refresh_retry_window = lifetime("refresh_retry_window", "30s");
        if code_ttl.is_zero() || code_ttl > MAX_CODE_TTL {
            tokens.fault("code_ttl", "must be between 1s and 10m (OAuth 2.1 §4.1.2)");
        }
        if refresh_ttl.is_zero() || refresh_idle.is_zero() {
            tokens.fault(
                "refresh_ttl",
                "refresh_ttl and refresh_idle must be longer than nothing",
            );
        }
        if refresh_retry_window > MAX_RETRY_WINDOW {
            tokens.fault("refresh_retry_window", "must be 5m at most: a thief has as long");
        }
        let stays_here = !web::server::Listen::leaves_machine(&listen);
        let dpop_nonces_required = match tokens.value::<String>("dpop_nonce", "off").as_deref() {
            Some("required") => true,
            Some("off") | None => false,
            Some(_) => {
                tokens.fault("dpop_nonce", "must be \"off\" or \"required\"");
                false
            }
        };
        let login = Login::read(&mut reader, tls == TlsMode::Off && is_local);
        let audit_retention = audit::retention(&mut reader);
        let traces = TraceSettings::read(&mut reader).map(Arc::new);
        let alerts = Alerts::read(&mut reader).map(Arc::new);
        let node_silent_after = alerts::node_silent_after(&mut reader);
        let as_read = Changeable::read(&mut reader, stays_here);
        let mut settings = reader.finish()?;
        for setting in settings
            .iter_mut()
            .filter(|setting| setting.path == "database.url")
        {
            setting.value = without_password(&setting.value);
        }
        let (Some(issuer), Some(master_key_file)) = (issuer, keys.master_key_file) else {
            return Err(ConfigFaults(vec!["a value could not be read".to_owned()]));
        };
        Ok(Self {
            hosts: hosts(
                &[Some(&issuer), mutual_tls.url.as_ref(), admin.url.as_ref()],
                &addresses,
                more_hosts,
            ),
            listen,
            metrics_listen,
            issuer,
            trusted_proxies,
            tls,
            redirect_listen,
            admin,
            mutual_tls,
            database_url,
            default_algorithm: keys.default_algorithm,
            key_schedule: keys.schedule,
            master_key_file,
            access_ttl,
            code_ttl,
            refresh_ttl,
            refresh_idle,
            refresh_retry_window,
            dpop_nonces_required,
            login,
            as_read: Arc::new(as_read),
            audit_retention,
            alerts,
            node_silent_after,
            traces,
            settings,
        })
    }
}

/// The database's address as it may be shown: whoever runs `config show` may be watched.
fn without_password(text: &str) -> String {
    let Ok(mut url) = text.parse::<url::Url>() else {
        return "(not a URL)".to_owned();
    };
    let is_password = |name: &str| name == "password";
    let shown: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| {
            let value = if is_password(&name) {
                "hidden".to_owned()
            } else {
                value.into_owned()
            };
            (name.into_owned(), value)
        })
        .collect();
    if shown.iter().any(|(name, _)| is_password(name)) {
        url.query_pairs_mut().clear().extend_pairs(&shown);
    } else if url.password().is_none() {
        return text.to_owned();
    }
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return "(hidden)".to_owned();
    }
    url.into()
}

/// The host of the issuer, of every listen address, and what the operator adds.
fn hosts(bases: &[Option<&Issuer>], listen: &[SocketAddr], more: Vec<String>) -> HashSet<String> {
    let mut hosts: HashSet<String> = more.into_iter().map(|host| host.to_ascii_lowercase()).collect();
    for url in bases.iter().flatten().map(|base| base.url()) {
        hosts.insert(url.authority().to_owned());
        if let (None, Some(port)) = (url.port(), url.port_or_known_default()) {
            // The default port may be written all the same (RFC 9110 §7.2).
            hosts.insert(format!("{}:{port}", url.authority()));
        }
    }
    for address in listen {
        hosts.insert(address.to_string());
        if address.ip().is_loopback() {
            hosts.insert(format!("localhost:{}", address.port()));
        }
    }
    hosts
}

/// Whether the issuer and every listen address are this machine.
fn is_local(listen: &[SocketAddr], issuer: Option<&Issuer>) -> bool {
    let host = issuer.and_then(|issuer| issuer.url().host());
    !web::server::Listen::leaves_machine(listen) && host.is_some_and(|host| shared::uri::is_loopback(&host))
}

fn certificate_names(bases: &[Option<&Issuer>], listen: &[SocketAddr]) -> Vec<String> {
    let mut names: Vec<String> = bases
        .iter()
        .flatten()
        .filter_map(|base| base.url().host_str())
        .map(bare)
        .collect();
    names.push("localhost".to_owned());
    names.extend(
        listen
            .iter()
            .map(|address| address.ip())
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string()),
    );
    names.sort();
    names.dedup();
    names
}

fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        Config::read(reader).map_err(|faults| faults.to_string())
    }

    #[test]
    fn nothing_configured_is_a_working_configuration() {
        let config = read("").unwrap();
        assert_eq!(config.issuer.as_str(), "http://localhost:9000");
        assert_eq!(config.database_url, "sqlite:./data/authz.db");
        assert!(config.hosts.contains("localhost:9000") && config.hosts.contains("127.0.0.1:9000"));
    }

    #[test]
    fn plain_http_stays_on_loopback() {
        let faults = read("[server]\nlisten = [\"0.0.0.0:9000\"]").unwrap_err();
        assert!(faults.contains("loopback addresses only"), "{faults}");
        assert!(read("[server]\nlisten = [\"0.0.0.0:9000\"]\nissuer = \"https://as.example\"\n[tls]\nmode = \"self-signed\"").is_ok());
    }

    #[test]
    fn the_password_of_the_database_is_not_shown() {
        for url in ["postgres://app:pw@db/x", "postgres:///x?host=/run&password=pw"] {
            let config = read(&format!("[database]\nurl = \"{url}\"")).unwrap();
            let shown = config
                .settings
                .iter()
                .find(|setting| setting.path == "database.url")
                .unwrap();
            assert!(
                shown.value.contains("hidden") && !shown.value.contains("pw"),
                "{}",
                shown.value
            );
            assert_eq!(config.database_url, url);
        }
        assert_eq!(
            without_password("sqlite:./data/authz.db"),
            "sqlite:./data/authz.db"
        );
        assert_eq!(without_password("postgres://app@db/x"), "postgres://app@db/x");
    }

    #[test]
    fn an_issuer_path_must_be_one_that_is_served() {
        for path in ["/a%20b", "/a;b", "/a//b"] {
            let faults = read(&format!("[server]\nissuer = \"https://as.example{path}\"")).unwrap_err();
            assert!(faults.contains("server.issuer"), "{faults}");
        }
        let config = read("[server]\nissuer = \"https://as.example/tenant/a\"").unwrap();
        assert!(config.hosts.contains("as.example") && config.hosts.contains("as.example:443"));
    }

    #[test]
    fn what_is_fetched_is_named_and_bounded() {
        let config = read("").unwrap();
        assert!(
            config.as_read.clients.fetches_from("anybody.example") && config.as_read.fetch_rules.is_empty()
        );
        let some = "[clients]\nmetadata_documents = \"allowlist\"\ndocument_hosts = [\"*.lan.example\"]";
        let config = read(some).unwrap();
        assert!(
            config.as_read.clients.fetches_from("a.lan.example")
                && !config.as_read.clients.fetches_from("anybody.example")
        );
        let config = read("[clients]\nmetadata_documents = \"off\"").unwrap();
        assert!(!config.as_read.clients.fetches_from("a.lan.example"));
        let rule = "[[fetch_rule]]\nhosts = [\"*.lan.example\"]\nallow_ranges = [\"10.0.0.0/8\"]\nca_file = \"ca.pem\"\n";
        assert_eq!(read(rule).unwrap().as_read.fetch_rules.len(), 1);
        let loopback = "[[fetch_rule]]\nhosts = [\"localhost\"]\nallow_ranges = [\"127.0.0.0/8\"]\n";
        assert!(read(loopback).is_ok());
        let outside = "[server]\nlisten = [\"0.0.0.0:9000\"]\nissuer = \"https://as.example\"\n[tls]\nmode = \"self-signed\"\n";
        assert!(read(&format!("{outside}{rule}")).is_ok());
        for (bad, part) in [
            (format!("{outside}{loopback}"), "listens on loopback alone"),
            (
                "[[fetch_rule]]\nhosts = [\"a.example\"]\nallow_ranges = [\"0.0.0.0/0\"]".to_owned(),
                "name the ranges",
            ),
            (
                "[[fetch_rule]]\nallow_ranges = [\"10.0.0.0/8\"]".to_owned(),
                "for which hosts",
            ),
            (
                "[[fetch_rule]]\nhosts = [\"*\"]".to_owned(),
                "a host is written like",
            ),
            (
                "[clients]\nmetadata_documents = \"allowlist\"".to_owned(),
                "whose documents",
            ),
            (
                "[clients]\ndocument_hosts = [\"a.example\"]".to_owned(),
                "counts only with",
            ),
        ] {
            let faults = read(&bad).unwrap_err();
            assert!(faults.contains(part), "{bad}: {faults}");
        }
    }

    #[test]
    fn those_who_vouch_for_software_are_named_with_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("jwks_file = {path:?}\n")
        };
        let one = "[[clients.software_statement]]\nissuer = \"https://one.example\"\n";
        let at = "jwks_uri = \"https://one.example/jwks\"\n";
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let good = format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "k"}}]}}"#);
        let held = file("good", &good);
        assert!(read(&format!("{one}{at}")).is_ok());
        assert!(read(&format!("{one}{held}")).is_ok());
        assert!(read(&format!("{one}jwks_uri = \"http://127.0.0.1:1/jwks\"\n")).is_ok());
        assert!(read("[clients]\nregistration = \"invite\"\nunused_ttl = \"1h\"").is_ok());
        let (no_keys, no_json) = (file("none", "{\"keys\": []}"), file("broken", "{"));
        for (bad, part) in [
            (one.to_owned(), "give jwks_file or jwks_uri"),
            (format!("{one}{at}{held}"), "give jwks_file or jwks_uri"),
            (format!("{one}{no_keys}"), "no key that can be used"),
            (format!("{one}{no_json}"), "cannot use"),
            (
                format!("{one}jwks_file = \"/none/here\"\n"),
                "cannot use /none/here",
            ),
            (format!("{one}{at}{one}{held}"), "named twice"),
            (
                format!("{one}jwks_uri = \"http://one.example/jwks\"\n"),
                "it must be https",
            ),
            (
                format!("{one}jwks_uri = \"https://u:p@one.example/jwks\"\n"),
                "must not contain a user name",
            ),
            (
                format!("[[clients.software_statement]]\n{at}"),
                "whose statements are these",
            ),
            (
                "[clients]\nregistration = \"all\"".to_owned(),
                "\"off\", \"invite\" or \"open\"",
            ),
            ("[clients]\nunused_ttl = \"0s\"".to_owned(), "longer than nothing"),
        ] {
            let faults = read(&bad).unwrap_err();
            assert!(faults.contains(part), "{bad}: {faults}");
        }
    }

    #[test]
    fn a_provider_is_named_with_who_we_are_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("client_secret_file = {path:?}\n")
        };
        let provider = "[federation]\nissuer = \"https://idp.example/\"\n";
        let good = format!("{provider}client_id = \"us\"\n");
        let federation = read(&good).unwrap().as_read.federation.clone().unwrap();
        assert_eq!(
            (
                &*federation.issuer,
                &*federation.name,
                federation.client_secret.is_none()
            ),
            ("https://idp.example/", "idp.example", true)
        );
        let with_secret = read(&format!("{good}{}", secret("good", "s3cret\n"))).unwrap();
        let held = with_secret
            .as_read
            .federation
            .clone()
            .unwrap()
            .client_secret
            .unwrap();
        assert_eq!(held.reveal(), "s3cret");
        let empty = secret("empty", "\n");
        for (bad, part) in [
            (provider.to_owned(), "register this server with the provider"),
            (
                "[federation]\nclient_id = \"us\"".to_owned(),
                "who is the provider",
            ),
            (
                "[federation]\nissuer = \"idp\"\nclient_id = \"us\"".to_owned(),
                "federation.issuer",
            ),
            (format!("{good}scopes = \"profile\"\n"), "must contain openid"),
            (format!("{good}{empty}"), "is empty"),
            (
                format!("{good}client_secret_file = \"/none/here\"\n"),
                "cannot read /none/here",
            ),
        ] {
            let faults = read(&bad).unwrap_err();
            assert!(faults.contains(part), "{bad}: {faults}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = read("[server]\nissuer = \"http://example.com\"\nlissten = 1\n[limits]\nper_ip = \"lots\"\n[tokens]\naccess_ttl = \"0s\"").unwrap_err();
        for part in [
            "server.issuer (line 2)",
            "did you mean listen?",
            "limits.per_ip",
            "tokens.access_ttl",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }
}
