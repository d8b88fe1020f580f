//! DUR-02: a server that is killed under load has kept what it answered, and gives nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use xtask::code_flow::{CodeClient, TESTING_DOOR, location};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http;

const ROUNDS: usize = 4;
const WORKERS: usize = 8;
/// Answers of one round before the kill; another number in each round, so that it falls into another place.
const ANSWERS: usize = 60;

/// What one worker had in its hands when the server died.
#[derive(Default)]
struct Hands {
    /// A code whose redemption was answered, with its family's newest refresh token that was.
    redeemed: Option<String>,
    newest: Option<String>,
    /// A code that was sent and not answered.
    open: Option<String>,
}

both!(dur_02_what_was_answered_survives_a_kill);
fn dur_02_what_was_answered_survives_a_kill(db: Db) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}{TESTING_DOOR}")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client = CodeClient::create(&fleet.server, "crash", (&fleet.node.url(), "mcp:read")).unwrap();
    for round in 0..ROUNDS {
        let answered = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (client, answered) = (client.clone(), Arc::clone(&answered));
                thread::spawn(move || work(&client, &answered))
            })
            .collect();
        while answered.load(Ordering::Relaxed) < ANSWERS + 7 * round {
            thread::yield_now();
        }
        let mut old = fleet.programs().remove("authz-server").unwrap();
        old.kill();
        let hands: Vec<Hands> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        let new = fleet.server.serve_ready().unwrap();
        fleet.programs().insert("authz-server", new);
        for hand in hands {
            check(&client, &hand);
        }
    }
}

/// Codes, tokens and refreshes, until nobody answers any more.
fn work(client: &CodeClient, answered: &AtomicUsize) -> Hands {
    let mut hands = Hands::default();
    loop {
        let Ok(redirect) = http::get(&client.authorization_url()).and_then(|answer| location(&answer)) else {
            return hands;
        };
        let code = redirect
            .split(['?', '&'])
            .find_map(|pair| pair.strip_prefix("code="))
            .unwrap();
        hands.open = Some(code.to_owned());
        let Ok(answer) = client.ask(&client.redemption(code)) else {
            return hands;
        };
        assert_eq!(answer.status, 200, "{answer}");
        answered.fetch_add(1, Ordering::Relaxed);
        hands.open = None;
        hands.redeemed = Some(code.to_owned());
        let mut newest = answer.json().unwrap()["refresh_token"]
            .as_str()
            .unwrap()
            .to_owned();
        for _ in 0..2 {
            hands.newest = Some(newest.clone());
            let Ok(answer) = client.ask(&client.renewal(&newest)) else {
                return hands;
            };
            assert_eq!(answer.status, 200, "{answer}");
            answered.fetch_add(1, Ordering::Relaxed);
            newest = answer.json().unwrap()["refresh_token"]
                .as_str()
                .unwrap()
                .to_owned();
        }
        hands.newest = Some(newest);
    }
}

fn check(client: &CodeClient, hands: &Hands) {
    // What was given goes on; also when its own refresh was cut off, since the same token may come again.
    if let Some(newest) = &hands.newest {
        let answer = client.ask(&client.renewal(newest)).unwrap();
        assert_eq!(
            answer.status, 200,
            "a refresh token that was given is gone: {answer}"
        );
    }
    // What nobody was told of has happened or not: at most one success, and never a fault of the server.
    if let Some(open) = &hands.open {
        let first = client.ask(&client.redemption(open)).unwrap().status;
        assert!(matches!(first, 200 | 400), "{first}");
        assert_eq!(client.ask(&client.redemption(open)).unwrap().status, 400);
    }
    // What was redeemed before the crash is redeemed after it: now this is a replay.
    if let Some(redeemed) = &hands.redeemed {
        assert_eq!(client.ask(&client.redemption(redeemed)).unwrap().status, 400);
    }
}
