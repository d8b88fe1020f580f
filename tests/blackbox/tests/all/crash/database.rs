//! DUR-01, DUR-03, DUR-05: Postgres dies under load, as a whole or one of its processes; answers get lost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_400, refused_503};
use blackbox::{Db, both, length};
use xtask::code_flow::{CodeClient, location};
use xtask::http::{self, Answer, Request, Url};
use xtask::postgres::{Cluster, Durability};

use super::{code_in, refresh_token, stage};

/// Crashes of a short run, by turns of the whole server and of one of its processes.
const CRASHES: usize = 6;
/// Answers between two crashes; another number each time.
const ANSWERS: usize = 40;

/// Postgres gives its own processes five seconds to end before it begins again.
const BACK: Duration = Duration::from_secs(20);

/// What the workers of one run share.
#[derive(Default)]
struct Shared {
    answered: AtomicUsize,
    unavailable: AtomicUsize,
    is_over: AtomicBool,
}

impl Shared {
    /// Asks again until there is an answer. In between there is 503, and nothing else.
    fn insist(&self, ask: impl Fn() -> Answer) -> (Answer, bool) {
        let mut was_refused = false;
        loop {
            let answer = ask();
            if answer.status != 503 {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return (answer, was_refused);
            }
            refused_503(&answer);
            was_refused = true;
            self.unavailable.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Codes, tokens and refreshes until it is over.
    fn work(&self, client: &CodeClient) {
        while !self.is_over.load(Ordering::Relaxed) {
            let (redirect, _) = self.insist(|| http::get(&client.authorization_url()).unwrap());
            let code = code_in(&location(&redirect).unwrap());
            let (answer, was_refused) = self.insist(|| client.ask(&client.redemption(&code)).unwrap());
            if answer.status == 400 {
                // Redeemed, and the answer was lost.
                assert!(was_refused, "{answer}");
                continue;
            }
            granted(&answer);
            let mut newest = refresh_token(&answer);
            for _ in 0..3 {
                let (answer, _) = self.insist(|| client.ask(&client.renewal(&newest)).unwrap());
                // Also when the answer before was lost: no session ends with the database.
                granted(&answer);
                newest = refresh_token(&answer);
            }
            assert_eq!(
                self.insist(|| client.ask(&client.redemption(&code)).unwrap())
                    .0
                    .status,
                400
            );
        }
    }
}

#[test]
fn dur_01_dur_05_a_database_that_dies_takes_no_session_with_it_postgres() {
    let mut cluster = Cluster::start(Durability::Full, None).unwrap();
    let (_fleet, client) = stage(Db::Postgres, Some(cluster.create_database().unwrap()));
    let shared = Arc::new(Shared::default());
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (shared, client) = (Arc::clone(&shared), client.clone());
            thread::spawn(move || shared.work(&client))
        })
        .collect();
    let (start, long) = (Instant::now(), length::of_faults());
    let (mut crashes, mut slowest) = (0, Duration::ZERO);
    while long.map_or(crashes < CRASHES, |length| start.elapsed() < length) {
        let enough = shared.answered.load(Ordering::Relaxed) + ANSWERS + 7 * (crashes % 50);
        while shared.answered.load(Ordering::Relaxed) < enough {
            assert!(
                workers.iter().all(|worker| !worker.is_finished()),
                "a worker has failed"
            );
            thread::yield_now();
        }
        if crashes % 2 == 0 {
            cluster.crash().unwrap();
            let refused = shared.unavailable.load(Ordering::Relaxed);
            while shared.unavailable.load(Ordering::Relaxed) == refused {
                assert!(
                    workers.iter().all(|worker| !worker.is_finished()),
                    "a worker has failed"
                );
            }
            cluster.revive(Durability::Full).unwrap();
        } else {
            cluster.kill_one(crashes).unwrap();
        }
        let back = Instant::now();
        let answered = shared.answered.load(Ordering::Relaxed);
        while shared.answered.load(Ordering::Relaxed) == answered {
            assert!(back.elapsed() < BACK, "it does not come back");
            thread::yield_now();
        }
        slowest = slowest.max(back.elapsed());
        crashes += 1;
    }
    shared.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    let unavailable = shared.unavailable.load(Ordering::Relaxed);
    println!("{crashes} crashes, {unavailable} answers of 503; back within {slowest:?}");
    assert!(unavailable > 0, "nobody noticed");
}

/// Asks, and leaves once the answer begins to come: it was made, and nobody reads it.
fn ask_and_lose(client: &CodeClient, form: &[(&str, &str)]) {
    let url = format!("{}/oauth/token", client.issuer);
    let mut stream = TcpStream::connect(Url::parse(&url).unwrap().socket()).unwrap();
    let request = Request::post(&url).unwrap().form(form);
    stream.write_all(&request.bytes(true)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

both!(dur_03_a_lost_answer_costs_a_code_and_no_session);
fn dur_03_a_lost_answer_costs_a_code_and_no_session(db: Db) {
    let (fleet, client) = stage(db, None);
    let code = || code_in(&location(&http::get(&client.authorization_url()).unwrap()).unwrap());
    // A code that comes again is a replay, whoever lost the answer: what came of it ends.
    let lost = code();
    ask_and_lose(&client, &client.redemption(&lost));
    refused_400(&client.ask(&client.redemption(&lost)).unwrap(), "invalid_grant");
    assert!(fleet.logs().contains("code_replayed"));
    // The client begins again, and a refresh may be lost.
    let newest = refresh_token(&client.ask(&client.redemption(&code())).unwrap());
    ask_and_lose(&client, &client.renewal(&newest));
    let next = client.ask(&client.renewal(&newest)).unwrap();
    granted(&next);
    granted(&client.ask(&client.renewal(&refresh_token(&next))).unwrap());
}
