//! Stage 2: what a person does in the app.
//!
//! This module owns manual actions: their instructions, their deadlines, and the rules of who may change their status.
//! These rules live in the database, so that psql, the command line and the daemon obey the same ones. The module does
//! not know why a task was escalated or how a verdict is found.

use std::time::Duration;

use crate::backend::Failure;
use crate::backend::failure::Remedy;
use crate::config;
use crate::membership::{IntegrationKind, MemberKey, Operation, Trigger};

pub mod card;
pub mod changed_screens;
pub mod instructions;
pub mod nudges;
pub mod people;
pub mod return_review;
pub mod returns;
pub mod review;
pub mod status;
pub mod store;

/// What an action is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    pub task: i64,
    pub key: MemberKey,
    pub operation: Operation,
    pub trigger: Trigger,
    /// Why automation ended, as a sentence.
    pub reason: &'static str,
    pub failure: Failure,
    pub app: AppName,
    pub person: Person,
    pub entitlements: Vec<String>,
}

/// The data for an action that asks a person to fix the login of an integration: one action for all tasks that are on
/// hold.
#[derive(Debug, Clone)]
pub struct Reconnect {
    /// The task whose job met the rejected login.
    pub task: i64,
    pub workspace: String,
    pub integration: String,
    pub app: AppName,
    pub failure: Failure,
    pub remedy: Remedy,
}

/// The app, by the name that people use.
#[derive(Debug, Clone)]
pub struct AppName {
    /// The name of the integration.
    pub name: String,
    /// The id of the app in the catalogue.
    pub application: String,
    pub kind: IntegrationKind,
    /// Whether the app can be read, so that a person's word can be checked.
    pub is_readable: bool,
}

/// The person, as the app and Cerby know them.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    /// The name in the app, if it differs from the email.
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
