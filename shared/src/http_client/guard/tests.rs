use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

use super::*;

/// A server for `docs.example` with an authority of its own; each connection gets the next answer, the last for ever.
struct Stand {
    port: u16,
    folder: tempfile::TempDir,
    /// What the requests looked like.
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Manner {
    Says(Vec<u8>),
    /// Sends the bytes again and again.
    Endless(Vec<u8>),
    /// Says this, and then one byte every 100 ms.
    Slow(Vec<u8>),
}

fn good(body: &str) -> Manner {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    Manner::Says((head + body).into_bytes())
}

impl Stand {
    fn start(manner: Manner) -> Self {
        crate::tls::install_provider();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec![
            "docs.example".to_owned(),
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
        ];
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, notes, manner) = (Arc::clone(&config), Arc::clone(&notes), manner.clone());
                std::thread::spawn(move || serve(stream, config, &notes, &manner));
            }
        });
        Self { port, folder, asked }
    }

    fn rule(&self, hosts: &[&str]) -> GuardRule {
        GuardRule {
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            allow_ranges: vec!["127.0.0.0/8".parse().unwrap()],
            ca_file: Some(self.folder.path().join("ca.pem")),
        }
    }

    fn url(&self, host: &str) -> Url {
        format!("https://{host}:{}/doc", self.port).parse().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, notes: &Mutex<Vec<String>>, manner: &Manner) {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if tls.read_exact(&mut byte).is_err() {
            return;
        }
        request.push(byte[0]);
    }
    notes.lock().unwrap().push(String::from_utf8(request).unwrap());
    match manner {
        Manner::Says(answer) => {
            tls.write_all(answer).ok();
            tls.conn.send_close_notify();
            tls.flush().ok();
        }
        Manner::Endless(bytes) => while tls.write_all(bytes).is_ok() {},
        Manner::Slow(start) => {
            let mut sent = tls.write_all(start);
            while sent.is_ok() {
                std::thread::sleep(Duration::from_millis(100));
                sent = tls.write_all(b" ").and_then(|()| tls.flush());
            }
        }
    }
}

/// Every name leads to these addresses, one list for each look-up and the last one for ever.
fn names(answers: &[&[&str]]) -> (Arc<Lookup>, Arc<AtomicUsize>) {
    let answers: Vec<Vec<IpAddr>> = answers
        .iter()
        .map(|list| list.iter().map(|address| address.parse().unwrap()).collect())
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup = move |_: &str, port| {
        let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        Ok(answers[turn]
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect())
    };
    (Arc::new(lookup), asked)
}

fn client(rules: Vec<GuardRule>, answers: &[&[&str]]) -> GuardedClient {
    GuardedClient::with_lookup(rules, Own::default(), names(answers).0).unwrap()
}

async fn reason(client: &GuardedClient, url: &Url) -> String {
    let fault = client.fetch_json(url, 100).await.unwrap_err();
    assert_eq!(fault.to_string(), "the address brought no usable answer");
    fault.reason().to_owned()
}

#[tokio::test]
async fn a_rule_opens_its_hosts_and_nothing_else() {
    let stand = Stand::start(good("{}"));
    let open = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
    let fetched = open.fetch_json(&stand.url("docs.example"), 2).await.unwrap();
    assert_eq!(fetched.body, b"{}");
    assert!(
        reason(&open, &stand.url("other.example"))
            .await
            .contains("no rule opens")
    );
    let closed = client(vec![], &[&["127.0.0.1"]]);
    assert!(
        reason(&closed, &stand.url("docs.example"))
            .await
            .contains("127.0.0.1 (loopback)")
    );
    // Opened, but certified by nobody whom the rule trusts.
    let mut rule = stand.rule(&["docs.example"]);
    rule.ca_file = None;
    let untrusted = client(vec![rule], &[&["127.0.0.1"]]);
    assert!(
        reason(&untrusted, &stand.url("docs.example"))
            .await
            .contains("certificate")
    );
    assert_eq!(stand.asked().len(), 1, "nobody was asked but for the good one");
}

#[tokio::test]
async fn ssrf_21_literal_tricks_end_at_the_address_that_they_mean() {
    // Whatever the literal, no name is looked up and the address is checked.
    for literal in [
        "127.0.0.1",
        "0177.0.0.1",
        "0x7f.1",
        "2130706433",
        "127.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00::1]",
        "169.254.169.254",
        "１２７.０.０.１",
        "127。0。0。1",
    ] {
        let (lookup, asked) = names(&[&["8.8.8.8"]]);
        let guarded = GuardedClient::with_lookup(vec![], Own::default(), lookup).unwrap();
        let url = format!("https://{literal}:9/doc").parse().unwrap();
        assert!(
            reason(&guarded, &url).await.contains("which no rule opens"),
            "{literal}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{literal}");
    }
    for name in [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1.nip.io",
        "xn--fsq.example",
    ] {
        let guarded = client(vec![], &[&["127.0.0.1"]]);
        let url = format!("https://{name}:9/doc").parse().unwrap();
        assert!(
            reason(&guarded, &url).await.contains("which no rule opens"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn ssrf_23_the_connection_goes_to_the_address_that_was_checked() {
    let stand = Stand::start(good("{}"));
    // The second answer would lead elsewhere; nobody asks for it.
    let (lookup, asked) = names(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let guarded =
        GuardedClient::with_lookup(vec![stand.rule(&["docs.example"])], Own::default(), lookup).unwrap();
    guarded.fetch_json(&stand.url("docs.example"), 2).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(
        reason(&guarded, &stand.url("docs.example"))
            .await
            .contains("10.0.0.1")
    );
    // One bad address among good ones spoils all of them.
    for list in [
        &["1.1.1.1", "10.0.0.1"][..],
        &["1.1.1.1", "::1"],
        &["fd00::1", "2606:4700::1111"],
    ] {
        let mixed = client(vec![], &[list]);
        assert!(
            reason(&mixed, &stand.url("docs.example"))
                .await
                .contains("which no rule opens"),
            "{list:?}"
        );
    }
}

#[tokio::test]
async fn cimd_05_06_nothing_but_200_and_no_redirect() {
    for status in [
        "201", "203", "204", "206", "301", "302", "303", "304", "307", "308", "404", "500",
    ] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: https://docs.example/\r\nContent-Length: 0\r\n\r\n");
        let stand = Stand::start(Manner::Says(answer.into_bytes()));
        let guarded = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
        let found = reason(&guarded, &stand.url("docs.example")).await;
        assert_eq!(found, format!("answered with status {status} instead of 200"));
        assert_eq!(stand.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn cimd_08_bodies_end_at_the_limit() {
    let honest = good(&" ".repeat(101));
    let endless = b"HTTP/1.1 200 OK\r\n\r\n"
        .iter()
        .copied()
        .chain([b' '; 4096])
        .collect();
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
        &b"40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(9),
    ]
    .concat();
    for manner in [honest, Manner::Endless(endless), Manner::Says(chunked)] {
        let stand = Stand::start(manner);
        let guarded = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
        let found = reason(&guarded, &stand.url("docs.example")).await;
        assert_eq!(found, "answered with more than 100 bytes");
    }
}

#[tokio::test]
async fn cimd_09_ssrf_31_slow_answers_and_endless_heads_end() {
    let slow_body = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n".to_vec();
    let slow_head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    let interim = Manner::Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec());
    let long_head = Manner::Endless(b"X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".to_vec());
    let manners = [
        Manner::Slow(slow_body),
        Manner::Slow(slow_head),
        interim,
        long_head,
    ];
    let fetches = manners.map(|manner| async move {
        let stand = Stand::start(manner);
        let guarded = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
        reason(&guarded, &stand.url("docs.example")).await
    });
    let [a, b, c, d] = fetches;
    let (a, b, ..) = tokio::join!(a, b, c, d);
    assert_eq!(
        (a.as_str(), b.as_str()),
        ("no answer in time", "no answer in time")
    );
}

#[tokio::test]
async fn ssrf_27_the_request_says_nothing_of_us() {
    let stand = Stand::start(good("{}"));
    let guarded = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
    guarded.fetch_json(&stand.url("docs.example"), 2).await.unwrap();
    let mut lines: Vec<String> = stand.asked()[0].lines().map(str::to_lowercase).collect();
    lines.sort();
    let host = format!("host: docs.example:{}", stand.port);
    assert_eq!(
        lines,
        [
            "",
            "accept-encoding: identity",
            "accept: application/json",
            "get /doc http/1.1",
            &host
        ]
    );
}

#[tokio::test]
async fn ssrf_24_this_server_is_not_fetched_from() {
    let stand = Stand::start(good("{}"));
    let own = Own {
        host: Some("as.example".to_owned()),
        listen: vec![SocketAddr::from(([0, 0, 0, 0], stand.port))],
    };
    let rule = stand.rule(&["docs.example"]);
    let guarded = GuardedClient::with_lookup(vec![rule], own, names(&[&["127.0.0.1"]]).0).unwrap();
    assert!(
        reason(&guarded, &stand.url("docs.example"))
            .await
            .contains("this server itself")
    );
    assert_eq!(
        reason(&guarded, &stand.url("as.example")).await,
        "it is the host of this server"
    );
    assert_eq!(
        reason(&guarded, &stand.url("as.example.")).await,
        "it is the host of this server"
    );
    let other = Stand::start(good("{}"));
    let mut rule = other.rule(&["docs.example"]);
    rule.hosts.push("as.example".parse().unwrap());
    let own = Own {
        host: Some("docs.example".to_owned()),
        listen: vec![SocketAddr::from(([0, 0, 0, 0], stand.port))],
    };
    let guarded = GuardedClient::with_lookup(vec![rule], own, names(&[&["127.0.0.1"]]).0).unwrap();
    assert!(
        guarded.fetch_json(&other.url("docs.example"), 2).await.is_ok(),
        "a rule names it"
    );
}

#[tokio::test]
async fn who_finds_no_seat_is_told_that_nothing_was_tried() {
    let stand = Stand::start(good("{}"));
    let client = client(vec![stand.rule(&["docs.example"])], &[&["127.0.0.1"]]);
    let seats = client
        .0
        .fetches
        .acquire_many(u32::try_from(FETCHES).unwrap())
        .await;
    let fault = client
        .fetch_json(&stand.url("docs.example"), 100)
        .await
        .unwrap_err();
    assert!(fault.is_busy(), "{fault:?}");
    assert!(stand.asked.lock().unwrap().is_empty());
    drop(seats);
    client.fetch_json(&stand.url("docs.example"), 100).await.unwrap();
    // An address that is away is another matter.
    let fault = client
        .fetch_json(&stand.url("other.example"), 100)
        .await
        .unwrap_err();
    assert!(!fault.is_busy(), "{fault:?}");
}

#[tokio::test]
async fn only_https_without_credentials() {
    let guarded = client(vec![], &[&["1.1.1.1"]]);
    for (url, expected) in [
        ("http://docs.example/doc", "it is not https"),
        ("file:///etc/passwd", "it is not https"),
        ("https://u@docs.example/doc", "it has a user name or a password"),
        ("https://:p@docs.example/doc", "it has a user name or a password"),
    ] {
        assert_eq!(reason(&guarded, &url.parse().unwrap()).await, expected, "{url}");
    }
}

#[tokio::test]
async fn cimd_09_a_hanging_resolver_is_given_up_and_cannot_fill_memory() {
    let (end, hang) = std::sync::mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let waits = move |_: &str, _| {
        hang.lock().unwrap().recv().ok();
        Ok(Vec::new())
    };
    let guarded = GuardedClient::with_lookup(vec![], Own::default(), Arc::new(waits)).unwrap();
    let url: Url = "https://docs.example/doc".parse().unwrap();
    for _ in 0..LOOKUPS {
        // Given up at once; the look-up has begun and goes on.
        let polled = tokio::time::timeout(Duration::ZERO, guarded.fetch_json(&url, 1)).await;
        assert!(polled.is_err());
    }
    assert_eq!(reason(&guarded, &url).await, "too many names are being looked up");
    drop(end);
}
