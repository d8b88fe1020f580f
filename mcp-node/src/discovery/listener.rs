//! The program that listens: it speaks multicast DNS with mdns-sd, and tells the node what it hears. It holds no secret,
//! and ends with its input.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::messages::{Announced, MAX_LINE, Said, Told};
use super::near::Near;
use super::sighting;

/// RFC 6763 §4.1.
const SERVICE: &str = "_edge-hive._tcp.local.";
/// Instances whose peers are remembered.
const MAX_INSTANCES: usize = 1000;
/// Waiting for something to happen.
const WAIT: Duration = Duration::from_millis(200);
/// The network is not asked again sooner.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long goodbyes may take.
const GOODBYE: Duration = Duration::from_millis(1500);

/// Runs until the input ends; false when it cannot.
pub(crate) fn run() -> bool {
    let (sender, told) = std::sync::mpsc::sync_channel(4);
    std::thread::spawn(move || {
        // Ends with the input, and the sender with it.
        for line in std::io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { return };
            let Some(message) = Some(line).filter(|line| line.len() <= MAX_LINE) else {
                return;
            };
            let Ok(message) = serde_json::from_slice::<Told>(&message) else {
                return;
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    match serve(&told) {
        Ok(()) => true,
        Err(fault) => {
            let said = match fault {
                Fault::TooMuch => Said::TooMuch,
                other => Said::Fault {
                    reason: other.to_string(),
                },
            };
            // Nobody may be there to hear it.
            say(&said).ok();
            false
        }
    }
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Mdns(#[from] mdns_sd::Error),
    #[error(transparent)]
    Output(#[from] std::io::Error),
    #[error("more comes than can be told")]
    TooMuch,
}

struct Listener {
    daemon: ServiceDaemon,
    found: Receiver<ServiceEvent>,
    events: Receiver<DaemonEvent>,
    /// Who was found, by instance.
    instances: HashMap<String, String>,
    near: Near,
    announced: Option<Announced>,
    /// Of the service that is registered.
    registered: Option<String>,
    asked_at: Instant,
}

fn serve(told: &std::sync::mpsc::Receiver<Told>) -> Result<(), Fault> {
    use std::sync::mpsc::TryRecvError;

    // Nothing happens before the node has said on which interfaces.
    let Ok(Told::Begin {
        interfaces,
        port,
        announced,
    }) = told.recv()
    else {
        return Ok(());
    };
    let mut listener = Listener::begin(&interfaces, port)?;
    listener.announce(announced)?;
    loop {
        match told.try_recv() {
            Ok(Told::Begin { announced, .. }) => listener.announce(announced)?,
            Ok(Told::Again) => listener.again()?,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                listener.end();
                return Ok(());
            }
        }
        listener.hear()?;
    }
}

impl Listener {
    fn begin(interfaces: &[String], port: u16) -> Result<Self, Fault> {
        let daemon = ServiceDaemon::new_with_port(port)?;
        if interfaces.is_empty() {
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        } else {
            daemon.disable_interface(IfKind::All)?;
            let named: Vec<IfKind> = interfaces.iter().map(IfKind::from).collect();
            daemon.enable_interface(named)?;
        }
        Ok(Self {
            events: daemon.monitor()?,
            found: daemon.browse(SERVICE)?,
            daemon,
            instances: HashMap::new(),
            near: Near::default(),
            announced: None,
            registered: None,
            asked_at: Instant::now(),
        })
    }

    /// Tells of the node, in the place of what was told before.
    fn announce(&mut self, announced: Option<Announced>) -> Result<(), Fault> {
        if announced == self.announced && self.registered.is_some() {
            return Ok(());
        }
        if let Some(said) = &announced {
            let host = format!("{}.local.", said.node_id);
            let service = ServiceInfo::new(
                SERVICE,
                &said.node_id,
                &host,
                "",
                said.port,
                said.texts.as_slice(),
            )?
            .enable_addr_auto();
            self.registered = Some(service.get_fullname().to_owned());
            self.daemon.register(service)?;
        } else if let Some(registered) = self.registered.take() {
            self.daemon.unregister(&registered)?;
        }
        self.announced = announced;
        Ok(())
    }

    fn again(&mut self) -> Result<(), Fault> {
        if self.asked_at.elapsed() < ASK_AGAIN {
            return Ok(());
        }
        self.asked_at = Instant::now();
        self.registered = None;
        self.announce(self.announced.clone())?;
        self.found = self.daemon.browse(SERVICE)?;
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Fault> {
        while let Ok(event) = self.events.try_recv() {
            match event {
                DaemonEvent::NameChange(change) => say(&Said::Renamed { to: change.new_name })?,
                DaemonEvent::Error(fault) => say(&Said::Fault {
                    reason: fault.to_string(),
                })?,
                _ => {}
            }
        }
        match self.found.recv_timeout(WAIT) {
            Ok(ServiceEvent::ServiceResolved(found)) => self.found(&found),
            Ok(ServiceEvent::ServiceRemoved(_, instance)) => match self.instances.remove(&instance) {
                Some(peer_id) if !self.instances.values().any(|other| *other == peer_id) => {
                    Ok(say(&Said::Gone { peer_id })?)
                }
                _ => Ok(()),
            },
            Ok(_) => Ok(()),
            // mdns-sd drops a reader that is too slow.
            Err(_) if self.found.is_disconnected() => Err(Fault::TooMuch),
            Err(_) => Ok(()),
        }
    }

    fn found(&mut self, found: &ResolvedService) -> Result<(), Fault> {
        let text = |key| found.get_property_val_str(key);
        let own = self.announced.as_ref();
        let own_text = |key: &str| {
            let texts = own.map(|own| own.texts.as_slice()).unwrap_or_default();
            texts
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let Some(peer_id) = sighting::peer_of(text("peer_id"), text("node_id")) else {
            return Ok(());
        };
        // A node does not discover itself, nor nodes that say they are of another fleet.
        let is_of_another_fleet = match (own_text("fleet"), text("fleet")) {
            (Some(own), Some(other)) => own != other,
            _ => false,
        };
        if own_text("peer_id") == Some(peer_id) || is_of_another_fleet {
            return Ok(());
        }
        let ips = self.near.hosts(found.get_addresses());
        let addresses = sighting::addresses(&ips, text("p2p").unwrap_or_default());
        if self.instances.len() >= MAX_INSTANCES && !self.instances.contains_key(found.get_fullname()) {
            return Ok(());
        }
        self.instances
            .insert(found.get_fullname().to_owned(), peer_id.to_owned());
        say(&Said::Here {
            peer_id: peer_id.to_owned(),
            addresses,
        })?;
        Ok(())
    }

    /// Goodbye (RFC 6762 §10.1).
    fn end(self) {
        if let Ok(ended) = self.daemon.shutdown() {
            ended.recv_timeout(GOODBYE).ok();
        }
    }
}

fn say(said: &Said) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}
