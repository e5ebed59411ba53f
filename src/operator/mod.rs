//! How people act: the desk has one function for each verb, and the doors lead to it. The rules are the database's.

pub mod api;
pub mod cli;
pub mod desk;
