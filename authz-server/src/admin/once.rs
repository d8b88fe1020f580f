//! Creations that are repeated: whoever sends a request again with the same `Idempotency-Key`, to whichever instance,
//! gets the answer of the first time, and nothing happens twice (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::ask::{Answer, Stop};
use super::by::By;
use super::problem::{Code, Problem};
use crate::db::admin_request::{self, RequestRow};
use crate::db::{DbFault, Tx};
use crate::keys::MasterKey;

/// How long an answer is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest key.
const MAX_KEY: usize = 255;

/// A request with a key.
pub(super) struct Once<'a> {
    master: &'a MasterKey,
    request: SecretHash,
    content: SecretHash,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    body: Value,
    etag: Option<String>,
    location: Option<String>,
}

impl<'a> Once<'a> {
    /// The key in the header, of whoever asks, for this very request.
    pub(super) fn of(
        key: &str,
        by: &By,
        (method, path, body): (&str, &str, &[u8]),
        master: &'a MasterKey,
    ) -> Result<Self, Problem> {
        // A structured string by the draft; in the wild mostly bare.
        let bare = key
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(key);
        let is_key = !bare.is_empty() && bare.len() <= MAX_KEY && bare.bytes().all(|b| b.is_ascii_graphic());
        if !is_key {
            return Err(Problem::new(
                Code::InvalidRequest,
                "Idempotency-Key has 1 to 255 visible ASCII characters; make a new one for each request",
            ));
        }
        let [client_id, user_id] = by.key();
        // Ids and keys have no line ends.
        let request = format!("{client_id}\n{user_id}\n{bare}");
        let content = [format!("{method} {path}\n").as_bytes(), body].concat();
        Ok(Self {
            master,
            request: SecretHash::of(request.as_bytes()),
            content: SecretHash::of(&content),
        })
    }

    /// The answer of the first time, if there was one.
    pub(super) async fn begin(&self, tx: &mut Tx, now: UnixSeconds) -> Result<Option<Answer>, Stop> {
        let until = (now, now + REMEMBERED);
        let Some(known) = admin_request::begin(tx, &self.request, &self.content, until).await? else {
            return Ok(None);
        };
        self.repeat(&known).map(Some).map_err(Stop::from)
    }

    fn repeat(&self, known: &RequestRow) -> Result<Answer, Problem> {
        if known.content_hash != self.content.as_bytes() {
            return Err(Problem::new(
                Code::KeyReused,
                "this Idempotency-Key was sent with another request; make a new one",
            ));
        }
        let damaged = |reason: String| Problem::internal(format!("a remembered answer is damaged: {reason}"));
        let sealed = known.answer_sealed.as_deref().unwrap_or_default();
        let plain = self
            .master
            .open_value(&self.place(), sealed)
            .map_err(|fault| damaged(fault.to_string()))?;
        let kept: Kept = serde_json::from_slice(&plain).map_err(|fault| damaged(fault.to_string()))?;
        Ok(Answer {
            status: kept.status,
            body: kept.body,
            etag: kept.etag,
            location: kept.location,
        })
    }

    /// Keeps the answer.
    pub(super) async fn end(&self, tx: &mut Tx, answer: &Answer) -> Result<(), Stop> {
        let kept = Kept {
            status: answer.status,
            body: answer.body.clone(),
            etag: answer.etag.clone(),
            location: answer.location.clone(),
        };
        let unexpected = |reason: String| DbFault::Unexpected(reason);
        let plain = serde_json::to_vec(&kept).map_err(|fault| unexpected(fault.to_string()))?;
        let plain = zeroize::Zeroizing::new(plain);
        let sealed = self.master.seal_value(&self.place(), &plain);
        let sealed = sealed.map_err(|fault| unexpected(fault.to_string()))?;
        Ok(admin_request::answered(tx, &self.request, &sealed).await?)
    }

    /// Sealed with the row's name, so that answers cannot be swapped.
    fn place(&self) -> String {
        format!(
            "admin_request:{}",
            shared::jose::sha256_base64url(self.request.as_bytes())
        )
    }
}
