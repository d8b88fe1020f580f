//! Fetching documents: one fetch for everybody who waits for the same one, a bounded number from one host, and
//! a bounded memory of those whose clients nobody has granted anything yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::web::rates::{Exceeded, KeyedLimit, Rate};
use quick_cache::sync::Cache;
use shared::clock::UnixSeconds;
use shared::http_client::GuardedClient;
use tokio::sync::OnceCell;
use url::Url;

use super::content;
use crate::client::Client;
use crate::config::Clients;
use crate::db::client_document::DocumentRow;

/// A larger document is not read to its end (Client ID Metadata Documents, "Maximum Response Size").
pub(super) const MAX_BYTES: usize = 5 * 1024;
/// How long a document is relied on that does not say, and the least and the most whatever it says.
pub(super) const FRESH: Duration = Duration::from_secs(3600);
const LEAST_FRESH: Duration = Duration::from_secs(60);
const MOST_FRESH: Duration = Duration::from_secs(24 * 3600);
/// Clients in memory for which there is no row; the least used make room.
const COPIES: usize = 1000;
/// After a fetch that failed, the document that is there is relied on this long without another try.
const PAUSE: Duration = Duration::from_secs(60);
/// Fetches from one host in a minute that an address has to itself, whoever has used the host's share up.
const OWN: NonZeroU32 = NonZeroU32::MIN;
/// So many shares of a host are fetched at most, by whomever.
const SHARES: u32 = 10;
/// Why a document is no document, whatever its bytes are (Client ID Metadata Documents §4).
pub(super) const NOT_JSON: &str = "it is not JSON, by its Content-Type";

/// What came of a fetch; the error is the private reason.
type Fetched = Result<Arc<Client>, Arc<str>>;

/// The fetcher of one server.
pub(crate) struct Documents {
    outbound: GuardedClient,
    settings: Clients,
    copies: Cache<String, Arc<Client>>,
    /// Known clients whose last fetch failed, and when.
    failed: Cache<String, UnixSeconds>,
    /// Fetches under way: as many as requests that wait for them.
    under_way: Mutex<HashMap<String, Arc<OnceCell<Fetched>>>>,
    per_address: KeyedLimit,
    /// By host and address.
    own: KeyedLimit,
    per_host: KeyedLimit,
    in_all: KeyedLimit,
}

impl Documents {
    pub(crate) fn new(outbound: GuardedClient, settings: &Clients) -> Self {
        let share = settings.fetches_per_host;
        Self {
            copies: Cache::new(COPIES),
            failed: Cache::new(COPIES),
            under_way: Mutex::default(),
            per_address: KeyedLimit::new(settings.fetches_per_address),
            own: KeyedLimit::new(Rate::per_minute(OWN)),
            per_host: KeyedLimit::new(share),
            in_all: KeyedLimit::new(share.times(SHARES)),
            settings: settings.clone(),
            outbound,
        }
    }

    /// The same fetcher and the same counts for other `settings`. What was fetched by the old ones is forgotten.
    pub(crate) fn anew(&self, settings: &Clients) -> Self {
        Self {
            copies: Cache::new(COPIES),
            failed: Cache::new(COPIES),
            under_way: Mutex::default(),
            per_address: self.per_address.clone(),
            own: self.own.clone(),
            per_host: self.per_host.clone(),
            in_all: self.in_all.clone(),
            settings: settings.clone(),
            outbound: self.outbound.clone(),
        }
    }

    /// Limits whose idle entries are to be dropped now and then.
    pub(crate) fn limits(&self) -> [KeyedLimit; 4] {
        [&self.per_address, &self.own, &self.per_host, &self.in_all].map(KeyedLimit::clone)
    }

    /// Counts a request of `from` that needs an unknown document. An address first draws on what it has to itself, and
    /// then on the share that all have in the host: a few that use the share up lock no newcomer out.
    pub(super) fn admit(&self, url: &Url, from: IpAddr) -> Result<(), Exceeded> {
        self.per_address.check(from)?;
        let host = url.host_str().unwrap_or_default();
        // Whoever waits for the fetch of somebody else causes none.
        if self.under_way().contains_key(url.as_str()) || self.own.check((host, from)).is_ok() {
            return Ok(());
        }
        let verdict = self.per_host.check(host);
        verdict.inspect_err(|_| tracing::info!(host, "the share of documents of a host is used up"))
    }

    /// Whether documents at `url` are fetched at all.
    pub(super) fn covers(&self, url: &Url) -> bool {
        url.host_str()
            .is_some_and(|host| self.settings.fetches_from(host))
    }

    /// The client in memory, however old.
    pub(crate) fn copy(&self, client_id: &str) -> Option<Arc<Client>> {
        self.copies.get(client_id)
    }

    /// Whether a fetch failed so recently that another would hardly bring more.
    pub(super) fn is_pausing(&self, client_id: &str, now: UnixSeconds) -> bool {
        self.failed.get(client_id).is_some_and(|at| now.since(at) < PAUSE)
    }

    /// Fetches the document at `url`, or waits for whoever does. What came of it is told to everybody who waited, and
    /// a failure to nobody who comes later. A client that is known is not counted against its host: it is fetched
    /// now and then anyway, and strangers must not use its share up. Callers look at [`Self::is_pausing`] instead.
    pub(super) async fn fetch(&self, url: &Url, is_known: bool, now: UnixSeconds) -> Fetched {
        let flight = Flight::join(self, url.as_str());
        flight
            .cell
            .get_or_init(|| self.bring(url, is_known, now))
            .await
            .clone()
    }

    async fn bring(&self, url: &Url, is_known: bool, now: UnixSeconds) -> Fetched {
        let client_id = url.as_str();
        let brought = async {
            let host = url.host_str().unwrap_or_default();
            if !is_known && self.in_all.check(host).is_err() {
                return Err("too many documents of that host were fetched".to_owned());
            }
            let fetched = self.outbound.fetch_json(url, MAX_BYTES).await;
            let fetched = fetched.map_err(|fault| fault.reason().to_owned())?;
            if !fetched.is_json() {
                return Err(NOT_JSON.to_owned());
            }
            let life = fetched.fresh_for(FRESH, LEAST_FRESH..=MOST_FRESH);
            let row = content::read(client_id, &fetched.body, &self.settings.scopes, now)?;
            let document = DocumentRow {
                client_id: client_id.to_owned(),
                content: String::from_utf8_lossy(&fetched.body).into_owned(),
                is_pinned: false,
                fetched_at: now.0,
                fresh_until: (now + life).0,
            };
            content::client(row, document)
        };
        match brought.await {
            Ok(client) => {
                self.failed.remove(client_id);
                self.copies.insert(client_id.to_owned(), Arc::clone(&client));
                Ok(client)
            }
            Err(reason) => {
                // Of an unknown one every request is counted, and strangers must not crowd the others out.
                if is_known {
                    self.failed.insert(client_id.to_owned(), now);
                }
                Err(reason.into())
            }
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<Fetched>>>> {
        // No code under this lock can panic half-way through a change.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a fetch. Whoever goes last, or after it has come to an end, takes it off the list, also when a
/// request is given up half-way.
struct Flight<'d> {
    documents: &'d Documents,
    client_id: &'d str,
    cell: Arc<OnceCell<Fetched>>,
}

impl<'d> Flight<'d> {
    fn join(documents: &'d Documents, client_id: &'d str) -> Self {
        let cell = Arc::clone(documents.under_way().entry(client_id.to_owned()).or_default());
        Self {
            documents,
            client_id,
            cell,
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = self.documents.under_way();
        let is_listed = under_way
            .get(self.client_id)
            .is_some_and(|known| Arc::ptr_eq(known, &self.cell));
        // The list holds one, and this the other.
        if is_listed && (self.cell.initialized() || Arc::strong_count(&self.cell) <= 2) {
            under_way.remove(self.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::config::Reader;
    use shared::http_client::Own;

    use super::*;
    use crate::config::Config;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn documents() -> Documents {
        documents_with("")
    }

    /// With these lines in the section of clients.
    fn documents_with(lines: &str) -> Documents {
        let reader = Reader::from_text(format!("[clients]\n{lines}"), &BTreeMap::new()).unwrap();
        let settings = Config::read(reader).unwrap().as_read.clients.clone();
        Documents::new(GuardedClient::new(vec![], Own::default()).unwrap(), &settings)
    }

    #[test]
    fn cimd_18_the_memory_of_unknown_clients_is_bounded() {
        let documents = documents();
        for number in 0..3 * COPIES {
            let id = format!("https://docs.example/{number}");
            let content = format!(
                r#"{{"client_id":"{id}","client_name":"A","redirect_uris":["http://127.0.0.1/cb"]}}"#
            );
            let row = content::read(&id, content.as_bytes(), &documents.settings.scopes, NOW).unwrap();
            let document = DocumentRow {
                client_id: id.clone(),
                content,
                is_pinned: false,
                fetched_at: NOW.0,
                fresh_until: NOW.0,
            };
            let client = content::client(row, document).unwrap();
            documents.copies.insert(id.clone(), client);
            documents.failed.insert(id, NOW);
        }
        assert!((1..=COPIES).contains(&documents.copies.len()));
        assert!((1..=COPIES).contains(&documents.failed.len()));
    }

    #[test]
    fn cimd_21_strangers_do_not_use_up_what_a_newcomer_has_at_a_host() {
        let documents = documents_with("fetches_per_host = \"60/h\"");
        let from = |number: u8| IpAddr::from([192, 0, 2, number]);
        let url = |path: &str| -> Url { format!("https://docs.example/{path}").parse().unwrap() };
        let mut refused = 0;
        for stranger in 0..10 {
            for number in 0..20 {
                let unknown = url(&format!("{stranger}/{number}"));
                refused += usize::from(documents.admit(&unknown, from(stranger)).is_err());
            }
        }
        assert!(refused > 100, "they have one each and sixty together: {refused}");
        let (good, more) = (url("good"), url("more"));
        assert!(documents.admit(&good, from(200)).is_ok());
        assert!(documents.admit(&more, from(200)).is_err());
        let elsewhere = "https://other.example/client".parse().unwrap();
        assert!(documents.admit(&elsewhere, from(200)).is_ok());
        // Nor does it count to wait for a fetch that is under way.
        let _flight = Flight::join(&documents, more.as_str());
        assert!(documents.admit(&more, from(200)).is_ok());
    }

    #[tokio::test]
    async fn cimd_21_one_host_is_asked_a_bounded_number_of_times_by_whomever() {
        let documents = documents_with("fetches_per_host = \"2/h\"");
        let url: Url = "https://10.0.0.1/client".parse().unwrap();
        let most = usize::try_from(2 * SHARES).unwrap();
        let is_left = |_: &usize| documents.in_all.check("10.0.0.1").is_ok();
        assert_eq!((0..most).filter(is_left).count(), most);
        let reason = documents.fetch(&url, false, NOW).await.unwrap_err();
        assert!(reason.contains("too many documents of that host"), "{reason}");
        assert!(!documents.is_pausing(url.as_str(), NOW));
        // A known one is fetched, and then not for a while.
        let reason = documents.fetch(&url, true, NOW).await.unwrap_err();
        assert!(reason.contains("no rule opens"), "{reason}");
        assert!(documents.is_pausing(url.as_str(), NOW));
        assert!(!documents.is_pausing(url.as_str(), NOW + PAUSE));
    }

    #[tokio::test]
    async fn cimd_20_a_fetch_that_failed_or_was_given_up_leaves_nothing_under_way() {
        let documents = documents();
        let url: Url = "https://10.0.0.1/client".parse().unwrap();
        for _ in 0..2 {
            let reason = documents.fetch(&url, false, NOW).await.unwrap_err();
            assert!(reason.contains("no rule opens"), "{reason}");
            assert!(documents.under_way().is_empty() && documents.copy(url.as_str()).is_none());
        }
        let given_up = tokio::time::timeout(Duration::ZERO, documents.fetch(&url, false, NOW)).await;
        assert!(given_up.is_err() && documents.under_way().is_empty());
    }
}
