//! A server that dies, hangs, floods, lies or answers out of turn costs its own callers an error, and nobody else
//! anything.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::Behind;

#[test]
fn behind_10_dead_at_start() {
    let behind = Behind::start(&["die-at-start"], "");
    assert_eq!(behind.tool_names(), ["get_status", "list_peers"]);
    behind.until("the server is down", |behind| {
        behind.upstream()["state"] == "down"
    });
    let ready = behind.lone.get("/readyz");
    assert_eq!(
        (ready.status, &ready.json().unwrap()["status"]),
        (200, &json!("degraded")),
        "{ready}"
    );
    assert_eq!(ready.json().unwrap()["usable_upstreams"], 0);
    behind.until("it is started again", |behind| {
        behind.upstream()["restarts"].as_u64() >= Some(2)
    });
    let log = behind.lone.log();
    assert!(log.contains("odd upstream: no configuration"), "{log}");
    let waits: Vec<_> = log.match_indices("\"again_after_seconds\":1").collect();
    assert!(
        !waits.is_empty() && log.contains("\"again_after_seconds\":2"),
        "{log}"
    );
}

#[test]
fn behind_11_a_command_that_is_not_there() {
    let behind = Behind::start(&[], "cwd = \"/no/such/folder\"");
    assert_eq!(behind.tool_names(), ["get_status", "list_peers"]);
    behind.until("the server is down", |behind| {
        behind.upstream()["state"] == "down"
    });
}

#[test]
fn behind_12_dead_in_a_call() {
    let behind = Behind::start(&[], "");
    let sentence = behind.error("odd_die");
    assert!(sentence.contains("ended"), "{sentence}");
    // It stays in the lists, and comes back.
    assert!(behind.tool_names().contains(&"odd_echo".to_owned()));
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
    assert_eq!(behind.upstream()["restarts"], 1);
}

#[test]
fn behind_13_a_call_without_an_answer() {
    let behind = Behind::start(&[], "call_timeout = \"1s\"");
    let began = Instant::now();
    let sentence = behind.error("odd_hang");
    assert!(sentence.contains("within 1 s"), "{sentence}");
    assert!(began.elapsed().as_secs() < 20);
    // The rest of it lives, so it is not started again; and it was told that nobody waits any more.
    behind.until("the server hears of it", |behind| {
        let told = behind.told("odd_cancelled");
        told["cancelled"]
            .as_array()
            .unwrap()
            .contains(&told["unanswered"])
    });
    assert_eq!(behind.upstream()["restarts"], 0);
}

#[test]
fn behind_14_a_server_that_does_not_move_any_more() {
    let behind = Behind::start(&[], "call_timeout = \"1s\"");
    let sentence = behind.error("odd_freeze");
    assert!(sentence.contains("within 1 s"), "{sentence}");
    behind.until("it is started again", |behind| {
        behind.upstream()["restarts"] == 1 && behind.upstream()["state"] == "up"
    });
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
}

#[test]
fn behind_15_a_flood() {
    let behind = Behind::start(&[], "message_limit = \"1MiB\"");
    assert_eq!(behind.text("odd_flood"), "flooded");
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
    assert_eq!(behind.upstream()["restarts"], 0);
    let log = behind.lone.log();
    assert!(log.contains("an upstream server floods"), "{log}");
    let memory = behind.call("get_status", &json!({}))["structuredContent"]["load"]["memory_bytes"]
        .as_u64()
        .unwrap();
    assert!(memory < 200 << 20, "{memory}");
}

#[test]
fn behind_16_lies() {
    let behind = Behind::start(&[], "");
    let names = behind.tool_names();
    for left_out in ["odd_a bad name", "odd_no_schema", "odd_bad_schema"] {
        assert!(!names.iter().any(|name| name == left_out), "{names:?}");
    }
    assert_eq!(names.iter().filter(|name| *name == "odd_echo").count(), 1);
    let log = behind.lone.log();
    for name in [
        "a bad name",
        "no_schema",
        "bad_schema",
        "another one has the same name",
    ] {
        assert!(log.contains(name), "{name}: {log}");
    }
    let sentence = behind.error("odd_lie");
    assert!(
        sentence.contains("outputSchema") && !sentence.contains("three"),
        "{sentence}"
    );
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
}

#[test]
fn behind_17_answers_out_of_turn() {
    let behind = Behind::start(&[], "");
    assert_eq!(behind.text("odd_crosstalk"), "mine");
    assert_eq!(behind.upstream()["restarts"], 0);
}

#[test]
fn behind_18_an_old_server_that_dies_of_the_newest_words() {
    let behind = Behind::start(&["deaf"], "");
    behind.until("the older greeting is tried", |behind| {
        behind.upstream()["state"] == "up"
    });
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
}

#[test]
fn behind_19_a_program_ends_with_all_that_it_started() {
    let behind = Behind::start(&["child"], "");
    let told = behind.told("odd_child");
    let alive = |id: &serde_json::Value| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"));
        // Behind the name in brackets stands the state.
        stat.is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .trim_start()
                .starts_with('Z')
        })
    };
    assert!(alive(&told["own"]) && alive(&told["child"]), "{told}");
    behind.lone.stop();
    assert!(!alive(&told["own"]) && !alive(&told["child"]), "{told}");
}
