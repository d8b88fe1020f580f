//! The local network of one machine: nodes that look for each other on loopback, and whoever else speaks multicast DNS
//! there. Each test has a port, and so a network, of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use xtask::fleet::{Node, START, UNLIMITED_NODE, free_port};
use xtask::http::{Answer, Request};
use xtask::program::Program;

use crate::Fleet;
use crate::answers::granted;
use crate::enrolled::{bare_node, enroll, invite};

/// How long a test waits before it says that something does not happen: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Every scope of the fleet, and those of an ordinary caller.
pub const FLEET_SCOPES: &str = "mcp:read mcp:call fleet:announce fleet:connect fleet:read";

/// A network.
#[derive(Clone, Copy)]
pub struct LocalNetwork {
    /// The port of multicast DNS on it.
    pub port: u16,
}

/// An enrolled node on a network. It ends when this is dropped.
pub struct Neighbour {
    /// Its folder, address and command line.
    pub node: Node,
    /// Its id.
    pub node_id: String,
    /// Its libp2p name.
    pub peer_id: String,
    /// A token of a client with [`FLEET_SCOPES`].
    pub token: String,
    /// The running program.
    pub program: Program,
}

impl LocalNetwork {
    /// A network on which nobody is.
    ///
    /// # Panics
    /// When the machine has no port left.
    #[must_use]
    pub fn new() -> Self {
        Self {
            port: free_port().unwrap(),
        }
    }

    /// What a node on it has in its configuration.
    #[must_use]
    pub fn config(self) -> String {
        let port = self.port;
        format!("\n[discovery]\nenabled = true\ninterfaces = [\"lo\"]\nport = {port}\n")
    }

    /// A node on it; `more` is further TOML.
    ///
    /// # Panics
    /// When it does not enrol or start.
    #[must_use]
    pub fn node(self, fleet: &Fleet, more: &str) -> Neighbour {
        Neighbour::start(fleet, &format!("{}{more}", self.config()))
    }

    /// Somebody on it who sends what they like.
    ///
    /// # Panics
    /// When the machine has no such network.
    #[must_use]
    pub fn stranger(self) -> Stranger {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        socket.set_multicast_ttl_v4(255).unwrap();
        let bind = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, self.port);
        socket.bind(&bind.into()).unwrap();
        Stranger {
            socket,
            group: SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), self.port),
        }
    }
}

impl Default for LocalNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl Neighbour {
    /// An enrolled node with `more` in its configuration.
    ///
    /// # Panics
    /// When it does not enrol or start.
    #[must_use]
    pub fn start(fleet: &Fleet, more: &str) -> Self {
        let node = bare_node(fleet);
        let code = invite(fleet, &["--resource", &node.url(), "--name", &fleet.fresh_name()]);
        let output = enroll(fleet, &node, &code, &["--json"]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut config = std::fs::read_to_string(node.config()).unwrap();
        config.push_str(more);
        config.push_str(UNLIMITED_NODE);
        std::fs::write(node.config(), config).unwrap();
        let mut program = node.serve().unwrap();
        let ready = format!("http://localhost:{}/readyz", node.port);
        program.wait_ready(&ready, START).unwrap();
        let client = fleet.client_for_any(&["--scopes", FLEET_SCOPES]);
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        Self {
            token: fleet.token(&client, &node.url()),
            node_id: text("node_id"),
            peer_id: text("peer_id"),
            node,
            program,
        }
    }

    /// The node's URL of a path.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.node.port)
    }

    /// Asks with a token, or without.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let request = Request::new(method, &self.at(path)).unwrap();
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.send().unwrap()
    }

    /// The table of peers.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn peers(&self) -> Vec<Value> {
        let answer = granted(&self.ask("GET", "/discovery/peers", Some(&self.token)));
        answer["peers"].as_array().unwrap().clone()
    }

    /// The row of a peer.
    #[must_use]
    pub fn peer(&self, peer_id: &str) -> Option<Value> {
        self.peers().into_iter().find(|row| row["peer_id"] == peer_id)
    }

    /// What the command line answers, as JSON.
    ///
    /// # Panics
    /// When it refuses.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Value {
        let text = xtask::shell::read(self.node.command(words).arg("--json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.node.log()).unwrap_or_default()
    }

    /// Processor time that it and the programs that it started have used.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let id = self.program.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        // Linux lists the children of the thread that started them.
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
        let others =
            threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        let mut children: Vec<String> = others
            .chain([children])
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        children.sort();
        children.dedup();
        let of_children = children.iter().map(|id| ticks(id, 2));
        Duration::from_millis((ticks(&id.to_string(), 4) + of_children.sum::<u64>()) * 10)
    }
}

/// The first `count` of `utime`, `stime`, `cutime` and `cstime` of proc_pid_stat(5); 0 for a program that is gone.
fn ticks(id: &str, count: usize) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_ascii_whitespace().skip(11).take(count);
    times.map(|field| field.parse::<u64>().unwrap_or(0)).sum()
}

/// Waits until something is so.
///
/// # Panics
/// When it is not within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Somebody on the network.
pub struct Stranger {
    socket: Socket,
    group: SocketAddrV4,
}

impl Stranger {
    /// Multicasts these bytes; false when the system takes no more at the moment.
    #[must_use]
    pub fn send(&self, bytes: &[u8]) -> bool {
        self.socket.send_to(bytes, &self.group.into()).is_ok()
    }
}

/// A made-up instance of the service.
#[derive(Clone)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// What its TXT record says.
    pub texts: Vec<String>,
    /// Seconds for which that counts; 0 is a goodbye.
    pub ttl: u32,
}

impl Instance {
    /// The four records of it (RFC 6763 §4.1, RFC 1035 §4.1): PTR, SRV, TXT and A.
    ///
    /// # Panics
    /// When a name is too long.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        const SERVICE: [&str; 3] = ["_edge-hive", "_tcp", "local"];
        const FLUSH: u16 = 0x8000;
        let instance = [&[&*self.name][..], &SERVICE].concat();
        let host = [&*self.name, "local"];
        let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        let mut record = |owner: &[&str], kind: u16, class: u16, value: &[u8]| {
            packet.extend(name(owner));
            packet.extend(kind.to_be_bytes());
            packet.extend((class | 1).to_be_bytes());
            packet.extend(self.ttl.to_be_bytes());
            packet.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            packet.extend(value);
        };
        record(&SERVICE, 12, 0, &name(&instance));
        let service = [&[0, 0, 0, 0, 0x0f, 0xa1][..], &name(&host)].concat();
        record(&instance, 33, FLUSH, &service);
        let texts = self.texts.iter().flat_map(|text| {
            let length = u8::try_from(text.len()).unwrap();
            std::iter::once(length).chain(text.bytes()).collect::<Vec<_>>()
        });
        record(&instance, 16, FLUSH, &texts.collect::<Vec<_>>());
        record(&host, 1, FLUSH, &[127, 0, 0, 1]);
        packet
    }
}

fn name(labels: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// The peer id of the `number`th of many made-up keys (libp2p specification "Peer Ids and Keys").
#[must_use]
pub fn made_up_peer(number: u32) -> String {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([7; 28]);
    bytes.extend(number.to_be_bytes());
    base58(&bytes)
}

fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 58).unwrap();
            carry /= 58;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 58).unwrap());
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let all = std::iter::repeat_n(&0, zeros).chain(digits.iter().rev());
    all.map(|digit| char::from(ALPHABET[usize::from(*digit)]))
        .collect()
}
