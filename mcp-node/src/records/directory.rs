//! The directory of nodes: who left it is cut off, and who is in it may be tried.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use shared::clock;
use shared::fleet::record::{MAX_DIRECTORY_BYTES, NodeRecord, SignedDirectory, UnverifiedDirectory};
use shared::http_client::Question;
use shared::jose::sha256_base64url;
use shared::tls::write_private;
use tokio::time::{sleep, timeout};
use url::{Host, Url};

use super::{DIRECTORY_FILE, Inner, NotHad, spread};
use crate::peers::{Peers, Source};

/// `application/` and the type.
const MEDIA_TYPE: &str = "application/edge-hive-nodes+jwt";
/// The directory is asked for no more often than this, and no less often than the second value.
const EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// A large one less often: so many bytes a second on average, of which a node of a fleet of 10 000 takes 6 MB.
const BYTES_PER_SECOND: u64 = 4096;
/// The pause after the first attempt that failed; it doubles up to the shortest interval.
const BACK_OFF: Duration = Duration::from_secs(2);
/// Nodes that are tried because of the directory. A fleet that is larger finds itself through those.
const MAX_NEIGHBOURS: usize = 32;
/// Where a node listens unless it is told otherwise.
const PORT: u16 = 4001;
/// Looking up one name.
const LOOK_UP: Duration = Duration::from_secs(2);
/// Addresses that are kept of one name.
const MAX_PLACES: usize = 3;

impl Inner {
    /// Fetches it again and again. What was kept is taken up first.
    pub(super) async fn keep_directory(&self, peers: &Peers) {
        self.read_directory(peers).await;
        let mut back_off = BACK_OFF;
        let mut etag = None;
        let mut was_named = true;
        loop {
            let pause = match self.fetch_directory(&mut etag).await {
                Ok(Some((directory, text))) => {
                    back_off = BACK_OFF;
                    peers.directory(&directory);
                    let is_named = directory.nodes.iter().any(|node| node.peer_id == self.peer_id);
                    if was_named && !is_named {
                        tracing::warn!(issuer = self.issuer, "the directory does not name this node");
                    }
                    was_named = is_named;
                    self.name_neighbours(&directory, peers).await;
                    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                    self.keep_on_disk(text).await;
                    Duration::from_secs(bytes / BYTES_PER_SECOND).clamp(EVERY.0, EVERY.1)
                }
                Ok(None) => EVERY.0,
                Err(reason) => {
                    if back_off == BACK_OFF {
                        tracing::warn!(issuer = self.issuer, %reason, "the directory of nodes cannot be had");
                    }
                    let pause = back_off;
                    back_off = (back_off * 2).min(EVERY.0);
                    pause
                }
            };
            sleep(spread(pause)).await;
        }
    }

    async fn fetch_directory(
        &self,
        etag: &mut Option<String>,
    ) -> Result<Option<(SignedDirectory, String)>, NotHad> {
        let question = Question {
            accept: MEDIA_TYPE,
            etag: etag.as_deref(),
            wait: Duration::ZERO,
            max_bytes: MAX_DIRECTORY_BYTES,
        };
        let Some(news) = self.client.fetch_news(&self.directory_uri, question).await? else {
            return Ok(None);
        };
        if news.media_type.as_deref() != Some(MEDIA_TYPE) {
            return Err(NotHad::Form);
        }
        let text = String::from_utf8(news.body).map_err(|_| NotHad::Form)?;
        let unverified = UnverifiedDirectory::parse(&text)?;
        let key = self.key(unverified.kid()).await?;
        let directory = unverified.verify((&self.issuer, &key), clock::now())?;
        *etag = news.etag;
        Ok(Some((directory, text)))
    }

    /// What was kept, if it still counts.
    async fn read_directory(&self, peers: &Peers) {
        let text = tokio::fs::read_to_string(self.path(DIRECTORY_FILE)).await;
        let Ok(text) = text else {
            return;
        };
        let read = UnverifiedDirectory::parse(text.trim())
            .ok()
            .and_then(|unverified| {
                let key = self.known_key(unverified.kid())?;
                unverified.verify((&self.issuer, &key), clock::now()).ok()
            });
        if let Some(directory) = read {
            peers.directory(&directory);
            self.name_neighbours(&directory, peers).await;
        }
    }

    async fn keep_on_disk(&self, text: String) {
        let path = self.path(DIRECTORY_FILE);
        let written = tokio::task::spawn_blocking(move || write_private(&path, text.as_bytes(), true)).await;
        if let Ok(Err(reason)) = written {
            tracing::warn!(%reason, "the directory of nodes could not be kept");
        }
    }

    /// Tells of a few nodes of the directory, others at each node: where they serve, they may listen for peers too.
    async fn name_neighbours(&self, directory: &SignedDirectory, peers: &Peers) {
        for node in neighbours(&self.peer_id, &directory.nodes) {
            let places = places(&node.resource).await;
            let addresses: Vec<String> = places
                .iter()
                .map(|place| match place {
                    IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/{PORT}"),
                    IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/{PORT}"),
                })
                .collect();
            if !addresses.is_empty() {
                let lasts = directory.expires_at.since(clock::now());
                peers.heard(&node.peer_id, Source::Directory, &addresses, Some(lasts));
            }
        }
    }
}

/// At most [`MAX_NEIGHBOURS`] nodes, chosen by who asks: each node has its own, and each is chosen by as many.
fn neighbours<'d>(own: &str, nodes: &'d [NodeRecord]) -> Vec<&'d NodeRecord> {
    let mut seen = HashSet::new();
    let mut all: Vec<_> = nodes
        .iter()
        .filter(|node| node.peer_id != own && seen.insert(&node.peer_id))
        .map(|node| {
            (
                sha256_base64url(format!("{own} {}", node.peer_id).as_bytes()),
                node,
            )
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.truncate(MAX_NEIGHBOURS);
    all.into_iter().map(|(_, node)| node).collect()
}

/// The addresses of a resource's host. The server has let the operator's node have that name.
async fn places(resource: &str) -> Vec<IpAddr> {
    let url: Option<Url> = resource.parse().ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Ipv4(ip)) => vec![ip.into()],
        Some(Host::Ipv6(ip)) => vec![ip.into()],
        Some(Host::Domain(name)) => {
            let found = timeout(LOOK_UP, tokio::net::lookup_host((name, PORT))).await;
            let found = found.ok().and_then(Result::ok);
            let found = found.into_iter().flatten().map(|place| place.ip());
            // A node on this machine is found in other ways.
            found.filter(|ip| !ip.is_loopback()).take(MAX_PLACES).collect()
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::fleet::name;

    use super::*;

    fn node(n: u32) -> NodeRecord {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        serde_json::from_value(json!({
            "node_id": name::node_id(&key), "peer_id": name::peer_id(&key), "name": "n", "resource": "r",
            "capabilities": [], "enrolled_at": 0, "cnf": {"jwk": {}},
        }))
        .unwrap()
    }

    #[test]
    fn each_node_has_its_own_neighbours_and_none_is_everybodys() {
        let all: Vec<_> = (0..300).map(node).collect();
        let mut chosen: Vec<usize> = vec![0; all.len()];
        for own in &all {
            let near = neighbours(&own.peer_id, &all);
            assert_eq!(near.len(), MAX_NEIGHBOURS);
            assert!(near.iter().all(|node| node.peer_id != own.peer_id));
            for (at, node) in all.iter().enumerate() {
                chosen[at] += usize::from(near.iter().any(|near| near.peer_id == node.peer_id));
            }
        }
        // 32 of each on average; nobody is left out.
        assert!(chosen.iter().all(|count| (8..80).contains(count)), "{chosen:?}");
        assert_eq!(neighbours(&all[0].peer_id, &all[..5]).len(), 4);
    }

    #[tokio::test]
    async fn a_node_is_where_it_serves_but_not_on_this_machine() {
        assert_eq!(
            places("https://192.0.2.7/mcp").await,
            ["192.0.2.7".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            places("https://[2001:db8::7]/mcp").await,
            ["2001:db8::7".parse::<IpAddr>().unwrap()]
        );
        assert!(places("http://localhost:8080/mcp").await.is_empty());
        assert!(places("urn:x").await.is_empty());
    }
}
