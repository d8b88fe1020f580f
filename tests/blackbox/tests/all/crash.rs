//! DUR-02: a server that is killed under load has kept what it answered, and gives nothing twice.

mod aborted;
mod at_write;
mod database;
mod disk;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both, length};
use xtask::code_flow::{CodeClient, TESTING_DOOR, location};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http;

/// Rounds of a short run.
const ROUNDS: usize = 4;
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

/// A fleet where codes need no person, and a client of it.
fn stage(db: Db, database: Option<String>) -> (Fleet, CodeClient) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}{TESTING_DOOR}")),
        database,
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client = CodeClient::create(&fleet.server, "crash", (&fleet.node.url(), "mcp:read")).unwrap();
    (fleet, client)
}

/// Starts the server again on what it left; returns how long it took.
fn start_again(fleet: &Fleet) -> Duration {
    let start = Instant::now();
    let new = fleet.server.serve_ready().unwrap();
    fleet.programs().insert("authz-server", new);
    start.elapsed()
}

both!(dur_02_what_was_answered_survives_a_kill);
fn dur_02_what_was_answered_survives_a_kill(db: Db) {
    let (fleet, client) = stage(db, None);
    let (start, long) = (Instant::now(), length::of_faults());
    let clients = if long.is_some() { 32 } else { 8 };
    let (mut round, mut slowest) = (0, Duration::ZERO);
    while long.map_or(round < ROUNDS, |length| start.elapsed() < length) {
        let answered = Arc::new(AtomicUsize::new(0));
        let workers = put_to_work(clients, &client, &answered);
        while answered.load(Ordering::Relaxed) < ANSWERS + 7 * (round % 50) {
            thread::yield_now();
        }
        let mut old = fleet.programs().remove("authz-server").unwrap();
        old.kill();
        let hands: Vec<Hands> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        slowest = slowest.max(start_again(&fleet));
        for hand in hands {
            check(&client, &hand);
        }
        round += 1;
    }
    println!("{db:?}: {round} kills under {clients} clients; ready again within {slowest:?}");
}

fn put_to_work(clients: usize, client: &CodeClient, answered: &Arc<AtomicUsize>) -> Vec<JoinHandle<Hands>> {
    let begin = |_| {
        let (client, answered) = (client.clone(), Arc::clone(answered));
        thread::spawn(move || work(&client, &answered))
    };
    (0..clients).map(begin).collect()
}

/// Codes, tokens and refreshes, until nobody answers any more.
fn work(client: &CodeClient, answered: &AtomicUsize) -> Hands {
    let mut hands = Hands::default();
    loop {
        let Ok(redirect) = http::get(&client.authorization_url()).and_then(|answer| location(&answer)) else {
            return hands;
        };
        let code = code_in(&redirect);
        hands.open = Some(code.clone());
        let Ok(answer) = client.ask(&client.redemption(&code)) else {
            return hands;
        };
        assert_eq!(answer.status, 200, "{answer}");
        answered.fetch_add(1, Ordering::Relaxed);
        hands.open = None;
        hands.redeemed = Some(code);
        let mut newest = refresh_token(&answer);
        for _ in 0..2 {
            hands.newest = Some(newest.clone());
            let Ok(answer) = client.ask(&client.renewal(&newest)) else {
                return hands;
            };
            assert_eq!(answer.status, 200, "{answer}");
            answered.fetch_add(1, Ordering::Relaxed);
            newest = refresh_token(&answer);
        }
        hands.newest = Some(newest);
    }
}

fn code_in(redirect: &str) -> String {
    let code = redirect
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("code="));
    code.unwrap_or_else(|| panic!("no code in {redirect}")).to_owned()
}

fn refresh_token(answer: &http::Answer) -> String {
    answer.json().unwrap()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned()
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
