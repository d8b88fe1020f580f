//! Keeping the lists fresh. Where the issuer names its lists in one place, one question waits there for news: a
//! revocation is here a moment after it was made, and a quiet issuer is asked twice a minute. Elsewhere each list is asked
//! for as often as it says.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Deserialize;
use shared::clock;
use shared::http_client::Question;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{Inner, MAX_LISTS, NotHad, lock};
use crate::issuers::LEEWAY;

/// How long the issuer may wait with its answer.
const WAIT: Duration = Duration::from_secs(25);
/// An issuer that does not wait is asked no more often than this.
const INTERVAL: Duration = Duration::from_secs(1);
/// Two answers with news do not follow one another faster: under a storm of revocations, several come at once.
const BREATH: Duration = Duration::from_millis(100);
/// The pause after the first failed question; it doubles up to the second value.
pub(super) const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The largest directory that is read.
const MAX_DIRECTORY_BYTES: usize = 256 * 1024;

/// Status List Aggregation (§9.3).
#[derive(Deserialize)]
struct Directory {
    status_lists: Vec<String>,
    /// Of our own server: a text for each, another one when a bit changed.
    #[serde(default)]
    versions: Vec<String>,
}

/// Follows until nobody has use for the lists any more.
pub(super) async fn follow(owner: Weak<Inner>) {
    let mut back_off = BACK_OFF.0;
    let mut etag = None;
    while let Some(inner) = owner.upgrade() {
        let directory = lock(&inner.directory).clone();
        let asked_at = Instant::now();
        let round = match &directory {
            Some(url) => inner.ask_directory(url, &mut etag).await,
            None => inner.ask_each().await,
        };
        let pause = match round {
            Ok(pause) => {
                back_off = BACK_OFF.0;
                if lock(&inner.fault).take().is_some() {
                    tracing::info!(issuer = inner.issuer, "the status lists are current again");
                }
                pause.saturating_sub(asked_at.elapsed()).max(BREATH)
            }
            Err(reason) => {
                let reason = reason.to_string();
                if lock(&inner.fault).replace(reason.clone()).is_none() {
                    tracing::warn!(
                        issuer = inner.issuer,
                        reason,
                        "the status lists cannot be kept current"
                    );
                }
                // Ask anew for all of it: what was refused may have been a part of it.
                etag = None;
                let pause = back_off;
                back_off = (back_off * 2).min(BACK_OFF.1);
                pause
            }
        };
        inner.unwritten.notify_one();
        drop(inner);
        sleep(pause).await;
    }
}

impl Inner {
    /// Waits for news at the directory and takes them up; returns the least time until the next question.
    async fn ask_directory(&self, url: &Url, etag: &mut Option<String>) -> Result<Duration, NotHad> {
        let question = Question {
            accept: "application/json",
            etag: etag.as_deref(),
            wait: WAIT,
            max_bytes: MAX_DIRECTORY_BYTES,
        };
        let before = self.clock.now();
        let Some(news) = self.client.fetch_news(url, question).await? else {
            // The answer is as of now, however long it waited.
            let now = self.clock.now();
            self.confirm_named(now);
            return Ok(INTERVAL);
        };
        let directory: Directory = serde_json::from_slice(&news.body).map_err(|_| NotHad::Form)?;
        let has_versions = directory.versions.len() == directory.status_lists.len();
        let (mut named, mut failed) = (Vec::new(), None);
        for (at, uri) in directory.status_lists.iter().enumerate().take(MAX_LISTS) {
            let version = directory.versions.get(at).filter(|_| has_versions);
            let version = version.map_or("", String::as_str);
            let Some(list_url) = self.address(uri) else {
                continue;
            };
            let is_known = self
                .held(uri)
                .is_some_and(|held| !version.is_empty() && held.version() == version);
            let fetched = if is_known {
                Ok(())
            } else {
                self.fetch(uri, &list_url, version).await.map(drop)
            };
            // One that cannot be had does not make the others old.
            match fetched {
                Ok(()) => named.push(uri.clone()),
                Err(reason) => failed = Some(reason),
            }
        }
        self.forget_ended();
        *lock(&self.named) = named;
        self.confirm_named(before);
        if let Some(reason) = failed {
            return Err(reason);
        }
        // Without versions, an unchanged directory would not tell of changed lists.
        *etag = news.etag.filter(|_| has_versions);
        Ok(if has_versions { Duration::ZERO } else { INTERVAL })
    }

    /// Asks for each list; returns the time until the next round.
    async fn ask_each(&self) -> Result<Duration, NotHad> {
        self.forget_ended();
        let held: Vec<String> = lock(&self.lists).keys().cloned().collect();
        let mut failed = None;
        for uri in held {
            if let Some(url) = self.address(&uri)
                && let Err(reason) = self.fetch(&uri, &url, "").await
            {
                failed = Some(reason);
            }
        }
        if let Some(reason) = failed {
            return Err(reason);
        }
        let shortest = lock(&self.lists).values().map(|list| list.ttl()).min();
        Ok(shortest.unwrap_or(BACK_OFF.1).max(INTERVAL))
    }

    pub(super) fn address(&self, uri: &str) -> Option<Url> {
        uri.parse().ok().filter(|_| uri.starts_with(&self.prefix))
    }

    /// The directory that named these lists is current.
    fn confirm_named(&self, moment: shared::lasting_clock::Moment) {
        let lists = lock(&self.lists);
        for list in lock(&self.named).iter().filter_map(|uri| lists.get(uri)) {
            list.confirm(moment);
        }
    }

    /// Lists whose tokens have all expired.
    fn forget_ended(&self) {
        let now = clock::now();
        lock(&self.lists).retain(|_, list: &mut Arc<_>| !list.has_ended(now, LEEWAY));
    }
}
