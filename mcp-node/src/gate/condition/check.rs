//! What can be known of an expression before it is used. Refuses what would only fail when somebody calls, and what the
//! library cannot bound.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::{Mentions, bounded};

/// The variables.
const VARIABLES: [&str; 6] = ["arguments", "caller", "now", "prompt", "resource", "tool"];
/// What `caller` has.
const OF_CALLER: [&str; 6] = [
    "claims",
    "client_id",
    "client_name",
    "issuer",
    "scopes",
    "subject",
];
/// The functions, beside operators: those of the CEL specification that take time in proportion to their input.
const FUNCTIONS: [&str; 14] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "@not_strictly_false",
];
/// Names of types, which are values too.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "uint",
];
/// The deepest nesting. Judging takes some stack for each level.
const MAX_LEVELS: usize = 64;
/// The largest compiled regular expression, in bytes.
const MAX_PATTERN: usize = 64 * 1024;

/// Checks `expression` and bounds its loops.
pub(super) fn check(expression: &mut IdedExpr) -> Result<Mentions, String> {
    let mut walk = Walk::default();
    walk.expression(expression)?;
    Ok(walk.mentions)
}

#[derive(Default)]
struct Walk {
    mentions: Mentions,
    /// Variables of the loops around the place.
    local: Vec<String>,
    level: usize,
}

impl Walk {
    fn expression(&mut self, expression: &mut IdedExpr) -> Result<(), String> {
        if self.level == MAX_LEVELS {
            return Err(format!("it is nested more than {MAX_LEVELS} levels deep"));
        }
        self.level += 1;
        let checked = self.inner(expression);
        self.level -= 1;
        checked
    }

    fn inner(&mut self, expression: &mut IdedExpr) -> Result<(), String> {
        match &mut expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && name == "caller"
                    && !self.is_local(name)
                {
                    return of_caller(&select.field);
                }
                if self.is_claims(&select.operand) {
                    self.mentions.claims.insert(select.field.clone());
                    return Ok(());
                }
                self.expression(&mut select.operand)
            }
            Expr::Call(call) => {
                if call.func_name == "_[_]"
                    && let [list, index] = call.args.as_slice()
                    && self.is_claims(list)
                {
                    let name = text(index).ok_or("write caller.claims.name or caller.claims[\"name\"]")?;
                    self.mentions.claims.insert(name.to_owned());
                    return Ok(());
                }
                function(&call.func_name)?;
                if call.func_name == "matches" {
                    pattern(call.args.last())?;
                }
                let target = call.target.as_deref_mut();
                target
                    .into_iter()
                    .chain(&mut call.args)
                    .try_for_each(|one| self.expression(one))
            }
            Expr::List(list) => list.elements.iter_mut().try_for_each(|one| self.expression(one)),
            Expr::Map(map) => map
                .entries
                .iter_mut()
                .try_for_each(|entry| match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.expression(&mut entry.key)?;
                        self.expression(&mut entry.value)
                    }
                    EntryExpr::StructField(_) => Err("there are no message types here".to_owned()),
                }),
            Expr::Comprehension(comprehension) => {
                self.expression(&mut comprehension.iter_range)?;
                self.expression(&mut comprehension.accu_init)?;
                let outer = self.local.len();
                self.local.push(comprehension.accu_var.clone());
                self.local.push(comprehension.iter_var.clone());
                self.local.extend(comprehension.iter_var2.clone());
                self.expression(&mut comprehension.loop_cond)?;
                self.expression(&mut comprehension.loop_step)?;
                self.expression(&mut comprehension.result)?;
                self.local.truncate(outer);
                comprehension.loop_cond = bounded(std::mem::take(&mut comprehension.loop_cond));
                Ok(())
            }
            Expr::Struct(_) => Err("there are no message types here".to_owned()),
            Expr::Unspecified => Err("a part of it is missing".to_owned()),
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.local.iter().any(|known| known == name)
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        if self.is_local(name) {
            return Ok(());
        }
        match name {
            "arguments" => self.mentions.arguments = true,
            "resource" => self.mentions.resource = true,
            "caller" => {
                return Err("write caller.subject, caller.client_id or another member of it".to_owned());
            }
            _ => {}
        }
        if VARIABLES.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        Err(format!(
            "there is no {name:?}; there are {}",
            VARIABLES.join(", ")
        ))
    }

    /// Whether it is `caller.claims` as a whole.
    fn is_claims(&self, expression: &IdedExpr) -> bool {
        let Expr::Select(select) = &expression.expr else {
            return false;
        };
        let is_caller =
            matches!(&select.operand.expr, Expr::Ident(name) if name == "caller" && !self.is_local(name));
        is_caller && select.field == "claims"
    }
}

fn of_caller(member: &str) -> Result<(), String> {
    match member {
        "claims" => Err("write caller.claims.name or caller.claims[\"name\"]".to_owned()),
        _ if OF_CALLER.contains(&member) => Ok(()),
        _ => Err(format!(
            "there is no caller.{member}; there are {}",
            OF_CALLER.join(", ")
        )),
    }
}

fn function(name: &str) -> Result<(), String> {
    let is_operator = name.contains('_') && !name.bytes().any(|b| b.is_ascii_alphanumeric()) || name == "@in";
    if is_operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(format!("there is no function {name:?}"))
}

/// A pattern that a caller chose could take long to compile.
fn pattern(argument: Option<&IdedExpr>) -> Result<(), String> {
    let text = argument
        .and_then(text)
        .ok_or("the pattern of matches() must be written out, as a text")?;
    let built = regex::RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
    built
        .map(drop)
        .map_err(|fault| format!("the pattern {text:?} cannot be used: {fault}"))
}

fn text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
