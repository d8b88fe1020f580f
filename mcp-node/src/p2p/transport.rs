//! The ways on which peers speak: TCP with Noise and yamux; QUIC, unless it is left out; and through relays that the
//! operator named.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, noise, relay, tcp, yamux};

use super::dial::{DialPolicy, Guarded};
use super::quota::{Quotas, Security};

/// Time for a whole handshake: Noise, and the choice of protocols (P2P-08, P2P-09).
const HANDSHAKE: Duration = Duration::from_secs(8);
/// Streams that a connection has at most.
const MAX_STREAMS: u16 = 64;

type Peers = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport of a node with this key. It calls whom `policy` permits, and reads of strangers what `quotas` leave them.
pub(super) fn build(
    key: &Keypair,
    policy: &Arc<DialPolicy>,
    quotas: &Quotas,
    relay: Option<relay::client::Transport>,
) -> Result<Peers, noise::Error> {
    let security = Security::new(key, quotas)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true));
    let direct = Guarded::new(tcp, policy)
        .upgrade(Version::V1Lazy)
        .authenticate(security.clone())
        .multiplex(multiplexer())
        .timeout(HANDSHAKE)
        .boxed();
    let direct = with_quic(direct, key, policy);
    let Some(relay) = relay else {
        return Ok(direct);
    };
    let relayed = Guarded::new(relay, policy)
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(multiplexer())
        .timeout(HANDSHAKE)
        .boxed();
    let either = relayed.or_transport(direct);
    Ok(either.map(|either, _| either.into_inner()).boxed())
}

#[cfg(feature = "quic")]
fn with_quic(direct: Peers, key: &Keypair, policy: &Arc<DialPolicy>) -> Peers {
    use libp2p::quic;

    /// What one stream may have sent that nobody has read yet, as with yamux, and all streams of a connection: there is
    /// no quota beside it, so it is less (P2P-10).
    const UNREAD: (u32, u32) = (256 * 1024, 1024 * 1024);

    let mut config = quic::Config::new(key);
    config.handshake_timeout = HANDSHAKE;
    config.max_concurrent_stream_limit = MAX_STREAMS.into();
    (config.max_stream_data, config.max_connection_data) = UNREAD;
    let quic = Guarded::new(quic::tokio::Transport::new(config), policy)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    direct
        .or_transport(quic)
        .map(|either, _| either.into_inner())
        .boxed()
}

#[cfg(not(feature = "quic"))]
fn with_quic(direct: Peers, _: &Keypair, _: &Arc<DialPolicy>) -> Peers {
    direct
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS.into());
    config
}
