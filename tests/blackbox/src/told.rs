//! Clients that use a server through a balancer while things happen to it, and remember what they were told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::code_flow::{CodeClient, location};
use xtask::fleet::Credentials;
use xtask::http::{self, Answer, Request};

use crate::answers::{granted, refused_400, refused_503};

/// What operators read.
const LISTS: [&str; 7] = [
    "clients",
    "grants",
    "keys",
    "users",
    "nodes",
    "resources",
    "audit/events",
];
/// Longer than any program takes to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// What [`Told::wait_for_more`] waits for, of each kind of work.
const TURNS: usize = 3;

/// What the clients were told, and how often they were told to come back.
#[derive(Default, Debug)]
pub struct Told {
    /// Refresh tokens that were given and not used, and access tokens of theirs.
    kept: Mutex<Vec<[String; 2]>>,
    /// The same of those that were taken back.
    ended: Mutex<Vec<[String; 2]>>,
    /// Codes that were redeemed.
    redeemed: Mutex<Vec<String>>,
    /// Answers of 503.
    unavailable: AtomicUsize,
    /// Requests whose connection ended without an answer.
    unanswered: AtomicUsize,
    /// Turns of whatever else there was to do.
    others: AtomicUsize,
    is_over: AtomicBool,
}

fn add<T>(to: &Mutex<Vec<T>>, what: T) {
    to.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

fn take<T>(from: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *from.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Told {
    /// An answer of whichever; `None` when the one that was asked died. In between there is 503, and nothing else of its kind.
    fn ask(&self, ask: impl Fn() -> xtask::Outcome<Answer>) -> Option<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(answer) = ask() else {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            if answer.status != 503 {
                assert!(answer.status < 500, "{answer}");
                return Some(answer);
            }
            refused_503(&answer);
            self.unavailable.fetch_add(1, Ordering::Relaxed);
            assert!(Instant::now() < deadline, "{answer}");
        }
    }

    /// The same for what may be asked again.
    fn insist(&self, ask: impl Fn() -> xtask::Outcome<Answer>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.ask(&ask) {
                return answer;
            }
            assert!(Instant::now() < deadline, "nobody answers");
        }
    }

    /// Codes, tokens, refreshes and revocations until it is over.
    ///
    /// # Panics
    /// When an answer is not what it must be.
    pub fn work(&self, client: &CodeClient) {
        for turn in 0_usize.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let redirect = self.insist(|| http::get(&client.authorization_url()));
            let code = code_in(&location(&redirect).unwrap());
            // A code whose answer was lost is lost: nobody was told anything.
            let Some(answer) = self.ask(|| client.ask(&client.redemption(&code))) else {
                continue;
            };
            let mut tokens = granted(&answer);
            for _ in 0..2 {
                let refresh = text(&tokens, "refresh_token");
                // Also when an answer was lost: the same token may come again.
                tokens = granted(&self.insist(|| client.ask(&client.renewal(&refresh))));
            }
            let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
            if turn.is_multiple_of(2) {
                add(&self.kept, [refresh, access]);
                continue;
            }
            let form = [("client_id", client.id.as_str()), ("token", &refresh)];
            let url = format!("{}/oauth/revoke", client.issuer);
            let revoked = self.insist(|| Request::post(&url)?.form(&form).send());
            assert_eq!(revoked.status, 200, "{revoked}");
            // Whichever is asked now knows of it.
            let again = self.insist(|| client.ask(&client.renewal(&refresh)));
            refused_400(&again, "invalid_grant");
            add(&self.ended, [refresh, access]);
            add(&self.redeemed, code);
        }
    }

    /// Tokens of a client's own, until it is over.
    ///
    /// # Panics
    /// When an answer is not what it must be.
    pub fn ask_for_own(&self, issuer: &str, client: &Credentials) {
        let url = format!("{issuer}/oauth/token");
        let form = [("grant_type", "client_credentials")];
        while !self.is_over.load(Ordering::Relaxed) {
            let ask = || {
                Request::post(&url)?
                    .basic(&client.id, &client.secret)
                    .form(&form)
                    .send()
            };
            granted(&self.insist(ask));
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What operators read, until it is over.
    ///
    /// # Panics
    /// When an answer is not what it must be.
    pub fn read_lists(&self, issuer: &str, operator: &Credentials) {
        let url = format!("{issuer}/oauth/token");
        let resource = format!("{issuer}/admin/v1");
        let form = [("grant_type", "client_credentials"), ("resource", &resource)];
        let ask = || {
            Request::post(&url)?
                .basic(&operator.id, &operator.secret)
                .form(&form)
                .send()
        };
        let token = text(&granted(&self.insist(ask)), "access_token");
        while !self.is_over.load(Ordering::Relaxed) {
            for list in LISTS {
                let ask = || {
                    Request::new("GET", &format!("{resource}/{list}"))?
                        .bearer(&token)
                        .send()
                };
                granted(&self.insist(ask));
            }
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the work, also when this is dropped because something went wrong.
    pub fn until_dropped(&self) -> Over<'_> {
        Over(self)
    }

    /// Waits until each of the workers' kinds has come further, or one of them has failed.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_for_more(&self, workers: &[ScopedJoinHandle<'_, ()>]) {
        let done = || {
            [
                len(&self.kept),
                len(&self.ended),
                self.others.load(Ordering::Relaxed),
            ]
        };
        let (before, deadline) = (done(), Instant::now() + PATIENCE);
        while !before
            .iter()
            .zip(done())
            .all(|(before, now)| now >= before + TURNS)
        {
            assert!(
                !workers.iter().any(ScopedJoinHandle::is_finished),
                "a worker has ended"
            );
            assert!(Instant::now() < deadline, "{before:?} {:?}", done());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Looks for everything that the clients were told: what they have works, what they gave back does not. Returns how much
    /// that was, in words.
    ///
    /// # Panics
    /// When something is lost, or nothing was told.
    #[must_use]
    pub fn verify(&self, client: &CodeClient, watcher: &Credentials) -> String {
        let (kept, ended, redeemed) = (take(&self.kept), take(&self.ended), take(&self.redeemed));
        assert!(kept.len() > 1 && ended.len() > 1);
        let is_active = |token: &str| {
            let url = format!("{}/oauth/introspect", client.issuer);
            let request = Request::post(&url).unwrap().basic(&watcher.id, &watcher.secret);
            granted(&request.form(&[("token", token)]).send().unwrap())["active"] == true
        };
        for [refresh, access] in &kept {
            assert!(is_active(access));
            granted(&client.ask(&client.renewal(refresh)).unwrap());
        }
        for [refresh, access] in &ended {
            refused_400(&client.ask(&client.renewal(refresh)).unwrap(), "invalid_grant");
            assert!(!is_active(access));
        }
        for code in &redeemed {
            refused_400(&client.ask(&client.redemption(code)).unwrap(), "invalid_grant");
        }
        format!(
            "{} sessions kept, {} ended; {:?} answers of 503, {:?} requests without an answer",
            kept.len(),
            ended.len(),
            self.unavailable,
            self.unanswered
        )
    }
}

/// See [`Told::until_dropped`].
pub struct Over<'t>(&'t Told);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn len<T>(of: &Mutex<Vec<T>>) -> usize {
    of.lock().unwrap_or_else(PoisonError::into_inner).len()
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

fn code_in(redirect: &str) -> String {
    let code = redirect
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("code="));
    code.unwrap_or_else(|| panic!("no code in {redirect}")).to_owned()
}
