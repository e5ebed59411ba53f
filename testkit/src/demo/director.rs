//! Plays what people do in the stories: Robin, a colleague with an operator's login, and people who change apps without
//! Cerby.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::cast::Part;
use super::person::Action;
use super::progress::{self, Progress, Unseen};
use super::running::Scene;
use super::story::{Act, HELD_REMOVALS, Mark};
use super::world;
use crate::simulator::Member;

const TRY_EVERY: Duration = Duration::from_millis(200);

/// Directs the stories until the database does not answer. Between two steps, at least `pause` passes, so that people
/// can follow.
pub(super) async fn direct(scene: &Scene, pause: Duration) -> sqlx::Result<Infallible> {
    loop {
        let now: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&scene.owner).await?;
        for (story, progress) in progress_of(scene).await?.iter().enumerate() {
            let is_time = |pause| {
                let last = progress.reached.last();
                last.is_some_and(|last| (now - *last).to_std().is_ok_and(|since| since >= pause))
            };
            match progress.next().and_then(|step| Some((step.act?, step.mark))) {
                // Nobody else may take an action of a story, so a claim does not wait.
                Some((Act::Claim, _)) => perform(scene, &progress.part, Act::Claim).await?,
                Some((act, mark)) if is_time(pause) => {
                    perform(scene, &progress.part, act).await?;
                    if mark == Mark::Act {
                        scene.note_unseen(Unseen { story, at: now });
                    }
                }
                _ => {}
            }
            if may_approve(progress) {
                approve(scene, &progress.part).await?;
            }
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

/// An approval is for one report. If its apply fails or the app changes meanwhile, the next report is held as well. So
/// whatever is held is approved, except where the story is about it and not yet so far.
fn may_approve(progress: &Progress) -> bool {
    let approval = progress.part.story.steps.iter().position(|step| step.act == Some(Act::Approve));
    approval.is_none_or(|approval| progress.reached.len() > approval)
}

pub(super) async fn progress_of(scene: &Scene) -> sqlx::Result<Vec<Progress>> {
    progress::of_all(&scene.owner, &scene.cast, &scene.unseen()).await
}

impl Part {
    /// Whether an action belongs to the story.
    pub(super) fn has(&self, action: &Action) -> bool {
        let is_about = action.member_id == self.member || action.operation == "reconnect";
        action.integration_id == self.place.integration && is_about
    }
}

async fn perform(scene: &Scene, part: &Part, act: Act) -> sqlx::Result<()> {
    match act {
        Act::Claim => claim(scene, part).await?,
        // If a snapshot ends the claimed action first, Cerby may open another one, which nobody has claimed.
        Act::Do | Act::Lie => match action_of(scene, part, "in_progress").await? {
            None => claim(scene, part).await?,
            Some(action) => {
                if act == Act::Do {
                    scene.colleague().change(&action);
                }
                scene.colleague().mark_done(&action).await?;
            }
        },
        Act::RemoveMany => remove_many(scene, part).await?,
        Act::Approve => approve(scene, part).await?,
        Act::InviteAgain => {
            let (workspace, integration) = (&part.place.workspace, &part.place.integration);
            let email = scene.email_of(part);
            scene.simulator.person_invites(
                workspace,
                integration,
                Member::new(&part.member, &email),
            );
        }
    }
    Ok(())
}

async fn claim(scene: &Scene, part: &Part) -> sqlx::Result<()> {
    if let Some(action) = action_of(scene, part, "open").await? {
        scene.colleague().claim(&action).await?;
    }
    Ok(())
}

async fn action_of(scene: &Scene, part: &Part, status: &str) -> sqlx::Result<Option<Action>> {
    let actions = scene.colleague().actions(status).await?;
    Ok(actions.into_iter().find(|action| part.has(action)))
}

async fn remove_many(scene: &Scene, part: &Part) -> sqlx::Result<()> {
    let (workspace, integration) = (&part.place.workspace, &part.place.integration);
    for n in 0..HELD_REMOVALS {
        scene.simulator.person_removes(workspace, integration, &world::bystander_id(n));
    }
    sqlx::query("select reconciler.request_sync($1, $2::text)")
        .bind(workspace)
        .bind(integration)
        .execute(scene.colleague().pool)
        .await?;
    Ok(())
}

async fn approve(scene: &Scene, part: &Part) -> sqlx::Result<()> {
    sqlx::query(
        "update reconciler.syncs
         set decision = 'approved', decision_reason = 'the owner of the app removed them'
         where state = 'held' and decision is null and workspace_id = $1 and integration_id = $2",
    )
    .bind(&part.place.workspace)
    .bind(&part.place.integration)
    .execute(scene.colleague().pool)
    .await?;
    Ok(())
}
