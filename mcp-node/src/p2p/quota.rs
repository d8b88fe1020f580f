//! What a stranger may send (P2P-10). Frames that open streams, update windows, ping or carry nothing are cheap to make and
//! have to be read before anything can be said of them, and what nobody asks for is kept until its stream ends. So a
//! connection has so many bytes, whatever they are, until its peer has proven itself; with more it is closed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::iter::Once;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::futures::future::BoxFuture;
use libp2p::futures::{AsyncRead, AsyncWrite, FutureExt as _, TryFutureExt as _};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

/// Bytes inside the encryption. Identify and the conversation of a proof are a tenth of it at most.
const MAX_BYTES: usize = 256 * 1024;

/// Whose connections have no limit any more. A clone is the same one.
#[derive(Clone, Default)]
pub(super) struct Quotas(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The operator's: what they send is what others send through them, each with a limit of its own.
    relays: HashSet<PeerId>,
    /// One entry for each peer that has a connection, so there are no more than connections.
    peers: Mutex<HashMap<PeerId, Weak<AtomicBool>>>,
}

impl Quotas {
    pub(super) fn new(relays: HashSet<PeerId>) -> Self {
        Self(Arc::new(Inner {
            relays,
            peers: Mutex::default(),
        }))
    }

    /// A peer is believed: it has shown its key, so this is for all connections with that key.
    pub(super) fn lift(&self, peer: &PeerId) {
        if let Some(is_lifted) = self.0.peers().get(peer).and_then(Weak::upgrade) {
            is_lifted.store(true, Ordering::Relaxed);
        }
    }

    fn meter<S>(&self, peer: PeerId, stream: S) -> Metered<S> {
        let is_lifted = {
            let mut peers = self.0.peers();
            let known = peers.get(&peer).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let is_lifted = Arc::new(AtomicBool::new(self.0.relays.contains(&peer)));
                peers.insert(peer, Arc::downgrade(&is_lifted));
                is_lifted
            })
        };
        Metered {
            stream,
            left: MAX_BYTES,
            peer,
            is_lifted,
            quotas: self.clone(),
        }
    }
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Weak<AtomicBool>>> {
        // Nothing under this lock panics half-way through a change.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of which so much is read and no more, until the limit is lifted.
pub(super) struct Metered<S> {
    stream: S,
    left: usize,
    peer: PeerId,
    is_lifted: Arc<AtomicBool>,
    quotas: Quotas,
}

impl<S> Drop for Metered<S> {
    fn drop(&mut self) {
        let mut peers = self.quotas.0.peers();
        // Those of this peer are made and dropped under the same lock.
        let mine = std::mem::take(&mut self.is_lifted);
        if Arc::strong_count(&mine) == 1 {
            peers.remove(&self.peer);
        }
        drop(mine);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if !self.is_lifted.load(Ordering::Relaxed) {
            self.left = match self.left.checked_sub(read) {
                Some(left) => left,
                None => {
                    tracing::info!(peer = %self.peer, "a peer that has proven nothing has sent too much");
                    return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
                }
            };
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Noise, and then the limit: by then it is known whose connection it is.
#[derive(Clone)]
pub(super) struct Security {
    noise: noise::Config,
    quotas: Quotas,
}

impl Security {
    pub(super) fn new(key: &Keypair, quotas: &Quotas) -> Result<Self, noise::Error> {
        Ok(Self {
            noise: noise::Config::new(key)?,
            quotas: quotas.clone(),
        })
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info()
    }
}

type Secured<S> = BoxFuture<'static, Result<(PeerId, Metered<noise::Output<S>>), noise::Error>>;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<S> for Security {
    type Output = (PeerId, Metered<noise::Output<S>>);
    type Error = noise::Error;
    type Future = Secured<S>;

    fn upgrade_inbound(self, stream: S, name: Self::Info) -> Self::Future {
        let Self { noise, quotas } = self;
        noise
            .upgrade_inbound(stream, name)
            .map_ok(move |(peer, stream)| (peer, quotas.meter(peer, stream)))
            .boxed()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<S> for Security {
    type Output = (PeerId, Metered<noise::Output<S>>);
    type Error = noise::Error;
    type Future = Secured<S>;

    fn upgrade_outbound(self, stream: S, name: Self::Info) -> Self::Future {
        let Self { noise, quotas } = self;
        noise
            .upgrade_outbound(stream, name)
            .map_ok(move |(peer, stream)| (peer, quotas.meter(peer, stream)))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::futures::AsyncReadExt as _;
    use libp2p::futures::io::Cursor;

    use super::*;

    fn sent(bytes: usize) -> Cursor<Vec<u8>> {
        Cursor::new(vec![0; bytes])
    }

    async fn read(connection: &mut Metered<Cursor<Vec<u8>>>) -> io::Result<usize> {
        connection.read_to_end(&mut Vec::new()).await
    }

    #[tokio::test]
    async fn p2p_10_a_stranger_sends_so_much_and_a_peer_more() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        let quotas = Quotas::new(HashSet::from([relay]));
        let mut polite = quotas.meter(peer, sent(MAX_BYTES));
        assert_eq!(read(&mut polite).await.unwrap(), MAX_BYTES);
        let mut flood = quotas.meter(peer, sent(MAX_BYTES + 1));
        let refusal = read(&mut flood).await.unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::QuotaExceeded);
        // Whoever has proven its key may go on, on the connections that it has and on further ones.
        quotas.lift(&peer);
        quotas.lift(&PeerId::random());
        for _ in 0..2 {
            let mut more = quotas.meter(peer, sent(2 * MAX_BYTES));
            assert_eq!(read(&mut more).await.unwrap(), 2 * MAX_BYTES);
        }
        let mut relayed = quotas.meter(relay, sent(2 * MAX_BYTES));
        assert_eq!(read(&mut relayed).await.unwrap(), 2 * MAX_BYTES);
        // Nothing is remembered of who is gone.
        drop((polite, flood, relayed));
        assert!(quotas.0.peers().is_empty());
        let mut again = quotas.meter(peer, sent(MAX_BYTES + 1));
        assert!(read(&mut again).await.is_err());
    }
}
