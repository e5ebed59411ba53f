//! How people act: doors without rules of their own. The rules are the database's.

pub mod actions;
pub mod check;
pub mod cli;
pub mod import;
pub mod integrations;
mod refusal;
pub mod returns;
mod terminal;
