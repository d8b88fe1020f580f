//! How much may be open at once. Anybody can begin something here, and what they begin is kept for minutes. Once very
//! much is open, each address may begin a little more and then waits: whoever floods from one keeps nobody else out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};

use ::web::address::ClientAddress;
use ::web::rates::{KeyedLimit, Rate};
use actix_web::HttpRequest;
use shared::clock::UnixSeconds;

use super::Browser;
use crate::app::App;
use crate::db::interaction::InteractionRow;
use crate::db::{self, Db, DbFault};
use crate::error::Failure;

/// Rows of 2 KiB at most, usually a quarter of that. From here on addresses are told apart.
const ROOM: i64 = 100_000;
/// A longer row finds as much less room: when all are that long, what is open takes no more bytes.
const USUAL_BYTES: usize = 2048;
/// Nobody begins anything any more: the flood comes from everywhere.
const FULL: i64 = 2 * ROOM;
/// What one address may begin while there is no room: what an office behind one address needs.
const PER_ADDRESS: Rate = Rate::per_hour(NonZeroU32::MIN.saturating_add(119));

/// What is known of how much is open.
pub(crate) struct Crowd {
    /// Counted once a second, and in between as it is begun here.
    open: AtomicI64,
    pub(super) counted_at: AtomicI64,
    /// By address, while there is no room.
    pub(crate) late: KeyedLimit,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicI64::new(0),
            counted_at: AtomicI64::new(0),
            late: KeyedLimit::new(PER_ADDRESS),
        }
    }

    /// Lets one more begin something that is so long, or says when to come back.
    pub(super) async fn admit(
        &self,
        db: &Db,
        (address, bytes): (IpAddr, usize),
        now: UnixSeconds,
    ) -> Result<(), Failure> {
        if self.counted_at.swap(now.0, Ordering::AcqRel) != now.0 {
            let open = db::interaction::count(db, now, FULL).await?;
            self.open.store(open, Ordering::Release);
        }
        let weight = i64::try_from(bytes.div_ceil(USUAL_BYTES).max(1)).unwrap_or(i64::MAX);
        match self.open.load(Ordering::Acquire).saturating_mul(weight) {
            FULL.. => return Err(DbFault::Unavailable("too much is open".to_owned()).into()),
            ROOM.. => self.late.check(address)?,
            _ => {}
        }
        self.open.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// Keeps what a browser has begun, if there is room for it. The only way to begin anything.
pub(crate) async fn open(
    app: &App,
    request: &HttpRequest,
    (row, browser): (&InteractionRow, &Browser),
    ends: UnixSeconds,
) -> Result<(), Failure> {
    let address = ClientAddress::of(request).limit_key();
    let now = UnixSeconds(row.started_at);
    let who = (address, row.content.len());
    app.crowd.admit(&app.db, who, now).await?;
    Ok(db::interaction::open(&app.db, row, &browser.hash(), ends).await?)
}
