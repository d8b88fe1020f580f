//! Metrics of both programs: what the dashboard and the alert rules in `compose/` name is there, and names of others are
//! bounded (docs/metrics.md).

use std::collections::BTreeSet;
use std::path::Path;

use blackbox::answers::granted;
use blackbox::fleet::{SCOPES, Wishes};
use blackbox::{Db, Fleet, both};
use xtask::fleet::UNLIMITED_NODE;
use xtask::http::{self, Request};

fn scrape(url: &str) -> String {
    let answer = http::get(url).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    answer.text()
}

/// The names of everything that `text` shows a value of.
fn exported(text: &str) -> BTreeSet<&str> {
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect()
}

/// Every metric of ours that a file of `compose/` names.
fn named(file: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compose");
    let text = std::fs::read_to_string(root.join(file)).unwrap();
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split(|c| !is_word(c))
        .filter(|word| word.starts_with("edge_hive_"))
        .map(str::to_owned)
        .collect()
}

/// The number of a line that begins so.
fn value(text: &str, begin: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no {begin} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

both!(every_metric_that_the_dashboard_and_the_alerts_name_is_exported);
fn every_metric_that_the_dashboard_and_the_alerts_name_is_exported(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let audit = format!(
        "\n[audit]\nfile = \"{}\"\n{UNLIMITED_NODE}",
        folder.path().join("audit.log").display()
    );
    let wishes = Wishes {
        node: Some(audit),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client = fleet.client(&["--scopes", SCOPES]);
    let token = fleet.token(&client, &fleet.node.url());
    assert_eq!(fleet.call(&token).status, 200);
    assert_eq!(fleet.call("wrong").status, 401);
    let refused = fleet.post_bare("/oauth/token", &[("grant_type", "none")]);
    assert!(refused.status >= 400);

    let (server, node) = (scrape(&fleet.at("/metrics")), scrape(&fleet.node_at("/metrics")));
    let known: BTreeSet<_> = exported(&server).union(&exported(&node)).copied().collect();
    for file in ["grafana/edge-hive.json", "prometheus/alerts.yaml"] {
        let named = named(file);
        assert!(named.len() > 8, "{file}: {named:?}");
        for metric in named {
            assert!(
                known.contains(metric.as_str()),
                "{file}: {metric} is not exported"
            );
        }
    }
    let count = |begin: &str| value(&server, &format!("edge_hive_authz_{begin}"));
    assert!((count("tokens_issued_total{grant=\"client_credentials\"}") - 1.0).abs() < 0.1);
    assert!(count("tokens_issued_total{grant=\"refresh_token\"}").abs() < 0.1);
    let mine = format!("tokens_issued_to_client_total{{name=\"{}\"}}", client.id);
    assert!((count(&mine) - 1.0).abs() < 0.1);
    let resource = format!(
        "tokens_issued_for_resource_total{{name=\"{}\"}}",
        fleet.node.url()
    );
    assert!((count(&resource) - 1.0).abs() < 0.1);
    for scope in SCOPES.split(' ') {
        assert!((count(&format!("tokens_issued_with_scope_total{{name=\"{scope}\"}}")) - 1.0).abs() < 0.1);
    }
    assert!((count("signing_keys{state=\"current\"}") - 3.0).abs() < 0.1);
    assert!(count("signing_key_overdue_seconds{alg=\"EdDSA\"}").abs() < 0.1);
    assert!(count("database_connections{state=\"all\"}") > 3.0);
    assert!(count("http_seconds_count{route=\"/oauth/token\"}") > 1.0);
}

// LOG-07: what strangers choose makes no label.
both!(log_07_what_callers_make_up_is_no_label);
fn log_07_what_callers_make_up_is_no_label(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    granted(&fleet.ask_token(&client, &[]));
    let ask = |word: &str| {
        let form = [
            ("grant_type", word),
            ("client_id", word),
            ("scope", word),
            ("resource", word),
        ];
        assert!(fleet.post_bare("/oauth/token", &form).status >= 400);
        let form = [("grant_type", "client_credentials"), ("scope", word)];
        assert!(fleet.post("/oauth/token", &client, &form).status >= 400);
        let path = format!("/{word}/{word}");
        assert_eq!(http::get(&fleet.at(&path)).unwrap().status, 404);
        let request = Request::new("GET", &fleet.at("/oauth/status/l_made_up")).unwrap();
        request.header("user-agent", word).send().unwrap();
    };
    ask("made_up_0");
    let lines = || scrape(&fleet.at("/metrics")).lines().count();
    // The first look is counted too.
    lines();
    let before = lines();
    for n in 1..40 {
        ask(&format!("made_up_{n}"));
    }
    let after = scrape(&fleet.at("/metrics"));
    assert!(!after.contains("made_up"), "{after}");
    assert!(after.lines().count() < before + 30, "{after}");
}
