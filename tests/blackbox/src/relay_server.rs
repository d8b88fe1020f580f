//! A circuit relay of stock libp2p, as an operator would run one for nodes behind NAT. It keeps what it has seen.
#![expect(missing_docs, reason = "the derive of libp2p writes an enum of events")]

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libp2p::futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, relay, tcp, yamux};
use tokio::sync::oneshot;

/// What such a relay speaks.
#[derive(NetworkBehaviour)]
pub struct Speech {
    relay: relay::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
}

/// The relay. It ends when this is dropped.
pub struct RelayServer {
    /// Where it is, with its name.
    pub address: String,
    seen: Arc<Mutex<Seen>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    /// Whoever has connected, each time.
    came: Vec<PeerId>,
    /// Whoever has gone.
    gone: Vec<PeerId>,
    reserved: Vec<PeerId>,
    /// From whom to whom it has relayed.
    circuits: Vec<(PeerId, PeerId)>,
}

impl RelayServer {
    /// Starts one on a loopback port.
    ///
    /// # Panics
    /// When libp2p does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(&Keypair::generate_ed25519(), 0)
    }

    /// One with this key on this port, as it was before it was stopped.
    ///
    /// # Panics
    /// When libp2p does not start.
    #[must_use]
    pub fn start_as(key: &Keypair, port: u16) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = oneshot::channel();
        let (told, address) = mpsc::channel();
        let (key, keeps) = (key.clone(), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let mut swarm = swarm(key);
                swarm
                    .listen_on(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap())
                    .unwrap();
                tokio::select! {
                    () = relay_on(&mut swarm, &keeps, &told) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where a peer is reached through this relay.
    #[must_use]
    pub fn circuit_to(&self, peer: &str) -> String {
        format!("{}/p2p-circuit/p2p/{peer}", self.address)
    }

    /// Whether a peer may be reached through it.
    #[must_use]
    pub fn has_reserved(&self, peer: &str) -> bool {
        self.has_seen(|seen| has(&seen.reserved, peer))
    }

    /// Whether it relayed from one peer to another.
    #[must_use]
    pub fn has_relayed(&self, from: &str, to: &str) -> bool {
        let is_it = |circuit: &(PeerId, PeerId)| circuit.0.to_base58() == from && circuit.1.to_base58() == to;
        self.has_seen(|seen| seen.circuits.iter().any(is_it))
    }

    /// Whether a peer has ever connected.
    #[must_use]
    pub fn was_called_by(&self, peer: &str) -> bool {
        self.has_seen(|seen| has(&seen.came, peer))
    }

    /// Whether a connection of a peer has ever ended.
    #[must_use]
    pub fn was_left_by(&self, peer: &str) -> bool {
        self.has_seen(|seen| has(&seen.gone, peer))
    }

    fn has_seen(&self, what: impl Fn(&Seen) -> bool) -> bool {
        what(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn has(peers: &[PeerId], wanted: &str) -> bool {
    peers.iter().any(|peer| peer.to_base58() == wanted)
}

fn swarm(key: Keypair) -> Swarm<Speech> {
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|pair| Speech {
            relay: relay::Behaviour::new(pair.public().to_peer_id(), relay::Config::default()),
            ping: ping::Behaviour::default(),
            identify: identify::Behaviour::new(identify::Config::new("stock/1".to_owned(), pair.public())),
        })
        .unwrap()
        .build()
}

async fn relay_on(swarm: &mut Swarm<Speech>, seen: &Mutex<Seen>, told: &mpsc::Sender<String>) {
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::NewListenAddr { address, .. } = &event {
            let address: Multiaddr = address.clone().with_p2p(*swarm.local_peer_id()).unwrap();
            // It tells those who reserve a place where it is.
            swarm.add_external_address(address.clone());
            told.send(address.to_string()).unwrap();
        }
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => seen.came.push(peer_id),
            SwarmEvent::ConnectionClosed { peer_id, .. } => seen.gone.push(peer_id),
            SwarmEvent::Behaviour(SpeechEvent::Relay(relay::Event::ReservationReqAccepted {
                src_peer_id,
                ..
            })) => seen.reserved.push(src_peer_id),
            SwarmEvent::Behaviour(SpeechEvent::Relay(relay::Event::CircuitReqAccepted {
                src_peer_id,
                dst_peer_id,
            })) => seen.circuits.push((src_peer_id, dst_peer_id)),
            _ => {}
        }
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
