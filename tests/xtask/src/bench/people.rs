//! The rows about people: codes, refresh tokens, passwords.

use std::time::{Duration, Instant};

use xtask::code_flow::CodeClient;
use xtask::http::{Request, Url, form_encode};
use xtask::{Explain, Fault, Outcome};

use super::load::{Load, Shot};
use super::meter;
use super::rows::{Bench, Row, SCOPES};

const RESOURCE: &str = "http://localhost/bench/mcp";
const PASSWORD: &str = "a password nobody types";
/// People of the rows about codes, each with a client of their own. Of one alone, every connection would write under
/// the same grant, which no fleet does.
const PEOPLE: usize = 64;
/// Sign-ins of one row, one after the other: each costs what the hash costs.
const SIGN_INS: usize = 20;

impl Bench {
    /// `what` is `code` (authorization request, code, tokens) or `refresh`. A person's approval is the testing door's.
    pub(super) fn codes(&self, name: &str, what: &str, postgres: bool) -> Outcome<Row> {
        let target = self.start(postgres)?;
        target.server.ensure_resource(RESOURCE, &[])?;
        let people = (0..PEOPLE)
            .map(|n| {
                let client = CodeClient::create(&target.server, &format!("bench{n}"), (RESOURCE, SCOPES))?;
                // What they allow is known from then on, as it is of whoever comes back.
                if client.tokens()?["refresh_token"].is_null() {
                    return Err(Fault::new("no refresh token"));
                }
                Ok(client)
            })
            .collect::<Outcome<Vec<CodeClient>>>()?;
        let lines = |line: &dyn Fn(usize, &CodeClient) -> Outcome<String>| -> Outcome<String> {
            let lines = people.iter().enumerate().map(|(n, client)| line(n + 1, client));
            Ok(lines.collect::<Outcome<Vec<String>>>()?.join("\n"))
        };
        let authorize = |n: usize, client: &CodeClient| -> Outcome<String> {
            Ok(Url::parse(&client.authorization_url_with(&n.to_string()))?
                .target()
                .to_owned())
        };
        let shot = Shot {
            script: "code.lua",
            url: target.server.issuer.clone(),
            environment: vec![
                ("ROW", what.to_owned()),
                ("AUTHORIZE", lines(&authorize)?),
                ("REDEEM", lines(&|_, client| Ok(form(&client.redemption(""))))?),
                ("RENEW", form(&people[0].renewal(""))),
            ],
        };
        self.fire(name, &shot, &target.program, target.postgres)
    }

    /// The answer to the form of the sign-in page.
    pub(super) fn sign_ins(&self, name: &str, postgres: bool) -> Outcome<Row> {
        let target = self.start(postgres)?;
        target.server.create_user("bench", PASSWORD, &[])?;
        let url = format!("{}/login", target.server.issuer);
        sign_in(&url)?;
        let rest_mb = meter::resident_mb(target.program.id())?;
        let mut ids = vec![target.program.id()];
        if postgres {
            ids.extend(self.cluster.ids());
        }
        let before = meter::processor_seconds(&ids);
        let mut times = (0..SIGN_INS)
            .map(|_| sign_in(&url))
            .collect::<Outcome<Vec<Duration>>>()?;
        let busy = meter::processor_seconds(&ids) - before;
        times.sort();
        let milliseconds = |at: usize| times[at].as_secs_f64() * 1000.0;
        Ok(Row {
            name: name.into(),
            per_core: SIGN_INS as f64 / busy,
            load: Load {
                answers: SIGN_INS as u64,
                elapsed: times.iter().sum(),
                p50_ms: milliseconds(SIGN_INS / 2),
                p99_ms: milliseconds(SIGN_INS - 1),
            },
            rest_mb,
            load_mb: meter::resident_mb(target.program.id())?,
        })
    }
}

/// One sign-in of a new browser; the time is that of its POST.
fn sign_in(url: &str) -> Outcome<Duration> {
    let page = xtask::http::get(url)?;
    let cookie = page.header("set-cookie").explain("the page sets no cookie")?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    let text = page.text();
    let token = text
        .split_once("name=\"csrf\" value=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .explain("the page has no anti-forgery token")?
        .0;
    let request = Request::post(url)?.header("Cookie", cookie).form(&[
        ("csrf", token),
        ("username", "bench"),
        ("password", PASSWORD),
    ]);
    let start = Instant::now();
    let answer = request.send()?;
    if answer.status == 303 {
        Ok(start.elapsed())
    } else {
        Err(Fault::new(format!("the sign-in was refused: {answer}")))
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    let words: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", form_encode(value)))
        .collect();
    words.join("&")
}
