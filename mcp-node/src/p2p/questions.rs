//! What proven peers ask each other: who has something newer, and lists and keys themselves. A node that cannot reach the
//! authorization server has its lists from neighbours that can, or that know somebody who can.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::request_response::{Event, Message, OutboundRequestId, ResponseChannel};
use shared::clock::UnixSeconds;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::Shared;
use super::find::find;
use super::spread::{Verdict, judge_keys};
use super::task::{Finding, Task};
use super::wire::{Held, MAX_STAMPS, Request, Response};
use crate::revocation::{Brought, Revocation};

/// While the issuer is away, neighbours are asked this often for each list: a revocation is to be here within 10 s.
const ASK_LISTS: Duration = Duration::from_secs(3);
/// And this often for keys.
const ASK_KEYS: Duration = Duration::from_secs(30);
/// So often a peer is asked what it has, so that nothing that gossip lost stays lost.
const COMPARE: Duration = Duration::from_secs(10);
/// Neighbours that are asked at once.
const ASKED: usize = 3;
/// How far a question goes: to a neighbour, and to its neighbours.
const HOPS: u8 = 1;
/// Lists that are asked for in one round.
const MAX_ASKED: usize = 16;
/// Questions of others that are worked on at once.
const AT_WORK: usize = 32;
/// Questions of our own that wait for an answer.
const MAX_OPEN: usize = 512;

/// A list is looked for.
pub(super) struct Search {
    pub(super) uri: String,
    pub(super) iat: Option<UnixSeconds>,
    pub(super) hops: u8,
    /// Who asked.
    pub(super) except: Option<PeerId>,
    pub(super) answer: oneshot::Sender<Option<String>>,
}

/// Why something was asked.
enum Purpose {
    Holdings,
    List,
    Keys,
    Announcement,
    /// A part of a search.
    Search(u64),
}

struct Open {
    left: usize,
    answer: oneshot::Sender<Option<String>>,
}

pub(super) struct Questions {
    asked: HashMap<OutboundRequestId, Purpose>,
    searches: HashMap<u64, Open>,
    next: u64,
    at_work: Arc<Semaphore>,
    lists_at: Instant,
    keys_at: Instant,
    compared_at: Instant,
}

impl Questions {
    /// Also begins to look for lists that tokens wait for.
    pub(super) fn new(shared: &Shared, findings: &mpsc::Sender<Finding>) -> Self {
        if let Some(revocation) = &shared.revocation {
            let (wanted, mut wishes) = mpsc::channel::<crate::revocation::Wanted>(64);
            revocation.ask_neighbours(wanted);
            let findings = findings.clone();
            tokio::spawn(async move {
                while let Some(wish) = wishes.recv().await {
                    let search = Search {
                        uri: wish.uri,
                        iat: None,
                        hops: HOPS,
                        except: None,
                        answer: wish.answer,
                    };
                    if findings.send(Finding::Search(search)).await.is_err() {
                        return;
                    }
                }
            });
        }
        let now = Instant::now();
        Self {
            asked: HashMap::new(),
            searches: HashMap::new(),
            next: 0,
            at_work: Arc::new(Semaphore::new(AT_WORK)),
            lists_at: now,
            keys_at: now,
            compared_at: now,
        }
    }
}

impl Task {
    /// The first words to a peer that has just proven itself.
    pub(super) fn greet(&mut self, peer: PeerId) {
        let holdings = self.holdings();
        self.ask(peer, holdings, Purpose::Holdings);
        self.ask(peer, Request::Announcement, Purpose::Announcement);
    }

    /// What is to be asked every now and then.
    pub(super) fn ask_around(&mut self) {
        let due = |at: &mut Instant, every: Duration| {
            let is_due = at.elapsed() >= every;
            if is_due {
                *at = Instant::now();
            }
            is_due
        };
        if due(&mut self.questions.compared_at, COMPARE) {
            for peer in self.connections.some_proven(1, None) {
                let holdings = self.holdings();
                self.ask(peer, holdings, Purpose::Holdings);
            }
        }
        let Some(revocation) = self.shared.revocation.clone() else {
            return;
        };
        if !revocation.is_alone() {
            return;
        }
        if due(&mut self.questions.lists_at, ASK_LISTS) {
            for stamp in revocation.stamps().into_iter().take(MAX_ASKED) {
                for peer in self.connections.some_proven(ASKED, None) {
                    let request = Request::List {
                        uri: stamp.uri.clone(),
                        iat: Some(stamp.issued_at),
                        hops: HOPS,
                    };
                    self.ask(peer, request, Purpose::List);
                }
            }
        }
        if due(&mut self.questions.keys_at, ASK_KEYS) {
            let iat = self.shared.trust.keys.signed().map(|signed| signed.issued_at);
            for peer in self.connections.some_proven(1, None) {
                self.ask(peer, Request::Keys { iat }, Purpose::Keys);
            }
        }
    }

    fn holdings(&self) -> Request {
        let stamps = self.shared.revocation.as_ref().map(Revocation::stamps);
        let lists = stamps.unwrap_or_default().into_iter().take(MAX_STAMPS);
        Request::Holdings {
            lists: lists
                .map(|stamp| Held {
                    uri: stamp.uri,
                    iat: stamp.issued_at,
                })
                .collect(),
            keys: self.shared.trust.keys.signed().map(|signed| signed.issued_at),
        }
    }

    fn ask(&mut self, peer: PeerId, request: Request, purpose: Purpose) -> bool {
        let is_possible = self.questions.asked.len() < MAX_OPEN && self.connections.is_proven(&peer);
        if is_possible {
            let exchange = &mut self.swarm.behaviour_mut().gate.inner().exchange;
            let id = exchange.send_request(&peer, request);
            self.questions.asked.insert(id, purpose);
        }
        is_possible
    }

    /// Asks some peers for a list; the first that has it ends the search.
    pub(super) fn search(&mut self, search: Search) {
        let number = self.questions.next;
        self.questions.next += 1;
        let mut left = 0;
        for peer in self.connections.some_proven(ASKED, search.except) {
            let request = Request::List {
                uri: search.uri.clone(),
                iat: search.iat,
                hops: search.hops,
            };
            left += usize::from(self.ask(peer, request, Purpose::Search(number)));
        }
        if left == 0 {
            search.answer.send(None).ok();
            return;
        }
        let open = Open {
            left,
            answer: search.answer,
        };
        self.questions.searches.insert(number, open);
    }

    fn searched(&mut self, number: u64, found: Option<String>) {
        let Some(open) = self.questions.searches.get_mut(&number) else {
            return;
        };
        open.left -= 1;
        if (found.is_some() || open.left == 0)
            && let Some(open) = self.questions.searches.remove(&number)
        {
            open.answer.send(found).ok();
        }
    }

    pub(super) fn on_exchange(&mut self, event: Event<Request, Response>) {
        match event {
            Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            } => self.on_request(peer, request, channel),
            Event::Message {
                peer,
                message: Message::Response { request_id, response },
                ..
            } => {
                if let Some(purpose) = self.questions.asked.remove(&request_id) {
                    self.shared.trust.peers.contacted(&peer.to_base58());
                    self.on_response(peer, &purpose, response);
                }
            }
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, reason = %error, "a peer does not answer");
                if let Some(Purpose::Search(number)) = self.questions.asked.remove(&request_id) {
                    self.searched(number, None);
                }
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, reason = %error, "a peer cannot be answered");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_response(&mut self, peer: PeerId, purpose: &Purpose, response: Response) {
        match (purpose, response) {
            (Purpose::Holdings, Response::Holdings { lists, keys }) => self.on_holdings(peer, lists, keys),
            (Purpose::List, Response::Signed { token }) => self.offer(peer, token),
            (Purpose::Keys, Response::Signed { token }) => {
                let verdict = judge_keys(&self.shared, &token);
                match verdict {
                    Verdict::New => self.publish_keys(),
                    Verdict::Bad(_) => self.misbehaved(&peer),
                    _ => {}
                }
            }
            (Purpose::Announcement, Response::Signed { token }) => self.judge_announcement(peer, token),
            (Purpose::Search(number), Response::Signed { token }) => self.searched(*number, Some(token)),
            (Purpose::Search(number), _) => self.searched(*number, None),
            _ => {}
        }
    }

    /// A peer has said what it has: whatever of that is newer is asked for.
    fn on_holdings(&mut self, peer: PeerId, lists: Vec<Held>, keys: Option<UnixSeconds>) {
        if let Some(revocation) = self.shared.revocation.clone() {
            let stamps = revocation.stamps();
            for held in lists.into_iter().take(MAX_STAMPS) {
                let ours = stamps.iter().find(|stamp| stamp.uri == held.uri);
                if let Some(ours) = ours.filter(|ours| ours.issued_at < held.iat) {
                    let request = Request::List {
                        uri: held.uri,
                        iat: Some(ours.issued_at),
                        hops: 0,
                    };
                    self.ask(peer, request, Purpose::List);
                }
            }
        }
        let ours = self.shared.trust.keys.signed().map(|signed| signed.issued_at);
        if keys.is_some() && keys > ours {
            self.ask(peer, Request::Keys { iat: ours }, Purpose::Keys);
        }
    }

    /// Judges a list that was asked for.
    fn offer(&self, peer: PeerId, token: String) {
        let Some(revocation) = self.shared.revocation.clone() else {
            return;
        };
        let findings = self.findings.clone();
        tokio::spawn(async move {
            let brought = revocation.offer(&token).await;
            if let Brought::Refused(reason) = brought {
                tracing::warn!(%peer, reason, event = "peer_message_refused", "security: a list of a peer is refused");
            }
            if let Verdict::Bad(_) = brought.into() {
                findings.send(Finding::Misbehaved(peer)).await.ok();
            }
        });
    }

    fn on_request(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        if !self.connections.may_send(&peer) {
            self.shared.counts.judged("question", "passed_over");
            return self.respond(channel, Response::SlowDown);
        }
        self.shared.counts.judged("question", "answered");
        self.shared.trust.peers.contacted(&peer.to_base58());
        let signed =
            |token: Option<String>| token.map_or(Response::Nothing, |token| Response::Signed { token });
        let response = match request {
            Request::Holdings { lists, keys } => {
                let response = self.compare(&lists, keys);
                self.on_holdings(peer, lists, keys);
                response
            }
            Request::Keys { iat } => {
                let ours = self.shared.trust.keys.signed();
                let newer = ours.filter(|ours| iat.is_none_or(|iat| ours.issued_at > iat));
                signed(newer.map(|ours| ours.token.clone()))
            }
            Request::Announcement => signed(self.spread.announcement.clone()),
            Request::List { uri, iat, hops } => {
                return self.find_for(peer, (uri, iat, hops.min(HOPS)), channel);
            }
        };
        self.respond(channel, response);
    }

    /// What we have that is newer than what a peer has.
    fn compare(&self, lists: &[Held], keys: Option<UnixSeconds>) -> Response {
        let stamps = self.shared.revocation.as_ref().map(Revocation::stamps);
        let newer = stamps.unwrap_or_default().into_iter().filter(|ours| {
            let theirs = lists.iter().take(MAX_STAMPS).find(|held| held.uri == ours.uri);
            theirs.is_some_and(|theirs| theirs.iat < ours.issued_at)
        });
        let ours = self.shared.trust.keys.signed().map(|signed| signed.issued_at);
        Response::Holdings {
            lists: newer
                .take(MAX_STAMPS)
                .map(|stamp| Held {
                    uri: stamp.uri,
                    iat: stamp.issued_at,
                })
                .collect(),
            keys: ours.filter(|ours| keys.is_none_or(|keys| *ours > keys)),
        }
    }

    /// Finds a list for a peer: here, at the issuer, or at others.
    fn find_for(
        &self,
        peer: PeerId,
        (uri, iat, hops): (String, Option<UnixSeconds>, u8),
        channel: ResponseChannel<Response>,
    ) {
        let turn = Arc::clone(&self.questions.at_work).try_acquire_owned();
        let (findings, revocation) = (self.findings.clone(), self.shared.revocation.clone());
        tokio::spawn(async move {
            let response = match (turn, revocation) {
                (Ok(_turn), Some(revocation)) => {
                    let search = (uri, iat, hops);
                    let found = find(&revocation, search, peer, &findings).await;
                    found.map_or(Response::Nothing, |token| Response::Signed { token })
                }
                (Err(_), _) => Response::SlowDown,
                (_, None) => Response::Nothing,
            };
            findings.send(Finding::Answer(channel, response)).await.ok();
        });
    }

    pub(super) fn respond(&mut self, channel: ResponseChannel<Response>, response: Response) {
        let exchange = &mut self.swarm.behaviour_mut().gate.inner().exchange;
        // Whoever asked may be gone.
        exchange.send_response(channel, response).ok();
    }
}
