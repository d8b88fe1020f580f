//! A peer of stock libp2p, written from docs/fleet.md: good, strange or hostile, as a test wants it.
#![expect(missing_docs, reason = "the derive of libp2p writes an enum of events")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::{Keypair, ed25519};
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::{self, Event, Message};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify, kad, noise, ping,
    tcp, yamux,
};
use serde_json::{Value, json};

use crate::exchange::{self, Json};
use crate::forge::Key;

/// The protocol in which peers prove themselves.
pub const PROOF: &str = "/edge-hive/proof/1";
/// How long a peer waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What such a peer speaks.
#[derive(NetworkBehaviour)]
pub struct Speech {
    /// As everybody has it.
    pub ping: ping::Behaviour,
    /// As everybody has it.
    pub identify: identify::Behaviour,
    /// Under the name of Edge Hive.
    pub kad: kad::Behaviour<MemoryStore>,
    /// Under the name of Edge Hive.
    pub gossip: gossipsub::Behaviour,
    /// What peers ask each other.
    pub exchange: request_response::Behaviour<Json>,
    /// Streams of any protocol, to write to them whatever one likes.
    pub streams: Streams,
}

/// The peer.
pub struct RawPeer {
    /// Its network.
    pub swarm: Swarm<Speech>,
    /// Its name.
    pub id: PeerId,
    /// What it answers when it is asked something (`/edge-hive/exchange/1`).
    pub answer: Answer,
    /// What it was asked.
    pub asked: Vec<Value>,
    /// What it was told last of what another speaks.
    pub told: Option<identify::Info>,
}

/// What a peer answers.
pub type Answer = Box<dyn Fn(&Value) -> Value + Send>;

impl RawPeer {
    /// A peer with this key, and what it says of its program.
    ///
    /// # Panics
    /// When libp2p does not take the key.
    #[must_use]
    pub fn new(key: &Key, agent: &str) -> Self {
        Self::with_backoff(key, agent, Duration::from_secs(1))
    }

    /// The same; when it leaves a topic, others are not to take it up again before `backoff` is over.
    ///
    /// # Panics
    /// When libp2p does not take the key.
    #[must_use]
    pub fn with_backoff(key: &Key, agent: &str, backoff: Duration) -> Self {
        let mut bytes = key.ed25519_bytes();
        let pair = Keypair::from(ed25519::Keypair::try_from_bytes(&mut bytes).unwrap());
        let id = pair.public().to_peer_id();
        let agent = agent.to_owned();
        let swarm = SwarmBuilder::with_existing_identity(pair)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|pair| Speech {
                ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(1))),
                identify: identify::Behaviour::new(
                    identify::Config::new("stock/1".to_owned(), pair.public()).with_agent_version(agent),
                ),
                kad: kad::Behaviour::with_config(
                    pair.public().to_peer_id(),
                    MemoryStore::new(pair.public().to_peer_id()),
                    kad::Config::new(StreamProtocol::new("/edge-hive/kad/1")),
                ),
                gossip: gossipsub::Behaviour::new(
                    gossipsub::MessageAuthenticity::Anonymous,
                    gossipsub::ConfigBuilder::default()
                        .protocol_id_prefix("/edge-hive/meshsub")
                        .validation_mode(gossipsub::ValidationMode::Anonymous)
                        .heartbeat_initial_delay(Duration::from_millis(200))
                        .unsubscribe_backoff(backoff)
                        .max_transmit_size(4 * 1024 * 1024)
                        .message_id_fn(|message| {
                            gossipsub::MessageId::from(crate::enrolled::sha256(&String::from_utf8_lossy(
                                &message.data,
                            )))
                        })
                        .build()
                        .unwrap(),
                )
                .unwrap(),
                exchange: exchange::behaviour(),
                streams: Streams::default(),
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        Self {
            swarm,
            id,
            answer: Box::new(|_| json!({"answer": "nothing"})),
            asked: Vec::new(),
            told: None,
        }
    }

    /// The next thing that happens; questions are answered before.
    pub async fn next(&mut self) -> SwarmEvent<SpeechEvent> {
        loop {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(SpeechEvent::Identify(identify::Event::Received { info, .. })) =
                &event
            {
                self.told = Some(info.clone());
            }
            let SwarmEvent::Behaviour(SpeechEvent::Exchange(Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            })) = event
            else {
                return event;
            };
            let answer = (self.answer)(&request);
            self.asked.push(request);
            // Whoever asked may be gone.
            self.swarm
                .behaviour_mut()
                .exchange
                .send_response(channel, answer)
                .ok();
        }
    }

    /// Calls a node.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn call(&mut self, address: &str) -> PeerId {
        let address: Multiaddr = address.parse().unwrap();
        let Some(libp2p::multiaddr::Protocol::P2p(node)) = address.iter().last() else {
            panic!("{address} names no peer")
        };
        let options = DialOpts::peer_id(node)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        self.swarm.dial(options).unwrap();
        let is_there = |event: &SwarmEvent<SpeechEvent>| matches!(event, SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == node);
        self.until("a connection", is_there).await;
        node
    }

    /// Waits for something to happen.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until(
        &mut self,
        what: &str,
        is_it: impl Fn(&SwarmEvent<SpeechEvent>) -> bool,
    ) -> SwarmEvent<SpeechEvent> {
        let waits = async {
            loop {
                let event = self.next().await;
                if is_it(&event) {
                    return event;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waits).await;
        waited.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
    }

    /// Goes on until something is so.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn until_so(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
            self.go_on(Duration::from_millis(50)).await;
        }
    }

    /// Goes on for so long.
    pub async fn go_on(&mut self, time: Duration) {
        let forever = async {
            loop {
                self.next().await;
            }
        };
        tokio::time::timeout(time, forever).await.unwrap_or(());
    }

    /// Opens a stream; `None` when the node does not speak that protocol.
    ///
    /// # Panics
    /// When nothing happens.
    pub async fn open(&mut self, node: PeerId, protocol: &'static str) -> Option<Stream> {
        self.swarm.behaviour_mut().streams.open(node, protocol);
        let is_stream =
            |event: &SwarmEvent<SpeechEvent>| matches!(event, SwarmEvent::Behaviour(SpeechEvent::Streams(_)));
        match self.until("a stream", is_stream).await {
            SwarmEvent::Behaviour(SpeechEvent::Streams(stream)) => stream,
            _ => None,
        }
    }

    /// Proves to the node that this is the node of `record`, with `key`; returns what the node said last.
    ///
    /// # Panics
    /// When the node says nothing.
    pub async fn prove(&mut self, node: PeerId, key: &Key, record: &str) -> Value {
        let mut stream = self.open(node, PROOF).await.unwrap();
        let own = self.id;
        let talks = async {
            say(
                &mut stream,
                &json!({"nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            )
            .await;
            let answer = hear(&mut stream).await;
            let Some(nonce) = answer["nonce"].as_str() else {
                return answer;
            };
            assert!(
                answer["record"].is_string() && answer["proof"].is_string(),
                "{answer}"
            );
            let claims = json!({"iss": own.to_base58(), "aud": node.to_base58(), "nonce": nonce});
            let header = json!({"typ": "edge-hive-peer-proof+jwt", "alg": "EdDSA"});
            let proof = key.sign(&header, &claims);
            say(&mut stream, &json!({"record": record, "proof": proof})).await;
            hear(&mut stream).await
        };
        let goes_on = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        tokio::select! {
            said = tokio::time::timeout(PATIENCE, talks) => said.unwrap(),
            () = goes_on => unreachable!("a swarm has no end"),
        }
    }
}

/// Writes a message: its length, and JSON.
///
/// # Panics
/// When the stream is closed.
pub async fn say(stream: &mut Stream, message: &Value) {
    let text = message.to_string();
    let length = u32::try_from(text.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads a message; null when the stream has ended.
///
/// # Panics
/// When what comes is no JSON.
pub async fn hear(stream: &mut Stream) -> Value {
    let mut length = [0; 4];
    if stream.read_exact(&mut length).await.is_err() {
        return Value::Null;
    }
    let mut text = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut text).await.unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Streams of any protocol.
#[derive(Default)]
pub struct Streams {
    wanted: VecDeque<(PeerId, &'static str)>,
    opened: VecDeque<Option<Stream>>,
    waker: Option<Waker>,
}

impl Streams {
    fn open(&mut self, node: PeerId, protocol: &'static str) {
        self.wanted.push_back((node, protocol));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Opener;
    type ToSwarm = Option<Stream>;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, stream: THandlerOutEvent<Self>) {
        self.opened.push_back(stream);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(stream));
        }
        if let Some((peer_id, event)) = self.wanted.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The same in one connection. It offers the protocol of proofs, so that nodes find somebody to talk to.
#[derive(Default)]
pub struct Opener {
    wanted: VecDeque<&'static str>,
    opened: VecDeque<Option<Stream>>,
}

impl ConnectionHandler for Opener {
    type FromBehaviour = &'static str;
    type ToBehaviour = Option<Stream>;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(PROOF)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, protocol: Self::FromBehaviour) {
        self.wanted.push_back(protocol);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if let Some(protocol) = self.wanted.pop_front() {
            let protocol = ReadyUpgrade::new(StreamProtocol::new(protocol));
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(protocol, ()),
            });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
            | ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.opened.push_back(Some(protocol));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let error: StreamUpgradeError<Infallible> = error.error;
                let is_refusal = matches!(error, StreamUpgradeError::NegotiationFailed);
                assert!(
                    is_refusal || matches!(error, StreamUpgradeError::Io(_)),
                    "{error}"
                );
                self.opened.push_back(None);
            }
            _ => {}
        }
    }
}
