//! How people act: the desk has one function for each verb, and the doors lead to it. The rules are the database's.

pub mod api;
pub mod cli;
mod clock;
pub mod console;
mod cursor;
pub mod desk;
pub mod filters;
mod issuer;
pub mod listener;
mod report;
mod sheet;
