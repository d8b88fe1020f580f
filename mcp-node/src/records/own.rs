//! This node's record: renewed long before it ends, so that the server may be away for half a day.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};
use shared::fleet::record::{MAX_RECORD_BYTES, RECORD_TYPE, SignedRecord, UnverifiedRecord};
use shared::http_client::{FetchFault, Question};
use shared::tls::write_private;
use tokio::time::sleep;
use url::Url;

use super::{Inner, NotHad, RECORD_FILE, spread, verify};

/// With less than this left, a record is renewed: half of what it counts when it is new.
const AHEAD: Duration = Duration::from_secs(12 * 60 * 60);
/// The pause after the first attempt that failed; it doubles up to the second value.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// A look at the clock at least this often: the machine may have slept.
const LOOK: Duration = Duration::from_secs(600);

/// `application/` and the type.
const MEDIA_TYPE: &str = "application/edge-hive-node+jwt";

impl Inner {
    /// Takes up the record that was kept, or the one of the enrolment.
    pub(super) fn read_own(&self, enrolled_with: &str, now: UnixSeconds) {
        debug_assert!(MEDIA_TYPE.ends_with(RECORD_TYPE));
        let path = self.path(RECORD_FILE);
        let kept = std::fs::read_to_string(&path).ok();
        // Of two of the same hour, the kept one is the later.
        let texts = [Some(enrolled_with), kept.as_deref()];
        let newest = texts
            .into_iter()
            .flatten()
            .filter_map(|text| verify(text.trim(), &self.issuer, |kid| self.known_key(kid), now).ok())
            .filter(|record| self.is_own(record))
            .max_by_key(|record| record.issued_at);
        if let Some(record) = newest {
            self.own.send_replace(Some(Arc::new(record)));
        }
    }

    /// Renews the record again and again. The first time at once: that tells whether the node's enrolment still stands.
    pub(super) async fn keep_own(&self) {
        let mut back_off = BACK_OFF.0;
        let mut is_out = false;
        let mut is_first = true;
        loop {
            let pause = self.until_renewal(clock::now());
            if !is_first && !pause.is_zero() {
                sleep(pause.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(record) => {
                    (is_first, is_out, back_off) = (false, false, BACK_OFF.0);
                    self.keep(record);
                    // One that the server will not sign for longer is not asked for all the time.
                    sleep(spread(BACK_OFF.1)).await;
                }
                Err(reason) => {
                    let is_gone = matches!(reason, NotHad::Fetch(FetchFault::Status(404)));
                    if is_gone && !is_out {
                        tracing::error!(
                            issuer = self.issuer,
                            node_id = self.node_id,
                            "the server knows this node no longer; its peers will leave it"
                        );
                    } else if !is_gone && back_off == BACK_OFF.0 {
                        tracing::warn!(issuer = self.issuer, %reason, "this node's record could not be renewed");
                    }
                    is_out = is_gone;
                    sleep(spread(back_off)).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    /// How long the record needs no renewal.
    fn until_renewal(&self, now: UnixSeconds) -> Duration {
        let held = self.own.borrow();
        held.as_ref().map_or(Duration::ZERO, |record| {
            record.expires_at.since(now).saturating_sub(AHEAD)
        })
    }

    pub(super) async fn renew(&self) -> Result<SignedRecord, NotHad> {
        let url: Url = format!("{}/{}", self.directory_uri, self.node_id)
            .parse()
            .map_err(|_| NotHad::Form)?;
        let question = Question {
            accept: MEDIA_TYPE,
            etag: None,
            wait: Duration::ZERO,
            max_bytes: MAX_RECORD_BYTES,
        };
        let news = self.client.fetch_news(&url, question).await?;
        let news = news.filter(|news| news.media_type.as_deref() == Some(MEDIA_TYPE));
        let text = String::from_utf8(news.ok_or(NotHad::Form)?.body).map_err(|_| NotHad::Form)?;
        let unverified = UnverifiedRecord::parse(&text)?;
        let key = self.key(unverified.kid()).await?;
        let record = unverified.verify((&self.issuer, &key), clock::now())?;
        // It would be worth nothing: the key that it names is somebody else's.
        match self.is_own(&record) {
            true => Ok(record),
            false => Err(NotHad::Form),
        }
    }

    fn keep(&self, record: SignedRecord) {
        let is_news = self
            .own
            .borrow()
            .as_ref()
            .is_none_or(|held| held.text != record.text);
        if !is_news {
            return;
        }
        let path = self.path(RECORD_FILE);
        if let Err(reason) = write_private(&path, record.text.as_bytes(), true) {
            tracing::warn!(file = %path.display(), %reason, "this node's record could not be kept");
        }
        tracing::info!(
            issuer = self.issuer,
            expires_at = record.expires_at.0,
            "this node's record is renewed"
        );
        self.own.send_replace(Some(Arc::new(record)));
    }
}
