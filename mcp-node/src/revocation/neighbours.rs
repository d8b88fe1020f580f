//! Lists that come from other nodes, and lists for them. Whoever brings a list, the issuer's signature decides (STAT-02),
//! its `sub` says which list it is (STAT-03), and an older one changes nothing (STAT-14). When it was confirmed follows
//! from its `iat` alone: what a neighbour says of that is not signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};
use shared::http_client::{News, Question};
use shared::jwks::KeyLookup;
use shared::status_list::{ListFault, MAX_TOKEN_BYTES, MEDIA_TYPE, StatusList, UnverifiedList, VerifiedList};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use url::Url;

use super::held::HeldList;
use super::{Inner, NotHad, Revocation, lock};

/// Lists of other nodes' resources that are kept for neighbours, at most: 12 MB of the largest that an issuer of ours signs.
const MAX_OTHERS: usize = 64;
/// For neighbours, an issuer is asked about one list no more often than this.
const ASKED_EVERY: Duration = Duration::from_secs(2);
/// And no more often than this when it said that there is no such list.
const MISSING_EVERY: Duration = Duration::from_secs(30);
/// Our issuer signs a list anew this often, though nothing in it changed. Neighbours see by that how fresh it is.
const SIGNED_EVERY: Duration = Duration::from_secs(300);
/// How long the neighbours have to answer while a token waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// A list, and how old it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) uri: String,
    pub(crate) issued_at: UnixSeconds,
}

/// What became of a list that a neighbour brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Brought {
    /// It is newer than what was known.
    Newer,
    /// It is known, or older.
    Known,
    /// It is not the issuer's, or takes something back.
    Refused(&'static str),
    /// Nobody can say: the issuer's keys cannot be had.
    Unjudged,
}

/// A list that the neighbours are asked for; `None` when none of them has it.
pub(crate) struct Wanted {
    pub(crate) uri: String,
    pub(crate) answer: oneshot::Sender<Option<String>>,
}

/// Lists that this node has no tokens for.
#[derive(Default)]
pub(super) struct Others(HashMap<String, Other>);

struct Other {
    /// `None` while the issuer says that there is none.
    content: Option<Content>,
    etag: Option<String>,
    asked_at: Option<Instant>,
    /// When a neighbour had use for it the last time.
    used_at: Instant,
}

#[derive(Clone)]
struct Content {
    list: Arc<StatusList>,
    issued_at: UnixSeconds,
    token: Arc<str>,
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
        });
        stamps.collect()
    }

    /// A held list as it was signed, if it is newer than `than`. Asks nobody.
    pub(crate) fn newer(&self, uri: &str, than: Option<UnixSeconds>) -> Option<String> {
        let is_newer = |at: UnixSeconds| than.is_none_or(|than| at > than);
        if let Some(held) = self.0.held(uri) {
            return Some(held.token()).filter(|_| is_newer(held.issued_at()));
        }
        let others = lock(&self.0.others);
        let content = others.0.get(uri)?.content.as_ref()?;
        is_newer(content.issued_at).then(|| content.token.to_string())
    }

    /// Makes sure that [`Self::newer`] says what the issuer says now, if it can be reached: for a neighbour that cannot.
    pub(crate) async fn look_for_neighbour(&self, uri: &str) {
        let inner = &self.0;
        let Some(url) = inner.address(uri) else { return };
        let Ok(_turn) = inner.for_neighbours.acquire().await else {
            return;
        };
        if let Some(held) = inner.held(uri) {
            // The issuer tells of changes by itself, but not that it has signed the same again.
            let age = clock::now().since(held.issued_at());
            if age > SIGNED_EVERY && held.may_renew(ASKED_EVERY) {
                let version = held.version();
                inner.fetch(uri, &url, &version).await.ok();
            }
            return;
        }
        let Some(etag) = inner.begin_asking(uri) else {
            return;
        };
        let asked = inner.fetch_other(&url, etag.as_deref()).await;
        match asked {
            Ok(Some(news)) => inner.keep_other(uri, news).await,
            Ok(None) => {}
            Err(reason) => {
                tracing::debug!(issuer = inner.issuer, %reason, "a neighbour's list cannot be had")
            }
        }
    }

    /// Takes up a list that a neighbour brought, or only judges it.
    pub(crate) async fn offer(&self, token: &str) -> Brought {
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
        let known_at = inner.known_since(&uri);
        if let (Some(claimed), Some(known)) = (unverified.claimed_iat(), known_at)
            && claimed <= known
        {
            return Brought::Known;
        }
        let verified = match inner.verify_brought(unverified, &uri).await {
            Ok(verified) => verified,
            Err(brought) => return brought,
        };
        let issued_at = verified.issued_at;
        let brought = match inner.held(&uri) {
            Some(held) => inner.replace_held(&held, verified, token),
            None => inner.replace_other(&uri, verified, token),
        };
        if brought == Brought::Newer {
            tracing::debug!(issuer = inner.issuer, uri, %issued_at, "a neighbour brought a newer status list");
        }
        brought
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
        let list = self.take_up(uri, &token).await.ok()?;
        self.confirm_by_signature(&list);
        Some(list)
    }

    /// A list was current when it was signed, whoever brought it.
    fn confirm_by_signature(&self, list: &HeldList) {
        let age = clock::now().since(list.issued_at());
        list.confirm(self.clock.now().before(age));
    }

    fn known_since(&self, uri: &str) -> Option<UnixSeconds> {
        if let Some(held) = self.held(uri) {
            return Some(held.issued_at());
        }
        let others = lock(&self.others);
        Some(others.0.get(uri)?.content.as_ref()?.issued_at)
    }

    async fn verify_brought(
        &self,
        unverified: UnverifiedList<'_>,
        uri: &str,
    ) -> Result<VerifiedList, Brought> {
        let kid = unverified.kid();
        let kid = kid.ok_or(Brought::Refused("its signature names no key of the issuer"))?;
        let key = match self.keys.known(kid) {
            Some(key) => key,
            None => match self.keys.key(kid).await {
                KeyLookup::Key(key) => key,
                // The issuer may have a key that this node has not heard of yet.
                KeyLookup::UnknownKid | KeyLookup::Unavailable { .. } => return Err(Brought::Unjudged),
            },
        };
        let verified = unverified.verify(&key, (&self.issuer, uri), clock::now());
        verified.map_err(|ListFault(reason)| Brought::Refused(reason))
    }

    fn replace_held(&self, held: &HeldList, verified: VerifiedList, token: &str) -> Brought {
        let issued_at = verified.issued_at;
        if issued_at <= held.issued_at() {
            return Brought::Known;
        }
        match held.replace(verified, token) {
            Ok(is_changed) => {
                self.confirm_by_signature(held);
                if is_changed {
                    self.changes.send_modify(|count| *count += 1);
                }
                self.unwritten.notify_one();
                Brought::Newer
            }
            Err(ListFault(reason)) => Brought::Refused(reason),
        }
    }

    fn replace_other(&self, uri: &str, verified: VerifiedList, token: &str) -> Brought {
        let mut others = lock(&self.others);
        let known = others.0.get(uri).and_then(|other| other.content.as_ref());
        if let Some(known) = known {
            if verified.issued_at <= known.issued_at {
                return Brought::Known;
            }
            if verified.list.takes_back(&known.list) {
                return Brought::Refused(ListFault::TAKES_BACK.0);
            }
        }
        let content = Content {
            list: Arc::new(verified.list),
            issued_at: verified.issued_at,
            token: token.into(),
        };
        others.entry(uri).content = Some(content);
        Brought::Newer
    }

    /// The `ETag` with which the issuer is to be asked about another's list; `None` when it was asked just now.
    fn begin_asking(&self, uri: &str) -> Option<Option<String>> {
        let mut others = lock(&self.others);
        let other = others.entry(uri);
        let every = match other.content {
            Some(_) => ASKED_EVERY,
            None => MISSING_EVERY,
        };
        if other.asked_at.is_some_and(|at| at.elapsed() < every) {
            return None;
        }
        other.asked_at = Some(Instant::now());
        Some(other.etag.clone().filter(|_| other.content.is_some()))
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

    async fn keep_other(&self, uri: &str, news: News) {
        let Some(token) = String::from_utf8(news.body).ok() else {
            return;
        };
        let Ok(unverified) = UnverifiedList::parse(&token) else {
            return;
        };
        if let Ok(verified) = self.verify_brought(unverified, uri).await {
            self.replace_other(uri, verified, &token);
            lock(&self.others).entry(uri).etag = news.etag;
        }
    }
}

impl Others {
    /// The place for a list; the one that nobody has had use for the longest makes room.
    fn entry(&mut self, uri: &str) -> &mut Other {
        if !self.0.contains_key(uri) && self.0.len() >= MAX_OTHERS {
            let oldest = self.0.iter().min_by_key(|(_, other)| other.used_at);
            if let Some(oldest) = oldest.map(|(uri, _)| uri.clone()) {
                self.0.remove(&oldest);
            }
        }
        let now = Instant::now();
        let other = self.0.entry(uri.to_owned()).or_insert(Other {
            content: None,
            etag: None,
            asked_at: None,
            used_at: now,
        });
        other.used_at = now;
        other
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
            // Newer, but it takes a revocation back, or is shorter.
            signed(&[0b10, 0], -1),
            signed(&[0b11], -1),
            "x".to_owned(),
        ] {
            let brought = node.offer(&bad).await;
            assert!(matches!(brought, Brought::Refused(_)), "{brought:?}");
            assert!(stage.mark(&node, 1).await.is_ok());
        }
        // An older one is no fault of the neighbour's, and changes nothing.
        assert_eq!(node.offer(&signed(&[0b11, 0], 60)).await, Brought::Known);
        let good = signed(&[0b11, 0], -1);
        let mut changes = node.changes();
        changes.mark_unchanged();
        assert_eq!(node.offer(&good).await, Brought::Newer);
        assert!(changes.has_changed().unwrap());
        assert!(stage.mark(&node, 1).await.is_err(), "it is revoked now");
        assert_eq!(node.offer(&good).await, Brought::Known);
        assert_eq!(node.newer(&stage.uri(), None).as_deref(), Some(good.as_str()));
    }

    #[tokio::test]
    async fn a_list_counts_as_confirmed_when_it_was_signed() {
        let stage = Stage::new().await;
        stage.publish_bits(&[0, 0], "a").await;
        let node = stage.node();
        stage.mark(&node, 1).await.unwrap();
        stage.server.reset().await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(20 * 60)).await;
        assert!(stage.mark(&node, 1).await.is_err(), "too old");
        // The wall clock stands still in this test, so what was signed "now" is new.
        let fresh = stage.forge.sign("statuslist+jwt", &stage.claims(&[0, 0], -2));
        assert_eq!(node.offer(&fresh).await, Brought::Newer);
        assert!(stage.mark(&node, 1).await.is_ok());
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
        let asked = asked
            .iter()
            .filter(|request| request.url.path() == super::super::tests::LIST);
        assert_eq!(asked.count(), 1);
        assert!(node.stamps().is_empty(), "it judges no tokens by it");
        node.look_for_neighbour("https://elsewhere.example/oauth/status/l")
            .await;
        assert_eq!(lock(&node.0.others).0.len(), 1);
        // Many lists make room for each other.
        for number in 0..2 * MAX_OTHERS {
            lock(&node.0.others).entry(&format!("{}{number}", stage.uri()));
        }
        assert_eq!(lock(&node.0.others).0.len(), MAX_OTHERS);
    }
}
