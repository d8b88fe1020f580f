//! The keys that sign tokens (docs/keys.md).

use serde::{Deserialize, Serialize};
use shared::jose::Algorithm;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, LIMIT, Method, Operation};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::keys::life::{self, RotateFault, Rotated, Way};
use crate::keys::{self, ALGORITHMS, KeyFault, KeyState};

const PATH: &str = "/keys";
const ONE: &str = "/keys/{id}";

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listKeys",
    summary: "List the signing keys that are published, the oldest first",
    noun: Noun::Keys,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<KeyView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showKey",
    summary: "Show one key",
    noun: Noun::Keys,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<KeyView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static ROTATE: Operation = Operation {
    method: Method::Post,
    path: "/key-rotations",
    name: "rotateKeys",
    summary: "Put new keys in the place of those that sign",
    noun: Noun::Keys,
    query: &[],
    takes: Some(Form::of::<RotationInput>()),
    gives: (200, Some(Form::of::<RotationView>())),
    is_conditional: false,
    refuses: &[409],
    run: rotate,
};

pub(crate) static REMOVE: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "removeKey",
    summary: "Take a key out that does not sign, now: all tokens that it signed are refused from now on",
    noun: Noun::Keys,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404, 409],
    run: remove,
};

/// A key, without what signs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    pub(crate) kid: String,
    pub(crate) alg: String,
    /// `next` will sign, `current` does, `retired` is published until the last token that it signed has expired.
    pub(crate) state: String,
    pub(crate) created_at: i64,
    /// Of the next one: when it may begin to sign. Of others: when it began.
    pub(crate) signs_from: i64,
    /// Of a retired one: when the last of what it signed is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<i64>,
}

/// How keys are rotated.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RotationInput {
    /// Only the key of this algorithm, `EdDSA`, `RS256` or `ES256`; all of them unless it is said.
    #[schema(pattern = "^(EdDSA|RS256|ES256)$")]
    alg: Option<String>,
    /// `planned`: a new key is published, and signs when everybody can know it. `now`: it signs at once, and the old one
    /// stays published. `compromised`: it signs at once, and every other one of the algorithm is gone, with all that it
    /// signed. `planned` unless it is said.
    #[schema(pattern = "^(planned|now|compromised)$")]
    way: Option<String>,
}

/// The keys that sign, or will.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = KeyRotation)]
pub(crate) struct RotationView {
    pub(crate) keys: Vec<Rotated>,
}

impl From<&KeyState> for KeyView {
    fn from(key: &KeyState) -> Self {
        Self {
            kid: key.kid.clone(),
            alg: key.algorithm.as_str().to_owned(),
            state: key.state.as_str().to_owned(),
            created_at: key.created_at.0,
            signs_from: key.signs_from.0,
            ends_at: key.ends_at.map(|end| end.0),
        }
    }
}

impl From<RotateFault> for Stop {
    fn from(fault: RotateFault) -> Self {
        match fault {
            RotateFault::Db(fault) => fault.into(),
            fault => Self::Problem(Problem::new(Code::Conflict, fault.to_string())),
        }
    }
}

impl From<KeyFault> for Stop {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Db(fault) => fault.into(),
            fault => Self::Problem(Problem::internal(fault.to_string())),
        }
    }
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let all = keys::all(ask.db).await?;
        let place = |key: &KeyState| (key.created_at.0, key.kid.clone());
        let rows = all.iter().filter(|key| place(key) > wanted.after);
        let rows = rows.take(wanted.rows() as usize).collect();
        let page = wanted.page(rows, |key| (key.created_at.0, &key.kid), KeyView::from);
        Ok(Answer::list(&page)?)
    })
}

fn no_key(kid: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no key {kid}"))
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let kid = ask.id()?;
        let all = keys::all(ask.db).await?;
        let key = all.iter().find(|key| key.kid == kid);
        Ok(Answer::one(&KeyView::from(key.ok_or_else(|| no_key(kid))?))?)
    })
}

fn rotate<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let wrong = |sentence: &str| Problem::new(Code::InvalidRequest, sentence);
        let algorithms = match body.parsed::<Algorithm>("alg")? {
            None => ALGORITHMS.to_vec(),
            Some(algorithm) if ALGORITHMS.contains(&algorithm) => vec![algorithm],
            Some(_) => {
                let sentence = "alg is EdDSA, RS256 or ES256";
                return Err(Problem::new(Code::InvalidValue, sentence).into());
            }
        };
        let way = match body.text("way")?.as_deref() {
            None | Some("planned") => Way::Planned,
            Some("now") => Way::Now,
            Some("compromised") => Way::Compromised,
            Some(_) => return Err(wrong("way is planned, now or compromised").into()),
        };
        body.end()?;
        let fresh = life::prepare(&ask.master_key()?, &algorithms).await?;
        let way = (way, ask.config.key_schedule);
        let answer = ask
            .write(async |tx| {
                let keys = life::rotate(tx, &fresh, way, &ask.by, ask.now).await?;
                Ok(Answer::list(&RotationView { keys })?)
            })
            .await?;
        let done: RotationView = answer.read()?;
        done.keys.iter().for_each(|rotated| rotated.log(ask.now));
        Ok(answer)
    })
}

fn remove<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let kid = ask.id()?;
        let answer = ask
            .write(async |tx| {
                let (turn, all) = life::hold(tx).await?;
                let key = all.iter().find(|key| key.kid == kid);
                let key = key.ok_or_else(|| no_key(kid))?;
                ask.check_condition(&KeyView::from(key))?;
                life::remove(tx, (turn, key), &ask.by, ask.now).await?;
                Ok(Answer::done())
            })
            .await?;
        life::log_removed(kid);
        Ok(answer)
    })
}
