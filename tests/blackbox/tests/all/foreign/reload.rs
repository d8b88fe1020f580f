//! SIGHUP at a node: limits, origins and the filter of the log change without a restart; a file with a fault changes nothing.

use std::time::{Duration, Instant};

use blackbox::answers::granted;
use blackbox::lone_node::LoneNode;
use xtask::http::Request;

const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(began.elapsed() < PATIENCE, "{what}: it does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a page of the node's own host may read of an answer.
fn exposed(node: &LoneNode) -> String {
    let host = format!("http://localhost:{}", node.node.port);
    let request = Request::new("OPTIONS", &node.node.url()).unwrap();
    let asked = request
        .header("Origin", &host)
        .header("Access-Control-Request-Method", "POST");
    let answer = asked.send().unwrap();
    let header = answer.header("access-control-expose-headers");
    header.unwrap_or_default().to_owned()
}

#[test]
fn a_new_file_of_a_node_changes_what_can_change_and_one_with_a_fault_nothing() {
    let limits = |per_client: &str, more: &str| {
        format!("\n[limits]\nper_ip = \"off\"\nper_client = \"{per_client}\"\n{more}")
    };
    let mut node = LoneNode::start(&limits("off", ""));
    let token = node.good_token();
    let status = |node: &LoneNode| node.call(&token).status;
    granted(&node.call(&token));
    assert!(!exposed(&node).contains("x-mine"));

    // Every fault of it is told, and nothing is taken.
    let bad = "\n[cors]\nheaders = [\"*\"]\n\n[log]\nfilter = \"=,=\"\n";
    node.rewrite(&limits("1/h", bad));
    node.signal("HUP");
    until("the faults are in the log", || {
        let log = node.log();
        let names = ["nothing is changed", "cors.headers", "log.filter"];
        names.iter().all(|name| log.contains(name))
    });
    assert_eq!([status(&node), status(&node)], [200, 200]);

    // A good one: what can change changes, and what cannot is named.
    let good = "[[limits.tool]]\ntool = \"get_*\"\nrate = \"3/h\"\n\n[cors]\nexpose = [\"X-Mine\"]\n\n[scopes]\nlists = \"all\"\n";
    node.rewrite(&limits("off", good));
    node.signal("HUP");
    until("the file is read", || node.log().contains("after a restart only"));
    let log = node.log();
    for part in [
        "limits.tool.0.rate",
        "cors.expose",
        "scopes.lists",
        "after a restart only",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(exposed(&node).contains("x-mine"));
    assert_eq!([(); 4].map(|()| status(&node)), [200, 200, 200, 429]);
    assert!(
        node.get("/metrics")
            .text()
            .contains("edge_hive_node_limit_per_minute{by=\"tool\",tool=\"get_*\"}")
    );
    node.rewrite(&limits("2/h", ""));
    node.signal("HUP");
    until("it is read too", || {
        node.log().matches("was read again").count() == 2
    });
    assert_eq!([(); 3].map(|()| status(&node)), [200, 200, 429]);
    node.rewrite(&limits("off", "calls = 9\n").replace("per_ip = \"off\"", "per_ip = \"5/h\""));
    node.signal("HUP");
    until("addresses are limited", || {
        (0..6).any(|_| status(&node) == 429) && node.log().matches("was read again").count() == 3
    });
}
