//! What happens, minute by minute.

use blackbox::local_network::eventually;
use blackbox::{Db, Fleet, both};
use serde_json::Value;

use super::refused;

both!(what_happens_is_counted_by_the_minute);
fn what_happens_is_counted_by_the_minute(db: Db) {
    let fleet = Fleet::start(db, &blackbox::fleet::Wishes::default());
    let admin = fleet.admin("admin:read");
    let client = fleet.client(&[]);
    for _ in 0..3 {
        let _token = fleet.token(&client, &fleet.node.url());
    }
    let sum = |history: &Value, kind: &str, name: &str| -> i64 {
        let minutes = history["minutes"].as_array().unwrap();
        minutes
            .iter()
            .filter_map(|minute| minute[kind][name].as_i64())
            .sum()
    };
    // That of the API itself is the fourth.
    let read = || admin.read("/admin/v1/statistics/minutes?minutes=1440").0;
    eventually("tokens are counted", || {
        sum(&read(), "issued", "client_credentials") == 4
    });
    let history = read();
    let minutes = history["minutes"].as_array().unwrap();
    assert!(
        minutes
            .windows(2)
            .all(|pair| pair[0]["minute"].as_i64() < pair[1]["minute"].as_i64())
    );
    assert!(
        minutes
            .iter()
            .all(|minute| minute["minute"].as_i64().unwrap() % 60 == 0)
    );
    // Each token is asked for by a request, and an answer takes some time.
    let total = |name: &str| {
        minutes
            .iter()
            .filter_map(|minute| minute[name].as_i64())
            .sum::<i64>()
    };
    assert!(total("answers") >= 4 && total("answer_micros") > 0, "{history}");
    refused(
        &fleet
            .admin_with(Some("nonsense".to_owned()))
            .get("/admin/v1/clients"),
        401,
        "invalid_token",
    );
    eventually("refusals are counted", || {
        sum(&read(), "refused", "invalid_token") == 1
    });
    for bad in ["0", "1441", "x"] {
        let path = format!("/admin/v1/statistics/minutes?minutes={bad}");
        refused(&admin.get(&path), 400, "invalid_request");
    }
    let (counts, _) = admin.read("/admin/v1/statistics");
    assert_eq!(counts["approvals_waiting"], 0, "{counts}");
}

both!(how_long_answers_take_is_told_of_one_instance);
fn how_long_answers_take_is_told_of_one_instance(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read");
    let client = fleet.client(&[]);
    for _ in 0..5 {
        let _token = fleet.token(&client, &fleet.node.url());
    }
    let told = admin.read("/admin/v1/statistics/latency").0;
    let groups = told["groups"].as_array().unwrap();
    let tokens = groups.iter().find(|group| group["group"] == "token").unwrap();
    let number = |of: &Value, name: &str| of[name].as_i64().unwrap();
    assert!(number(tokens, "answers") >= 5, "{told}");
    for part in groups.iter().chain(told["minutes"].as_array().unwrap()) {
        assert!(number(part, "answers") > 0, "{told}");
        assert!(
            number(part, "p50_micros") > 0 && number(part, "p50_micros") <= number(part, "p99_micros"),
            "{told}"
        );
    }
    assert!(!told["minutes"].as_array().unwrap().is_empty(), "{told}");
    assert!(number(&told, "since") % 60 == 0, "{told}");
    for bad in ["0", "61", "x"] {
        let path = format!("/admin/v1/statistics/latency?minutes={bad}");
        refused(&admin.get(&path), 400, "invalid_request");
    }
}
