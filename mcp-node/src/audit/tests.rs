use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;
use shared::clock::UnixSeconds;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::gate::Operation;

fn config(file: &std::path::Path, refuses_on_failure: bool) -> AuditConfig {
    AuditConfig {
        target: Some(AuditTarget::File(file.to_owned())),
        refuses_on_failure,
    }
}

fn entry(tool: &str) -> Entry {
    let via = Via {
        address: Some("192.0.2.7".parse().unwrap()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    };
    Entry::at(UnixSeconds(1_800_000_000), via).doing(&Operation::call(tool, None))
}

fn put(audit: &Audit, tool: &str) {
    audit
        .slot()
        .unwrap()
        .put(entry(tool).ended("ok", Duration::from_micros(1500)));
}

fn lines(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn each_decision_is_a_line_in_a_file_of_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let audit = Audit::start(&config(&file, true)).unwrap().unwrap();
    put(&audit, "get_status");
    audit
        .slot()
        .unwrap()
        .put(entry("a\nb").denied("insufficient_scope"));
    audit.finish().await;
    let lines = lines(&file);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        serde_json::json!({
            "time": "2027-01-15T08:00:00Z", "method": "tools/call", "tool": "get_status",
            "arguments_sha256": "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o",
            "decision": "allowed", "outcome": "ok", "duration_ms": 1.5, "address": "192.0.2.7",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        })
    );
    assert_eq!(
        (&lines[1]["tool"], &lines[1]["outcome"]),
        (&"a\nb".into(), &"insufficient_scope".into())
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A program that starts anew adds to what is there.
    let again = Audit::start(&config(&file, true)).unwrap().unwrap();
    put(&again, "get_status");
    again.finish().await;
    assert_eq!(self::lines(&file).len(), 3);
}

#[tokio::test]
async fn a_full_disk_stops_what_must_be_written_down_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (link, file) = (folder.path().join("audit.log"), folder.path().join("other.log"));
    symlink("/dev/full", &link).unwrap();
    let audit = Audit::start(&config(&link, true)).unwrap().unwrap();
    put(&audit, "first");
    until(|| audit.is_failing()).await;
    assert!(audit.slot().is_err());
    std::fs::remove_file(&link).unwrap();
    symlink(&file, &link).unwrap();
    until(|| !audit.is_failing()).await;
    put(&audit, "second");
    audit.finish().await;
    let tools: Vec<_> = lines(&file).iter().map(|line| line["tool"].clone()).collect();
    assert_eq!(tools, ["first", "second"]);
    assert_eq!(audit.lost(), 0);
}

#[tokio::test]
async fn a_full_disk_is_only_counted_where_the_operator_wants_that() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("audit.log");
    symlink("/dev/full", &link).unwrap();
    let audit = Audit::start(&config(&link, false)).unwrap().unwrap();
    put(&audit, "first");
    until(|| audit.lost() == 1).await;
    assert!(audit.slot().is_ok() && audit.is_failing());
    audit.finish().await;
}

#[tokio::test]
async fn when_no_more_lines_can_wait_nothing_more_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let audit = Audit::start(&config(&file, true)).unwrap().unwrap();
    // Room that is held counts as taken.
    let held: Vec<_> = (0..WAITING).map(|_| audit.slot().unwrap()).collect();
    assert!(audit.slot().is_err());
    drop(held);
    assert!(audit.slot().is_ok());
    let lax = Audit::start(&config(&file, false)).unwrap().unwrap();
    let held: Vec<_> = (0..WAITING).map(|_| lax.slot().unwrap()).collect();
    put(&lax, "lost");
    assert_eq!(lax.lost(), 1);
    drop(held);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_fault_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let fault = Audit::start(&config(&folder.path().join("no/such/folder"), true)).unwrap_err();
    assert!(fault.to_string().contains("no/such/folder"), "{fault}");
}

#[tokio::test]
async fn a_collector_gets_records_and_is_asked_again_until_it_takes_them() {
    let collector = MockServer::start().await;
    let ask = || {
        Mock::given(method("POST"))
            .and(path("/v1/logs"))
            .and(header("content-type", "application/x-protobuf"))
    };
    ask()
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&collector)
        .await;
    ask()
        .respond_with(ResponseTemplate::new(200))
        .mount(&collector)
        .await;
    let config = AuditConfig {
        target: Some(AuditTarget::Otlp {
            endpoint: format!("{}/v1/logs", collector.uri()).parse().unwrap(),
            ca_file: None,
        }),
        refuses_on_failure: true,
    };
    let audit = Audit::start(&config).unwrap().unwrap();
    put(&audit, "get_status");
    until(|| audit.is_failing()).await;
    until(|| !audit.is_failing()).await;
    audit.finish().await;
    let asked = collector.received_requests().await.unwrap();
    assert_eq!(asked.len(), 2);
    // Texts stand in protobuf as they are.
    let body = String::from_utf8_lossy(&asked[1].body).into_owned();
    for part in [
        "mcp-node",
        "mcp_node.audit",
        "\"tool\":\"get_status\"",
        "\"decision\":\"allowed\"",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert_eq!(asked[0].body, asked[1].body);
}

async fn until(reached: impl Fn() -> bool) {
    let wait = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}
