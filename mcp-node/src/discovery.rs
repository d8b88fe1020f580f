//! Finding other nodes on the local network, and being found: multicast DNS (RFC 6762, RFC 6763). What is found is advice
//! for the table of peers, and nothing else: it changes no issuer, no key and no root of trust (P2P-01).
//!
//! Whoever is on the network writes what is read here, as fast as they like, and the library that reads it has no bounds
//! of its own. So it runs in a program of its own, without any secret in its memory, which gets a tenth of a core and is
//! ended when it wants more (docs/decisions/0018).

mod allowance;
pub(crate) mod endpoints;
mod listener;
mod messages;
mod near;
mod sighting;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use shared::jose::sha256_base64url;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::allowance::{Allowance, Usage};
pub(crate) use self::listener::run as listen;
use self::messages::{Announced, Said, Told, read_line};
use crate::advertisement::Reach;
use crate::config::DiscoveryConfig;
use crate::peers::{Peers, Source};

/// The hidden command of the program that listens.
pub(crate) const COMMAND: &str = "multicast-dns";
/// How often it is looked what it uses.
const GLANCE: Duration = Duration::from_millis(250);
/// Memory that it may use.
const MAX_MEMORY: u64 = 128 * 1024 * 1024;
/// Lines of it that are read in a second.
const LINES_PER_SECOND: u32 = 200;
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// The pause after it has ended by itself; it doubles up to the second value.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long it is waited for the addresses of a node that listens for peers.
const PLACES: Duration = Duration::from_secs(3);
/// The shortest pause after too much has come.
const PAUSE: Duration = Duration::from_secs(5);
/// It counts as running well after this time.
const WELL: Duration = Duration::from_secs(30);

/// What the node tells of itself, apart from where it is.
#[derive(Clone, Debug)]
pub(crate) struct OwnFace {
    pub(crate) node_id: String,
    pub(crate) peer_id: String,
    pub(crate) resource: String,
    pub(crate) mcp_enabled: bool,
    /// Whether tokens of some authorization server are taken: always, unless the node has none.
    pub(crate) oauth2_enabled: bool,
    /// The server with which it enrolled.
    pub(crate) issuer: Option<String>,
    /// Whether it listens for peers, or soon will.
    pub(crate) has_peers: bool,
    /// The port of HTTP, told where there are no peers.
    pub(crate) http_port: u16,
}

/// The node's part in multicast DNS. A clone is the same.
#[derive(Clone)]
pub(crate) struct Discovery(Arc<Inner>);

struct Inner {
    config: DiscoveryConfig,
    face: OwnFace,
    peers: Peers,
    reach: Reach,
    /// Somebody wants it said, and asked, again.
    again: Notify,
}

/// Why a run of the program has ended.
enum End {
    /// The node stops.
    Stopped,
    /// It used more than it may.
    Overwhelmed,
    /// By itself.
    Ended(String),
}

/// What follows from a line of the program.
enum Heard {
    Taken,
    /// A node that is there was said to be gone.
    AskAgain,
    /// More came than the program can tell.
    TooMuch,
}

impl Discovery {
    /// Nothing runs yet.
    pub(crate) fn new(config: DiscoveryConfig, face: OwnFace, peers: Peers, reach: Reach) -> Self {
        Self(Arc::new(Inner {
            config,
            face,
            peers,
            reach,
            again: Notify::new(),
        }))
    }

    /// Whether there is anything to run.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.config.enabled
    }

    /// Whether the node tells of itself.
    pub(crate) fn announces(&self) -> bool {
        self.0.config.enabled && self.0.config.announce
    }

    /// Tells the network again who is here, and asks it.
    pub(crate) fn announce(&self) {
        self.0.again.notify_one();
    }

    /// Runs until the program stops, and says goodbye.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        if !self.is_enabled() {
            return;
        }
        if self.0.face.has_peers {
            // Others hear of a node that comes; of one that says more later they may not.
            let mut reach = self.0.reach.changes();
            let has_places = reach.wait_for(|reached| !reached.addresses.is_empty());
            timeout(PLACES, has_places).await.ok();
        }
        let mut allowance = Allowance::new();
        let mut back_off = BACK_OFF.0;
        loop {
            let begun = tokio::time::Instant::now();
            let pause = match self.0.round(&mut allowance, &stopping).await {
                End::Stopped => return,
                End::Overwhelmed => {
                    tracing::warn!(
                        "the local network sends more multicast DNS than is read; the node stops listening for a while"
                    );
                    allowance.until_full().max(PAUSE)
                }
                End::Ended(reason) => {
                    if begun.elapsed() > WELL {
                        back_off = BACK_OFF.0;
                    }
                    if back_off == BACK_OFF.0 {
                        tracing::warn!(reason, "multicast DNS has ended; it is started again");
                    }
                    let pause = back_off;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                    pause
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = stopping.cancelled() => return,
            }
        }
    }
}

impl Inner {
    async fn round(&self, allowance: &mut Allowance, stopping: &CancellationToken) -> End {
        let (mut child, mut input, output) = match start() {
            Ok(started) => started,
            Err(reason) => return End::Ended(reason.to_string()),
        };
        let mut reach = self.reach.changes();
        reach.mark_changed();
        let end = self
            .serve((&child, &mut input, output), allowance, (&mut reach, stopping))
            .await;
        // Its input ends with us: it says goodbye, and goes.
        drop(input);
        let patience = match end {
            End::Stopped => GOODBYE,
            _ => Duration::ZERO,
        };
        if timeout(patience, child.wait()).await.is_err() {
            child.kill().await.ok();
        }
        end
    }

    async fn serve(
        &self,
        (child, input, output): (&Child, &mut ChildStdin, ChildStdout),
        allowance: &mut Allowance,
        (reach, stopping): (
            &mut tokio::sync::watch::Receiver<crate::advertisement::Reached>,
            &CancellationToken,
        ),
    ) -> End {
        let mut lines = BufReader::new(output);
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut usage = Usage::of(child.id());
        let mut left = LINES_PER_SECOND;
        let mut line = Vec::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return End::Stopped,
                _ = glance.tick() => {
                    left = (left + LINES_PER_SECOND / 4).min(LINES_PER_SECOND);
                    if usage.memory() > MAX_MEMORY || !allowance.spend(usage.processor_time()) {
                        return End::Overwhelmed;
                    }
                }
                changed = reach.changed() => {
                    if changed.is_err() {
                        return End::Stopped;
                    }
                    let told = Told::Begin {
                        interfaces: self.config.interfaces.clone(),
                        port: self.config.port,
                        announced: self.config.announce.then(|| self.announced()),
                    };
                    reach.mark_unchanged();
                    if let Err(reason) = tell(input, &told).await {
                        return End::Ended(reason.to_string());
                    }
                }
                () = self.again.notified() => {
                    if let Err(reason) = tell(input, &Told::Again).await {
                        return End::Ended(reason.to_string());
                    }
                }
                // A line that was begun is kept when something else comes first.
                read = read_line(&mut lines, &mut line), if left > 0 => {
                    left -= 1;
                    match read {
                        Ok(true) => {
                            let heard = self.hear(&line);
                            line.clear();
                            match heard {
                                Heard::AskAgain => self.again.notify_one(),
                                Heard::TooMuch => return End::Overwhelmed,
                                Heard::Taken => {}
                            }
                        }
                        Ok(false) => return End::Ended("the program is gone".to_owned()),
                        Err(reason) => return End::Ended(reason.to_string()),
                    }
                }
            }
        }
    }

    /// Takes up what the program says.
    fn hear(&self, line: &[u8]) -> Heard {
        match serde_json::from_slice(line) {
            Ok(Said::Here { peer_id, addresses }) => {
                self.peers.heard(&peer_id, Source::Mdns, &addresses, None);
            }
            Ok(Said::Gone { peer_id }) => {
                // A goodbye that anybody can send: a node that is connected is there whatever it says (P2P-07).
                if self.peers.unheard(&peer_id, Source::Mdns) {
                    return Heard::AskAgain;
                }
            }
            Ok(Said::Renamed { to }) => {
                tracing::warn!(
                    node_id = self.face.node_id,
                    to,
                    "another host of the local network uses the name of this node; are there two with its key?"
                );
            }
            Ok(Said::TooMuch) => return Heard::TooMuch,
            Ok(Said::Fault { reason }) => tracing::warn!(reason, "multicast DNS"),
            Err(_) => {}
        }
        Heard::Taken
    }

    /// What is told of this node now.
    fn announced(&self) -> Announced {
        let face = &self.face;
        let places = sighting::transports(&self.reach.get().addresses);
        let port = places
            .iter()
            .find_map(|place| place.strip_prefix("tcp/")?.parse().ok());
        let yes = |is: bool| if is { "true" } else { "false" }.to_owned();
        let mut texts = vec![
            ("node_id".to_owned(), face.node_id.clone()),
            ("peer_id".to_owned(), face.peer_id.clone()),
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("mcp_enabled".to_owned(), yes(face.mcp_enabled)),
            ("oauth2_enabled".to_owned(), yes(face.oauth2_enabled)),
        ];
        // So that nodes of other fleets are left alone. It is a name for the fleet and proves nothing.
        if let Some(issuer) = &face.issuer {
            let mut fleet = sha256_base64url(issuer.as_bytes());
            fleet.truncate(16);
            texts.push(("fleet".to_owned(), fleet));
        }
        if !places.is_empty() {
            texts.push(("p2p".to_owned(), places.join(",")));
        }
        // A text has at most 255 bytes (RFC 6763 §6.1).
        if face.resource.len() <= 200 {
            texts.push(("resource".to_owned(), face.resource.clone()));
        }
        Announced {
            node_id: face.node_id.clone(),
            port: port.unwrap_or(face.http_port),
            texts,
        }
    }
}

/// Starts this very program a second time, to listen. It gets nothing of the environment.
fn start() -> std::io::Result<(Child, ChildStdin, ChildStdout)> {
    // Still right when the file was replaced meanwhile.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() {
        own
    } else {
        std::env::current_exe()?
    };
    let mut child = Command::new(program)
        .arg(COMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal is for the node, which lets it say goodbye.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let gone = || std::io::Error::other("a stream of the program is missing");
    let input = child.stdin.take().ok_or_else(gone)?;
    let output = child.stdout.take().ok_or_else(gone)?;
    Ok((child, input, output))
}

async fn tell(input: &mut ChildStdin, told: &Told) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    input.write_all(&line).await?;
    input.flush().await
}
