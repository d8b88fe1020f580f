use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use shared::fleet::record::RECORD_TYPE;
use shared::http_client::HttpClient;
use shared::jwks::KeySetSettings;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use super::*;
use crate::mcp::news::News;
use crate::testing::Forge;

/// A node of the fleet, as far as it proves itself.
pub(in crate::p2p) struct Side {
    pub(in crate::p2p) trust: Arc<Trust>,
    peer: PeerId,
    _folder: tempfile::TempDir,
}

fn identity() -> (Arc<Identity>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(Identity::ensure(folder.path()).unwrap()), folder)
}

/// What the issuer says of a node for an hour from `since` on, but for `change`.
pub(in crate::p2p) fn record(
    forge: &Forge,
    of: &Identity,
    since: UnixSeconds,
    change: impl FnOnce(&mut Value),
) -> String {
    let mut claims = json!({
        "iss": forge.issuer, "sub": of.id(), "iat": since, "exp": since + Duration::from_secs(3600),
        "node_id": of.id(), "peer_id": of.peer_id(), "name": "n", "resource": "https://n.example/mcp",
        "capabilities": [], "enrolled_at": since, "cnf": {"jwk": of.public_jwk()},
    });
    change(&mut claims);
    forge.sign(RECORD_TYPE, &claims)
}

async fn side(forge: &Forge, shown: impl FnOnce(&Identity) -> Option<String>) -> Side {
    let (identity, folder) = identity();
    let settings = KeySetSettings {
        issuer: forge.issuer.parse().unwrap(),
        jwks_uri: None,
        algorithms: Vec::new(),
        max_stale: Duration::from_secs(3600),
        kept: None,
    };
    let keys = RemoteKeySet::new(HttpClient::new(None).unwrap(), settings);
    assert!(keys.is_ready().await);
    let shown = shown(&identity).map(|text| {
        // Whatever is shown, it is not looked at on our side.
        let record = verified(forge, &identity);
        Arc::new(SignedRecord { text, ..record })
    });
    Side {
        peer: identity.peer_id().parse().unwrap(),
        trust: Arc::new(Trust {
            issuer: forge.issuer.clone(),
            keys,
            record: watch::Sender::new(shown).subscribe(),
            peers: Peers::new(identity.peer_id(), News::new().unwrap()),
            identity,
            revocation: None,
        }),
        _folder: folder,
    }
}

fn verified(forge: &Forge, of: &Identity) -> SignedRecord {
    let text = record(forge, of, clock::now(), |_| {});
    let key = shared::jose::KeySet::parse(forge.jwks().to_string().as_bytes()).unwrap();
    let key = key.keys().next().unwrap().clone();
    UnverifiedRecord::parse(&text)
        .unwrap()
        .verify((&forge.issuer, &key), clock::now())
        .unwrap()
}

pub(in crate::p2p) async fn good(forge: &Forge) -> Side {
    side(forge, |of| Some(record(forge, of, clock::now(), |_| {}))).await
}

/// One end of a stream, as libp2p sees it.
struct Wire(DuplexStream);

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = tokio::io::ReadBuf::new(bytes);
        ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(&mut self.0),
            cx,
            &mut read
        ))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

fn wire() -> (Wire, Wire) {
    let (one, other) = tokio::io::duplex(64 * 1024);
    (Wire(one), Wire(other))
}

/// Holds one side's end with `peer`, opening every gate; returns its record of the peer.
async fn hold(
    side: &Side,
    peer: PeerId,
    (stream, is_ours): (Wire, bool),
) -> Result<Arc<SignedRecord>, NotProven> {
    let (steps, mut next) = mpsc::channel(4);
    let conversation = Conversation {
        stream,
        peer,
        trust: Arc::clone(&side.trust),
        steps,
    };
    let steps = async {
        let mut begun = None;
        while let Some(step) = next.recv().await {
            match step {
                Step::Open(opened) => opened.send(()).unwrap(),
                Step::Begin(record) => begun = Some(record),
            }
        }
        begun
    };
    let (held, begun) = tokio::join!(conversation.hold(is_ours), steps);
    held.map(|()| begun.unwrap())
}

/// Both ends of one conversation, each with the peer id that Noise has proven to it.
async fn meet(caller: (&Side, PeerId), called: (&Side, PeerId)) -> [Result<Arc<SignedRecord>, NotProven>; 2] {
    let (one, other) = wire();
    let (first, second) = tokio::join!(
        hold(caller.0, caller.1, (one, true)),
        hold(called.0, called.1, (other, false))
    );
    [first, second]
}

#[tokio::test]
async fn two_nodes_of_a_fleet_prove_themselves_to_each_other() {
    let (_server, forge) = Forge::published().await;
    let (one, other) = (good(&forge).await, good(&forge).await);
    let [first, second] = meet((&one, other.peer), (&other, one.peer)).await;
    assert_eq!(first.unwrap().record.peer_id, other.peer.to_base58());
    assert_eq!(second.unwrap().record.peer_id, one.peer.to_base58());
}

#[tokio::test]
async fn p2p_03_whoever_shows_no_good_record_is_not_believed() {
    let (_server, forge) = Forge::published().await;
    let node = good(&forge).await;
    let now = clock::now();
    let stranger = Forge::with_key(&forge.issuer, "key-1", [9; 32]);
    let (copied, _folder) = identity();
    let hour = Duration::from_secs(3600);
    type Shown<'a> = Box<dyn FnOnce(&Identity) -> Option<String> + 'a>;
    let cases: Vec<(&str, Shown<'_>)> = vec![
        ("none at all", Box::new(|_| None)),
        (
            "another's",
            Box::new(|_| Some(record(&forge, &copied, now, |_| {}))),
        ),
        (
            "signed by another key",
            Box::new(|of| Some(record(&stranger, of, now, |_| {}))),
        ),
        (
            "expired",
            Box::new(|of| Some(record(&forge, of, now - 2 * hour, |_| {}))),
        ),
        (
            "of the future",
            Box::new(|of| Some(record(&forge, of, now + hour, |_| {}))),
        ),
        (
            "of another issuer",
            Box::new(|of| {
                Some(record(&forge, of, now, |claims| {
                    claims["iss"] = json!("https://x.example")
                }))
            }),
        ),
        (
            "with another key",
            Box::new(|of| {
                let jwk = copied.public_jwk();
                Some(record(&forge, of, now, |claims| {
                    claims["cnf"]["jwk"] = json!(jwk)
                }))
            }),
        ),
        (
            // P2P-19.
            "with the identity element as its key",
            Box::new(|of| {
                let x = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
                Some(record(&forge, of, now, |claims| {
                    claims["cnf"]["jwk"]["x"] = json!(x)
                }))
            }),
        ),
        (
            "of another type",
            Box::new(|of| Some(forge.sign("at+jwt", &json!({"sub": of.id()})))),
        ),
        ("no JWT", Box::new(|_| Some("x".to_owned()))),
    ];
    for (what, shown) in cases {
        let bad = side(&forge, shown).await;
        for calls in [true, false] {
            let of_bad = (&bad, node.peer);
            let of_node = (&node, bad.peer);
            let [first, second] = match calls {
                true => meet(of_bad, of_node).await,
                false => meet(of_node, of_bad).await,
            };
            assert!(first.is_err() && second.is_err(), "{what}: {first:?} {second:?}");
        }
    }
    let honest = good(&forge).await;
    let [first, second] = meet((&honest, node.peer), (&node, honest.peer)).await;
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test]
async fn p2p_14_a_node_that_was_cut_off_is_not_believed() {
    let (_server, forge) = Forge::published().await;
    let (node, former) = (good(&forge).await, good(&forge).await);
    node.trust.peers.revoked(&former.peer.to_base58());
    let [first, second] = meet((&former, node.peer), (&node, former.peer)).await;
    assert!(matches!(second, Err(NotProven::Revoked)), "{second:?}");
    assert!(matches!(first, Err(NotProven::Refused(word)) if word == "revoked"));
}

/// In the middle sits somebody with a key of their own: Noise shows that key to both sides, so what they pass on between
/// two good nodes was made for somebody else.
#[tokio::test]
async fn what_is_passed_on_proves_nothing_of_whoever_passes_it_on() {
    let (_server, forge) = Forge::published().await;
    let (one, other) = (good(&forge).await, good(&forge).await);
    let middle = PeerId::random();
    let [first, second] = meet((&one, middle), (&other, middle)).await;
    assert!(matches!(first, Err(NotProven::OtherPeer)), "{first:?}");
    assert!(second.is_err(), "{second:?}");
}

#[tokio::test]
async fn p2p_09_a_message_has_an_end() {
    let (_server, forge) = Forge::published().await;
    let node = good(&forge).await;
    for bytes in [
        &[0x7f, 0xff, 0xff, 0xff][..],
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{}",
        b"\0\0\0\x04{\"n\"",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let (mut ours, theirs) = wire();
        let writes = async {
            ours.write_all(bytes).await.unwrap();
            ours.close().await.unwrap();
        };
        let (held, ()) = tokio::join!(hold(&node, PeerId::random(), (theirs, false)), writes);
        assert!(held.is_err());
    }
}
