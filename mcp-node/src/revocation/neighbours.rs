//! Lists that come from other nodes, and lists for them. Whoever brings a list, the issuer's signature decides (STAT-02),
//! its `sub` says which list it is (STAT-03), and an older one changes nothing (STAT-14). When it was confirmed follows
//! from its `iat` alone: what a neighbour says of that is not signed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};
use shared::http_client::{FetchFault, News, Question};
use shared::jwks::KeyLookup;
use shared::lasting_clock::Moment;
use shared::status_list::{ListFault, MAX_TOKEN_BYTES, MEDIA_TYPE, UnverifiedList, VerifiedList};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use url::Url;

use super::held::{HeldList, Replaced, Whence};
use super::others::Content;
use super::{Inner, NotHad, Revocation, lock};

/// Our issuer signs a list anew this often, though nothing in it changed. Neighbours see by that how fresh it is.
const SIGNED_EVERY: Duration = Duration::from_secs(300);
/// How long the neighbours have to answer while a token waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where our own authorization server has its lists, below its issuer.
const LISTS: &str = "oauth/status/";
/// A longer name of a list is none of ours.
const MAX_NAME: usize = 64;

/// A list, and which of its contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) uri: String,
    pub(crate) issued_at: UnixSeconds,
    /// Of what it says: several contents may be of one second.
    pub(crate) digest: String,
}

/// A content that somebody has: when it was signed, and its digest where that is known.
pub(crate) type Had = (UnixSeconds, Option<String>);

impl Stamp {
    /// Whether this may be news to somebody who has that.
    pub(crate) fn is_news_to(&self, had: &Had) -> bool {
        is_news((self.issued_at, &self.digest), had)
    }

    /// Whether somebody who has that may have news for us.
    pub(crate) fn is_behind(&self, had: &Had) -> bool {
        let differs = had.1.as_ref().is_some_and(|digest| *digest != self.digest);
        self.issued_at < had.0 || (self.issued_at == had.0 && differs)
    }
}

fn is_news((at, digest): (UnixSeconds, &str), had: &Had) -> bool {
    at > had.0 || (at == had.0 && had.1.as_ref().is_some_and(|had| had != digest))
}

/// What became of a list that a neighbour brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Brought {
    /// It is newer than what was known, and says something else.
    Newer,
    /// It is newer, and says the same.
    Renewed,
    /// It is known, or older.
    Known,
    /// It is not the issuer's.
    Refused(&'static str),
    /// The issuer signed it, but it takes back what the issuer had said. Whoever passes it on need not know that.
    Contradicts,
    /// Nobody here can say: its key or its time is unknown here.
    Unjudged,
}

/// What became of the question to the issuer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Looked {
    /// What is held is what the issuer says, or said a moment ago.
    Reached,
    /// The issuer has no such list.
    Missing,
    /// The issuer does not answer.
    Unreachable,
}

/// A list that the neighbours are asked for; `None` when none of them has it.
pub(crate) struct Wanted {
    pub(crate) uri: String,
    pub(crate) answer: oneshot::Sender<Option<String>>,
}

impl Revocation {
    /// From now on the neighbours are asked for lists that the issuer does not give.
    pub(crate) fn ask_neighbours(&self, wanted: mpsc::Sender<Wanted>) {
        // A node has one network of peers.
        self.0.neighbours.set(wanted).ok();
    }

    /// Whether the issuer could not be asked the last time.
    pub(crate) fn is_alone(&self) -> bool {
        lock(&self.0.fault).is_some()
    }

    /// The lists that this node judges tokens by.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let lists = lock(&self.0.lists);
        let stamps = lists.iter().map(|(uri, list)| Stamp {
            uri: uri.clone(),
            issued_at: list.issued_at(),
            digest: list.digest(),
        });
        stamps.collect()
    }

    /// A held list as it was signed, if it is newer than `than`. Asks nobody.
    pub(crate) fn newer(&self, uri: &str, than: Option<&Had>) -> Option<String> {
        let is_newer = |at, digest: &str| than.is_none_or(|had| is_news((at, digest), had));
        if let Some(held) = self.0.held(uri) {
            return Some(held.token()).filter(|_| is_newer(held.issued_at(), &held.digest()));
        }
        let others = lock(&self.0.others);
        let content = others.content(uri)?;
        is_newer(content.issued_at, &content.digest).then(|| content.token.to_string())
    }

    /// Whether [`Self::look_for_neighbour`] would ask the issuer now: most of what neighbours want is known already.
    pub(crate) fn would_look(&self, uri: &str) -> bool {
        let inner = &self.0;
        if self.is_alone() && inner.is_followed.load(Ordering::Acquire) {
            return false;
        }
        match inner.held(uri) {
            Some(held) => clock::now().since(held.issued_at()) > SIGNED_EVERY,
            None => lock(&inner.others).asked_a_moment_ago(uri).is_none(),
        }
    }

    /// Makes sure that [`Self::newer`] says what the issuer says now, if it can be reached: for a neighbour that cannot.
    pub(crate) async fn look_for_neighbour(&self, uri: &str) -> Looked {
        let inner = &self.0;
        let Some(url) = inner.address_for_neighbour(uri) else {
            return Looked::Missing;
        };
        // The task that follows the lists is at it.
        if self.is_alone() && inner.is_followed.load(Ordering::Acquire) {
            return Looked::Unreachable;
        }
        let Ok(_turn) = inner.for_neighbours.acquire().await else {
            return Looked::Unreachable;
        };
        if let Some(held) = inner.held(uri) {
            // The issuer tells of changes by itself, but not that it has signed the same again.
            let age = clock::now().since(held.issued_at());
            if age <= SIGNED_EVERY || !held.may_renew(super::others::ASKED_EVERY) {
                return Looked::Reached;
            }
            let version = held.version();
            return match inner.fetch(uri, &url, &version).await {
                Ok(_) => Looked::Reached,
                Err(_) => Looked::Unreachable,
            };
        }
        let etag = match lock(&inner.others).begin_asking(uri) {
            Ok(etag) => etag,
            Err(a_moment_ago) => return a_moment_ago,
        };
        let fetched = match inner.fetch_other(&url, etag.as_deref()).await {
            Ok(Some(news)) => inner.keep_other(uri, news).await,
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        let looked = match fetched {
            Ok(()) => Looked::Reached,
            Err(NotHad::Fetch(FetchFault::Status(404))) => Looked::Missing,
            Err(reason) => {
                tracing::debug!(issuer = inner.issuer, %reason, "a neighbour's list cannot be had");
                Looked::Unreachable
            }
        };
        lock(&inner.others).asked(uri, looked);
        looked
    }

    /// A neighbour has asked for a list: it is followed for a while.
    pub(crate) fn go_on_following(&self, uri: &str) {
        lock(&self.0.others).wished(uri);
    }

    /// The lists that are followed for neighbours.
    pub(crate) fn followed(&self) -> Vec<Stamp> {
        let own = lock(&self.0.lists).keys().cloned().collect();
        let others = lock(&self.0.others);
        let stamps = others.followed(&own).into_iter().map(|(uri, content)| Stamp {
            uri: uri.clone(),
            issued_at: content.issued_at,
            digest: content.digest.clone(),
        });
        stamps.collect()
    }

    /// Has the issuer asked for the lists that are followed for neighbours. Nobody waits for it.
    pub(crate) fn look_again(&self) {
        let followed = self.followed();
        if followed.is_empty() || self.0.is_looking_again.swap(true, Ordering::AcqRel) {
            return;
        }
        let revocation = self.clone();
        self.spawn(async move {
            for stamp in followed {
                revocation.look_for_neighbour(&stamp.uri).await;
            }
            revocation.0.is_looking_again.store(false, Ordering::Release);
        });
    }

    /// Takes up a list that a neighbour brought, or only judges it. Never waits: many may come at once.
    pub(crate) fn offer(&self, token: &str) -> Brought {
        let inner = &self.0;
        let unverified = match UnverifiedList::parse(token) {
            Ok(unverified) => unverified,
            Err(ListFault(reason)) => return Brought::Refused(reason),
        };
        let Some(uri) = unverified.uri().map(str::to_owned) else {
            return Brought::Refused("its sub is no text");
        };
        if inner.address(&uri).is_none() {
            return Brought::Refused("it is not below the issuer");
        }
        // Most come several times: that is seen before anything is computed.
        if inner.is_known(&uri, unverified.claimed_iat(), token) {
            return Brought::Known;
        }
        let verified = match self.verify_brought(unverified, &uri) {
            Ok(verified) => verified,
            Err(brought) => return brought,
        };
        let issued_at = verified.issued_at;
        let brought = match inner.held(&uri) {
            Some(held) => inner.replace_held(&held, verified, token),
            None => lock(&inner.others).replace(&uri, Content::new(verified, token)),
        };
        if brought == Brought::Newer {
            tracing::debug!(issuer = inner.issuer, uri, %issued_at, "a neighbour brought a newer status list");
        }
        brought
    }

    fn verify_brought(&self, unverified: UnverifiedList<'_>, uri: &str) -> Result<VerifiedList, Brought> {
        let kid = unverified.kid();
        let kid = kid.ok_or(Brought::Refused("its signature names no key of the issuer"))?;
        let Some(key) = self.0.keys.known(kid) else {
            // The issuer may have a key that this node has not heard of yet.
            self.ask_for_key(kid);
            return Err(Brought::Unjudged);
        };
        let verified = unverified.verify(&key, (&self.0.issuer, uri), clock::now());
        verified.map_err(|ListFault(reason)| Brought::Refused(reason))
    }

    /// Has the issuer asked for a key, by one at a time. Nobody waits for it.
    pub(crate) fn ask_for_key(&self, kid: &str) {
        if self.0.is_asking_for_key.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, kid) = (Arc::clone(&self.0), kid.to_owned());
        self.spawn(async move {
            inner.keys.key(&kid).await;
            inner.is_asking_for_key.store(false, Ordering::Release);
        });
    }
}

impl Inner {
    /// Asks the neighbours for a list while a token waits, and takes up what they have.
    pub(super) async fn ask_neighbours(&self, uri: &str) -> Option<Arc<HeldList>> {
        let neighbours = self.neighbours.get()?;
        let (answer, answered) = oneshot::channel();
        let wanted = Wanted {
            uri: uri.to_owned(),
            answer,
        };
        neighbours.try_send(wanted).ok()?;
        let token = timeout(PATIENCE, answered).await.ok()?.ok()??;
        let list = self.take_up(uri, &token, None).await.ok()?;
        self.confirm_by_signature(&list);
        Some(list)
    }

    /// A list was current when it was signed, whoever brought it.
    pub(super) fn confirm_by_signature(&self, list: &HeldList) {
        list.confirm(self.signed_at(list.issued_at()));
    }

    /// The issuer's time by the lasting clock: a wall clock that was set back would make everything new.
    pub(super) fn signed_at(&self, issued_at: UnixSeconds) -> Moment {
        let millis = u64::try_from(issued_at.0)
            .unwrap_or_default()
            .saturating_mul(1000);
        Moment::from_millis(millis).min(self.clock.now())
    }

    /// The address of a list that a neighbour may have the issuer asked for: written as it is sent, and in the place where
    /// our own authorization server has its lists. A neighbour does not choose what else is asked of the server.
    pub(super) fn address_for_neighbour(&self, uri: &str) -> Option<Url> {
        let name = uri.strip_prefix(&self.prefix)?.strip_prefix(LISTS)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
            return None;
        }
        uri.parse().ok().filter(|url: &Url| url.as_str() == uri)
    }

    fn is_known(&self, uri: &str, claimed: Option<UnixSeconds>, token: &str) -> bool {
        let is_known = |at: UnixSeconds, known: &str| {
            claimed.is_some_and(|claimed| claimed < at) || claimed == Some(at) && known == token
        };
        if let Some(held) = self.held(uri) {
            return is_known(held.issued_at(), &held.token());
        }
        let others = lock(&self.others);
        others
            .content(uri)
            .is_some_and(|content| is_known(content.issued_at, &content.token))
    }

    fn replace_held(&self, held: &HeldList, verified: VerifiedList, token: &str) -> Brought {
        let brought = match held.replace(verified, token, Whence::Neighbour) {
            Ok(Replaced::Changed) => Brought::Newer,
            Ok(Replaced::Renewed) => Brought::Renewed,
            Ok(Replaced::Known) => return Brought::Known,
            Err(_) => return Brought::Contradicts,
        };
        self.confirm_by_signature(held);
        if brought == Brought::Newer {
            self.changes.send_modify(|count| *count += 1);
        }
        self.unwritten.notify_one();
        brought
    }

    async fn fetch_other(&self, url: &Url, etag: Option<&str>) -> Result<Option<News>, NotHad> {
        let question = Question {
            accept: MEDIA_TYPE,
            etag,
            wait: Duration::ZERO,
            max_bytes: MAX_TOKEN_BYTES,
        };
        Ok(self.client.fetch_news(url, question).await?)
    }

    /// Keeps what the issuer gave for a neighbour.
    async fn keep_other(&self, uri: &str, news: News) -> Result<(), NotHad> {
        let token = String::from_utf8(news.body).map_err(|_| NotHad::Form)?;
        let unverified = UnverifiedList::parse(&token)?;
        let KeyLookup::Key(key) = self.keys.key(unverified.kid().ok_or(NotHad::Key)?).await else {
            return Err(NotHad::Key);
        };
        let verified = unverified.verify(&key, (&self.issuer, uri), clock::now())?;
        lock(&self.others).fetched(uri, Content::new(verified, &token), news.etag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Stage;
    use super::*;

    #[tokio::test]
    async fn stat_02_03_08_14_p2p_05_a_neighbours_list_is_judged_as_the_issuers() {
        let stage = Stage::new().await;
        stage.publish_bits(&[0b01, 0], "a").await;
        let node = stage.node();
        stage.mark(&node, 1).await.unwrap();
        let signed = |bytes: &[u8], age: i64| stage.forge.sign("statuslist+jwt", &stage.claims(bytes, age));
        let thief = crate::testing::Forge::with_key(&stage.forge.issuer, "key-1", [8; 32]);
        let mut elsewhere = stage.claims(&[0b11, 0], -1);
        elsewhere["sub"] = serde_json::json!("https://other.example/l");
        let mut of_another = stage.claims(&[0b11, 0], -1);
        of_another["iss"] = serde_json::json!("https://other.example");
        let mut bomb = stage.claims(&[0b11, 0], -1);
        bomb["status_list"]["lst"] = serde_json::json!(
            shared::status_list::pack(&vec![0; shared::status_list::MAX_LIST_BYTES + 1]).unwrap()
        );
        for bad in [
            thief.sign("statuslist+jwt", &stage.claims(&[0b11, 0], -1)),
            stage.forge.sign("at+jwt", &stage.claims(&[0b11, 0], -1)),
            stage.forge.sign("statuslist+jwt", &elsewhere),
            stage.forge.sign("statuslist+jwt", &of_another),
            stage.forge.sign("statuslist+jwt", &bomb),
            "x".to_owned(),
        ] {
            let brought = node.offer(&bad);
            assert!(matches!(brought, Brought::Refused(_)), "{brought:?}");
            assert!(stage.mark(&node, 1).await.is_ok());
        }
        // Newer, but it takes a revocation back, or is shorter: the issuer's own fault.
        for bad in [signed(&[0b10, 0], -1), signed(&[0b11], -1)] {
            assert_eq!(node.offer(&bad), Brought::Contradicts);
        }
        // An older one is no fault of the neighbour's, and changes nothing.
        assert_eq!(node.offer(&signed(&[0b11, 0], 60)), Brought::Known);
        let good = signed(&[0b11, 0], -1);
        let mut changes = node.changes();
        changes.mark_unchanged();
        assert_eq!(node.offer(&good), Brought::Newer);
        assert!(changes.has_changed().unwrap());
        assert!(stage.mark(&node, 1).await.is_err(), "it is revoked now");
        assert_eq!(node.offer(&good), Brought::Known);
        assert_eq!(node.newer(&stage.uri(), None).as_deref(), Some(good.as_str()));
    }

    #[tokio::test]
    async fn of_one_second_the_list_that_revokes_more_is_the_later() {
        let stage = Stage::new().await;
        stage.publish_bits(&[0b01, 0], "a").await;
        let node = stage.node();
        stage.mark(&node, 1).await.unwrap();
        let before = node.stamps().remove(0);
        let of_that_second = |bytes: &[u8]| {
            let mut claims = stage.claims(bytes, 0);
            claims["iat"] = serde_json::json!(before.issued_at);
            stage.forge.sign("statuslist+jwt", &claims)
        };
        let (less, other, more) = (
            of_that_second(&[0, 0]),
            of_that_second(&[0b10, 0]),
            of_that_second(&[0b11, 0]),
        );
        for earlier in [&less, &other] {
            assert_eq!(node.offer(earlier), Brought::Known);
        }
        assert_eq!(node.offer(&more), Brought::Newer);
        assert!(stage.mark(&node, 1).await.is_err());
        // Who has the earlier one is told, and whoever has this one is not.
        let had = |stamp: &Stamp| (stamp.issued_at, Some(stamp.digest.clone()));
        let after = node.stamps().remove(0);
        assert!(after.is_news_to(&had(&before)) && before.is_behind(&had(&after)));
        assert!(!after.is_news_to(&had(&after)) && !after.is_behind(&had(&after)));
        assert_eq!(node.newer(&stage.uri(), Some(&had(&before))), Some(more));
        assert_eq!(node.newer(&stage.uri(), Some(&had(&after))), None);
    }

    #[tokio::test]
    async fn stat_14_of_many_lists_at_once_the_newest_stays() {
        let stage = Stage::new().await;
        stage.publish_bits(&[0, 0], "a").await;
        let node = stage.node();
        stage.mark(&node, 9).await.unwrap();
        let lists: Vec<String> = (1..=32)
            .map(|number: u8| {
                let bytes = [u8::MAX >> (8 - number.div_ceil(4)), 0];
                let claims = stage.claims(&bytes, -i64::from(number));
                stage.forge.sign("statuslist+jwt", &claims)
            })
            .collect();
        let newest = lists[31].clone();
        std::thread::scope(|scope| {
            for list in lists.iter().rev() {
                let node = &node;
                scope.spawn(move || node.offer(list));
            }
        });
        assert_eq!(node.newer(&stage.uri(), None), Some(newest));
    }

    #[tokio::test]
    async fn a_list_counts_as_confirmed_when_it_was_signed() {
        let twenty_minutes = Duration::from_secs(20 * 60);
        let mut stage = Stage::new().await;
        // The wall clock stands still in this test, so the lasting clock begins before it.
        let began = clock::now() - twenty_minutes;
        stage.clock = Arc::new(shared::lasting_clock::LastingClock::starting_at(began));
        stage.publish_bits(&[0, 0], "a").await;
        let node = stage.node();
        stage.mark(&node, 1).await.unwrap();
        stage.server.reset().await;
        tokio::time::pause();
        tokio::time::advance(twenty_minutes).await;
        assert!(stage.mark(&node, 1).await.is_err(), "too old");
        let fresh = stage.forge.sign("statuslist+jwt", &stage.claims(&[0, 0], -2));
        assert_eq!(node.offer(&fresh), Brought::Renewed);
        assert!(stage.mark(&node, 1).await.is_ok());
        // The time goes on, and the wall clock is set back: what seems to be of now is not.
        tokio::time::advance(twenty_minutes).await;
        let of_before = stage.forge.sign("statuslist+jwt", &stage.claims(&[0, 0], -3));
        assert_eq!(node.offer(&of_before), Brought::Renewed);
        assert!(stage.mark(&node, 1).await.is_err(), "as old as it was signed");
    }

    #[tokio::test]
    async fn what_a_token_waits_for_is_asked_of_neighbours_when_the_issuer_is_away() {
        let stage = Stage::new().await;
        let node = stage.node();
        // The keys are there, the list is not.
        assert!(node.0.keys.is_ready().await);
        stage.server.reset().await;
        let (wanted, mut wishes) = mpsc::channel(4);
        node.ask_neighbours(wanted);
        let list = stage.forge.sign("statuslist+jwt", &stage.claims(&[0b01, 0], 0));
        let uri = stage.uri();
        let neighbour = async {
            let wish: Wanted = wishes.recv().await.unwrap();
            assert_eq!(wish.uri, uri);
            wish.answer.send(Some(list)).unwrap();
        };
        let (mark, ()) = tokio::join!(stage.mark(&node, 1), neighbour);
        assert!(mark.unwrap().is_some());
        assert!(stage.mark(&node, 0).await.is_err());
    }

    #[tokio::test]
    async fn for_a_neighbour_an_issuer_is_asked_but_not_all_the_time() {
        let stage = Stage::new().await;
        stage.publish_bits(&[0b01, 0], "a").await;
        let node = stage.node();
        assert!(node.newer(&stage.uri(), None).is_none());
        for _ in 0..50 {
            node.look_for_neighbour(&stage.uri()).await;
        }
        assert!(node.newer(&stage.uri(), None).is_some());
        let asked = stage.server.received_requests().await.unwrap();
        let asked_before = asked.len();
        let asked = asked
            .iter()
            .filter(|request| request.url.path() == super::super::tests::LIST);
        assert_eq!(asked.count(), 1);
        assert!(node.stamps().is_empty(), "it judges no tokens by it");
        // Nothing else is asked of the server, whoever wants it.
        let uri = stage.uri();
        for other in [
            "https://elsewhere.example/oauth/status/l".to_owned(),
            format!("{}/oauth/status/../../admin", stage.forge.issuer),
            format!("{}/oauth/status/%6c_1", stage.forge.issuer),
            format!("{}/other", stage.forge.issuer),
            format!("{uri}?x=1"),
            format!("{uri}#x"),
            format!("{uri}/x"),
        ] {
            assert_eq!(node.look_for_neighbour(&other).await, Looked::Missing, "{other}");
        }
        let asked_now = stage.server.received_requests().await.unwrap().len();
        assert_eq!(asked_now, asked_before);
        let missing = format!("{uri}x");
        assert_eq!(node.look_for_neighbour(&missing).await, Looked::Missing);
        stage.server.reset().await;
        assert_eq!(
            node.look_for_neighbour(&uri).await,
            Looked::Reached,
            "a moment ago"
        );
    }
}
