//! How far the stories are.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::cast::Part;
use super::story::{Mark, Step};

/// A line of the trail about an app of a story.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Line {
    pub(super) at: DateTime<Utc>,
    pub(super) what: String,
    integration_id: String,
    /// The member it is about; `None` if it is about the whole app.
    member_id: Option<String>,
}

/// An act of which Cerby knows nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unseen {
    /// The index of the story.
    pub(super) story: usize,
    pub(super) at: DateTime<Utc>,
}

/// A story up to now.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) part: Part,
    /// When each step happened, as far as they have.
    pub(super) reached: Vec<DateTime<Utc>>,
}

impl Progress {
    /// The step that has to happen next; `None` at the end of the story.
    pub(super) fn next(&self) -> Option<&'static Step> {
        self.part.story.steps.get(self.reached.len())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.next().is_none()
    }

    /// What has happened, in sentences.
    pub(super) fn told(&self) -> impl Iterator<Item = (DateTime<Utc>, String)> {
        let steps = self.reached.iter().zip(self.part.story.steps);
        steps.map(|(at, step)| (*at, self.part.told(step.says)))
    }

    /// What the story waits for.
    pub(super) fn waits(&self) -> Option<String> {
        self.next().map(|step| format!("waits {}", self.part.told(step.waits)))
    }

    /// Each step is the first fitting line after the step before it. A trail has more lines than a story has steps.
    fn of(part: &Part, lines: &[Line], unseen: Option<DateTime<Utc>>) -> Self {
        let mut lines = lines.iter().filter(|line| line.is_about(part)).peekable();
        let mut reached = Vec::new();
        for step in part.story.steps {
            let at = match step.mark {
                Mark::Trail(name) => lines.find(|line| line.what == name).map(|line| line.at),
                Mark::Act => {
                    unseen.inspect(|at| while lines.next_if(|line| line.at < *at).is_some() {})
                }
            };
            let Some(at) = at else { break };
            reached.push(at);
        }
        Self { part: part.clone(), reached }
    }
}

impl Line {
    fn is_about(&self, part: &Part) -> bool {
        let member = self.member_id.as_deref().filter(|member| !member.is_empty());
        self.integration_id == part.place.integration
            && member.is_none_or(|member| member == part.member)
    }
}

pub(super) async fn of_all(
    owner: &PgPool,
    cast: &[Part],
    unseen: &[Unseen],
) -> sqlx::Result<Vec<Progress>> {
    let lines = lines(owner, cast).await?;
    let progress = cast.iter().enumerate().map(|(story, part)| {
        let unseen = unseen.iter().find(|act| act.story == story).map(|act| act.at);
        Progress::of(part, &lines, unseen)
    });
    Ok(progress.collect())
}

async fn lines(owner: &PgPool, cast: &[Part]) -> sqlx::Result<Vec<Line>> {
    let apps: Vec<_> = cast.iter().map(|part| part.place.integration.clone()).collect();
    sqlx::query_as(
        "select e.at, e.what, r.integration_id, r.member_id
         from reconciler.events e
         cross join lateral (
             select integration_id, member_id from reconciler.automation_tasks
             where e.subject = 'task' and id::text = e.subject_id
             union all
             select integration_id, member_id from reconciler.manual_actions
             where e.subject = 'action' and id::text = e.subject_id
             union all
             select integration_id, null from reconciler.syncs
             where e.subject = 'sync' and id::text = e.subject_id
             union all
             select e.subject_id, null where e.subject = 'integration'
         ) r
         where r.integration_id = any($1)
         order by e.id",
    )
    .bind(apps)
    .fetch_all(owner)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{cast::cast, tasks};

    fn part(title: &str) -> Part {
        let mut parts = cast(&tasks::all(), 1).into_iter();
        parts.find(|part| part.story.title == title).unwrap()
    }

    fn line(part: &Part, seconds: i64, what: &str, member: Option<&str>) -> Line {
        Line {
            at: at(seconds),
            what: what.to_owned(),
            integration_id: part.place.integration.clone(),
            member_id: member.map(str::to_owned),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_story_goes_on_with_the_lines_about_its_own_member_in_their_order() {
        let part = part("a retry");
        let own = Some(part.member.as_str());
        let mut lines = vec![
            line(&part, 1, "task.succeeded", own),
            line(&part, 2, "task.ordered", own),
            line(&part, 3, "task.attempt_failed", Some("another")),
            line(&part, 4, "task.attempt_started", own),
            line(&part, 5, "task.attempt_failed", own),
        ];
        let progress = Progress::of(&part, &lines, None);
        assert_eq!(progress.reached, [at(2), at(5)]);
        assert_eq!(progress.waits().unwrap(), "waits until the next attempt is due");
        lines.push(line(&part, 6, "task.attempt_failed", own));
        lines.push(line(&part, 7, "task.succeeded", own));
        let progress = Progress::of(&part, &lines, None);
        assert!(progress.has_ended());
        assert_eq!(progress.told().count(), 4);
    }

    #[test]
    fn an_act_that_cerby_does_not_see_is_a_step_and_what_follows_it_comes_later() {
        let part = part("a held report");
        let mut lines =
            vec![line(&part, 1, "integration.introduced", None), line(&part, 2, "sync.held", None)];
        assert_eq!(Progress::of(&part, &lines, None).reached, [at(1)]);
        assert_eq!(Progress::of(&part, &lines, Some(at(3))).reached, [at(1), at(3)]);
        lines.push(line(&part, 4, "sync.held", None));
        assert_eq!(Progress::of(&part, &lines, Some(at(3))).reached, [at(1), at(3), at(4)]);
    }
}
