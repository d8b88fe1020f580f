//! The rows about the node: tool calls with tokens that it knows, with tokens that it has never seen, and without a
//! door. What lies between them is the price of the door.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde_json::json;
use xtask::fleet::{self, Node, START, free_port};
use xtask::http::form_encode;
use xtask::journey;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use super::load::Shot;
use super::rows::{Bench, Row, SCOPES, Target, pinned, refuse};

/// More than any core takes in a second.
const COLD_CALLS_PER_SECOND: u64 = 30_000;

/// What a caller has to show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// One token, again and again.
    Warm,
    /// Another token each time.
    Cold,
    /// Another token each time, of which the signature is checked and nothing else: there is no door.
    Signature,
    /// The one token, to a node that has no door: the requests are the same, and what differs is the node.
    Nothing,
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Warm => "warm token",
            Self::Cold => "cold token",
            Self::Signature => "signature alone",
            Self::Nothing => "no door",
        })
    }
}

impl Bench {
    pub(super) fn calls(&self, name: &str, era: &str, shown: Shown) -> Outcome<Row> {
        let target = self.start(false)?;
        let mut node = Node::new(
            self.examples()?.open_door.clone(),
            &self.folder.join("node"),
            free_port()?,
            &target.server.issuer,
        );
        node.extra.push_str(fleet::UNLIMITED_NODE);
        node.write_config()?;
        target.server.ensure_resource(&node.url(), &[])?;
        let token = journey::fetch_token(&target.endpoint("token"), &target.client, &node.url(), SCOPES)?;
        let mut command = pinned(&node.program);
        if matches!(shown, Shown::Nothing | Shown::Signature) {
            command.env("OPEN_DOOR_TOKEN", &token);
        }
        if shown == Shown::Signature {
            command.env("OPEN_DOOR_CHECKS", "signature");
        }
        let mut program = node.serve_under(command)?;
        program.wait_ready(&format!("http://localhost:{}/readyz", node.port), START)?;
        let mut environment = vec![("ERA", era.to_owned()), ("TOOL", "get_status".to_owned())];
        match shown {
            Shown::Warm | Shown::Nothing => environment.push(("AUTHORIZATION", format!("Bearer {token}"))),
            Shown::Cold | Shown::Signature => {
                let tokens = self.hoard(&target, &node.url())?;
                environment.push(("TOKENS", tokens.display().to_string()));
            }
        }
        if shown != Shown::Nothing {
            refuse(&node.url(), "{}")?;
        }
        // One call to be sure of; the others are checked by their status.
        let token = Some(token.as_str()).filter(|_| shown != Shown::Nothing);
        let answer = journey::tool_call(&node.url(), "get_status", &json!({}), token)?;
        if answer.status != 200 {
            return Err(Fault::new(format!("the first call was answered with {answer}")));
        }
        let shot = Shot {
            script: "call.lua",
            url: node.url(),
            environment,
        };
        self.fire(name, &shot, &program, false)
    }

    /// As many tokens as a row can use, each on a line of the file.
    fn hoard(&self, target: &Target, resource: &str) -> Outcome<PathBuf> {
        // The second before the measurement uses some as well.
        let enough = (self.seconds + 1) * COLD_CALLS_PER_SECOND;
        let file = target.server.folder.join("tokens");
        let form = format!(
            "grant_type=client_credentials&scope={}&resource={}",
            form_encode(SCOPES),
            form_encode(resource)
        );
        let environment = vec![
            ("FORM", form),
            ("AUTHORIZATION", target.authorization()),
            ("TOKENS", file.display().to_string()),
        ];
        let shot = Shot {
            script: "hoard.lua",
            url: target.endpoint("token"),
            environment,
        };
        while !file.exists() || lines(&file)? < enough {
            shot.fire(2)?;
        }
        Ok(file)
    }

    /// Microseconds that checking one EdDSA signature costs the server's core, when rows need it.
    pub(super) fn signature_check(&self) -> Outcome<f64> {
        let text = shell::read(&mut pinned(&self.examples()?.signature_check))?;
        let nanoseconds: f64 = text.trim().parse().explain("the price of a signature")?;
        Ok(nanoseconds / 1000.0)
    }
}

/// What the door costs beyond a call without it, and what a cold token costs beyond a bare signature check in its place:
/// among the other work of a call, which takes the processor's caches, a check costs more than in a loop.
pub(super) fn print(rows: &[Row], signature: f64) {
    let microseconds = |name: String| {
        let row = rows.iter().find(|row| row.name == name)?;
        Some(1e6 / row.per_core)
    };
    for era in ["modern", "legacy"] {
        let of = |shown: Shown| microseconds(format!("tool call, {era}, {shown}"));
        let Some(open) = of(Shown::Nothing) else { continue };
        if let Some(warm) = of(Shown::Warm) {
            say(format!(
                "door, {era}, warm token: {:.1} µs; {:.1} % of the calls without it",
                warm - open,
                100.0 * open / warm
            ));
        }
        if let (Some(cold), Some(alone)) = (of(Shown::Cold), of(Shown::Signature)) {
            say(format!(
                "door, {era}, cold token: {:.1} µs; {:.2} times the signature check alone, which takes {:.1} µs there, \
                 and {signature:.1} µs in a loop",
                cold - open,
                (cold - open) / (alone - open),
                alone - open
            ));
        }
    }
}

fn lines(file: &Path) -> Outcome<u64> {
    Ok(BufReader::new(File::open(file)?).lines().count() as u64)
}
