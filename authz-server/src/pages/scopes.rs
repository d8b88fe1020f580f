//! What a scope allows, in the words of the person who is asked.

use super::lang::Lang;

/// One permission on a page.
#[derive(Clone, Debug)]
pub(crate) struct ScopeLine {
    pub(crate) scope: String,
    /// What it allows; `None` for a scope that this server does not describe.
    pub(crate) words: Option<&'static str>,
    /// Whether a step-up asks for it: what was granted before did not contain it.
    pub(crate) is_new: bool,
}

impl ScopeLine {
    /// The line for `scope`.
    pub(crate) fn new(lang: Lang, scope: &str, is_new: bool) -> Self {
        Self {
            scope: scope.to_owned(),
            words: words(lang, scope),
            is_new,
        }
    }

    /// The lines for `scopes`, none of them new.
    pub(crate) fn list<'s>(lang: Lang, scopes: impl IntoIterator<Item = &'s str>) -> Vec<Self> {
        scopes
            .into_iter()
            .map(|scope| Self::new(lang, scope, false))
            .collect()
    }
}

fn words(lang: Lang, scope: &str) -> Option<&'static str> {
    let texts = lang.texts();
    Some(match scope {
        "mcp:read" => texts.scope_mcp_read,
        "mcp:call" => texts.scope_mcp_call,
        "mcp:resources" => texts.scope_mcp_resources,
        "mcp:subscribe" => texts.scope_mcp_subscribe,
        "fleet:read" => texts.scope_fleet_read,
        "fleet:announce" => texts.scope_fleet_announce,
        "fleet:connect" => texts.scope_fleet_connect,
        "openid" => texts.scope_openid,
        "profile" => texts.scope_profile,
        "email" => texts.scope_email,
        "offline_access" => texts.scope_offline_access,
        "admin:read" => texts.scope_admin_read,
        "admin:write" => texts.scope_admin_write,
        _ => return None,
    })
}
