//! `authz-server key …`.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::clock::{self, UnixSeconds};
use shared::jose::Algorithm;

use super::Outcome;
use super::print::Report;
use crate::audit::Actor;
use crate::config::Config;
use crate::db::Db;
use crate::keys::life::{self, Way};
use crate::keys::{ALGORITHMS, KeyRing, MasterKey};
use crate::pages;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the keys that are published: which will sign, which does, which has signed what still counts
    List,
    /// Publish a new key, which takes over when everybody can know it
    Rotate(Rotate),
}

#[derive(Args)]
pub(super) struct Rotate {
    /// Only this algorithm's key: EdDSA, RS256 or ES256 [default: each]
    #[arg(long, value_name = "ALG")]
    alg: Option<Algorithm>,
    /// Let it sign at once. Whoever has not seen it yet must ask again
    #[arg(long)]
    now: bool,
    /// Let it sign at once, and take every older key out: all tokens that they signed are refused
    #[arg(long, conflicts_with = "now")]
    compromised: bool,
}

impl Command {
    pub(super) async fn run(self, db: &Db, config: &Config) -> Outcome {
        let now = clock::now();
        let master = Arc::new(MasterKey::open(&config.master_key_file)?);
        let ring = KeyRing::load_or_make(db, &master, now).await?;
        match self {
            Self::List => list(&ring),
            Self::Rotate(asked) => {
                let algorithms = asked.algorithms()?;
                let schedule = config.key_schedule;
                let way = (asked.way(), schedule);
                let rotated = life::rotate((db, &master), &algorithms, way, Actor::Operator, now).await?;
                Report::rows(&rotated, |rotated| {
                    let when = match rotated.signs_from <= now.0 {
                        true => "signs now".to_owned(),
                        false => format!("signs from {}", pages::iso(UnixSeconds(rotated.signs_from))),
                    };
                    let removed = match rotated.removed.as_slice() {
                        [] => String::new(),
                        removed => format!("removed: {}", removed.join(" ")),
                    };
                    vec![rotated.alg.to_owned(), rotated.kid.clone(), when, removed]
                })
            }
        }
    }
}

impl Rotate {
    fn algorithms(&self) -> Result<Vec<Algorithm>, String> {
        match self.alg {
            None => Ok(ALGORITHMS.to_vec()),
            Some(algorithm) if ALGORITHMS.contains(&algorithm) => Ok(vec![algorithm]),
            Some(other) => Err(format!(
                "{other} is not signed here; --alg is EdDSA, RS256 or ES256"
            )),
        }
    }

    fn way(&self) -> Way {
        match (self.now, self.compromised) {
            (_, true) => Way::Compromised,
            (true, false) => Way::Now,
            (false, false) => Way::Planned,
        }
    }
}

fn list(ring: &KeyRing) -> Outcome {
    let rows: Vec<_> = ring
        .states
        .iter()
        .map(|key| {
            json!({
                "kid": key.kid, "alg": key.algorithm.as_str(), "state": key.state, "created_at": key.created_at,
                "signs_from": key.signs_from, "ends_at": key.ends_at,
            })
        })
        .collect();
    Report::columns(&rows, ring.states.iter().map(columns).collect())
}

fn columns(key: &crate::keys::KeyState) -> Vec<String> {
    let when = match key.ends_at {
        Some(ends_at) => format!("until {}", pages::iso(ends_at)),
        None => format!("from {}", pages::iso(key.signs_from)),
    };
    vec![
        key.algorithm.as_str().to_owned(),
        key.kid.clone(),
        key.state.as_str().to_owned(),
        when,
    ]
}
