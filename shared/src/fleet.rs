//! What nodes and their authorization server say to each other: names of nodes, statements that a node signs to enrol,
//! records of nodes and answers of people that the server signs, and reports.
//!
//! Each JWT has a type of its own, so that none is taken for another (RFC 8725 §3.11).

pub mod approval;
pub mod enrolment;
pub mod name;
pub mod record;
pub mod report;
