//! What operators see and change (docs/admin-api.md).
//!
//! Everything is an [`Operation`]: a row of [`TABLE`] with its method, its path, the right that it needs, what it takes
//! and gives, and the function that carries it out. The REST API ([`endpoint`]) asks for a token and then runs one; the
//! command line runs the same one on the database, or asks a server to ([`crate::cli`]). The OpenAPI document
//! ([`document`]) is made of the same rows, so that nothing can be done that it does not tell.

mod approvals;
mod ask;
mod by;
pub(crate) mod client_invites;
pub(crate) mod clients;
mod document;
pub(crate) mod documents;
mod door;
mod endpoint;
pub(crate) mod events;
mod explorer;
pub(crate) mod grants;
mod id;
mod input;
pub(crate) mod keys;
mod latency;
pub(crate) mod nodes;
mod once;
mod operation;
mod page;
mod problem;
pub(crate) mod reloads;
mod resource;
pub(crate) mod resources;
mod right;
pub(crate) mod running;
mod sessions;
mod tag;
pub(crate) mod tokens;
pub(crate) mod users;

pub(crate) use self::ask::{Ask, Call};
pub(crate) use self::by::By;
pub(crate) use self::endpoint::{nothing_at, routes, where_operators_are};
pub(crate) use self::id::path_of;
pub(crate) use self::operation::{Method, Operation};
pub(crate) use self::page::Page;
pub(crate) use self::resource::{built_in, uri};

/// Every operation there is. What is not here cannot be asked for.
pub(crate) static TABLE: &[&Operation] = &[
    &clients::LIST,
    &clients::CREATE,
    &clients::SHOW,
    &clients::UPDATE,
    &clients::REVOKE,
    &clients::NEW_SECRET,
    &client_invites::LIST,
    &client_invites::CREATE,
    &client_invites::SHOW,
    &client_invites::REVOKE,
    &documents::IMPORT,
    &documents::SHOW,
    &documents::UNPIN,
    &resources::LIST,
    &resources::CREATE,
    &resources::SHOW,
    &resources::UPDATE,
    &resources::DELETE,
    &resources::SCOPES,
    &nodes::LIST,
    &nodes::SHOW,
    &nodes::REVOKE,
    &nodes::LIST_INVITES,
    &nodes::CREATE_INVITE,
    &nodes::SHOW_INVITE,
    &nodes::WITHDRAW_INVITE,
    &grants::LIST,
    &grants::SHOW,
    &grants::REVOKE,
    &grants::LIST_FAMILIES,
    &grants::SHOW_FAMILY,
    &grants::REVOKE_FAMILY,
    &tokens::INTROSPECT,
    &tokens::REVOKE,
    &users::LIST,
    &users::CREATE,
    &users::SHOW,
    &users::UPDATE,
    &users::RESET,
    &sessions::LIST,
    &sessions::SHOW,
    &sessions::END,
    &approvals::LIST,
    &approvals::SHOW,
    &approvals::DECIDE,
    &keys::LIST,
    &keys::SHOW,
    &keys::ROTATE,
    &keys::REMOVE,
    &events::LIST,
    &events::VERIFY,
    &running::POLICIES,
    &running::STATISTICS,
    &running::HISTORY,
    &latency::SHOW,
    &running::CONFIGURATION,
    &reloads::RELOAD,
];
