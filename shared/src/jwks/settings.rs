//! What is said to a key set, and what it says of itself.

use std::time::Duration;

use url::Url;

use super::KeptAt;
use crate::jose::Algorithm;
use crate::uri::Issuer;

/// Where the keys of an issuer come from, and how long they may serve.
#[derive(Clone, Debug)]
pub struct KeySetSettings {
    /// The issuer, whose metadata names the key set.
    pub issuer: Issuer,
    /// The key set itself, when the operator names it: then no metadata is read.
    pub jwks_uri: Option<Url>,
    /// What it may sign with: a key that names no `alg` is for the first of these that fits it.
    pub algorithms: Vec<Algorithm>,
    /// How long the last good set serves when the issuer is away; at least [`super::MIN_MAX_STALE`], or there are times at
    /// which no token can be judged.
    pub max_stale: Duration,
    /// Where the last good set is kept; `None` keeps it in memory only.
    pub kept: Option<KeptAt>,
}

/// What an operator wants to know of a key set.
#[derive(Clone, Debug)]
pub struct KeySetStatus {
    /// Time since the set was fetched; `None` before the first time.
    pub age: Option<Duration>,
    /// How long the set would serve on without its issuer; `None` when there is none.
    pub left: Option<Duration>,
    /// Name and algorithm of each key.
    pub keys: Vec<(String, &'static str)>,
    /// Whether tokens can be judged now.
    pub usable: bool,
    /// Why the latest attempt failed, if it did.
    pub fault: Option<String>,
}
