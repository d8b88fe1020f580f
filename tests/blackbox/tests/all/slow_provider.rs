//! A provider that hangs is no reason for anybody to wait who does not sign in there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use blackbox::fleet::Wishes;
use blackbox::forge::Key;
use blackbox::provider::Provider;
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::UNLIMITED_SERVER;

/// A page waits half a second for an address that it can do without; an exchange with the provider may take five.
const SOON: Duration = Duration::from_secs(2);

fn fleet(db: Db, federation: &str) -> Fleet {
    let wishes = Wishes {
        server: Some(UNLIMITED_SERVER.to_owned() + federation),
        ..Wishes::default()
    };
    Fleet::start(db, &wishes)
}

both!(no_page_waits_for_a_provider_that_hangs);
fn no_page_waits_for_a_provider_that_hangs(db: Db) {
    // Connections are taken, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let fleet = fleet(
        db,
        &format!("\n[federation]\nissuer = \"{url}\"\nclient_id = \"x\"\nname = \"Silent\"\n"),
    );
    let spans: Vec<Duration> = std::thread::scope(|scope| {
        let visits: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let start = Instant::now();
                    let page = fleet.person().page("/login");
                    assert_eq!(page.answer.status, 200, "{}", page.answer);
                    assert!(page.has_form("/login/upstream") && page.has_form("/login"));
                    let policy = page.answer.header("content-security-policy").unwrap();
                    assert!(policy.contains(&url), "{policy}");
                    start.elapsed()
                })
            })
            .collect();
        visits.into_iter().map(|visit| visit.join().unwrap()).collect()
    });
    assert!(spans.iter().all(|span| *span < SOON), "{spans:?}");
}

both!(a_page_names_the_address_of_a_provider_that_answers);
fn a_page_names_the_address_of_a_provider_that_answers(db: Db) {
    let provider = Provider::start(Key::ed25519("op-1"));
    provider.set_metadata("authorization_endpoint", json!("http://127.0.0.1:9/authorize"));
    let page = fleet(db, &provider.section("")).person().page("/login");
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(policy.contains("http://127.0.0.1:9"), "{policy}");
}
