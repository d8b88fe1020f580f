//! Several processes that share one refresh token in a file, as the processes of one agent on one machine do.
//!
//! None of them locks the file. Each reads it before every use, refreshes when the access token's life is over, and
//! writes back what it got. Now and then one loses the answer to its refresh. A refusal counts as a lost session, also
//! when a real client might have found a newer token in the file.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::code_flow::CodeClient;
use crate::fault::{Explain, Fault, Outcome};
use crate::http::{Request, Url};
use crate::journey;

/// Between two uses of one process.
const PAUSE: Duration = Duration::from_millis(40);

/// One of every so many refreshes loses its answer.
const LOSES: u64 = 5;

/// One process of the race.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Whose token it is.
    pub client: CodeClient,
    /// The file that all share.
    pub file: PathBuf,
    /// Its number, from 0.
    pub number: u64,
    /// When it stops.
    pub seconds: u64,
}

/// What happened to one process, or to all of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Calls that the node answered with 200.
    pub calls: u64,
    /// Calls refused although the token's life was not over.
    pub refused: u64,
    /// Refreshes that were answered with tokens.
    pub refreshes: u64,
    /// Refreshes whose answer nobody read.
    pub unread: u64,
    /// Refreshes that were refused: a person would have to sign in again.
    pub lost: u64,
    /// Answers of 5xx, or none at all.
    pub failed: u64,
}

impl Figures {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            refreshes: self.refreshes + other.refreshes,
            unread: self.unread + other.unread,
            lost: self.lost + other.lost,
            failed: self.failed + other.failed,
        }
    }

    /// As JSON, for the process that adds them up.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!([
            self.calls,
            self.refused,
            self.refreshes,
            self.unread,
            self.lost,
            self.failed
        ])
    }

    /// From what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(value: &Value) -> Outcome<Self> {
        let figure = |at: usize| value[at].as_u64().explain(format!("not figures: {value}"));
        Ok(Self {
            calls: figure(0)?,
            refused: figure(1)?,
            refreshes: figure(2)?,
            unread: figure(3)?,
            lost: figure(4)?,
            failed: figure(5)?,
        })
    }

    /// Whether nobody lost anything.
    #[must_use]
    pub fn is_good(&self) -> bool {
        (self.refused, self.lost, self.failed) == (0, 0, 0) && self.calls > 0 && self.refreshes > 0
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} calls, {} refused; {} refreshes, {} more whose answer was lost; {} lost sessions, {} answers of 5xx",
            self.calls, self.refused, self.refreshes, self.unread, self.lost, self.failed
        )
    }
}

/// Writes a token answer where every process finds it.
///
/// # Errors
/// When the file cannot be written.
pub fn store(file: &Path, answer: &Value, writer: u64) -> Outcome<()> {
    let life = answer["expires_in"].as_u64().explain("no expires_in")?;
    let kept = json!({
        "access_token": answer["access_token"],
        "refresh_token": answer["refresh_token"],
        // A client renews a little early, or its calls arrive too late.
        "renew_at": milliseconds() + life * 1000 - 500,
    });
    let draft = file.with_extension(format!("{writer}"));
    std::fs::write(&draft, kept.to_string())?;
    Ok(std::fs::rename(&draft, file)?)
}

/// The refresh token in the file.
///
/// # Errors
/// When there is none.
pub fn refresh_token(file: &Path) -> Outcome<String> {
    let kept: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let token = kept["refresh_token"].as_str().map(str::to_owned);
    token.explain("no refresh token in the file")
}

impl Runner {
    /// Calls the node, and refreshes, until the time is up.
    ///
    /// # Errors
    /// When the file cannot be read or written, or an answer cannot be understood.
    pub fn run(&self) -> Outcome<Figures> {
        let mut figures = Figures::default();
        let mut tries = self.number;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(self.seconds) {
            let kept: Value = serde_json::from_slice(&std::fs::read(&self.file)?)?;
            let text = |name: &str| kept[name].as_str().explain("the file lacks a token");
            if milliseconds() < kept["renew_at"].as_u64().explain("no renew_at")? {
                self.call(text("access_token")?, &mut figures);
                std::thread::sleep(PAUSE);
                continue;
            }
            tries += 1;
            if tries.is_multiple_of(LOSES) {
                self.ask_and_leave(text("refresh_token")?)?;
                figures.unread += 1;
            }
            self.refresh(text("refresh_token")?, &mut figures)?;
            if figures.lost > 0 {
                break;
            }
        }
        Ok(figures)
    }

    fn call(&self, token: &str, figures: &mut Figures) {
        match journey::tool_call(&self.client.resource, "get_status", &json!({}), Some(token)) {
            Ok(answer) if answer.status == 200 => figures.calls += 1,
            Ok(answer) if answer.status < 500 => figures.refused += 1,
            _ => figures.failed += 1,
        }
    }

    fn refresh(&self, token: &str, figures: &mut Figures) -> Outcome<()> {
        let Ok(answer) = self.client.ask(&self.client.renewal(token)) else {
            figures.failed += 1;
            return Ok(());
        };
        match answer.status {
            200 => {
                figures.refreshes += 1;
                store(&self.file, &answer.json()?, self.number)
            }
            400..500 => {
                figures.lost += 1;
                Ok(())
            }
            _ => {
                figures.failed += 1;
                Ok(())
            }
        }
    }

    /// The request arrives whole, and the connection is gone before the answer.
    fn ask_and_leave(&self, token: &str) -> Outcome<()> {
        let url = format!("{}/oauth/token", self.client.issuer);
        let request = Request::post(&url)?.form(&self.client.renewal(token));
        let mut stream = TcpStream::connect(Url::parse(&url)?.socket())?;
        stream.write_all(&request.bytes(true))?;
        Ok(())
    }
}

/// What a thief of an old token achieves: after the window it is refused, and the whole family with it.
///
/// # Errors
/// When the stolen token works, or the honest client's one still does.
pub fn steal(client: &CodeClient, file: &Path, window: Duration) -> Outcome<()> {
    let stolen = refresh_token(file)?;
    let answer = client.ask(&client.renewal(&stolen))?;
    if answer.status != 200 {
        return Err(Fault::new(format!("the honest refresh was refused: {answer}")));
    }
    store(file, &answer.json()?, 0)?;
    std::thread::sleep(window + Duration::from_secs(1));
    for (whose, token) in [("the thief's", stolen), ("the honest", refresh_token(file)?)] {
        let answer = client.ask(&client.renewal(&token))?;
        if answer.status != 400 || answer.json()?["error"] != "invalid_grant" {
            return Err(Fault::new(format!("{whose} token after a replay: {answer}")));
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an agent has a clock of its own")]
fn milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_millis() as u64)
}
