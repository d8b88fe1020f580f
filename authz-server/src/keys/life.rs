//! The life of a signing key (docs/keys.md): published ahead of time, signing, kept for as long as anything that it signed
//! counts, gone.
//!
//! Every instance looks; whoever takes the turn of changes first does what is due, and the others find it done. A key that
//! signs has been in every instance's key set before, because whatever answers has caught up with the change that published
//! it ([`crate::changes`]).

mod done;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::{self, UnixSeconds};
use shared::jose::Algorithm;
use utoipa::ToSchema;

use self::done::{Done, write_events};
use super::{ALGORITHMS, KeyFault, KeyState, MasterKey, State, make};
use crate::admin::By;
use crate::app::App;
use crate::audit::Name;
use crate::db::change::{self, MANY, Noun};
use crate::db::signing_key::{self, NewKey};
use crate::db::{Db, DbFault, Tx};
use crate::error::Failure;

/// How often an instance looks whether something is due.
const EVERY: Duration = Duration::from_secs(10);
/// A key that should sign is late after this time.
pub(super) const LATE: Duration = Duration::from_secs(3600);
/// A retired key stays this much longer than what it signed counts: requests that had begun to sign, and clocks of
/// instances and of whoever verifies that differ.
const MARGIN: Duration = Duration::from_secs(600);
/// So many keys of one algorithm are published at most: key sets of others are read up to 32 keys.
const MAX_OF_ONE_ALGORITHM: usize = 8;

/// When keys are rotated (`[keys]`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// How long a key signs; `None`: until somebody rotates it.
    pub(crate) every: Option<Duration>,
    /// How long a key is published before it signs.
    pub(crate) ahead: Duration,
}

/// How an operator rotates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// A new key is published now and signs when everybody can know it.
    Planned,
    /// A new key signs at once. The old one stays published.
    Now,
    /// A new key signs at once, and every other one of the algorithm is gone: whoever has one may have them all.
    Compromised,
}

/// What became of one algorithm.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RotatedKey)]
pub(crate) struct Rotated {
    pub(crate) alg: String,
    /// The key that signs, or will.
    pub(crate) kid: String,
    /// From when on, Unix seconds.
    pub(crate) signs_from: i64,
    /// Keys whose tokens are refused from now on.
    pub(crate) removed: Vec<String>,
}

impl Rotated {
    /// Tells the log what was done.
    pub(crate) fn log(&self, now: UnixSeconds) {
        let name = match UnixSeconds(self.signs_from) <= now {
            true => Name::KeyRotated,
            false => Name::KeyPublished,
        };
        let details = json!({ "alg": self.alg, "signs_from": self.signs_from });
        Done::new(name, &self.kid, details).log();
        for kid in &self.removed {
            log_removed(kid);
        }
    }
}

/// Tells the log that a key is gone with all that it signed.
pub(crate) fn log_removed(kid: &str) {
    Done::new(Name::KeyCompromised, kid, Value::Null).log();
}

/// Why keys are not rotated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateFault {
    /// Too many retired ones are still needed.
    #[error(
        "{0} keys of {1} are published already, and what they signed still counts; wait until one of them ends (authz-server key list)"
    )]
    TooMany(usize, Algorithm),
    /// Its place must be taken first.
    #[error("the key {0} signs; rotate it, and then it can be taken out")]
    Signs(String),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

/// Nothing is due any more. It is rolled back: a turn without a change would have every instance forget all that it knows.
struct NothingDue;

/// What is due for one algorithm.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    /// Its time is over.
    Remove(String),
    /// The next key takes over.
    Promote { next: String, former: String },
    /// A next key is needed.
    Publish(Algorithm),
}

/// What is due now, in the order in which it is done.
fn due(keys: &[KeyState], schedule: Schedule, now: UnixSeconds) -> Vec<Step> {
    let is_over = |key: &&KeyState| key.state == State::Retired && key.ends_at.is_some_and(|end| end <= now);
    let mut steps: Vec<_> = keys
        .iter()
        .filter(is_over)
        .map(|key| Step::Remove(key.kid.clone()))
        .collect();
    for algorithm in ALGORITHMS {
        let (current, next) = (
            of(keys, algorithm, State::Current),
            of(keys, algorithm, State::Next),
        );
        match (current, next) {
            (Some(current), Some(next)) if next.signs_from <= now => steps.push(Step::Promote {
                next: next.kid.clone(),
                former: current.kid.clone(),
            }),
            (Some(current), None) => {
                let count = keys.iter().filter(|key| key.algorithm == algorithm).count();
                let is_due =
                    |every: Duration| current.signs_from + every.saturating_sub(schedule.ahead) <= now;
                if schedule.every.is_some_and(is_due) && count < MAX_OF_ONE_ALGORITHM {
                    steps.push(Step::Publish(algorithm));
                }
            }
            _ => {}
        }
    }
    steps
}

fn of(keys: &[KeyState], algorithm: Algorithm, state: State) -> Option<&KeyState> {
    keys.iter()
        .find(|key| key.algorithm == algorithm && key.state == state)
}

/// Does what is due, until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        if let Err(failure) = look(&app, clock::now()).await {
            tracing::warn!(reason = %failure, "the signing keys could not be looked after; it will be tried again");
        }
    }
}

async fn look(app: &App, now: UnixSeconds) -> Result<(), Failure> {
    app.catch_up().await?;
    let (ring, schedule) = (app.keys().await?, app.config.key_schedule);
    if due(&ring.states, schedule, now).is_empty() {
        return Ok(());
    }
    let internal = |fault: KeyFault| match fault {
        KeyFault::Db(fault) => Failure::Db(fault),
        other => Failure::Internal(other.to_string()),
    };
    advance(&app.db, app.master_key(), schedule, now)
        .await
        .map_err(internal)
}

/// Does what is due, if nobody else has done it meanwhile.
pub(crate) async fn advance(
    db: &Db,
    master: &Arc<MasterKey>,
    schedule: Schedule,
    now: UnixSeconds,
) -> Result<(), KeyFault> {
    let expected = due(&super::states(&signing_key::all(db).await?)?, schedule, now);
    let algorithms = expected.iter().filter_map(|step| match step {
        Step::Publish(algorithm) => Some(*algorithm),
        _ => None,
    });
    let made = make_all(master, algorithms.collect()).await?;
    let done = db
        .write_unless(async |tx| {
            let turn = change::take_turn(tx).await?;
            let states = super::states(&signing_key::all_in_turn(tx).await?)?;
            let mut done = Vec::new();
            for step in due(&states, schedule, now) {
                done.extend(take(tx, step, (&made, now + schedule.ahead), now).await?);
            }
            if done.is_empty() {
                return Ok(Err(NothingDue));
            }
            change::record_at(tx, turn, (Noun::Key, MANY), now).await?;
            write_events(tx, &done, &By::server(), now).await?;
            Ok(Ok(done))
        })
        .await?;
    done.iter().flatten().for_each(Done::log);
    Ok(())
}

async fn take(
    tx: &mut Tx,
    step: Step,
    (made, signs_from): (&[NewKey], UnixSeconds),
    now: UnixSeconds,
) -> Result<Option<Done>, DbFault> {
    match step {
        Step::Remove(kid) => {
            let is_gone = signing_key::remove_ended(tx, &kid, now).await?;
            Ok(is_gone.then(|| Done::new(Name::KeyRemoved, &kid, Value::Null)))
        }
        Step::Promote { next, former } => rotate_to(tx, &next, Some(&former), now).await,
        Step::Publish(algorithm) => match made.iter().find(|key| key.algorithm == algorithm) {
            Some(key) => {
                signing_key::insert(tx, key, ("next", signs_from), now).await?;
                Ok(Some(Done::published(key, signs_from)))
            }
            // It became due in this very moment. The next look finds it.
            None => Ok(None),
        },
    }
}

/// The next key takes over from the `former`.
async fn rotate_to(
    tx: &mut Tx,
    next: &str,
    former: Option<&str>,
    now: UnixSeconds,
) -> Result<Option<Done>, DbFault> {
    if let Some(former) = former
        && !signing_key::retire(tx, former, now + MARGIN).await?
    {
        return Ok(None);
    }
    let is_done = signing_key::promote(tx, next, now).await?;
    Ok(is_done.then(|| Done::new(Name::KeyRotated, next, json!({ "former": former }))))
}

/// A new key for each of `algorithms`, for [`rotate`]. Made once, however often the transaction is tried.
pub(crate) async fn prepare(
    master: &Arc<MasterKey>,
    algorithms: &[Algorithm],
) -> Result<Vec<NewKey>, KeyFault> {
    make_all(master, algorithms.to_vec()).await
}

/// Every key, in the turn of whoever changes them.
pub(crate) async fn hold(tx: &mut Tx) -> Result<(i64, Vec<KeyState>), DbFault> {
    let turn = change::take_turn(tx).await?;
    Ok((turn, super::states(&signing_key::all_in_turn(tx).await?)?))
}

/// Rotates the keys of the algorithms of which `fresh` are, as an operator says. Where the next key of each is published
/// already, a planned rotation says which it is, and changes nothing.
pub(crate) async fn rotate(
    tx: &mut Tx,
    fresh: &[NewKey],
    (way, schedule): (Way, Schedule),
    by: &By,
    now: UnixSeconds,
) -> Result<Vec<Rotated>, RotateFault> {
    let (turn, states) = hold(tx).await?;
    let (mut all, mut done) = (Vec::new(), Vec::new());
    for key in fresh {
        match one(tx, key, (&states, way, schedule), now).await? {
            Ok((rotated, more)) => {
                all.push(rotated);
                done.extend(more);
            }
            Err(count) => return Err(RotateFault::TooMany(count, key.algorithm)),
        }
    }
    // A turn without a change would have every instance forget all that it knows.
    change::record_at(tx, turn, (Noun::Key, MANY), now).await?;
    write_events(tx, &done, by, now).await?;
    Ok(all)
}

/// Takes out a key that does not sign, in the turn of [`hold`]: nothing that it signed counts any more.
pub(crate) async fn remove(
    tx: &mut Tx,
    (turn, key): (i64, &KeyState),
    by: &By,
    now: UnixSeconds,
) -> Result<(), RotateFault> {
    if key.state == State::Current {
        return Err(RotateFault::Signs(key.kid.clone()));
    }
    signing_key::remove(tx, &key.kid).await?;
    change::record_at(tx, turn, (Noun::Key, &key.kid), now).await?;
    let done = [Done::new(Name::KeyCompromised, &key.kid, Value::Null)];
    Ok(write_events(tx, &done, by, now).await?)
}

fn rotated(algorithm: Algorithm, kid: &str, signs_from: UnixSeconds) -> Rotated {
    Rotated {
        alg: algorithm.as_str().to_owned(),
        kid: kid.to_owned(),
        signs_from: signs_from.0,
        removed: Vec::new(),
    }
}

/// What [`rotate`] does for one algorithm, with a `fresh` key at hand. `Err`: so many keys are published already.
async fn one(
    tx: &mut Tx,
    fresh: &NewKey,
    (states, way, schedule): (&[KeyState], Way, Schedule),
    now: UnixSeconds,
) -> Result<Result<(Rotated, Vec<Done>), usize>, DbFault> {
    let mine: Vec<_> = states
        .iter()
        .filter(|key| key.algorithm == fresh.algorithm)
        .collect();
    let find = |state| mine.iter().find(|key| key.state == state);
    let (current, next) = (find(State::Current), find(State::Next));
    if way != Way::Compromised && next.is_none() && mine.len() >= MAX_OF_ONE_ALGORITHM {
        return Ok(Err(mine.len()));
    }
    let mut done = Vec::new();
    let answer = match (way, next) {
        (Way::Planned, Some(next)) => rotated(fresh.algorithm, &next.kid, next.signs_from),
        (Way::Planned, None) => {
            let signs_from = now + schedule.ahead;
            signing_key::insert(tx, fresh, ("next", signs_from), now).await?;
            done.push(Done::published(fresh, signs_from));
            rotated(fresh.algorithm, &fresh.kid, signs_from)
        }
        (Way::Now, _) => {
            let kid = match next {
                Some(next) => &next.kid,
                None => {
                    signing_key::insert(tx, fresh, ("next", now), now).await?;
                    done.push(Done::published(fresh, now));
                    &fresh.kid
                }
            };
            done.extend(rotate_to(tx, kid, current.map(|key| key.kid.as_str()), now).await?);
            rotated(fresh.algorithm, kid, now)
        }
        (Way::Compromised, _) => {
            let mut answer = rotated(fresh.algorithm, &fresh.kid, now);
            for key in &mine {
                signing_key::remove(tx, &key.kid).await?;
                done.push(Done::new(Name::KeyCompromised, &key.kid, Value::Null));
                answer.removed.push(key.kid.clone());
            }
            signing_key::insert(tx, fresh, ("current", now), now).await?;
            let former = current.map(|key| key.kid.as_str());
            done.push(Done::new(
                Name::KeyRotated,
                &fresh.kid,
                json!({ "former": former }),
            ));
            answer
        }
    };
    Ok(Ok((answer, done)))
}

/// Makes a key for each. RSA takes tens of milliseconds and more: not on a thread that serves.
async fn make_all(master: &Arc<MasterKey>, algorithms: Vec<Algorithm>) -> Result<Vec<NewKey>, KeyFault> {
    let sealer = Arc::clone(master);
    let making =
        tokio::task::spawn_blocking(move || algorithms.into_iter().map(|alg| make(&sealer, alg)).collect());
    making.await.map_err(|_| KeyFault::Interrupted)?
}

#[cfg(test)]
mod tests;
