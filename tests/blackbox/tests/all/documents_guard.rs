//! SSRF-01 … SSRF-31: what a stranger can make the server connect to, and what they learn from it.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::mpsc;

use blackbox::fleet::Wishes;
use blackbox::people::Pkce;
use blackbox::published::{Published, UNLIMITED_FETCHES, document};
use blackbox::publisher::{Publisher, Reply};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

fn arrive(fleet: &Fleet, client_id: &str) -> Answer {
    let url = fleet.authorization_url(client_id, &Pkce::fresh(), &[]);
    fleet.person().get(&url)
}

/// What the page says, without what differs from one page to the next.
fn said(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text())
}

both!(ssrf_01_to_21_nobody_makes_the_server_connect_to_its_own_network);
fn ssrf_01_to_21_nobody_makes_the_server_connect_to_its_own_network(db: Db) {
    // No rule opens anything here.
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}{UNLIMITED_FETCHES}")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let publisher = Publisher::start();
    let path = "/client.json";
    publisher.publish_client(path, document(&json!({})));
    let port = publisher.at("").rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[fd00::1]",
        "[fe80::1]",
        "[2001:db8::1]",
        "[100::1]",
        "[5f00::1]",
        "[3fff::1]",
    ] {
        let client = format!("https://{host}:{port}{path}");
        let answer = arrive(&fleet, &client);
        assert_eq!(answer.status, 400, "{host}: {answer}");
        let logs = fleet.logs();
        let line = logs
            .lines()
            .rfind(|line| line.contains("could not be had") && line.contains(&client));
        // `localhost` is this server's own host here, which is another reason.
        let line = line.unwrap_or_else(|| panic!("{host} is not in the log"));
        assert!(
            line.contains("no rule opens") || line.contains("the host of this server"),
            "{line}"
        );
    }
    assert!(publisher.requests(path).is_empty());
    // The same document, where a rule opens this machine.
    let here = Published::shared(db);
    let (client, path) = here.client(&json!({}));
    assert_eq!(here.arrive(&client).status, 303);
    assert_eq!(here.publisher.requests(&path).len(), 1);
}

both!(ssrf_26_27_a_stranger_learns_nothing_from_the_answer_and_nothing_from_the_request);
fn ssrf_26_27_a_stranger_learns_nothing_from_the_answer_and_nothing_from_the_request(db: Db) {
    let here = Published::shared(db);
    let (client, path) = here.client(&json!({}));
    assert_eq!(here.arrive(&client).status, 303);
    let head = here.publisher.requests(&path).remove(0).to_lowercase();
    for header in ["user-agent", "cookie", "authorization", "referer", "edge"] {
        assert!(!head.contains(header), "{head}");
    }
    assert!(head.contains("accept-encoding: identity"), "{head}");
    // A port where nobody listens, one that does not speak TLS, a status, a document of another: one page for all.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let missing = here.publisher.at(&here.path());
    let marked = here.path();
    here.publisher
        .publish(&marked, Reply::bytes("internal-secret-marker"));
    let marked = here.publisher.at(&marked);
    let refused = "https://10.0.0.1/client.json".to_owned();
    let expected = said(&here.arrive(&missing));
    assert_eq!(expected.0, 400);
    for client in [format!("https://127.0.0.1:{closed}/c.json"), marked, refused] {
        assert_eq!(said(&here.arrive(&client)), expected, "{client}");
    }
    assert!(!here.fleet.logs().contains("internal-secret-marker"));
    // The token endpoint says as little.
    let token = |client: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", "x"),
        ];
        said(&here.fleet.post_bare("/oauth/token", &form))
    };
    assert_eq!(token(&missing), token("https://10.0.0.1/client.json"));
}

both!(ssrf_24_the_server_does_not_fetch_from_itself);
fn ssrf_24_the_server_does_not_fetch_from_itself(db: Db) {
    let here = Published::shared(db);
    let own = format!("https://127.0.0.1:{}/docs/errors", here.fleet.server.port);
    assert_eq!(here.arrive(&own).status, 400);
    assert!(
        here.reason(&own).contains("is this server itself"),
        "{}",
        here.reason(&own)
    );
}

both!(ssrf_rule_a_private_authority_is_trusted_for_its_hosts_only);
fn ssrf_rule_a_private_authority_is_trusted_for_its_hosts_only(db: Db) {
    let here = Published::shared(db);
    let stranger = Publisher::start();
    let client = stranger.publish_client("/client.json", document(&json!({})));
    assert_eq!(here.arrive(&client).status, 400);
    assert!(
        here.reason(&client).contains("certificate"),
        "{}",
        here.reason(&client)
    );
    assert!(stranger.requests("/client.json").is_empty());
    let (good, _) = here.client(&json!({}));
    assert_eq!(here.arrive(&good).status, 303);
}

both!(cimd_09_a_publisher_that_never_answers_is_given_up);
fn cimd_09_a_publisher_that_never_answers_is_given_up(db: Db) {
    let here = Published::start(db, UNLIMITED_FETCHES);
    let path = here.path();
    let mut held = document(&json!({}));
    held["client_id"] = Value::from(here.publisher.at(&path));
    here.publisher.publish(&path, Reply::json(&held).held());
    let silent = here.publisher.at(&path);
    // One that takes the connection and does not even begin TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("https://{}/client.json", listener.local_addr().unwrap());
    let (came, seen) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        came.send(()).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    std::thread::scope(|scope| {
        let arrivals = [&silent, &mute].map(|client| scope.spawn(|| here.arrive(client).status));
        for arrival in arrivals {
            assert_eq!(arrival.join().unwrap(), 400);
        }
    });
    seen.recv().unwrap();
    let reason = here.reason(&silent);
    assert!(
        reason.contains("no answer in time") || reason.contains("timed out"),
        "{reason}"
    );
    assert!(here.reason(&mute).contains("timed out"), "{}", here.reason(&mute));
}
