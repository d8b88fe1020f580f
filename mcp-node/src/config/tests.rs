use std::time::Duration;

use super::*;

fn faults(text: &str) -> Vec<String> {
    NodeConfig::from_text(text).unwrap_err().0
}

const ISSUER: &str = "[[issuer]]\nurl = \"http://localhost:9000\"\n";

#[test]
fn one_issuer_is_all_that_must_be_written() {
    let config = NodeConfig::from_text(ISSUER).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.resource.as_str(), "http://localhost:8080/mcp");
    let issuer = &config.issuers[0];
    assert_eq!(
        (issuer.audience.as_str(), issuer.kind),
        ("http://localhost:8080/mcp", IssuerKind::EdgeHive)
    );
    assert_eq!(issuer.max_stale, Duration::from_secs(86_400));
    assert_eq!(
        config.hosts(),
        ["localhost:8080", "127.0.0.1:8080", "localhost:8080"]
    );
    assert!(config.mcp_enabled && config.logs.is_empty());
    assert_eq!(faults("").len(), 1);
}

#[test]
fn short_names_and_the_environment() {
    let environment: BTreeMap<_, _> = [
        ("EDGE_HIVE_NODE_NAME", "north"),
        ("EDGE_HIVE_MCP_ENABLED", "false"),
        ("EDGE_HIVE_OAUTH2_ISSUER", "https://as.example"),
        ("EDGE_HIVE_LIMITS__PER_CLIENT", "off"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let reader = Reader::from_text(String::new(), &environment).unwrap();
    let config = NodeConfig::read(reader, &environment).unwrap();
    assert_eq!(
        (config.name.as_deref(), config.mcp_enabled),
        (Some("north"), false)
    );
    assert_eq!(config.issuers[0].issuer.as_str(), "https://as.example");
    assert_eq!(config.per_client.to_string(), "off");
}

#[test]
fn discovery_follows_peers_unless_told_otherwise() {
    let read = |text: &str| NodeConfig::from_text(&format!("{text}\n{ISSUER}"));
    let of = |text: &str| read(text).unwrap().discovery;
    assert!(!of("").enabled);
    assert!(of("[p2p]\nenabled = true").enabled);
    assert!(!of("[p2p]\nenabled = true\n[discovery]\nenabled = false").enabled);
    let named = of("[discovery]\nenabled = true\ninterfaces = [\"eth0\", \"wlan0\"]\nannounce = false");
    assert!(named.enabled && !named.announce && named.port == 5353);
    assert_eq!(named.interfaces, ["eth0", "wlan0"]);
    for (bad, expected) in [
        ("mdns = true", "discovery.mdns"),
        ("interfaces = [\"a/b\"]", "network interface"),
        ("interfaces = [\"a-name-that-is-too-long\"]", "network interface"),
        ("port = 0", "discovery.port"),
        ("enabled = \"perhaps\"", "discovery.enabled"),
    ] {
        let faults = read(&format!("[discovery]\n{bad}")).unwrap_err().0;
        assert!(
            faults.len() == 1 && faults[0].contains(expected),
            "{bad}: {faults:?}"
        );
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "[server]\nlisten = [\"0.0.0.0:8080\"]\nallowed_origins = [\"https://app.example/\"]\nresuorce = \"x\"\n\
                [node]\nlogs = { \"../x\" = \"/etc/passwd\" }\n[[issuer]]\nurl = \"http://as.example\"\n[[issuer]]\n\
                [scopes.methods]\n\"tools/call\" = \"a\\tb\"\n[limits]\nper_ip = \"many\"\nbody = \"9GiB\"\n";
    let found = faults(text);
    for expected in [
        "server.listen (line 2): tokens must not cross",
        "server.allowed_origins (line 3)",
        "server.resuorce (line 4): there is no such key; did you mean resource?",
        "node.logs",
        "issuer.0.url",
        "issuer.1.url: the issuer's identifier is missing",
        "scopes.methods",
        "limits.per_ip",
        "limits.body",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(expected)),
            "{expected}: {found:#?}"
        );
    }
}

#[test]
fn plain_http_to_the_network_needs_tls() {
    let open =
        format!("[server]\nlisten = [\"0.0.0.0:8443\"]\nresource = \"https://node.example/mcp\"\n{ISSUER}");
    assert_eq!(faults(&open).len(), 1);
    let config = NodeConfig::from_text(&format!("{open}[tls]\nmode = \"self-signed\"\n")).unwrap();
    assert_eq!(
        config.hosts(),
        ["node.example", "0.0.0.0:8443", "node.example:8443"]
    );
    assert!(
        matches!(config.tls, TlsMode::SelfSigned { names, .. } if names == ["localhost", "node.example"])
    );
}

#[test]
fn hosts_are_names_and_not_patterns() {
    let with = |host: &str| format!("[server]\nallowed_hosts = [{host:?}]\n{ISSUER}");
    for good in ["node.example", "127.0.0.1:8080", "[::1]:8080"] {
        assert!(NodeConfig::from_text(&with(good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "*",
        "*.example",
        "http://node.example",
        "node.example/",
        "a:b",
        "a b",
    ] {
        let found = faults(&with(bad));
        assert!(
            found.len() == 1 && found[0].contains("allowed_hosts"),
            "{found:?}"
        );
    }
}

#[test]
fn a_key_set_serves_for_a_minute_at_least() {
    assert!(NodeConfig::from_text(&format!("{ISSUER}max_stale = \"1m\"\n")).is_ok());
    for short in ["0s", "59s"] {
        let found = faults(&format!("{ISSUER}max_stale = {short:?}\n"));
        assert!(found.len() == 1 && found[0].contains("max_stale"), "{found:?}");
    }
}

#[test]
fn a_key_set_is_fetched_without_a_password() {
    let with = |uri: &str| format!("{ISSUER}jwks_uri = {uri:?}\n");
    for good in ["https://as.example/jwks", "http://127.0.0.1:9000/jwks"] {
        assert!(NodeConfig::from_text(&with(good)).is_ok(), "{good}");
    }
    for bad in [
        "https://user:secret@as.example/jwks",
        "https://user@as.example/jwks",
        "http://as.example/jwks",
    ] {
        let found = faults(&with(bad));
        assert!(
            found.len() == 1 && found[0].contains("jwks_uri") && !found[0].contains("secret"),
            "{found:?}"
        );
    }
}

#[test]
fn the_offline_policy_has_two_budgets_and_an_end() {
    let usual = NodeConfig::from_text(ISSUER).unwrap();
    assert_eq!(usual.offline.revocation, Duration::from_secs(900));
    assert_eq!(usual.offline.on_stale, OnStale::Refuse);
    let section = "[offline]\nkeys = \"2h\"\nrevocation = \"5m\"\non_stale = \"accept\"\n";
    let config = NodeConfig::from_text(&format!("{section}{ISSUER}")).unwrap();
    assert_eq!(config.offline.revocation, Duration::from_secs(300));
    assert_eq!(config.offline.on_stale, OnStale::Accept);
    assert_eq!(config.issuers[0].max_stale, Duration::from_secs(7200));
    let own = NodeConfig::from_text(&format!("{section}{ISSUER}max_stale = \"1h\"\n")).unwrap();
    assert_eq!(own.issuers[0].max_stale, Duration::from_secs(3600));
    let bad = "[offline]\nkeys = \"30s\"\nrevocation = \"30s\"\non_stale = \"maybe\"\n";
    assert_eq!(faults(&format!("{bad}{ISSUER}")).len(), 3);
}

#[test]
fn limits_cors_and_the_audit_log_are_checked() {
    let config = NodeConfig::from_text(&format!(
        "[[limits.tool]]\ntool = \"fs_*\"\ntime = \"30s\"\n[limits]\nstreams = 3\n[audit]\nfile = \"a.log\"\n\
         [cors]\nheaders = [\"X-Tenant\"]\n{ISSUER}"
    ));
    let config = config.unwrap();
    assert_eq!(
        (config.limits.streams.all, config.limits.streams.per_subject),
        (3, 16)
    );
    assert_eq!(config.limits.time, Duration::from_secs(300));
    assert_eq!(config.limits.tools[0].time, Some(Duration::from_secs(30)));
    assert_eq!(config.audit.target, Some(AuditTarget::File("a.log".into())));
    assert!(config.audit.refuses_on_failure && config.cors.request_headers.len() == 1);
    let found = faults(&format!(
        "[limits]\ncalls = 0\ncall_time = \"0s\"\n[[limits.tool]]\nrate = \"often\"\ncalls = 0\n\
         [audit]\nfile = \"a.log\"\notlp_endpoint = \"http://collector.example/v1/logs\"\non_failure = \"hope\"\n\
         [cors]\nheaders = [\"*\"]\nexpose = [\"a b\"]\n{ISSUER}"
    ));
    for expected in [
        "limits.calls ",
        "limits.call_time",
        "limits.tool.0.tool",
        "limits.tool.0.rate",
        "limits.tool.0.calls",
        "audit.otlp_endpoint (line 9): it must be https",
        "audit.otlp_endpoint (line 9): name either",
        "audit.on_failure",
        "cors.headers",
        "cors.expose",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(expected)),
            "{expected}: {found:#?}"
        );
    }
}

#[test]
fn how_mcp_is_served() {
    let issuer = "[[issuer]]\nurl = \"http://localhost:9000\"\n";
    let read = |section: &str| NodeConfig::from_text(&format!("[mcp]\n{section}\n{issuer}"));
    let config = read("").unwrap().mcp;
    assert!(!config.sessions && !config.http_sse && config.state_key_file.is_none());
    let config = read("sessions = \"on\"\nsession_idle = \"5m\"\nmax_sessions = 7\nhttp_sse = true").unwrap();
    assert!(config.mcp.sessions && config.mcp.http_sse);
    assert_eq!(
        (config.mcp.session.idle.as_secs(), config.mcp.session.in_all),
        (300, 7)
    );
    let faults = read(
        "sessions = \"yes\"\nsession_idle = \"0s\"\nsession_ttl = \"long\"\nsessions_per_caller = 0\nsession_replay = \"1B\"",
    );
    let faults = faults.unwrap_err().to_string();
    for key in [
        "mcp.sessions",
        "mcp.session_idle",
        "mcp.session_ttl",
        "mcp.sessions_per_caller",
        "mcp.session_replay",
    ] {
        assert!(faults.contains(key), "{key}: {faults}");
    }
}

#[test]
fn a_relay_is_named_before_anything_leads_through_it() {
    let relay = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let peer = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";
    let circuit = format!("{relay}/p2p-circuit");
    let through = format!("{circuit}/p2p/{peer}");
    let of = |p2p: &str| format!("{ISSUER}[p2p]\n{p2p}");
    let good = of(&format!(
        "relays = [{relay:?}]\npeers = [{through:?}]\nlisten = []"
    ));
    let config = NodeConfig::from_text(&good).unwrap();
    assert_eq!((config.p2p.relays.len(), config.p2p.peers.len()), (1, 1));
    assert!(config.p2p.listen.is_empty());
    for (text, fault) in [
        (format!("peers = [{through:?}]"), "a relay that is not in relays"),
        (format!("listen = [{circuit:?}]"), "a relay is named in relays"),
        (format!("relays = [{through:?}]"), "name the relay itself"),
    ] {
        let faults = faults(&of(&text));
        assert!(
            faults.iter().any(|said| said.contains(fault)),
            "{text}: {faults:?}"
        );
    }
}
