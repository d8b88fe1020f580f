//! LOAD-01, LOAD-02, LOAD-07, LOAD-17 at a node: callers that are slow, that send much where little belongs, and that all come
//! back at once.

use std::io::Write as _;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, retry_after};
use blackbox::forge;
use blackbox::issuer::Manner;
use blackbox::lone_node::LoneNode;
use blackbox::wire;
use serde_json::json;

fn host(node: &LoneNode) -> String {
    format!("Host: localhost:{}\r\n", node.node.port)
}

#[test]
fn load_01_load_02_slow_callers_are_cut_off_and_others_served() {
    let node = LoneNode::shared();
    let (port, token) = (node.node.port, node.good_token());
    let head = format!("POST /mcp HTTP/1.1\r\n{}", host(&node));
    let body = format!(
        "{head}Authorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: 500\r\n\r\n{{"
    );
    let slow: Vec<_> = [head, body]
        .into_iter()
        .flat_map(|bytes| std::iter::repeat_n(bytes, 50))
        .map(|bytes| std::thread::spawn(move || wire::until_closed(port, bytes.as_bytes())))
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        granted(&node.call(&token));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    for caller in slow {
        let (text, time) = caller.join().unwrap();
        assert!(time < Duration::from_secs(25), "closed only after {time:?}");
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    granted(&node.call(&token));
}

#[test]
fn load_07_heads_that_are_too_large_are_refused() {
    let node = LoneNode::shared();
    let token = node.good_token();
    let start = format!(
        "POST /mcp HTTP/1.1\r\n{}Authorization: Bearer {token}\r\n",
        host(&node)
    );
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let cookies: String = (0..50_000).map(|n| format!("c{n}=v; ")).collect();
    for (what, more) in [
        ("many", many),
        ("long", format!("X: {}\r\n", "y".repeat(200 * 1024))),
        ("cookies", format!("Cookie: {cookies}\r\n")),
        ("endless", format!("X: {}", "y".repeat(1 << 20))),
    ] {
        let mut stream = wire::connect(node.node.port);
        // A server that has seen enough closes while more is being sent.
        stream.write_all(format!("{start}{more}\r\n\r\n").as_bytes()).ok();
        let answer = xtask::http::Answer::read(&mut stream, false).map(|answer| answer.status);
        assert!(
            matches!(answer, Ok(400 | 414 | 431) | Err(_)),
            "{what}: {answer:?}"
        );
    }
    granted(&node.call(&token));
}

#[test]
fn load_17_all_who_come_back_after_an_outage_cause_one_question() {
    let node = LoneNode::start("");
    node.issuer.set_manner(Manner::Status(503));
    let tokens: Vec<String> = (0..200)
        .map(|n| {
            node.ed
                .token(&forge::with(&node.claims(), "jti", json!(format!("t-{n}"))))
        })
        .collect();
    let answers = || {
        std::thread::scope(|scope| {
            let asked: Vec<_> = tokens
                .chunks(25)
                .map(|some| scope.spawn(|| some.iter().map(|token| node.call(token)).collect::<Vec<_>>()))
                .collect();
            asked
                .into_iter()
                .flat_map(|some| some.join().unwrap())
                .collect::<Vec<_>>()
        })
    };
    for answer in answers() {
        assert_eq!(answer.status, 503, "{answer}");
        assert!((1..=60).contains(&retry_after(&answer)), "{answer}");
    }
    node.issuer.set_manner(Manner::Good);
    let before = node.issuer.key_requests();
    let began = Instant::now();
    while answers().iter().any(|answer| answer.status != 200) {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not recover");
    }
    // However many came: the node asks by itself, and not for each of them.
    let asked = node.issuer.key_requests() - before;
    assert!(asked <= 3, "{asked}");
}
