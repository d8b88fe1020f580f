//! DCR-02 … DCR-26: clients that register themselves.

mod clients;
mod creation;
mod invites;
mod life;
mod management;
mod statements;
mod strangers;
