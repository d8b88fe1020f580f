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
use crate::advertisement::{Advertisement, LONGEST};
use crate::identity::Identity;

/// The type among JWTs.
const TYPE: &str = "edge-hive-announcement+jwt";
/// A longer one is not read.
const MAX_BYTES: usize = 192 * 1024;
/// The clocks of two nodes may differ by this. How long one counts is its author's choice, up to [`LONGEST`]: in a large
/// fleet each speaks less often.
const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: Some(LONGEST),
    oldest: Some(LONGEST),
};
/// Authors whose latest number is remembered.
const MAX_AUTHORS: usize = 16_384;

/// One that was verified.
pub(super) struct Announcement {
    pub(super) record: SignedRecord,
    pub(super) number: u64,
    /// Until when it counts, and what it says.
    pub(super) expires_at: UnixSeconds,
    pub(super) advertisement: Advertisement,
}

/// Signs what this node says of itself; `number` is greater than every one before.
pub(super) fn sign(
    identity: &Identity,
    record: &str,
    advertisement: &Advertisement,
    (number, now): (u64, UnixSeconds),
) -> String {
    let expires_at = advertisement.expires_at;
    let advertisement: Value = serde_json::from_slice(&advertisement.to_bytes()).unwrap_or_default();
    let claims = json!({
        "iss": identity.peer_id(),
        "seq": number,
        "iat": now,
        "exp": expires_at,
        "record": record,
        "advertisement": advertisement,
    });
    identity.key().sign_jwt(TYPE, &claims)
}

/// Checks an announcement, whoever brought it. Asks nobody.
pub(super) fn verify(text: &str, trust: &Trust, now: UnixSeconds) -> Result<Announcement, NotProven> {
    let jwt = SignedJwt::parse(text, MAX_BYTES)?;
    if !jwt.has_type(&[TYPE], false) {
        return Err(JwtFault("its typ is that of another kind of JWT").into());
    }
    let record = jwt.unverified("record").ok_or(JwtFault("it has no record"))?;
    let record = trust.examine_known(record, now)?;
    let jwt = jwt.verify(&record.record.key()?)?;
    if jwt.text("iss")? != Some(&record.record.peer_id) {
        return Err(NotProven::OtherPeer);
    }
    let expires_at = jwt.check_times(TIMES, now)?;
    let number = jwt.claims().get("seq").and_then(Value::as_u64);
    let number = number.ok_or(JwtFault("it has no number"))?;
    let said = jwt.claims().get("advertisement").cloned().unwrap_or_default();
    let advertisement = Advertisement::parse(said.to_string().as_bytes())
        .map_err(|_| JwtFault("what it says of itself has another form"))?;
    if advertisement.peer_id != record.record.peer_id {
        return Err(NotProven::OtherPeer);
    }
    Ok(Announcement {
        record,
        number,
        expires_at,
        advertisement,
    })
}

/// The latest number of each author, and when its announcement is over. All of them are nodes of the fleet.
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
            numbers.retain(|_, (_, over)| now < *over + TIMES.leeway);
            if numbers.len() >= MAX_AUTHORS {
                return false;
            }
        }
        numbers.insert(author.clone(), (announcement.number, announcement.expires_at));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::tests::{good, record};
    use super::*;
    use crate::advertisement::LIFE;
    use crate::testing::Forge;
    use shared::clock;

    fn advertisement(identity: &Identity, now: UnixSeconds) -> Advertisement {
        let mut said = crate::advertisement::tests::of_key(*identity.key().public());
        (said.issued_at, said.expires_at) = (now, now + LIFE);
        said
    }

    #[tokio::test]
    async fn p2p_04_an_announcement_is_its_authors_new_and_soon_over() {
        let (_server, forge) = Forge::published().await;
        let (author, reader) = (good(&forge).await, good(&forge).await);
        let now = clock::now();
        let identity = &author.trust.identity;
        let of_author = record(&forge, identity, now, |_| {});
        let said = advertisement(identity, now);
        let at = |number, at| sign(identity, &of_author, &advertisement(identity, at), (number, at));
        let numbers = Numbers::default();
        let read = |text: &str, now| {
            let announcement = verify(text, &reader.trust, now).ok()?;
            Some(numbers.take(&announcement, now))
        };
        assert_eq!(read(&at(5, now), now), Some(true));
        // P2P-04: again, or an older one.
        assert_eq!(read(&at(5, now), now), Some(false));
        assert_eq!(read(&at(4, now), now), Some(false));
        assert_eq!(read(&at(6, now), now), Some(true));
        let hour = Duration::from_secs(3600);
        assert_eq!(read(&at(7, now - hour), now), None, "over");
        let over = verify(&at(7, now - hour), &reader.trust, now);
        assert!(matches!(over, Err(NotProven::Jwt(fault)) if fault.is_of_times()));
        assert_eq!(read(&at(8, now + hour), now), None, "of the future");
        // How long one counts is what it says, up to an hour.
        let mut long = advertisement(identity, now - hour / 2);
        long.expires_at = now + hour / 2;
        let in_the_middle = sign(identity, &of_author, &long, (8, now - hour / 2));
        assert_eq!(read(&in_the_middle, now), Some(true));
        long.expires_at = now + hour * 2;
        let too_long = sign(identity, &of_author, &long, (9, now));
        assert_eq!(read(&too_long, now), None);
        // In another's name, with another's record, of another node.
        let other = &reader.trust.identity;
        let of_other = record(&forge, other, now, |_| {});
        let not_ours = advertisement(other, now);
        for bad in [
            sign(other, &of_author, &said, (9, now)),
            sign(identity, &of_other, &said, (9, now)),
            sign(identity, &of_author, &not_ours, (9, now)),
            sign(identity, "x", &said, (9, now)),
            identity
                .key()
                .sign_jwt("edge-hive-peer-proof+jwt", &json!({"record": of_author})),
            "x".to_owned(),
        ] {
            assert_eq!(read(&bad, now), None, "{bad}");
        }
        assert_eq!(read(&at(10, now), now), Some(true));
        reader.trust.peers.revoked(&identity.peer_id());
        assert_eq!(read(&at(11, now), now), None, "cut off");
    }
}
