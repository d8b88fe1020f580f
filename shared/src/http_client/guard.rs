//! Fetching from addresses that a stranger named: client metadata documents, key sets of clients.
//!
//! The decision falls on the address that is connected to. A host is resolved once, every address of it is checked, and
//! the connection can go to those and to nothing else: there is no second look-up that could answer differently.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Url};

use super::rule::GuardRule;
use super::{CONNECT_TIMEOUT, ClientFault, Fetched, TOTAL_TIMEOUT, receive, special_use, tls_config};
use crate::secret::random_bytes;

/// Fetches under way at most.
const FETCHES: usize = 64;
/// Look-ups of names under way at most. One whose fetch has given up goes on until the resolver gives up as well.
const LOOKUPS: usize = 32;

/// Brings the addresses of a host. Blocks.
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Nothing came of it. The text is the same whatever the reason: whoever named the address learns nothing about our
/// network.
#[derive(Debug)]
pub struct GuardFault {
    reason: String,
    is_busy: bool,
}

impl fmt::Display for GuardFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address brought no usable answer")
    }
}

impl std::error::Error for GuardFault {}

impl GuardFault {
    /// Why, for the log and for nobody else.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether nothing was tried, because too much was under way here: it says nothing about the address.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    fn busy(reason: &str) -> Self {
        Self {
            is_busy: true,
            ..Self::from(reason.to_owned())
        }
    }
}

impl From<String> for GuardFault {
    fn from(reason: String) -> Self {
        Self {
            reason,
            is_busy: false,
        }
    }
}

impl From<&str> for GuardFault {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

/// Which addresses are this server's own, and therefore never fetched from.
#[derive(Clone, Default, Debug)]
pub struct Own {
    /// The host of the issuer; may be named in a rule all the same.
    pub host: Option<String>,
    /// Every listen address.
    pub listen: Vec<SocketAddr>,
}

/// The client for addresses that a stranger named. Cheap to clone.
#[derive(Clone)]
pub struct GuardedClient(Arc<Inner>);

struct Inner {
    rules: Vec<(GuardRule, rustls::ClientConfig)>,
    public: rustls::ClientConfig,
    own: Own,
    lookup: Arc<Lookup>,
    fetches: Semaphore,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedClient({} rules)", self.0.rules.len())
    }
}

impl GuardedClient {
    /// A client that fetches from public addresses, and from what `rules` open.
    pub fn new(rules: Vec<GuardRule>, own: Own) -> Result<Self, ClientFault> {
        let system = |host: &str, port| (host, port).to_socket_addrs().map(Iterator::collect);
        Self::with_lookup(rules, own, Arc::new(system))
    }

    fn with_lookup(rules: Vec<GuardRule>, own: Own, lookup: Arc<Lookup>) -> Result<Self, ClientFault> {
        let rules = rules.into_iter().map(|rule| {
            let tls = tls_config(rule.ca_file.as_deref())?;
            Ok((rule, tls))
        });
        Ok(Self(Arc::new(Inner {
            rules: rules.collect::<Result<_, _>>()?,
            public: tls_config(None)?,
            own,
            lookup,
            fetches: Semaphore::new(FETCHES),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        })))
    }

    /// Fetches a JSON document of at most `max_bytes`.
    pub async fn fetch_json(&self, url: &Url, max_bytes: usize) -> Result<Fetched, GuardFault> {
        let attempt = tokio::time::timeout(TOTAL_TIMEOUT, self.0.fetch(url, max_bytes));
        match attempt.await {
            Ok(Ok(fetched)) => Ok(fetched),
            Ok(Err(fault)) => {
                linger().await;
                Err(fault)
            }
            Err(_) => Err("no answer in time".into()),
        }
    }
}

impl Inner {
    async fn fetch(&self, url: &Url, max_bytes: usize) -> Result<Fetched, GuardFault> {
        if url.scheme() != "https" {
            return Err("it is not https".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or a password".into());
        }
        let _seat = self
            .fetches
            .try_acquire()
            .map_err(|_| GuardFault::busy("too many fetches are under way"))?;
        let rule = self.rules.iter().find(|(rule, _)| rule.is_for(url));
        // A dot at the end makes it no other host.
        let host = url.host_str().map(|host| host.trim_end_matches('.'));
        if rule.is_none() && host == self.own.host.as_deref() {
            return Err("it is the host of this server".into());
        }
        let addresses = self.addresses(url).await?;
        for address in &addresses {
            self.check(*address, rule.map(|(rule, _)| rule))?;
        }
        let tls = rule.map_or(&self.public, |(_, tls)| tls);
        let client = pinned(tls.clone(), url, addresses).map_err(|fault| fault.to_string())?;
        receive(client.get(url.clone()), max_bytes)
            .await
            .map_err(|fault| fault.to_string().into())
    }

    /// Where a connection to `url` may end.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, GuardFault> {
        let port = url.port_or_known_default().unwrap_or(443);
        let name = match url.host() {
            Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Domain(name)) => name.to_owned(),
            None => return Err("it has no host".into()),
        };
        let seat = Arc::clone(&self.lookups).try_acquire_owned();
        let seat = seat.map_err(|_| GuardFault::busy("too many names are being looked up"))?;
        let lookup = Arc::clone(&self.lookup);
        let found = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            lookup(&name, port)
        });
        match found.await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) => Err("the host has no address".into()),
            Ok(Err(fault)) => Err(format!("the host cannot be resolved: {fault}").into()),
            Err(_) => Err("the look-up has stopped".into()),
        }
    }

    fn check(&self, address: SocketAddr, rule: Option<&GuardRule>) -> Result<(), String> {
        let ip = address.ip();
        if let Some(purpose) = special_use::purpose(ip)
            && !rule.is_some_and(|rule| rule.opens(ip))
        {
            return Err(format!("it leads to {ip} ({purpose}), which no rule opens"));
        }
        let reached = special_use::reached(ip);
        let is_ours = |listen: &SocketAddr| {
            let is_here = listen.ip() == reached || (listen.ip().is_unspecified() && reached.is_loopback());
            is_here && listen.port() == address.port()
        };
        if self.own.listen.iter().any(is_ours) {
            return Err(format!("{address} is this server itself"));
        }
        Ok(())
    }
}

/// A client for one fetch that can connect to `addresses` only. How long all of it may take, whoever fetches says.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn pinned(
    tls: rustls::ClientConfig,
    url: &Url,
    addresses: Vec<SocketAddr>,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Pinned {
            host: url.host_str().unwrap_or_default().to_owned(),
            addresses,
        })
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .build()
}

/// Gives the addresses that were checked, for the host that they were checked for.
struct Pinned {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let found = if name.as_str() == self.host {
            Ok(Box::new(self.addresses.clone().into_iter()) as Addrs)
        } else {
            Err("another host than the one that was checked".into())
        };
        Box::pin(std::future::ready(found))
    }
}

/// Waits 50 to 305 ms before a refusal, so that its time does not tell a refused address from a closed port.
async fn linger() {
    let [random] = random_bytes::<1>().unwrap_or([128]);
    tokio::time::sleep(Duration::from_millis(50 + u64::from(random))).await;
}

#[cfg(test)]
mod tests;
