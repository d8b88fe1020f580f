//! How many key sets are fetched for whom, counted before anything is sent: for one address that asks, so that nobody
//! takes every seat of the fetcher, and from one host, so that nobody has us flood it.

use ::web::address::ClientAddress;
use ::web::rates::{KeyedLimit, Rate};
use url::Url;

use super::KeysFault;
use crate::client::Client;

/// The limits of one server.
pub(super) struct Budget {
    per_address: KeyedLimit,
    per_host: KeyedLimit,
}

/// On whose account a fetch is made.
pub(super) struct Asker<'a> {
    budget: &'a Budget,
    from: ClientAddress,
    is_known: bool,
}

impl Budget {
    pub(super) fn new(per_address: Rate, per_host: Rate) -> Self {
        Self {
            per_address: KeyedLimit::new(per_address),
            per_host: KeyedLimit::new(per_host),
        }
    }

    pub(super) fn limits(&self) -> [KeyedLimit; 2] {
        [self.per_address.clone(), self.per_host.clone()]
    }

    /// `from` shows something of `client`.
    pub(super) fn asker(&self, from: ClientAddress, client: &Client) -> Asker<'_> {
        let is_kept = |document: &crate::client::Document| document.is_kept();
        Asker {
            budget: self,
            from,
            is_known: client.is_trusted() || client.document.as_ref().is_some_and(is_kept),
        }
    }
}

impl Asker<'_> {
    /// Counts a fetch of `url`. A client that an operator registered or that somebody has allowed something is not
    /// counted against its host: strangers who name that host must not use its share up.
    pub(super) fn count(&self, url: &Url) -> Result<(), KeysFault> {
        let key = self.from.limit_key();
        self.budget.per_address.check(key).map_err(KeysFault::Limited)?;
        if self.is_known {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        let counted = self.budget.per_host.check(host);
        counted.map_err(|exceeded| KeysFault::Away {
            reason: "too many key sets of that host were fetched".to_owned(),
            wait: exceeded.wait(),
        })
    }
}
