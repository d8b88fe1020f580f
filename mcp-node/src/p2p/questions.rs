//! What proven peers ask each other: who has something newer, and lists and keys themselves. A node that cannot reach the
//! authorization server has its lists from neighbours that can, or that know somebody who can.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::request_response::{Event, Message, OutboundRequestId};
use shared::clock::{self, UnixSeconds};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::open::{OpenQuestions, Purpose, Search};
use super::spread::{Verdict, judge_keys};
use super::task::{Finding, Task};
use super::turns::{Budget, Pace, Turns};
use super::wire::{Held, MAX_STAMPS, Request, Response};
use crate::issuers::LEEWAY;
use crate::revocation::{Brought, Revocation, Stamp};

/// While the issuer is away, neighbours are asked this often for each list: a revocation is to be here within 10 s.
const ASK_LISTS: Duration = Duration::from_secs(3);
/// And this often for keys.
const ASK_KEYS: Duration = Duration::from_secs(30);
/// So often a peer is asked what it has, so that nothing that gossip lost stays lost.
const COMPARE: Duration = Duration::from_secs(10);
/// So often the issuer is asked for lists that neighbours wanted a short time ago.
const FOLLOW: Duration = Duration::from_secs(2);
/// Neighbours that are asked at once.
const ASKED: usize = 3;
/// How far a question goes: to a neighbour, and to its neighbours.
pub(super) const HOPS: u8 = 1;
/// Lists that are asked for in one round.
const MAX_ASKED: usize = 16;
/// Questions of others that are worked on at once, of all and of one.
const AT_WORK: (usize, usize) = (32, 4);
/// How often the authorization server is asked because of peers, of all and of one.
const LOOKS: (Pace, Pace) = (
    Pace {
        at_once: 32,
        interval: Duration::from_millis(100),
    },
    Pace {
        at_once: MAX_ASKED as u32,
        interval: Duration::from_millis(500),
    },
);
/// After the first good answer, others have so long to bring a newer one.
const SETTLE: Duration = Duration::from_secs(1);
/// After something was passed over, others are asked what they have, but no more often than this.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) struct Questions {
    open: OpenQuestions<OutboundRequestId>,
    pub(super) at_work: Turns<PeerId>,
    pub(super) looks: Budget<PeerId>,
    lists_at: Instant,
    keys_at: Instant,
    compared_at: Instant,
    followed_at: Instant,
    /// Something that this peer sent was passed over.
    passed_over: Option<PeerId>,
    again_at: Instant,
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
                        had: None,
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
            open: OpenQuestions::default(),
            at_work: Turns::new(AT_WORK.0, AT_WORK.1),
            looks: Budget::new(LOOKS.0, LOOKS.1),
            lists_at: now,
            keys_at: now,
            compared_at: now,
            followed_at: now,
            passed_over: None,
            again_at: now,
        }
    }

    /// What `from` sent was passed over, and gossip does not bring it again: others are asked instead.
    pub(super) fn passed_over(&mut self, from: PeerId) {
        self.passed_over.get_or_insert(from);
    }
}

impl Task {
    /// The first words to a peer that has just proven itself.
    pub(super) fn greet(&mut self, peer: PeerId) {
        let holdings = self.holdings();
        self.ask(peer, holdings, Purpose::Holdings);
        self.ask(peer, Request::Announcement, Purpose::Announcement);
        self.ask(peer, Request::Announcements, Purpose::Announcements);
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
        if self.questions.passed_over.is_some() && due(&mut self.questions.again_at, AGAIN) {
            let except = self.questions.passed_over.take();
            for peer in self.connections.some_proven(ASKED, except) {
                let holdings = self.holdings();
                self.ask(peer, holdings, Purpose::Holdings);
            }
        }
        let Some(revocation) = self.shared.revocation.clone() else {
            return;
        };
        if due(&mut self.questions.followed_at, FOLLOW) {
            revocation.look_again();
        }
        if !revocation.is_alone() {
            return;
        }
        if due(&mut self.questions.lists_at, ASK_LISTS) {
            for stamp in revocation.stamps().into_iter().take(MAX_ASKED) {
                for peer in self.connections.some_proven(ASKED, None) {
                    let request = Request::List {
                        uri: stamp.uri.clone(),
                        iat: Some(stamp.issued_at),
                        digest: Some(stamp.digest.clone()),
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
            lists: lists.map(named).collect(),
            keys: self.shared.trust.keys.signed().map(|signed| signed.issued_at),
        }
    }

    fn ask(&mut self, peer: PeerId, request: Request, purpose: Purpose) -> bool {
        let uri = match &request {
            Request::List { uri, .. } => Some(uri.clone()),
            _ => None,
        };
        let is_possible =
            self.connections.is_proven(&peer) && self.questions.open.may_ask(&peer, uri.as_deref(), purpose);
        if is_possible {
            let exchange = &mut self.swarm.behaviour_mut().gate.inner().exchange;
            let id = exchange.send_request(&peer, request);
            self.questions.open.asked(id, (peer, uri), purpose);
        }
        is_possible
    }

    /// Asks some peers for a list.
    pub(super) fn search(&mut self, search: Search) {
        let number = self.questions.open.number();
        let mut left = 0;
        for peer in self.connections.some_proven(ASKED, search.except) {
            let request = Request::List {
                uri: search.uri.clone(),
                iat: search.had.as_ref().map(|had| had.0),
                digest: search.had.as_ref().and_then(|had| had.1.clone()),
                hops: search.hops,
            };
            left += usize::from(self.ask(peer, request, Purpose::Search(number)));
        }
        self.questions.open.begin(number, search, left);
    }

    /// One that was asked has nothing, or what it has was judged.
    fn searched(&mut self, number: u64) {
        let Some(revocation) = &self.shared.revocation else {
            return;
        };
        if self.questions.open.searched(number, revocation) {
            let findings = self.findings.clone();
            tokio::spawn(async move {
                tokio::time::sleep(SETTLE).await;
                findings.send(Finding::Settled(number)).await.ok();
            });
        }
    }

    /// The others have had their moment.
    pub(super) fn settled(&mut self, number: u64) {
        if let Some(revocation) = &self.shared.revocation {
            self.questions.open.settle(number, revocation);
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
                if let Some(purpose) = self.questions.open.answered(&request_id) {
                    self.shared.trust.peers.contacted(&peer.to_base58());
                    self.on_response(peer, purpose, response);
                }
            }
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, reason = %error, "a peer does not answer");
                if let Some(Purpose::Search(number)) = self.questions.open.answered(&request_id) {
                    self.searched(number);
                }
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, reason = %error, "a peer cannot be answered");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_response(&mut self, peer: PeerId, purpose: Purpose, response: Response) {
        match (purpose, response) {
            (Purpose::Holdings, Response::Holdings { lists, keys }) => self.on_holdings(peer, lists, keys),
            (Purpose::List | Purpose::Told, Response::Signed { token }) => self.offer(peer, token, None),
            (Purpose::Keys, Response::Signed { token }) => {
                let verdict = judge_keys(&self.shared, &token);
                match verdict {
                    Verdict::New => self.publish_keys(),
                    Verdict::Bad(reason) => self.refuse(peer, reason),
                    _ => {}
                }
            }
            (Purpose::Announcement, Response::Signed { token }) => self.judge_announcement(peer, token),
            (Purpose::Announcements, Response::Several { tokens }) => self.judge_announcements(peer, tokens),
            (Purpose::Search(number), Response::Signed { token }) => self.offer(peer, token, Some(number)),
            (Purpose::Search(number), _) => self.searched(number),
            _ => {}
        }
    }

    /// A peer has said what it has: whatever of that is newer is asked for.
    pub(super) fn on_holdings(&mut self, peer: PeerId, lists: Vec<Held>, keys: Option<UnixSeconds>) {
        if let Some(revocation) = self.shared.revocation.clone() {
            let stamps = revocation.stamps();
            let ahead = clock::now() + LEEWAY;
            let mut named = HashSet::new();
            for held in lists.into_iter().take(MAX_STAMPS) {
                // Nobody can have what will be signed later.
                if held.iat > ahead || !named.insert(held.uri.clone()) {
                    continue;
                }
                let theirs = (held.iat, held.digest);
                let ours = stamps.iter().find(|stamp| stamp.uri == held.uri);
                if let Some(ours) = ours.filter(|ours| ours.is_behind(&theirs)) {
                    let request = Request::List {
                        uri: held.uri,
                        iat: Some(ours.issued_at),
                        digest: Some(ours.digest.clone()),
                        hops: 0,
                    };
                    self.ask(peer, request, Purpose::Told);
                }
            }
        }
        let ours = self.shared.trust.keys.signed().map(|signed| signed.issued_at);
        if keys.is_some() && keys > ours {
            self.ask(peer, Request::Keys { iat: ours }, Purpose::Keys);
        }
    }

    /// Judges a list that was asked for, perhaps for a search.
    fn offer(&self, peer: PeerId, token: String, search: Option<u64>) {
        let Some(revocation) = self.shared.revocation.clone() else {
            return;
        };
        let findings = self.findings.clone();
        tokio::spawn(async move {
            let brought = revocation.offer(&token);
            let finding = Finding::Brought {
                peer,
                brought,
                search,
            };
            findings.send(finding).await.ok();
        });
    }

    /// A list that was asked for was judged.
    pub(super) fn on_brought(&mut self, peer: PeerId, brought: Brought, search: Option<u64>) {
        if let Verdict::Bad(reason) = brought.into() {
            self.refuse(peer, reason);
        }
        if let Some(number) = search {
            self.searched(number);
        }
    }

    fn refuse(&mut self, peer: PeerId, reason: &str) {
        tracing::warn!(%peer, reason, event = "peer_message_refused", "security: an answer of a peer is refused");
        self.misbehaved(&peer);
    }
}

pub(super) fn named(stamp: Stamp) -> Held {
    Held {
        uri: stamp.uri,
        iat: stamp.issued_at,
        digest: Some(stamp.digest),
    }
}
