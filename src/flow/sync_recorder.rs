//! What it takes to record what a step of a sync found: the mirror of the tasks' [`super::outcome::Recorder`].

use std::sync::Arc;

use crate::backend::Client;
use crate::config;
use crate::database::PgPool;
use crate::manual_action::instructions::Library;
use crate::sync::SyncPolicy;

pub(super) struct SyncRecorder {
    pub(super) pool: PgPool,
    pub(super) backend: Client,
    pub(super) policy: SyncPolicy,
    pub(super) deadlines: config::ManualAction,
    pub(super) library: Arc<Library>,
}
