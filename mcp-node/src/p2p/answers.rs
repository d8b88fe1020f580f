//! What proven peers are answered.

use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;
use shared::clock::{self, UnixSeconds};

use super::find::{Sought, find};
use super::questions::{HOPS, named};
use super::task::{Finding, Task};
use super::wire::{Held, MAX_STAMPS, Request, Response};
use crate::revocation::{Had, Revocation};

impl Task {
    pub(super) fn on_request(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
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
            Request::Announcements => Response::Several {
                tokens: self.spread.told.some_for(&peer.to_base58(), clock::now()),
            },
            Request::List {
                uri,
                iat,
                digest,
                hops,
            } => {
                let revocation = self.shared.revocation.as_ref();
                let costs = revocation.is_some_and(|revocation| revocation.would_look(&uri));
                let sought = Sought {
                    uri,
                    had: iat.map(|iat| (iat, digest)),
                    hops: hops.min(HOPS),
                    may_look: !costs || self.questions.looks.spend(peer),
                };
                return self.find_for(peer, sought, channel);
            }
        };
        self.respond(channel, response);
    }

    /// What we have that is newer than what a peer has.
    fn compare(&self, lists: &[Held], keys: Option<UnixSeconds>) -> Response {
        let stamps = self.shared.revocation.as_ref().map(Revocation::stamps);
        let newer = stamps.unwrap_or_default().into_iter().filter(|ours| {
            let theirs = lists.iter().take(MAX_STAMPS).find(|held| held.uri == ours.uri);
            theirs.is_some_and(|theirs| ours.is_news_to(&had(theirs)))
        });
        let ours = self.shared.trust.keys.signed().map(|signed| signed.issued_at);
        Response::Holdings {
            lists: newer.take(MAX_STAMPS).map(named).collect(),
            keys: ours.filter(|ours| keys.is_none_or(|keys| *ours > keys)),
        }
    }

    /// Finds a list for a peer: here, at the issuer, or at others.
    fn find_for(&mut self, peer: PeerId, sought: Sought, channel: ResponseChannel<Response>) {
        let turn = self.questions.at_work.take(peer);
        let (findings, revocation) = (self.findings.clone(), self.shared.revocation.clone());
        tokio::spawn(async move {
            let response = match (turn, revocation) {
                (Some(_turn), Some(revocation)) => {
                    let found = find(&revocation, sought, peer, &findings).await;
                    found.map_or(Response::Nothing, |token| Response::Signed { token })
                }
                (None, _) => Response::SlowDown,
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

fn had(held: &Held) -> Had {
    (held.iat, held.digest.clone())
}
