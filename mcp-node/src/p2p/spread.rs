//! What is told to everybody: status lists and key sets as the authorization server signed them, and what nodes say of
//! themselves. Nothing is passed on before it was judged, nothing twice, and whoever sends what is no good is let go.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError};
use shared::clock::{self, UnixSeconds};
use shared::jwks::{OfferFault, Offered};
use shared::signed_jwt::JwtFault;
use shared::status_list::ListFault;

use super::Shared;
use super::announcement::{self, Announcement, Numbers};
use super::behaviour::MAX_GOSSIP_BYTES;
use super::proof::NotProven;
use super::task::{Finding, Task};
use super::told::{MAX_TOLD, Told};
use super::turns::Turns;
use crate::advertisement::Advertisement;
use crate::peers::Source;
use crate::revocation::{Brought, Stamp};

/// Messages that are judged at once, of all, and of each kind from each peer. Further ones are passed over: gossip does not
/// bring them again, so others are asked what they have.
const JUDGES: (usize, usize) = (32, 4);
/// In a fleet of so many nodes, what each says of itself reaches all. At one announcement a minute from each, that is four a
/// second for everybody.
const PASSED_ON: usize = 250;

/// What was told.
pub(super) struct Spread {
    /// What was seen of each list when it was looked at last.
    lists: HashMap<String, String>,
    /// What this node says of itself, signed.
    pub(super) announcement: Option<String>,
    numbers: Arc<Numbers>,
    number: u64,
    /// What others say of themselves.
    pub(super) told: Arc<Told>,
    judges: Turns<(PeerId, &'static str)>,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            lists: HashMap::new(),
            announcement: None,
            numbers: Arc::default(),
            number: 0,
            told: Arc::default(),
            judges: Turns::new(JUDGES.0, JUDGES.1),
        }
    }
}

/// A message, and what it is worth.
pub(super) struct Judged {
    id: MessageId,
    from: PeerId,
    kind: &'static str,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Good and new: it is passed on.
    New,
    /// Good or not, it says nothing new: it ends here.
    Known,
    /// Nobody here can say: the keys are missing, or the clocks or what is held differ. Whoever passed it on is not to blame.
    Unjudged,
    /// It is no good, for this reason.
    Bad(&'static str),
    /// There was no time for it.
    PassedOver,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::Unjudged => "unjudged",
            Self::Bad(_) => "bad",
            Self::PassedOver => "passed_over",
        }
    }

    fn acceptance(self) -> MessageAcceptance {
        match self {
            Self::New => MessageAcceptance::Accept,
            Self::Bad(_) => MessageAcceptance::Reject,
            Self::Known | Self::Unjudged | Self::PassedOver => MessageAcceptance::Ignore,
        }
    }
}

impl From<Brought> for Verdict {
    fn from(brought: Brought) -> Self {
        match brought {
            Brought::Newer => Self::New,
            // That a list was only signed anew is no news for everybody: who needs to know how fresh it is asks.
            Brought::Known | Brought::Renewed => Self::Known,
            Brought::Contradicts => Self::Unjudged,
            Brought::Refused(reason) if ListFault(reason).is_of_reader() => Self::Unjudged,
            Brought::Refused(reason) => Self::Bad(reason),
            Brought::Unjudged => Self::Unjudged,
        }
    }
}

impl From<JwtFault> for Verdict {
    fn from(fault: JwtFault) -> Self {
        if fault.is_of_times() {
            Self::Unjudged
        } else {
            Self::Bad(fault.0)
        }
    }
}

impl Task {
    /// Tells of every list that says something else than before. One that is seen for the first time is no news: who has
    /// less asks for it.
    pub(super) fn publish_lists(&mut self) {
        let Some(revocation) = &self.shared.revocation else {
            return;
        };
        let mut stamps = revocation.stamps();
        stamps.extend(revocation.followed());
        let news = changed(&mut self.spread.lists, &stamps);
        let news: Vec<String> = news
            .iter()
            .filter_map(|uri| revocation.newer(uri, None))
            .collect();
        let topic = self.shared.topics.lists.clone();
        for token in news {
            self.publish(&topic, token);
        }
    }

    /// Tells of the newest signed key set.
    pub(super) fn publish_keys(&mut self) {
        if let Some(signed) = self.shared.trust.keys.signed() {
            let topic = self.shared.topics.keys.clone();
            self.publish(&topic, signed.token.clone());
        }
    }

    /// Tells what this node says of itself.
    pub(super) fn announce(&mut self, advertisement: &Advertisement) {
        let trust = &self.shared.trust;
        let Some(record) = trust.own_record() else { return };
        let now = clock::now();
        // Greater than before, over a restart too.
        let by_clock = u64::try_from(now.0).unwrap_or_default().saturating_mul(1000);
        self.spread.number = by_clock.max(self.spread.number.saturating_add(1));
        let number = (self.spread.number, now);
        let signed = announcement::sign(&trust.identity, &record, advertisement, number);
        self.spread.announcement = Some(signed.clone());
        let topic = self.shared.topics.announcements.clone();
        self.publish(&topic, signed);
    }

    fn publish(&mut self, topic: &IdentTopic, text: String) {
        if text.len() > MAX_GOSSIP_BYTES {
            // Whoever needs it asks for it.
            return;
        }
        let gossip = &mut self.swarm.behaviour_mut().gate.inner().gossip;
        match gossip.publish(topic.clone(), text) {
            // Somebody else told it first, or nobody listens.
            Ok(_) | Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => {}
            Err(reason) => tracing::debug!(%topic, %reason, "nothing is told"),
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message {
            propagation_source: from,
            message_id: id,
            message,
        } = event
        else {
            return;
        };
        let topics = &self.shared.topics;
        let (kind, judge) = if message.topic == topics.lists.hash() {
            ("list", Judge::List)
        } else if message.topic == topics.keys.hash() {
            ("keys", Judge::Keys)
        } else {
            ("announcement", Judge::Announcement)
        };
        let judged = |verdict| Judged {
            id: id.clone(),
            from,
            kind,
            verdict,
        };
        if !self.connections.may_send(&from) {
            return self.on_judged(judged(Verdict::PassedOver));
        }
        let Some(turn) = self.spread.judges.take((from, kind)) else {
            return self.on_judged(judged(Verdict::PassedOver));
        };
        let Ok(text) = String::from_utf8(message.data) else {
            return self.on_judged(judged(Verdict::Bad("it is no text")));
        };
        self.shared.trust.peers.contacted(&from.to_base58());
        let (bench, findings) = (self.bench(), self.findings.clone());
        tokio::spawn(async move {
            let verdict = judge.judge(&bench, &text);
            drop(turn);
            let judged = Judged {
                id,
                from,
                kind,
                verdict,
            };
            findings.send(Finding::Judged(judged)).await.ok();
        });
    }

    pub(super) fn on_judged(&mut self, judged: Judged) {
        let Judged {
            id,
            from,
            kind,
            verdict,
        } = judged;
        self.shared.counts.judged(kind, verdict.word());
        let acceptance = match verdict.acceptance() {
            MessageAcceptance::Accept if kind == "announcement" && !self.is_passed_on() => {
                MessageAcceptance::Ignore
            }
            acceptance => acceptance,
        };
        let gossip = &mut self.swarm.behaviour_mut().gate.inner().gossip;
        gossip.report_message_validation_result(&id, &from, acceptance);
        if let Verdict::Bad(reason) = verdict {
            tracing::warn!(peer = %from, kind, reason, event = "peer_message_refused", "security: what a peer sent is refused");
            self.misbehaved(&from);
        }
        if kind == "announcement" && verdict == Verdict::New {
            self.place(&from);
        }
        if kind != "announcement" && matches!(verdict, Verdict::Unjudged | Verdict::PassedOver) {
            self.questions.passed_over(from);
        }
        // What was taken up need not be told again.
        self.publish_lists();
    }

    /// Whether announcements are passed on: in a large fleet each node would hear of all the others all the time, and there
    /// they go to the peers of their author and no further.
    fn is_passed_on(&self) -> bool {
        self.shared.trust.peers.fleet_size() <= PASSED_ON
    }

    /// Takes what a peer said of itself when it was asked. To others here, it may be news.
    pub(super) fn judge_announcement(&self, peer: PeerId, text: String) {
        let (bench, findings) = (self.bench(), self.findings.clone());
        tokio::spawn(async move {
            let news = match Judge::Announcement.judge(&bench, &text) {
                Verdict::Bad(_) => return drop(findings.send(Finding::Misbehaved(peer)).await),
                Verdict::New => Some(text),
                _ => None,
            };
            findings.send(Finding::Introduced(peer, news)).await.ok();
        });
    }

    /// Takes what a peer has heard of others.
    pub(super) fn judge_announcements(&self, peer: PeerId, texts: Vec<String>) {
        let (bench, findings) = (self.bench(), self.findings.clone());
        tokio::spawn(async move {
            for text in texts.iter().take(MAX_TOLD) {
                if let Verdict::Bad(_) = Judge::Announcement.judge(&bench, text) {
                    findings.send(Finding::Misbehaved(peer)).await.ok();
                    return;
                }
            }
        });
    }

    /// A peer has said of itself what it has to say.
    pub(super) fn introduced(&mut self, peer: &PeerId, news: Option<String>) {
        self.place(peer);
        if let Some(text) = news.filter(|_| self.is_passed_on()) {
            let topic = self.shared.topics.announcements.clone();
            self.publish(&topic, text);
        }
    }

    fn bench(&self) -> Bench {
        Bench {
            shared: Arc::clone(&self.shared),
            numbers: Arc::clone(&self.spread.numbers),
            told: Arc::clone(&self.spread.told),
        }
    }
}

/// What judges need.
struct Bench {
    shared: Arc<Shared>,
    numbers: Arc<Numbers>,
    told: Arc<Told>,
}

/// The lists that say something else than in `seen`, which is brought up to date.
fn changed(seen: &mut HashMap<String, String>, stamps: &[Stamp]) -> Vec<String> {
    seen.retain(|uri, _| stamps.iter().any(|stamp| stamp.uri == *uri));
    let is_other = |stamp: &&Stamp| {
        let before = seen.insert(stamp.uri.clone(), stamp.digest.clone());
        before.is_some_and(|before| before != stamp.digest)
    };
    let changed = stamps.iter().filter(is_other);
    changed.map(|stamp| stamp.uri.clone()).collect()
}

/// What kind of message it is.
#[derive(Clone, Copy)]
enum Judge {
    List,
    Keys,
    Announcement,
}

impl Judge {
    /// Never waits for the network: there are few judges, and whoever waits keeps others waiting.
    fn judge(self, bench: &Bench, text: &str) -> Verdict {
        let shared = &*bench.shared;
        match self {
            Self::List => match &shared.revocation {
                Some(revocation) => revocation.offer(text).into(),
                None => Verdict::Unjudged,
            },
            Self::Keys => judge_keys(shared, text),
            Self::Announcement => {
                let now = clock::now();
                match announcement::verify(text, &shared.trust, now) {
                    Ok(announcement) if bench.numbers.take(&announcement, now) => {
                        bench.told.keep(&announcement, text, now);
                        take(shared, announcement, now)
                    }
                    Ok(_) => Verdict::Known,
                    Err(NotProven::NoKeys | NotProven::UnknownKey) => Verdict::Unjudged,
                    // The node may have been cut off a moment ago, and whoever passes it on may not know.
                    Err(NotProven::Revoked) => Verdict::Known,
                    Err(NotProven::Jwt(fault)) => fault.into(),
                    Err(_) => Verdict::Bad("it is another peer's"),
                }
            }
        }
    }
}

/// Judges a signed key set, and takes it up.
pub(super) fn judge_keys(shared: &Shared, text: &str) -> Verdict {
    match shared.trust.keys.offer(text, clock::now()) {
        Ok(Offered::Taken) => {
            tracing::info!("a peer brought a newer key set of the issuer");
            Verdict::New
        }
        Ok(Offered::Known) => Verdict::Known,
        Err(OfferFault::UnknownSigner) => Verdict::Unjudged,
        Err(OfferFault::Jwt(fault)) => fault.into(),
        Err(OfferFault::Set(_)) => Verdict::Bad("it is no key set"),
    }
}

/// Of a connected node it is what the node says of itself; of another, advice where to find it.
fn take(shared: &Shared, announcement: Announcement, now: UnixSeconds) -> Verdict {
    let peers = &shared.trust.peers;
    let peer = announcement.record.record.peer_id;
    if peer == shared.peer.to_base58() {
        return Verdict::Known;
    }
    let addresses = announcement.advertisement.p2p.addresses.clone();
    let lasts = announcement.expires_at.since(now);
    peers.heard(&peer, Source::Gossip, &addresses, Some(lasts));
    peers.advertised(&peer, announcement.advertisement);
    Verdict::New
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_passes_on_what_others_may_take_is_not_to_blame() {
        for brought in [
            Brought::Contradicts,
            Brought::Refused("it has expired"),
            Brought::Unjudged,
        ] {
            assert_eq!(Verdict::from(brought), Verdict::Unjudged, "{brought:?}");
        }
        let bad = Verdict::from(Brought::Refused("its signature is not that of the key"));
        assert!(matches!(bad, Verdict::Bad(_)));
        assert_eq!(Verdict::from(JwtFault("it is not valid yet")), Verdict::Unjudged);
        assert!(matches!(
            Verdict::from(JwtFault("it is too long")),
            Verdict::Bad(_)
        ));
    }

    #[test]
    fn a_list_that_was_only_signed_anew_is_not_told() {
        let stamp = |issued_at, digest: &str| Stamp {
            uri: "l".to_owned(),
            issued_at: UnixSeconds(issued_at),
            digest: digest.to_owned(),
        };
        let mut seen = HashMap::new();
        assert!(changed(&mut seen, &[stamp(1, "a")]).is_empty(), "it is new here");
        assert!(changed(&mut seen, &[stamp(300, "a")]).is_empty(), "signed anew");
        assert_eq!(
            changed(&mut seen, &[stamp(300, "b")]),
            ["l"],
            "of the same second"
        );
        assert!(changed(&mut seen, &[stamp(600, "b")]).is_empty());
        assert!(changed(&mut seen, &[]).is_empty() && seen.is_empty());
    }
}
