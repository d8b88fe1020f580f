//! What a node says of itself, signed, so that it may be passed on (P2P-04): it names its author, carries what the
//! authorization server says of them, counts upwards, and is over soon.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::UnixSeconds;
use shared::fleet::record::SignedRecord;
use shared::signed_jwt::{JwtFault, SignedJwt, Times};

use super::proof::{NotProven, Trust};
use crate::advertisement::{Advertisement, LIFE};
use crate::identity::Identity;

/// The type among JWTs.
const TYPE: &str = "edge-hive-announcement+jwt";
/// A longer one is not read.
const MAX_BYTES: usize = 192 * 1024;
/// The clocks of two nodes may differ by this, and none counts for longer than [`LIFE`].
const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: Some(LIFE),
    oldest: Some(LIFE),
};
/// Authors whose latest number is remembered.
const MAX_AUTHORS: usize = 8192;

/// One that was verified.
pub(super) struct Announcement {
    pub(super) record: SignedRecord,
    pub(super) number: u64,
    pub(super) issued_at: UnixSeconds,
    pub(super) advertisement: Advertisement,
}

/// Signs what this node says of itself; `number` is greater than every one before.
pub(super) fn sign(
    identity: &Identity,
    record: &str,
    advertisement: &Advertisement,
    (number, now): (u64, UnixSeconds),
) -> String {
    let advertisement: Value = serde_json::from_slice(&advertisement.to_bytes()).unwrap_or_default();
    let claims = json!({
        "iss": identity.peer_id(),
        "seq": number,
        "iat": now,
        "exp": now + LIFE,
        "record": record,
        "advertisement": advertisement,
    });
    identity.key().sign_jwt(TYPE, &claims)
}

/// Checks an announcement, whoever brought it.
pub(super) async fn verify(text: &str, trust: &Trust, now: UnixSeconds) -> Result<Announcement, NotProven> {
    let jwt = SignedJwt::parse(text, MAX_BYTES)?;
    if !jwt.has_type(&[TYPE], false) {
        return Err(JwtFault("its typ is that of another kind of JWT").into());
    }
    let record = jwt.unverified("record").ok_or(JwtFault("it has no record"))?;
    let record = trust.examine(record, now).await?;
    let jwt = jwt.verify(&record.record.key()?)?;
    if jwt.text("iss")? != Some(&record.record.peer_id) {
        return Err(NotProven::OtherPeer);
    }
    jwt.check_times(TIMES, now)?;
    let number = jwt.claims().get("seq").and_then(Value::as_u64);
    let number = number.ok_or(JwtFault("it has no number"))?;
    let issued_at = jwt.time("iat")?.ok_or(JwtFault("iat is missing"))?;
    let said = jwt.claims().get("advertisement").cloned().unwrap_or_default();
    let advertisement = Advertisement::parse(said.to_string().as_bytes())
        .map_err(|_| JwtFault("what it says of itself has another form"))?;
    if advertisement.peer_id != record.record.peer_id {
        return Err(NotProven::OtherPeer);
    }
    Ok(Announcement {
        record,
        number,
        issued_at,
        advertisement,
    })
}

/// The latest number of each author. All of them are nodes of the fleet.
#[derive(Default)]
pub(super) struct Numbers(Mutex<HashMap<String, (u64, UnixSeconds)>>);

impl Numbers {
    /// Whether `announcement` is newer than every one of its author before.
    pub(super) fn take(&self, announcement: &Announcement, now: UnixSeconds) -> bool {
        let author = &announcement.record.record.peer_id;
        // Nothing under this lock panics half-way through a change.
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers
            .get(author)
            .is_some_and(|(number, _)| announcement.number <= *number)
        {
            return false;
        }
        if numbers.len() >= MAX_AUTHORS && !numbers.contains_key(author) {
            // What is over by its own time cannot come again.
            numbers.retain(|_, (_, at)| now.since(*at) <= LIFE + TIMES.leeway * 2);
            if numbers.len() >= MAX_AUTHORS {
                return false;
            }
        }
        numbers.insert(author.clone(), (announcement.number, announcement.issued_at));
        true
    }
}
