//! Conditions of rules: expressions of the Common Expression Language (CEL) about the arguments and the caller.
//!
//! They are checked when the program starts, as far as can be without a request: names, functions, regular expressions,
//! size. What is left can fail only by what a caller sends, and a condition that fails counts as fulfilled: rules never
//! give more than there was without them.

mod check;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cel::common::ast::{CallExpr, IdedExpr};
use cel::objects::Key;
use cel::parser::Parser;
use cel::{Context, Env, ExecutionError, Value};
use rmcp::model::JsonObject;
use serde_json::Value as Json;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 2048;
/// So many levels of brackets; each takes some stack when it is read.
const MAX_DEPTH: u16 = 32;
/// So many rounds of `all`, `exists`, `filter` and their like in one judgement, nested ones included.
const MAX_ROUNDS: u32 = 10_000;
/// No further round begins after so much time.
const MAX_TIME: Duration = Duration::from_millis(50);
/// Stands before the condition of every loop. Cannot be written in CEL.
const NEXT_ROUND: &str = "@next_round";

/// One expression.
#[derive(Debug)]
pub(super) struct Condition {
    text: String,
    expression: IdedExpr,
    mentions: Mentions,
}

/// What an expression looks at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Mentions {
    /// `arguments`.
    pub(super) arguments: bool,
    /// `resource`.
    pub(super) resource: bool,
    /// The names in `caller.claims.…`.
    pub(super) claims: BTreeSet<String>,
}

/// What is known when a condition is judged.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) tool: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
    pub(super) prompt: Option<&'a str>,
    pub(super) arguments: Option<&'a JsonObject>,
    /// Makes the variable `caller`.
    pub(super) caller: &'a dyn Fn() -> Value,
    /// What was made for another condition about the same operation.
    pub(super) made: &'a Made,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The variables of one operation, filled in for the first condition that is judged about it. The library copies whatever
/// becomes a variable, so that this costs more than most conditions.
#[derive(Default)]
pub(super) struct Made {
    without_arguments: OnceCell<Result<Scene, Unjudged>>,
    whole: OnceCell<Result<Scene, Unjudged>>,
}

/// Variables, and the loops that are counted among them.
struct Scene {
    context: Context<'static, 'static>,
    rounds: Arc<Rounds>,
}

/// Why a condition could not be judged. Names nothing that a caller sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unjudged(pub(super) &'static str);

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("an expression has at most {MAX_BYTES} bytes"));
        }
        let parser = Parser::new().max_recursion_depth(MAX_DEPTH);
        let mut expression = parser.parse(text).map_err(|faults| {
            let first = faults.errors.first();
            first.map_or_else(
                || "it is no CEL".to_owned(),
                |fault| format!("it is no CEL: {}", fault.msg),
            )
        })?;
        let mentions = check::check(&mut expression)?;
        Ok(Self {
            text: text.to_owned(),
            expression,
            mentions,
        })
    }
}

impl Condition {
    /// What it looks at.
    pub(super) fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// The expression as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is fulfilled. Takes at most [`MAX_ROUNDS`] rounds and not much longer than [`MAX_TIME`].
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Result<bool, Unjudged> {
        let scene = facts.scene(self.mentions.arguments)?;
        scene.rounds.begin();
        let mut context = scene.context.new_inner_scope();
        // Its spellings are judged one by one.
        context.add_variable_from_value("resource", facts.resource.unwrap_or_default().to_owned());
        let verdict = Value::resolve(&self.expression, &context);
        if scene.rounds.are_used_up() {
            return Err(Unjudged("it takes too many rounds or too long"));
        }
        match verdict {
            Ok(Value::Bool(verdict)) => Ok(verdict),
            Ok(_) => Err(Unjudged("its value is neither true nor false")),
            Err(fault) => Err(Unjudged(reason(&fault))),
        }
    }
}

impl<'a> Facts<'a> {
    /// The variables, made now unless a condition before had them made.
    fn scene(&self, with_arguments: bool) -> Result<&'a Scene, Unjudged> {
        let made = if with_arguments {
            &self.made.whole
        } else {
            &self.made.without_arguments
        };
        let made = made.get_or_init(|| self.fill_in(with_arguments));
        made.as_ref().map_err(|unjudged| *unjudged)
    }

    fn fill_in(&self, with_arguments: bool) -> Result<Scene, Unjudged> {
        static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let rounds = Arc::new(Rounds::new());
        let counted = Arc::clone(&rounds);
        context
            .add_function(NEXT_ROUND, move || counted.next())
            .map_err(|_| Unjudged("the library refuses the bound of loops"))?;
        context.add_variable_from_value("caller", (self.caller)());
        context.add_variable_from_value("now", self.now);
        for (name, value) in [("tool", self.tool), ("prompt", self.prompt)] {
            context.add_variable_from_value(name, value.unwrap_or_default().to_owned());
        }
        if with_arguments {
            context.add_variable_from_value("arguments", self.arguments.map_or_else(empty_map, object));
        }
        Ok(Scene { context, rounds })
    }
}

/// The library's own texts quote values, and so arguments.
fn reason(fault: &ExecutionError) -> &'static str {
    match fault {
        ExecutionError::NoSuchKey(_) => "a member that it reads is not there",
        ExecutionError::UndeclaredReference(_) => "a name in it is not known",
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::ValuesNotComparable(..) => "a value has another type than it expects",
        ExecutionError::IndexOutOfBounds(_) => "a list is shorter than it expects",
        ExecutionError::Overflow(..)
        | ExecutionError::DivisionByZero(_)
        | ExecutionError::RemainderByZero(_) => "a number cannot be computed",
        _ => "it cannot be evaluated",
    }
}

/// The loops of one judgement after the other.
#[derive(Debug)]
struct Rounds {
    left: AtomicU32,
    since: Instant,
    /// Microseconds after `since`.
    until: AtomicU64,
}

impl Rounds {
    fn new() -> Self {
        Self {
            left: AtomicU32::new(0),
            since: Instant::now(),
            until: AtomicU64::new(0),
        }
    }

    /// A judgement begins.
    fn begin(&self) {
        let until = self.elapsed().saturating_add(micros(MAX_TIME));
        self.until.store(until, Ordering::Relaxed);
        self.left.store(MAX_ROUNDS, Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        micros(self.since.elapsed())
    }

    /// Whether a loop may go on. `false` ends it: what came out of it then counts for nothing.
    fn next(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        let left = if self.elapsed() < self.until.load(Ordering::Relaxed) {
            left.saturating_sub(1)
        } else {
            0
        };
        self.left.store(left, Ordering::Relaxed);
        left > 0
    }

    fn are_used_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Puts [`NEXT_ROUND`] before the condition of a loop.
fn bounded(condition: IdedExpr) -> IdedExpr {
    let call = |name: &str, args| IdedExpr {
        id: condition.id,
        expr: cel::common::ast::Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: None,
            args,
        }),
    };
    let next = call(NEXT_ROUND, Vec::new());
    call(
        cel::common::ast::operators::LOGICAL_AND,
        vec![next, condition.clone()],
    )
}

fn empty_map() -> Value {
    map([])
}

/// A map of CEL.
pub(super) fn map<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let members: HashMap<Key, Value> = members
        .into_iter()
        .map(|(name, value)| (Key::from(name), value))
        .collect();
    Value::Map(members.into())
}

fn object(members: &JsonObject) -> Value {
    map(members.iter().map(|(name, value)| (name.as_str(), json(value))))
}

/// JSON in CEL. Whole numbers are `int`, so that `arguments.count > 3` means what it says.
pub(super) fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(json).collect())),
        Json::Object(members) => object(members),
    }
}

#[cfg(test)]
mod tests;
