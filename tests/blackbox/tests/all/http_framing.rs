//! GEN-13, GEN-17, GEN-32, LOAD-02: bodies that are too large, too slow, or of two lengths at once.

use std::io::Write as _;
use std::time::{Duration, Instant};

use blackbox::answers::{boring, granted};
use blackbox::{Db, Fleet, both, wire};
use xtask::http::{Answer, Request, base64};

both!(gen_13_a_body_too_large_is_413);
fn gen_13_a_body_too_large_is_413(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let large = "x".repeat(64 * 1024);
    let answer = fleet.ask_token(&client, &[("extra", &large)]);
    assert_eq!(answer.status, 413, "{answer}");
    boring(&answer);
    let mut chunked = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        fleet.server.port
    );
    for _ in 0..64 {
        chunked.push_str(&format!("400\r\n{}\r\n", "y".repeat(1024)));
    }
    chunked.push_str("0\r\n\r\n");
    let answer = wire::send(fleet.server.port, chunked.as_bytes());
    assert_eq!(answer.status, 413, "{answer}");
    granted(&fleet.ask_token(&client, &[("extra", &"x".repeat(8 * 1024))]));

    let too_large =
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"x": "z".repeat(6 << 20)}});
    let request = Request::post(&fleet.node.url()).unwrap().bearer(&token);
    let answer = request
        .header("Accept", "application/json, text/event-stream")
        .json(&too_large)
        .send()
        .unwrap();
    assert_eq!(answer.status, 413, "{answer}");
    assert_eq!(fleet.call(&token).status, 200);
}

both!(gen_17_nothing_behind_a_framing_error_is_read);
fn gen_17_nothing_behind_a_framing_error_is_read(db: Db) {
    let fleet = Fleet::shared(db);
    let host = format!("Host: localhost:{}\r\n", fleet.server.port);
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let bytes = format!(
            "POST /oauth/token HTTP/1.1\r\n{host}{headers}\r\nhelloGET /.well-known/jwks.json HTTP/1.1\r\n{host}\r\n"
        );
        let (text, _) = wire::until_closed(fleet.server.port, bytes.as_bytes());
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {text}");
        assert!(text.starts_with("HTTP/1.1 400"), "{headers:?}: {text}");
        assert!(!text.contains("\"keys\""), "{headers:?}: {text}");
    }
}

both!(gen_32_a_large_body_is_refused_before_it_is_sent);
fn gen_32_a_large_body_is_refused_before_it_is_sent(db: Db) {
    let fleet = Fleet::shared(db);
    let bytes = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n",
        fleet.server.port
    );
    let answer = wire::send(fleet.server.port, bytes.as_bytes());
    assert!(matches!(answer.status, 413 | 417), "{answer}");
}

both!(load_02_a_slow_body_is_cut_off);
fn load_02_a_slow_body_is_cut_off(db: Db) {
    let fleet = Fleet::shared(db);
    let host = format!(
        "Host: localhost:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        fleet.server.port
    );
    let head = format!("POST /oauth/token HTTP/1.1\r\n{host}Content-Length: 100\r\n\r\ng");
    let slow = std::thread::spawn({
        let port = fleet.server.port;
        move || wire::until_closed(port, head.as_bytes())
    });
    // The positive twin: others are served meanwhile, and a body that comes in two pieces is fine.
    let client = fleet.client(&[]);
    let start = Instant::now();
    granted(&fleet.ask_token(&client, &[]));
    assert!(start.elapsed() < Duration::from_secs(5));
    let basic = base64(format!("{}:{}", client.id, client.secret).as_bytes());
    let body = "grant_type=client_credentials";
    let mut stream = wire::connect(fleet.server.port);
    let head = format!(
        "Authorization: Basic {basic}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("POST /oauth/token HTTP/1.1\r\n{host}{head}{}", &body[..9]).as_bytes())
        .unwrap();
    stream.write_all(&body.as_bytes()[9..]).unwrap();
    granted(&Answer::read(&mut stream, false).unwrap());
    let (text, time) = slow.join().unwrap();
    assert!(time < Duration::from_secs(20), "closed only after {time:?}");
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
}
