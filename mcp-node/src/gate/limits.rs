//! What is limited behind the door: how often, how much at the same time, how large and how long.

use std::sync::Arc;
use std::time::Duration;

use ::web::rates::{Exceeded, KeyedLimit};
use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gauges::{Bounded, Gauge};
use super::operation::Operation;
use super::pattern::Pattern;
use super::scopes::LISTEN;
use super::seats::{Full, Owner, Seat, Seats};
use crate::config::{CallLimits, ToolLimit};
use crate::error::Refusal;

/// When to try again what is limited by what others do at the same time.
const COME_BACK: Duration = Duration::from_secs(1);
/// When to try to open a stream again: streams last.
const COME_BACK_TO_STREAM: Duration = Duration::from_secs(15);

/// The limits of one node, and how far each is used.
#[derive(Debug)]
pub(super) struct Limits {
    calls: Arc<Seats>,
    streams: Arc<Seats>,
    /// The largest body of any request, in bytes.
    body: usize,
    of_tools: ArcSwap<OfTools>,
}

/// What holds for tools, as it is now.
#[derive(Debug)]
struct OfTools {
    time: Duration,
    tools: Vec<Arc<OfTool>>,
}

impl OfTools {
    fn new(limits: &CallLimits, before: Option<&Self>) -> Self {
        let mut known = before.map(|before| before.tools.clone()).unwrap_or_default();
        let of_tool = |limit: &ToolLimit| {
            // What is counted against a limit that stays is counted on; against two that are alike, once in each.
            let same = known.iter().position(|known| known.limit == *limit);
            same.map_or_else(|| Arc::new(OfTool::new(limit)), |index| known.remove(index))
        };
        Self {
            time: limits.time,
            tools: limits.tools.iter().map(of_tool).collect(),
        }
    }

    fn of<'s>(&'s self, tool: Option<&str>) -> impl Iterator<Item = &'s OfTool> {
        let fits = move |limit: &&OfTool| tool.is_some_and(|name| limit.tool.matches(name));
        self.tools.iter().map(|limit| &**limit).filter(fits)
    }
}

/// What holds for the tools whose name fits.
#[derive(Debug)]
struct OfTool {
    /// As it is configured.
    limit: ToolLimit,
    tool: Pattern,
    rate: KeyedLimit,
    /// How many there may be, and those that are left.
    at_once: Option<(usize, Arc<Semaphore>)>,
    time: Option<Duration>,
    body: Option<usize>,
}

/// What a permitted operation holds while it lasts.
#[derive(Debug, Default)]
pub(super) struct Held {
    seat: Option<Seat>,
    of_tools: Vec<OwnedSemaphorePermit>,
}

impl OfTool {
    fn new(limit: &ToolLimit) -> Self {
        Self {
            limit: limit.clone(),
            tool: limit.tool.clone(),
            rate: KeyedLimit::new(limit.rate),
            at_once: limit.calls.map(|calls| (calls, Arc::new(Semaphore::new(calls)))),
            time: limit.time,
            body: limit.body.map(|body| body.0),
        }
    }
}

impl Limits {
    pub(super) fn new(limits: &CallLimits, body: usize) -> Self {
        Self {
            calls: Arc::new(Seats::new(limits.calls)),
            streams: Arc::new(Seats::new(limits.streams)),
            body,
            of_tools: ArcSwap::from_pointee(OfTools::new(limits, None)),
        }
    }

    /// Other limits from now on. What is under way goes on as it began.
    pub(super) fn change(&self, limits: &CallLimits) {
        self.calls.set_share(limits.calls);
        self.streams.set_share(limits.streams);
        let next = OfTools::new(limits, Some(&self.of_tools.load()));
        self.of_tools.store(Arc::new(next));
    }

    /// Takes what `operation` of `owner` needs. What it got is given back when it gets no further.
    pub(super) fn take(&self, owner: Owner<'_>, operation: &Operation<'_>) -> Result<Held, Refusal> {
        let mut held = Held::default();
        let of_tools = self.of_tools.load_full();
        for limit in of_tools.of(operation.tool) {
            let size = operation.size();
            if limit.body.is_some_and(|most| size > most) {
                return Err(Refusal::TooLarge);
            }
            if let Some((most, left)) = &limit.at_once {
                let seat = Arc::clone(left).try_acquire_owned();
                let full = |_| Exceeded::at_once(*most, COME_BACK).named("tool-calls");
                held.of_tools.push(seat.map_err(full).map_err(Refusal::ToolBusy)?);
            }
            let allowance = limit.rate.check((owner.issuer, owner.client));
            allowance.map_err(|exceeded| Refusal::TooManyOfTool(exceeded.named("tool")))?;
        }
        let is_stream = operation.method == LISTEN;
        let seats = if is_stream { &self.streams } else { &self.calls };
        let seat = seats.take(owner).map_err(|full| busy(full, seats, is_stream))?;
        held.seat = Some(seat);
        Ok(held)
    }

    /// How long the tool `name` may take.
    pub(super) fn time(&self, name: &str) -> Duration {
        let of_tools = self.of_tools.load();
        let own = of_tools.of(Some(name)).find_map(|limit| limit.time);
        own.unwrap_or(of_tools.time)
    }

    /// The rates that have tables, to be tidied.
    pub(super) fn rates(&self) -> Vec<KeyedLimit> {
        let of_tools = self.of_tools.load();
        of_tools.tools.iter().map(|limit| limit.rate.clone()).collect()
    }
}

impl Bounded for Limits {
    fn gauges(&self) -> Vec<Gauge> {
        let shares = [
            (["calls", "calls_per_client", "calls_per_subject"], &self.calls),
            (
                ["streams", "streams_per_client", "streams_per_subject"],
                &self.streams,
            ),
        ];
        let mut gauges = Vec::new();
        for ([all, client, subject], seats) in shares {
            let share = seats.share();
            gauges.extend([
                Gauge::of_node(all, share.all, seats.taken()),
                Gauge::of_each(client, share.per_client),
                Gauge::of_each(subject, share.per_subject),
            ]);
        }
        let seconds = |time: Duration| usize::try_from(time.as_secs()).unwrap_or(usize::MAX);
        let of_tools = self.of_tools.load();
        gauges.push(Gauge::of_each("call_seconds", seconds(of_tools.time)));
        gauges.push(Gauge::of_each("body_bytes", self.body));
        for limit in &of_tools.tools {
            let mut add = |gauge: Gauge| gauges.push(gauge.for_tools(limit.tool.as_str()));
            if let Some((most, left)) = &limit.at_once {
                let used = most.saturating_sub(left.available_permits());
                add(Gauge::of_node("tool_calls", *most, used));
            }
            if let Some(time) = limit.time {
                add(Gauge::of_each("call_seconds", seconds(time)));
            }
            if let Some(body) = limit.body {
                add(Gauge::of_each("body_bytes", body));
            }
        }
        gauges
    }
}

fn busy(full: Full, seats: &Seats, is_stream: bool) -> Refusal {
    let share = seats.share();
    let (at_once, name) = match (full, is_stream) {
        (Full::Node, false) => (share.all, "calls"),
        (Full::Client, false) => (share.per_client, "calls-per-client"),
        (Full::Subject, false) => (share.per_subject, "calls-per-subject"),
        (Full::Node, true) => (share.all, "streams"),
        (Full::Client, true) => (share.per_client, "streams-per-client"),
        (Full::Subject, true) => (share.per_subject, "streams-per-subject"),
    };
    let wait = if is_stream { COME_BACK_TO_STREAM } else { COME_BACK };
    Refusal::Busy {
        full,
        is_stream,
        exceeded: Exceeded::at_once(at_once, wait).named(name),
    }
}

#[cfg(test)]
mod tests {
    use ::web::rates::Rate;

    use super::*;
    use crate::config::{ByteCount, Share};

    const OWNER: Owner<'static> = Owner {
        issuer: 0,
        client: "agent",
        subject: "client:agent",
    };

    fn of_tool(tool: &str, rate: &str) -> ToolLimit {
        ToolLimit {
            tool: tool.parse().unwrap(),
            rate: rate.parse().unwrap(),
            calls: None,
            time: None,
            body: None,
        }
    }

    fn of_tools(tools: Vec<ToolLimit>) -> CallLimits {
        let share = Share {
            all: 8,
            per_client: 8,
            per_subject: 8,
        };
        CallLimits {
            calls: share,
            streams: Share { all: 1, ..share },
            time: Duration::from_secs(60),
            tools,
        }
    }

    fn limits() -> Limits {
        let limits = of_tools(vec![
            ToolLimit {
                calls: Some(1),
                ..of_tool("fs_*", "off")
            },
            ToolLimit {
                time: Some(Duration::from_secs(5)),
                body: Some(ByteCount(1024)),
                ..of_tool("fs_write", "2/h")
            },
        ]);
        Limits::new(&limits, 4096)
    }

    #[test]
    fn a_limit_that_is_written_twice_counts_a_call_once_after_a_change_too() {
        let twice = of_tools(vec![of_tool("fs_*", "3/h"), of_tool("fs_*", "3/h")]);
        let limits = Limits::new(&twice, 4096);
        let read = Operation::call("fs_read", None);
        assert_eq!(reason(&limits, &read), "");
        limits.change(&twice);
        // What was counted before is counted on.
        let reasons = [(); 3].map(|()| reason(&limits, &read));
        assert_eq!(reasons[..2], ["", ""]);
        assert_ne!(reasons[2], "");
    }

    fn reason(limits: &Limits, operation: &Operation<'_>) -> &'static str {
        match limits.take(OWNER, operation) {
            Ok(_) => "",
            Err(refusal) => refusal.reason(),
        }
    }

    #[test]
    fn a_tool_has_limits_of_its_own() {
        let limits = limits();
        let (read, write) = (
            Operation::call("fs_read", None),
            Operation::call("fs_write", None),
        );
        let held = limits.take(OWNER, &read).unwrap();
        assert_eq!(reason(&limits, &read), "tool_calls");
        assert_eq!(reason(&limits, &write), "tool_calls");
        assert_eq!(reason(&limits, &Operation::call("other", None)), "");
        drop(held);
        let large = Operation {
            raw: Some(&[b' '; 1025]),
            ..write
        };
        assert_eq!(reason(&limits, &large), "body");
        for expected in ["", "", "tool_rate"] {
            assert_eq!(reason(&limits, &write), expected);
        }
        assert_eq!(reason(&limits, &read), "");
        let calm = Owner {
            client: "calm",
            ..OWNER
        };
        assert!(limits.take(calm, &write).is_ok());
        assert_eq!(limits.time("fs_write").as_secs(), 5);
        assert_eq!(limits.time("fs_read").as_secs(), 60);
        assert_eq!(
            limits.rates().iter().map(KeyedLimit::rate).collect::<Vec<_>>(),
            [Rate::unlimited(), "2/h".parse().unwrap()]
        );
    }

    #[test]
    fn streams_and_calls_do_not_take_each_others_room() {
        let limits = limits();
        let stream = limits.take(OWNER, &Operation::listen()).unwrap();
        assert_eq!(reason(&limits, &Operation::listen()), "streams");
        assert_eq!(reason(&limits, &Operation::read("edge-hive://status")), "");
        let used: Vec<_> = limits
            .gauges()
            .iter()
            .map(|gauge| (gauge.name, gauge.used))
            .collect();
        assert!(
            used.contains(&("streams", Some(1))) && used.contains(&("calls", Some(0))),
            "{used:?}"
        );
        drop(stream);
        assert_eq!(reason(&limits, &Operation::listen()), "");
    }
}
