//! Which access tokens were taken back, as far as somebody has asked: bounded, and exact as of the last catch-up.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::changes::{Changes, Memory};
use crate::db::change::{Change, MANY, Noun};
use crate::db::{self, Db, DbFault};

/// Tokens whose state is kept in memory.
const TOKENS: usize = 50_000;

pub(crate) struct Revocations {
    /// Token id or family id to "was taken back".
    known: Cache<String, bool>,
}

impl Revocations {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            known: Cache::new(TOKENS),
        })
    }

    /// Whether the token was taken back, as of the caller's last [`Changes::catch_up`].
    pub(crate) async fn contain(&self, db: &Db, changes: &Changes, token_id: &str) -> Result<bool, DbFault> {
        if let Some(known) = self.known.get(token_id) {
            return Ok(known);
        }
        let epoch = changes.epoch();
        let revoked = db::revoked_token::exists(db, token_id).await?;
        let is_its = |change: &Change| change.is_about(Noun::Token, token_id);
        changes.fill(epoch, is_its, || self.known.insert(token_id.to_owned(), revoked));
        Ok(revoked)
    }
}

impl Memory for Revocations {
    fn forget(&self, change: &Change) {
        match change.noun() {
            Some(Noun::Token) if change.subject == MANY => self.forget_all(),
            Some(Noun::Token) => {
                self.known.remove(&change.subject);
            }
            Some(_) => {}
            None => self.forget_all(),
        }
    }

    fn forget_all(&self) {
        self.known.clear();
    }
}
