//! A scripted operator: makes the change of each open action in the app and marks the action done.
//!
//! Once, the operator makes a change and does not mark the action done: the next snapshot of the app finds the change.
//! The actions of the stories are left to the colleague who plays them.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::cast::Part;
use super::person::{Action, Person};

const TRY_EVERY: Duration = Duration::from_millis(200);
/// Of this many actions, one is claimed before it is worked on.
const CLAIMS_EVERY: i64 = 3;

/// If no snapshot finds the change in this time, the operator marks the action done after all.
const REMEMBERS_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Operator<'a> {
    person: Person<'a>,
    cast: &'a [Part],
    takes: Duration,
    forgot: Option<(i64, Instant)>,
    /// How many actions the operator has marked done.
    pub(super) done: u64,
}

impl<'a> Operator<'a> {
    /// An operator who takes this long for each action.
    pub(super) fn new(person: Person<'a>, cast: &'a [Part], takes: Duration) -> Self {
        Self { person, cast, takes, forgot: None, done: 0 }
    }

    /// Works until the database does not answer.
    pub(super) async fn work(&mut self) -> sqlx::Result<Infallible> {
        loop {
            let mut actions = self.person.actions("open").await?;
            actions.retain(|action| !self.cast.iter().any(|part| part.has(action)));
            for (index, action) in actions.iter().enumerate() {
                if self.has_forgotten(action) {
                    continue;
                }
                tokio::time::sleep(self.takes).await;
                if self.may_forget(action, &actions[index + 1..]) {
                    self.person.change(action);
                    self.forgot = Some((action.id, Instant::now()));
                } else {
                    self.handle(action).await?;
                }
            }
            self.approve_held_reports().await?;
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn handle(&mut self, action: &Action) -> sqlx::Result<()> {
        if action.id % CLAIMS_EVERY == 0 && !self.person.claim(action).await? {
            return Ok(());
        }
        self.person.change(action);
        self.done += u64::from(self.person.mark_done(action).await?);
        Ok(())
    }

    /// Forgetting is harmless if a later action makes the daemon read the same app.
    fn may_forget(&self, action: &Action, later: &[Action]) -> bool {
        let same_app = |other: &Action| {
            (&other.workspace_id, &other.integration_id)
                == (&action.workspace_id, &action.integration_id)
        };
        self.forgot.is_none() && action.is_readable() && later.iter().any(same_app)
    }

    fn has_forgotten(&self, action: &Action) -> bool {
        self.forgot.is_some_and(|(id, since)| id == action.id && since.elapsed() < REMEMBERS_AFTER)
    }

    /// Reports of the apps of the stories are decided there.
    async fn approve_held_reports(&self) -> sqlx::Result<()> {
        let in_stories: Vec<_> =
            self.cast.iter().map(|part| part.place.integration.clone()).collect();
        sqlx::query(
            "update reconciler.syncs
             set decision = 'approved', decision_reason = 'these removals were made by hand'
             where state = 'held' and decision is null and integration_id <> all ($1)",
        )
        .bind(in_stories)
        .execute(self.person.pool)
        .await?;
        Ok(())
    }
}
