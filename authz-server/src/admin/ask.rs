//! One request for an operation, wherever it comes from, and what becomes of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared::clock::{self, UnixSeconds};
use shared::config::Setting;

use super::by::By;
use super::id::path_of;
use super::input::{Body, Query};
use super::once::Once;
use super::operation::Operation;
use super::problem::{Code, Problem};
use super::resource::PATH;
use super::tag::{self, Condition};
use crate::app::App;
use crate::config::{Changeable, Config};
use crate::db::{Db, DbFault, Tx};
use crate::keys::MasterKey;

/// What an operation does, in time.
pub(super) type Reply<'a> = Pin<Box<dyn Future<Output = Result<Answer, Stop>> + 'a>>;

/// Where an operation is carried out.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// By the running server.
    Server(&'a App),
    /// By the command line, on the database of this machine.
    Machine(&'a Db, &'a Config),
}

/// An operation that is asked for.
pub(crate) struct Ask<'a> {
    place: Place<'a>,
    pub(super) db: &'a Db,
    pub(super) config: &'a Config,
    pub(super) by: By,
    pub(super) now: UnixSeconds,
    /// In place of `{id}`.
    id: Option<String>,
    query: Query,
    body: Body,
    condition: Condition,
    once: Option<Once<'a>>,
}

/// What the caller says; the rest of an [`Ask`] is where it is said.
pub(super) struct Said<'a> {
    pub(super) by: By,
    pub(super) id: Option<String>,
    pub(super) query: Query,
    pub(super) body: Body,
    pub(super) condition: Condition,
    pub(super) once: Option<Once<'a>>,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) id: Option<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Map<String, Value>,
}

/// What an operation answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) status: u16,
    /// `null` is no body.
    pub(crate) body: Value,
    /// Of what is shown, for who wants to change it.
    pub(super) etag: Option<String>,
    /// Where what was created is, below the base of the API.
    pub(super) location: Option<String>,
}

/// Why an operation did not come to its end. Nothing has happened.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It will not do.
    Problem(Problem),
    /// The database; a transaction that collided is tried again.
    Db(DbFault),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<DbFault> for Stop {
    fn from(fault: DbFault) -> Self {
        Self::Db(fault)
    }
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Problem(problem) => problem,
            Stop::Db(fault) => fault.into(),
        }
    }
}

impl<'a> Ask<'a> {
    /// As the endpoint has it.
    pub(super) fn new(place: Place<'a>, said: Said<'a>, now: UnixSeconds) -> Self {
        let (db, config) = match place {
            Place::Server(app) => (&app.db, &app.config),
            Place::Machine(db, config) => (db, config),
        };
        Self {
            place,
            db,
            config,
            by: said.by,
            now,
            id: said.id,
            query: said.query,
            body: said.body,
            condition: said.condition,
            once: said.once,
        }
    }

    /// Carries `operation` out as whoever has this machine.
    pub(crate) async fn here(
        place: (&'a Db, &'a Config),
        operation: &Operation,
        call: Call,
    ) -> Result<Answer, Problem> {
        let said = Said {
            by: By::operator(),
            id: call.id,
            query: Query::of(call.query, &operation.known())?,
            body: Body::of(call.body),
            condition: Condition::None,
            once: None,
        };
        let ask = Ask::new(Place::Machine(place.0, place.1), said, clock::now());
        Ok((operation.run)(&ask).await?)
    }

    /// The running server, for what only it knows.
    pub(super) fn server(&self) -> Result<&'a App, Problem> {
        match self.place {
            Place::Server(app) => Ok(app),
            Place::Machine(..) => Err(Problem::internal("only a running server can be asked for this")),
        }
    }

    /// The configuration in force, value by value.
    pub(super) fn settings(&self) -> Vec<Setting> {
        match self.place {
            Place::Server(app) => app.in_force().settings.clone(),
            Place::Machine(_, config) => config.settings.clone(),
        }
    }

    /// The part of the configuration that a reload changes, as it is in force.
    pub(super) fn changeable(&self) -> Arc<Changeable> {
        match self.place {
            Place::Server(app) => Arc::clone(&app.in_force().changeable),
            Place::Machine(_, config) => Arc::clone(&config.as_read),
        }
    }

    /// The key under which signing keys are sealed.
    pub(super) fn master_key(&self) -> Result<Arc<MasterKey>, Problem> {
        match self.place {
            Place::Server(app) => Ok(Arc::clone(app.master_key())),
            Place::Machine(_, config) => {
                let master = MasterKey::open(&config.master_key_file);
                Ok(Arc::new(
                    master.map_err(|fault| Problem::internal(fault.to_string()))?,
                ))
            }
        }
    }

    /// What stands for `{id}`.
    pub(super) fn id(&self) -> Result<&str, Problem> {
        let missing = || Problem::internal("an operation without an id asks for it");
        self.id.as_deref().ok_or_else(missing)
    }

    /// The query.
    pub(super) fn query(&self) -> Query {
        self.query.clone()
    }

    /// The body.
    pub(super) fn body(&self) -> Body {
        self.body.clone()
    }

    /// Whether what is there now is what the caller has seen.
    pub(super) fn check_condition(&self, shown: &impl Serialize) -> Result<(), Problem> {
        match &self.condition {
            Condition::None | Condition::Any => Ok(()),
            condition => condition.check(&tag::of(shown)?),
        }
    }

    /// Refuses whoever would hand on more than they have, or change somebody who has more (ADM-09).
    pub(super) fn check_rights<'s>(&self, scopes: impl Iterator<Item = &'s str>) -> Result<(), Problem> {
        match self.by.lacks(scopes) {
            None => Ok(()),
            Some(scope) => Err(Problem::new(
                Code::AccessDenied,
                format!("that takes the scope {scope}, which this token does not have"),
            )),
        }
    }

    /// Does `work` in one transaction, once for each `Idempotency-Key`. A refusal leaves nothing behind. `work` may run
    /// several times.
    pub(super) async fn write(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<Answer, Stop>,
    ) -> Result<Answer, Stop> {
        let written = self
            .db
            .write_unless(async |tx| match self.attempt(tx, &work).await {
                Ok(answer) => Ok(Ok(answer)),
                Err(Stop::Problem(problem)) => Ok(Err(problem)),
                Err(Stop::Db(fault)) => Err(fault),
            });
        Ok(Box::pin(written).await??)
    }

    async fn attempt(
        &self,
        tx: &mut Tx,
        work: &impl AsyncFn(&mut Tx) -> Result<Answer, Stop>,
    ) -> Result<Answer, Stop> {
        let Some(once) = &self.once else {
            return work(tx).await;
        };
        if let Some(answer) = once.begin(tx, self.now).await? {
            return Ok(answer);
        }
        let answer = work(tx).await?;
        once.end(tx, &answer).await?;
        Ok(answer)
    }
}

impl Answer {
    /// 200 with what there is.
    pub(super) fn list(shown: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            status: 200,
            body: value(shown)?,
            etag: None,
            location: None,
        })
    }

    /// 200 with one thing and its tag.
    pub(super) fn one(shown: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            etag: Some(tag::of(shown)?),
            ..Self::list(shown)?
        })
    }

    /// As [`Answer::one`], where some of what is `shown` changes by itself: the tag is of what is `seen`.
    pub(super) fn one_tagged(shown: &impl Serialize, seen: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            etag: Some(tag::of(seen)?),
            ..Self::list(shown)?
        })
    }

    /// 201 with what was made, which is at `{path}/{id}`. `shown` may hold a secret, which `seen`, what is shown from
    /// now on, does not.
    pub(super) fn made(
        shown: &impl Serialize,
        seen: &impl Serialize,
        at: (&str, &str),
    ) -> Result<Self, Problem> {
        Ok(Self {
            status: 201,
            body: value(shown)?,
            etag: Some(tag::of(seen)?),
            location: Some(format!("{PATH}{}/{}", at.0, path_of(at.1))),
        })
    }

    /// What it says, as what it is.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_value(self.body.clone()).map_err(|e| Problem::internal(e.to_string()))
    }

    /// 204.
    pub(super) fn done() -> Self {
        Self {
            status: 204,
            body: Value::Null,
            etag: None,
            location: None,
        }
    }
}

fn value(shown: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(shown).map_err(|e| Problem::internal(e.to_string()))
}
