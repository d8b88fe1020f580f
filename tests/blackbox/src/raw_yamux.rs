//! A peer that speaks Noise as everybody does, and yamux by hand: frames that no library would send.

use std::time::Duration;

use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::futures::io::{ReadHalf, WriteHalf};
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::identity::{Keypair, ed25519};
use libp2p::tcp::tokio::TcpStream;
use libp2p::{PeerId, noise};

use crate::forge::Key;

/// What is sent over and over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// A stream gets the largest window that can be written, again and again.
    Windows,
    /// Every ping wants an answer.
    Pings,
    /// "I go away", and then it stays.
    GoAways,
    /// Streams that are opened and reset at once.
    Resets,
    /// As much as streams take, in streams that the other has no name for.
    Streams,
    /// Frames without content for streams that never were.
    Nothing,
}

/// Every kind.
pub const FLOODS: [Flood; 6] = [
    Flood::Windows,
    Flood::Pings,
    Flood::GoAways,
    Flood::Resets,
    Flood::Streams,
    Flood::Nothing,
];

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const RST: u16 = 8;
/// What a stream takes before its reader says more.
const WINDOW: u32 = 256 * 1024;

/// A frame: <https://github.com/hashicorp/yamux/blob/master/spec.md>.
fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let mut frame = [0; 12];
    frame[1] = kind;
    frame[2..4].copy_from_slice(&flags.to_be_bytes());
    frame[4..8].copy_from_slice(&stream.to_be_bytes());
    frame[8..].copy_from_slice(&length.to_be_bytes());
    frame
}

impl Flood {
    /// Some kilobytes of it; `round` counts from 0.
    fn chunk(self, round: u32) -> Vec<u8> {
        const FRAMES: u32 = 500;
        let each = |one: &dyn Fn(u32) -> Vec<u8>| (0..FRAMES).flat_map(one).collect();
        // Streams of the one who called have odd numbers.
        let fresh = |number: u32| 3 + 2 * (round * FRAMES + number);
        match self {
            Self::Windows if round == 0 => frame(WINDOW_UPDATE, SYN, 1, 0).to_vec(),
            Self::Windows => each(&|_| frame(WINDOW_UPDATE, 0, 1, u32::MAX).to_vec()),
            Self::Pings => each(&|number| frame(PING, SYN, 0, number).to_vec()),
            Self::GoAways => each(&|_| frame(GO_AWAY, 0, 0, 0).to_vec()),
            Self::Resets => each(&|number| {
                let stream = fresh(number);
                [frame(WINDOW_UPDATE, SYN, stream, 0), frame(DATA, RST, stream, 0)].concat()
            }),
            Self::Streams => {
                let mut bytes = frame(DATA, SYN, 1 + 2 * round, WINDOW).to_vec();
                bytes.resize(bytes.len() + WINDOW as usize, 0);
                bytes
            }
            Self::Nothing => each(&|number| frame(DATA, 0, fresh(number), 0).to_vec()),
        }
    }
}

/// The peer, connected to a node.
pub struct RawYamux<S> {
    read: ReadHalf<S>,
    write: WriteHalf<S>,
}

/// Connects to a node on a loopback port.
///
/// # Panics
/// When the node does not take the connection, or is another one.
pub async fn connect(key: &Key, port: u16, node: PeerId) -> RawYamux<impl AsyncRead + AsyncWrite + Unpin> {
    let mut bytes = key.ed25519_bytes();
    let pair = Keypair::from(ed25519::Keypair::try_from_bytes(&mut bytes).unwrap());
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut tcp = TcpStream(tcp);
    choose(&mut tcp, "/noise").await;
    let noise = noise::Config::new(&pair).unwrap();
    let (peer, mut stream) = noise.upgrade_outbound(tcp, "/noise").await.unwrap();
    assert_eq!(peer, node);
    choose(&mut stream, "/yamux/1.0.0").await;
    let (read, write) = stream.split();
    RawYamux { read, write }
}

/// Agrees on a protocol as multistream-select does: lines, each with its length.
async fn choose(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) {
    let line = |text: &str| {
        let mut line = vec![u8::try_from(text.len() + 1).unwrap()];
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        line
    };
    let wanted = [line("/multistream/1.0.0"), line(name)].concat();
    stream.write_all(&wanted).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = vec![0; wanted.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, wanted, "the node does not speak {name}");
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawYamux<S> {
    /// Floods the node until it closes the connection, or `limit` bytes are sent; returns how many were. Reads what the
    /// node answers only if it `listens`.
    ///
    /// # Panics
    /// When neither happens within `time`.
    pub async fn flood(self, flood: Flood, listens: bool, (limit, time): (usize, Duration)) -> usize {
        let Self { mut read, mut write } = self;
        let hears = async {
            let mut bytes = vec![0; 16 * 1024];
            while listens && read.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            std::future::pending::<()>().await;
        };
        let speaks = async {
            let mut sent = 0;
            for round in 0.. {
                let chunk = flood.chunk(round);
                if sent >= limit || write.write_all(&chunk).await.is_err() || write.flush().await.is_err() {
                    break;
                }
                sent += chunk.len();
            }
            sent
        };
        tokio::select! {
            sent = tokio::time::timeout(time, speaks) => {
                sent.unwrap_or_else(|_| panic!("{flood:?}: the node neither reads nor closes"))
            }
            () = hears => unreachable!("it has no end"),
        }
    }
}
