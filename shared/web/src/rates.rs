//! Rate limits: by address before anyone is authenticated, through actix-governor, and by client after that.
//!
//! What actix-governor leaves open is closed here: `Retry-After` is rounded up, the `RateLimit` fields are sent,
//! and [`forget_the_idle`] keeps the tables from growing with every address ever seen.

mod by_address;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

pub use self::by_address::AddressLimit;
use crate::answer;

/// So many requests in so much time, written `100/min`, `20/s`, `5000/h` or `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(Option<(NonZeroU32, Duration)>);

/// The text is no rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a rate is written like 100/min, 20/s, 5000/h, or off")]
pub struct RateFault;

impl FromStr for Rate {
    type Err = RateFault;

    fn from_str(text: &str) -> Result<Self, RateFault> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (count, unit) = text.split_once('/').ok_or(RateFault)?;
        let seconds = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(RateFault),
        };
        let count = count.parse().map_err(|_| RateFault)?;
        Ok(Self(Some((count, Duration::from_secs(seconds)))))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some((count, per)) => {
                let unit = match per.as_secs() {
                    1 => "s",
                    60 => "min",
                    _ => "h",
                };
                write!(f, "{count}/{unit}")
            }
        }
    }
}

impl Rate {
    /// No limit.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// So many in a minute.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self(Some((count, Duration::from_secs(60))))
    }

    /// So many in an hour.
    pub const fn per_hour(count: NonZeroU32) -> Self {
        Self(Some((count, Duration::from_secs(3600))))
    }

    /// So many times as many in the same time.
    pub fn times(self, factor: u32) -> Self {
        let factor = NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN);
        Self(
            self.0
                .map(|(count, window)| (count.saturating_mul(factor), window)),
        )
    }

    /// How many in how much time; `None` when there is no limit.
    pub fn count_and_window(self) -> Option<(u32, Duration)> {
        self.0.map(|(count, window)| (count.get(), window))
    }

    fn quota(self) -> Option<Quota> {
        let (count, per) = self.0?;
        Some(Quota::with_period(per / count.get())?.allow_burst(count))
    }
}

/// The limit is used up.
#[derive(Clone, Copy, Debug)]
pub struct Exceeded {
    wait: Duration,
    rate: Rate,
    /// So many at the same time; then there is no rate.
    at_once: Option<usize>,
    name: &'static str,
}

impl Exceeded {
    /// For a limit that is counted elsewhere: `wait` is how long there is nothing to try.
    pub fn new(wait: Duration, rate: Rate) -> Self {
        Self {
            wait,
            rate,
            at_once: None,
            name: "default",
        }
    }

    /// For things that are counted while they last, of which there may be `at_once`.
    pub fn at_once(at_once: usize, wait: Duration) -> Self {
        Self {
            at_once: Some(at_once),
            ..Self::come_back(wait)
        }
    }

    /// Under the name of its policy, a token of letters, digits and hyphens.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// For a queue that is full: there is no rate to tell.
    pub fn come_back(wait: Duration) -> Self {
        Self::new(wait, Rate::unlimited())
    }

    /// How long there is nothing to try.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// 429 with `Retry-After` (RFC 6585 §4) and the `RateLimit` fields of the IETF draft.
    pub fn answer(self) -> HttpResponse {
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let name = self.name;
        let policy = match (self.at_once, self.rate.0) {
            (Some(at_once), _) => format!("\"{name}\";q={at_once};qu=\"concurrent-requests\""),
            (None, Some((count, per))) => format!("\"{name}\";q={count};w={}", per.as_secs()),
            (None, None) => format!("\"{name}\";q=0;w=0"),
        };
        let mut answer = answer::error(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            "too many requests; wait as Retry-After says",
        );
        let headers = answer.headers_mut();
        headers.insert(RETRY_AFTER, seconds.max(1).into());
        for (name, text) in [
            ("ratelimit-policy", policy),
            ("ratelimit", format!("\"{name}\";r=0;t={}", seconds.max(1))),
        ] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        answer
    }
}

/// A limit on something that is known only inside a request: the authenticated client, failures of an address.
#[derive(Clone)]
pub struct KeyedLimit {
    /// Keys are hashed with a random state, so that a table entry is small whatever the key.
    hasher: RandomState,
    current: Arc<ArcSwap<Limit>>,
}

struct Limit {
    rate: Rate,
    limiter: Option<DefaultKeyedRateLimiter<u64>>,
}

impl Limit {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            limiter: rate.quota().map(RateLimiter::keyed),
        }
    }
}

impl KeyedLimit {
    /// A limit of `rate` for each key.
    pub fn new(rate: Rate) -> Self {
        Self {
            hasher: RandomState::new(),
            current: Arc::new(ArcSwap::from_pointee(Limit::new(rate))),
        }
    }

    /// Another rate from now on, for everybody who has this limit. What was counted is forgotten then.
    pub fn set_rate(&self, rate: Rate) {
        if self.rate() != rate {
            self.current.store(Arc::new(Limit::new(rate)));
        }
    }

    /// Counts one more for `key`.
    pub fn check(&self, key: impl std::hash::Hash) -> Result<(), Exceeded> {
        let limit = self.current.load();
        let Some(limiter) = &limit.limiter else {
            return Ok(());
        };
        let verdict = limiter.check_key(&self.hasher.hash_one(key));
        verdict
            .map_err(|until| Exceeded::new(until.wait_time_from(DefaultClock::default().now()), limit.rate))
    }

    /// The rate that each key has.
    pub fn rate(&self) -> Rate {
        self.current.load().rate
    }

    /// Drops keys whose allowance is full again.
    pub fn forget_the_idle(&self) {
        if let Some(limiter) = &self.current.load().limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

impl fmt::Debug for KeyedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyedLimit({})", self.rate())
    }
}

/// Once a minute, drops what no longer limits anyone, from `by_address` and from what are the `others` then. Runs until
/// the program ends.
pub async fn forget_the_idle(by_address: AddressLimit, others: impl Fn() -> Vec<KeyedLimit>) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        by_address.forget_the_idle();
        others().iter().for_each(KeyedLimit::forget_the_idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_printed() {
        for text in ["100/min", "20/s", "5000/h", "off"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for (text, more) in [("60/min", "600/min"), ("off", "off")] {
            assert_eq!(text.parse::<Rate>().unwrap().times(10).to_string(), more);
        }
        for text in ["", "0/s", "1/day", "x/s", "-1/s", "100"] {
            assert_eq!(text.parse::<Rate>(), Err(RateFault), "{text}");
        }
    }

    #[test]
    fn each_key_has_its_own_allowance_and_is_told_how_long_to_wait() {
        let limit = KeyedLimit::new("2/min".parse().unwrap());
        assert!(limit.check("a").is_ok() && limit.check("a").is_ok());
        let answer = limit.check("a").unwrap_err().answer();
        assert_eq!(answer.status(), 429);
        let wait: u64 = answer
            .headers()
            .get(RETRY_AFTER)
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        assert_eq!(
            answer.headers().get("ratelimit-policy").unwrap(),
            "\"default\";q=2;w=60"
        );
        assert!(limit.check("b").is_ok());
        assert!(KeyedLimit::new("off".parse().unwrap()).check("a").is_ok());
        // Another rate is there for everybody who has the limit.
        let same = limit.clone();
        limit.set_rate("off".parse().unwrap());
        assert!(same.check("a").is_ok() && same.check("a").is_ok());
        assert_eq!(same.rate().to_string(), "off");
    }
}
