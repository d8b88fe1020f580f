//! People: who they are, how their browsers stay signed in, and what they granted.

mod browser;
mod ceremony;
pub(crate) mod change;
pub(crate) mod crowd;
mod form;
mod gate;
mod known;
pub(crate) mod link;
pub(crate) mod page;
pub(crate) mod passkey;
pub(crate) mod password;
mod provider;
mod recovery;
pub(crate) mod second_factor;
mod session;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
#[cfg(test)]
mod tests;
mod throttle;
pub(crate) mod totp;
pub(crate) mod upstream;
pub(crate) mod users;
mod view;

pub(crate) use self::browser::Browser;
pub(crate) use self::form::form;
pub(crate) use self::password::Turns;
pub(crate) use self::provider::Provider;
pub(crate) use self::session::{SignedIn, begin, find, user_agent};
pub(crate) use self::throttle::Throttle;
pub(crate) use self::view::Reader;
use crate::db::user_account::UserRow;

/// A person with an account here.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// `u_` and 128 random bits; the `sub` of their tokens.
    pub(crate) user_id: String,
    /// What they type to sign in.
    pub(crate) username: String,
    /// What pages call them.
    pub(crate) display_name: String,
    pub(crate) email: Option<String>,
    /// Whether they may administer this server.
    pub(crate) is_admin: bool,
    /// Whether nothing of theirs works any more.
    pub(crate) is_disabled: bool,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            user_id: row.user_id,
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            is_admin: row.is_admin,
            is_disabled: row.disabled_at.is_some(),
        }
    }
}
