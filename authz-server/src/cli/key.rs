//! `authz-server key …`.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::clock::{self, UnixSeconds};
use shared::jose::Algorithm;

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::Report;
use crate::admin::keys::{self, KeyView, RotationView};
use crate::keys::{KeyRing, MasterKey};
use crate::pages;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the keys that are published: which will sign, which does, which has signed what still counts
    List,
    /// Publish a new key, which takes over when everybody can know it
    Rotate(Rotate),
    /// Take out a key that does not sign: all tokens that it signed are refused
    Remove {
        /// The key's id
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
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
    pub(super) async fn run(self, place: &Place) -> Outcome {
        make_missing(place).await?;
        match self {
            Self::List => {
                let list: Vec<KeyView> = place.all(&keys::LIST, &[]).await?;
                Report::rows(&list, row)
            }
            Self::Rotate(asked) => asked.run(place).await,
            Self::Remove { kid } => {
                place.ask(&keys::REMOVE, of(&kid)).await?;
                Ok(Report::line("the key is gone; what it signed is refused"))
            }
        }
    }
}

/// Before the first start there are none yet.
async fn make_missing(place: &Place) -> Result<(), Box<dyn std::error::Error>> {
    if let Place::Here(db, config) = place {
        let master = Arc::new(MasterKey::open(&config.master_key_file)?);
        KeyRing::load_or_make(db, &master, clock::now()).await?;
    }
    Ok(())
}

impl Rotate {
    async fn run(self, place: &Place) -> Outcome {
        let way = match (self.now, self.compromised) {
            (_, true) => "compromised",
            (true, false) => "now",
            (false, false) => "planned",
        };
        let mut body = Map::from_iter([("way".to_owned(), Value::from(way))]);
        if let Some(algorithm) = self.alg {
            body.insert("alg".to_owned(), Value::from(algorithm.as_str()));
        }
        let done: RotationView = place.get(&keys::ROTATE, saying(body)).await?;
        let now = clock::now();
        Report::rows(&done.keys, |rotated| {
            let when = match rotated.signs_from <= now.0 {
                true => "signs now".to_owned(),
                false => format!("signs from {}", pages::iso(UnixSeconds(rotated.signs_from))),
            };
            let removed = match rotated.removed.as_slice() {
                [] => String::new(),
                removed => format!("removed: {}", removed.join(" ")),
            };
            vec![rotated.alg.clone(), rotated.kid.clone(), when, removed]
        })
    }
}

fn row(key: &KeyView) -> Vec<String> {
    let when = match key.ends_at {
        Some(ends_at) => format!("until {}", pages::iso(UnixSeconds(ends_at))),
        None => format!("from {}", pages::iso(UnixSeconds(key.signs_from))),
    };
    vec![key.alg.clone(), key.kid.clone(), key.state.clone(), when]
}
