//! What an operation took, kept beside what it brought: who hears of that later must be able to do as much.

use shared::scope::Scope;

/// A method's scope, and what rules asked for beside it. The default takes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Needs {
    /// The method, by whose scope it was allowed.
    pub(super) method: Option<String>,
    /// What the rules about it needed.
    pub(super) scope: Scope,
}

impl Needs {
    /// What a request of `method` took for which rules asked `scope`.
    pub(crate) fn new(method: &str, scope: Scope) -> Self {
        Self {
            method: Some(method.to_owned()),
            scope,
        }
    }
}
