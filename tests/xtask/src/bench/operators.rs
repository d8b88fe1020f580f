//! How long operators wait: every list and every search of the admin API, first pages and pages far inside, with a
//! million tokens' worth of rows in Postgres (`tests/bench/operators.sql`). The console asks nothing else.

use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::http::{Request, form_encode};
use xtask::journey;
use xtask::shell::say;
use xtask::{Explain, Fault, Outcome};

use super::rows::{Bench, Target};
use super::scripts;

/// Nobody waits longer for an answer.
const PROMISED: Duration = Duration::from_millis(200);
/// No list and no search: each answer checks ten thousand events of the audit log, and nothing is promised of its time.
const CHECK: &str = "/audit/verification";
/// Requests of each kind, one after the other.
const TIMES: usize = 20;
/// The busy client and the busy person.
const CLIENT: &str = "c_0000000000000000010001";
const USER: &str = "u_0000000000000000000001";

/// The times of one question, in order.
pub(super) struct Waits {
    /// Path and query.
    question: String,
    sorted: Vec<Duration>,
}

impl Waits {
    fn worst(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }
}

/// Prints the times, the longest first.
///
/// # Errors
/// When one is longer than what is promised.
pub(super) fn print(waits: &mut [Waits]) -> Outcome<()> {
    if waits.is_empty() {
        return Ok(());
    }
    waits.sort_by_key(|waits| std::cmp::Reverse(waits.worst()));
    say(format!(
        "\nadmin API, a million tokens in Postgres, {TIMES} requests each\n"
    ));
    say(format!("{:>9} {:>9}  question", "p50 ms", "worst ms"));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    for one in waits.iter() {
        let middle = one.sorted.get(TIMES / 2).copied().unwrap_or_default();
        say(format!(
            "{:>9.1} {:>9.1}  {}",
            ms(middle),
            ms(one.worst()),
            one.question
        ));
    }
    let is_late = |waits: &&Waits| waits.worst() > PROMISED && !waits.question.contains(CHECK);
    match waits.iter().filter(is_late).count() {
        0 => Ok(()),
        slow => Err(Fault::new(format!(
            "{slow} of {} questions took more than {} ms",
            waits.len(),
            PROMISED.as_millis()
        ))),
    }
}

impl Bench {
    /// The times of every question, unless other rows are asked for.
    pub(super) fn operators(&self) -> Outcome<Vec<Waits>> {
        if self.only.as_ref().is_some_and(|part| !"admin".contains(part)) {
            return Ok(Vec::new());
        }
        say("filling Postgres as a million tokens do …");
        let target = self.start(true)?;
        let database = target
            .server
            .database
            .clone()
            .explain("Postgres has no address")?;
        self.cluster.sql(
            &database,
            &std::fs::read_to_string(scripts().join("operators.sql"))?,
        )?;
        // As autovacuum does.
        self.cluster.sql(&database, "VACUUM ANALYZE")?;
        say("measuring admin …");
        let asker = Asker::of(&target)?;
        let questions = asker.questions()?;
        questions
            .into_iter()
            .map(|question| asker.measure(question))
            .collect()
    }
}

/// An operator's program.
struct Asker<'t> {
    target: &'t Target,
    token: String,
}

impl<'t> Asker<'t> {
    fn of(target: &'t Target) -> Outcome<Self> {
        let resource = format!("{}/admin/v1", target.server.issuer);
        let words = ["--scopes", "admin:read", "--resource", &resource];
        let client = target.server.create_client("operator", &words)?;
        let token = journey::fetch_token(&target.endpoint("token"), &client, &resource, "admin:read")?;
        Ok(Self { target, token })
    }

    /// Everything that the document says can be read.
    fn questions(&self) -> Outcome<Vec<String>> {
        let url = format!("{}/admin/openapi.json", self.target.server.issuer);
        let document = Request::new("GET", &url)?.send()?.json()?;
        let paths = document["paths"]
            .as_object()
            .explain("the document has no paths")?;
        let mut questions = Vec::new();
        for (path, item) in paths {
            let Some(operation) = item.get("get") else {
                continue;
            };
            if path.contains("{id}") {
                questions.extend(id_at(path)?.map(|id| path.replace("{id}", id)));
                continue;
            }
            let parameters = operation["parameters"].as_array().map(Vec::as_slice);
            questions.extend(searches(path, parameters.unwrap_or_default())?);
        }
        Ok(questions)
    }

    fn measure(&self, question: String) -> Outcome<Waits> {
        let request = Request::new("GET", &format!("{}{question}", self.target.server.issuer))?;
        let request = request.bearer(&self.token);
        let mut sorted = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let start = Instant::now();
            let answer = request.send()?;
            sorted.push(start.elapsed());
            if answer.status != 200 {
                return Err(Fault::new(format!("{question} was answered with {answer}")));
            }
        }
        sorted.sort_unstable();
        Ok(Waits { question, sorted })
    }
}

/// A list as it is, with each filter, and with each filter and each state; of each the first page and one far inside.
fn searches(path: &str, parameters: &[Value]) -> Outcome<Vec<String>> {
    let mut filters: Vec<Vec<String>> = Vec::new();
    let mut states = vec![String::new()];
    let (mut has_cursor, mut has_limit, mut needs_filter) = (false, false, path.ends_with("/tokens"));
    for parameter in parameters {
        let name = parameter["name"].as_str().explain("a parameter has no name")?;
        needs_filter |= parameter["required"] == true;
        let values: Vec<String> = match (name, parameter["schema"]["enum"].as_array()) {
            ("cursor", _) => {
                has_cursor = true;
                continue;
            }
            ("limit", _) => {
                has_limit = true;
                continue;
            }
            (_, Some(words)) => words
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            // As far back as can be asked for.
            ("minutes", None) => vec![parameter["schema"]["maximum"].to_string()],
            (_, None) => vec![value_of(name)?.to_owned()],
        };
        let pairs = values
            .iter()
            .map(|value| format!("&{name}={}", form_encode(value)));
        if name == "state" {
            states.extend(pairs);
        } else {
            filters.push(pairs.collect());
        }
    }
    let mut named: Vec<String> = filters.concat();
    if !needs_filter {
        named.push(String::new());
    }
    let mut all = Vec::new();
    for filter in &named {
        for state in &states {
            let query = format!("{filter}{state}");
            all.push(format!("{path}?{}", query.trim_start_matches('&')));
            if has_limit {
                all.push(format!("{path}?limit=200{query}"));
            }
            if has_cursor {
                all.push(format!("{path}?cursor={}{query}", place_in(path)?));
            }
        }
    }
    Ok(all
        .iter()
        .map(|question| question.trim_end_matches('?').to_owned())
        .collect())
}

/// What is searched for: what there is much of.
fn value_of(name: &str) -> Outcome<&'static str> {
    Ok(match name {
        "client_id" | "actor" | "target" => CLIENT,
        "user_id" => USER,
        "grant_id" => "g_0000000000000000000001",
        "name" => "Agent 7",
        "username" => "person7000",
        // The rarest.
        "event" => "node.revoked",
        _ => {
            return Err(Fault::new(format!(
                "the benchmark has no value for the filter {name}"
            )));
        }
    })
}

/// A place far inside a list: a moment or a number, in the middle of what the rows have.
fn place_in(path: &str) -> Outcome<String> {
    let now = xtask::shell::read(xtask::shell::command("date").arg("+%s"))?;
    let now: i64 = now.trim().parse().explain("date prints no number")?;
    let (_, list) = path.rsplit_once("/v1/").explain("a path outside the API")?;
    let at = match list {
        "audit/events" | "audit/verification" => 500_000,
        "tokens" => now - 4_500_000,
        "grants" => now - 8_000_000,
        "sessions" => now - 3900,
        "approvals" | "client-invites" => now - 1000,
        _ => now - 15_768_000,
    };
    Ok(format!("{at}."))
}

/// The id of one thing of a list, where one is known.
fn id_at(path: &str) -> Outcome<Option<&'static str>> {
    let (_, rest) = path.rsplit_once("/v1/").explain("a path outside the API")?;
    Ok(Some(match rest.split('/').next().unwrap_or_default() {
        "clients" => CLIENT,
        "users" => USER,
        "grants" => "g_0000000000000000070000",
        "tokens" => "f_0000000000000000070000",
        "sessions" => "s_0000000000000000007000",
        "nodes" => "n_0000000000000000007000",
        "client-invites" => "invite1000",
        "approvals" => "a_0000000000000000000050",
        // https://node7000.example/mcp
        "resources" => "~aHR0cHM6Ly9ub2RlNzAwMC5leGFtcGxlL21jcA",
        // Of these the rows above have none, or none that is known.
        "keys" | "client-documents" | "invites" => return Ok(None),
        _ => return Err(Fault::new(format!("the benchmark has no id for {path}"))),
    }))
}
