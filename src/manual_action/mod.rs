//! Stage 2: what a person does in the app.
//!
//! Owns manual actions: what they say, when they are due, and the rules of who may move them where, which
//! live in the database so that psql, CLI and daemon obey the same ones. It does not know how a task came
//! to be escalated or how a verdict is found.

use std::time::Duration;

use crate::backend::Failure;
use crate::backend::failure::Remedy;
use crate::config;
use crate::membership::{IntegrationKind, MemberKey, Operation, Trigger};

pub mod instructions;
pub mod nudges;
pub mod people;
pub mod returns;
pub mod status;
pub mod store;

/// What an action is opened from.
#[derive(Debug, Clone)]
pub struct Opening {
    pub task: i64,
    /// Whom it is about.
    pub key: MemberKey,
    /// What is to be done.
    pub operation: Operation,
    /// Why it was requested.
    pub trigger: Trigger,
    /// Why automation ended, as a sentence.
    pub reason: &'static str,
    pub failure: Failure,
    /// The app as people call it, and what kind of integration it is.
    pub app: AppName,
    pub person: Person,
    pub entitlements: Vec<String>,
}

/// What asks a person to fix the login of an integration: one for all tasks that wait for it.
#[derive(Debug, Clone)]
pub struct Reconnect {
    /// The task that met the refusal.
    pub task: i64,
    /// The app as people call it.
    pub app: AppName,
    pub failure: Failure,
    pub remedy: Remedy,
}

/// The app as people know it.
#[derive(Debug, Clone)]
pub struct AppName {
    /// What people call the integration.
    pub name: String,
    /// What kind of integration it is.
    pub kind: IntegrationKind,
    /// Whether what a person says can be checked.
    pub is_readable: bool,
}

/// The person as the app and Cerby know them.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    /// The name in the app, where it differs.
    pub username: Option<String>,
    pub name: Option<String>,
}

/// How long a person has for an operation.
pub fn due_in(deadlines: &config::ManualAction, operation: Operation) -> Duration {
    Duration::from_secs(match operation {
        Operation::Remove => deadlines.due_remove_s,
        Operation::ChangeRole => deadlines.due_change_role_s,
        Operation::Invite => deadlines.due_invite_s,
    })
}
