//! Applies what people did. The statement of a person changes the person's row and appends a nudge. Everything else
//! happens here, in one replica at a time: syncs are requested, the next request of a member gets its turn, tasks go
//! back to automation, and breakers are moved. The daemon's own end of an action also comes as a nudge.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::cancellation;
use crate::breaker::store::Asked;
use crate::catalogue;
use crate::config::{self, Config};
use crate::database::{PgConnection, PgPool};
use crate::emit;
use crate::manual_action;
use crate::manual_action::status::ActionEnd;
use crate::member::store::{EndedAction, end_actions, give_turn};
use crate::membership::{MemberKey, MemberKeys, Operation};
use crate::poll_interval::PollInterval;
use crate::retry::cancel::Cancelled;
use crate::store::{StoreError, begin, begin_exclusive, in_parts, with_timeout};
use crate::telemetry::{chain, metrics};
use crate::wakeup::Wakeups;
use crate::{breaker, retry, sync};

use manual_action::nudges::{self, ActionRow, Nudge, What};

const BATCH: i64 = 500;

/// A nudge that could not be applied is tried again after this long. A person has to fix the cause.
const BAD_NUDGE_PAUSE: Duration = Duration::from_secs(60);

/// A nudge about an action that a person has locked is tried again after this long.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Applies what people did as it happens, until `stop`.
pub async fn run(
    pool: PgPool,
    config: Config,
    wakeups: Wakeups,
    mut poll_interval: PollInterval,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match with_timeout(
            config.database.query_timeout(),
            take_up_some(&pool, &config.manual_action),
        )
        .await
        {
            Ok(taken) => {
                poll_interval.on_success();
                if taken > 0 {
                    continue;
                }
            }
            Err(error) => poll_interval.on_failure(&error),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wakeups.nudges.notified() => {}
            () = tokio::time::sleep(poll_interval.next()) => {}
        }
    }
}

/// Applies one batch of nudges. Returns how many there were.
pub async fn take_up_some(
    pool: &PgPool,
    policy: &config::ManualAction,
) -> Result<usize, StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["nudges"]).await? else { return Ok(0) };
    let ids = nudges::shared_out(&mut tx, BATCH).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    match take_up(&mut tx, policy, &ids).await {
        Ok(told) => {
            tx.commit().await?;
            told.say();
        }
        Err(error) if error.is_about_rows() => {
            drop(tx);
            let take_up = |part| take_up_part(pool, policy, part);
            let quarantined = |id, error| quarantine(pool, id, error);
            in_parts(ids.clone(), error, take_up, quarantined).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(ids.len())
}

async fn take_up_part(
    pool: &PgPool,
    policy: &config::ManualAction,
    ids: Vec<i64>,
) -> Result<Option<()>, StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["nudges"]).await? else { return Ok(None) };
    let told = take_up(&mut tx, policy, &ids).await?;
    tx.commit().await?;
    told.say();
    Ok(Some(()))
}

async fn quarantine(pool: &PgPool, id: i64, error: StoreError) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    nudges::postpone(&mut tx, &[id], BAD_NUDGE_PAUSE).await?;
    tx.commit().await?;
    emit!(
        NUDGE_QUARANTINED,
        nudge.id = id,
        error = %chain(&error),
        wait_s = BAD_NUDGE_PAUSE.as_secs(),
        "What a person did cannot be taken up; all others go on"
    );
    Ok(())
}

/// What is logged of nudges after the commit.
struct Told {
    cancelled: Vec<Cancelled>,
    nudges: Vec<Nudge>,
}

impl Told {
    fn say(&self) {
        self.cancelled.iter().for_each(cancellation::say);
        let reports = self.nudges.iter().filter(|nudge| nudge.what == What::ScreenChanged);
        reports.filter_map(|nudge| nudge.action.as_ref()).for_each(say_changed_screen);
    }
}

fn say_changed_screen(action: &ActionRow) {
    let text = &action.instructions;
    if let Ok(source) = text.source.parse() {
        metrics::screen_changed(source);
    }
    emit!(
        ACTION_SCREEN_CHANGED,
        action.id = action.id,
        workspace.id = action.key.workspace,
        integration.id = action.key.integration,
        instructions = text.name,
        hash = text.hash,
        "Somebody reported that an app looks different from its instructions"
    );
}

/// Applies nudges. Returns what is to be logged after the commit.
async fn take_up(
    connection: &mut PgConnection,
    policy: &config::ManualAction,
    ids: &[i64],
) -> Result<Told, StoreError> {
    let nudges = nudges::read(connection, ids).await?;
    let mut late = request_syncs(connection, policy, &nudges).await?;
    late.extend(ask_breakers(connection, &nudges).await?);
    take_up_ends(connection, &nudges).await?;
    let (cancelled, early) = cancellation::take_up(connection, &nudges).await?;
    late.extend(early);
    let done: Vec<_> = ids.iter().filter(|id| !late.contains(id)).copied().collect();
    let late: Vec<_> = late.into_iter().collect();
    nudges::postpone(connection, &late, LOCKED_PAUSE).await?;
    nudges::delete(connection, &done).await?;
    Ok(Told { cancelled, nudges })
}

/// Requests a sync for each integration of which a person marked an action done or requested a snapshot. Many nudges
/// lead to one request. If the app cannot be read, the sync is due when the word may close its action.
async fn request_syncs(
    connection: &mut PgConnection,
    policy: &config::ManualAction,
    nudges: &[Nudge],
) -> Result<BTreeSet<i64>, StoreError> {
    let mut desired: BTreeMap<(&str, &str, &'static str), Asking> = BTreeMap::new();
    for nudge in nudges {
        let cause = match nudge.what {
            What::Done => "done",
            What::Snapshot => "person",
            What::Ended
            | What::Paused
            | What::Unpaused
            | What::Reset
            | What::Cancelled
            | What::ScreenChanged => continue,
        };
        let of = (nudge.workspace.as_str(), nudge.integration.as_str(), cause);
        let asking = desired.entry(of).or_default();
        asking.nudges.push(nudge.id);
        asking.due_at.push(closes_at(policy, nudge));
    }
    let mut late = BTreeSet::new();
    for ((workspace, integration, cause), Asking { nudges, due_at }) in desired {
        let due_at = due_at.into_iter().min().flatten(); // `None`, which means now, comes first
        let is_there =
            sync::store::request_at(&mut *connection, workspace, integration, cause, due_at)
                .await?;
        if !is_there {
            late.extend(nudges);
        }
    }
    Ok(late)
}

/// The nudges that request a sync, and when each is due; `None` means now.
#[derive(Default)]
struct Asking {
    nudges: Vec<i64>,
    due_at: Vec<Option<DateTime<Utc>>>,
}

/// When a word may close its action. `None` if the app can be read, or if the action asks to fix a login, because the
/// next attempt shows whether the login works.
fn closes_at(policy: &config::ManualAction, nudge: &Nudge) -> Option<DateTime<Utc>> {
    let action = nudge.action.as_ref().filter(|action| action.operation.is_some())?;
    let after = TimeDelta::try_seconds(i64::try_from(policy.attest_after_s).ok()?)?;
    let is_readable = catalogue::is_readable(&action.application);
    action.done_at.filter(|_| !is_readable)?.checked_add_signed(after)
}

async fn ask_breakers(
    connection: &mut PgConnection,
    nudges: &[Nudge],
) -> Result<BTreeSet<i64>, StoreError> {
    let mut late = BTreeSet::new();
    for nudge in nudges {
        let asked = match nudge.what {
            What::Paused => Asked::Paused,
            What::Unpaused => Asked::Unpaused,
            What::Reset => Asked::Reset,
            What::Done | What::Ended | What::Snapshot | What::Cancelled | What::ScreenChanged => {
                continue;
            }
        };
        let (workspace, integration) = (&nudge.workspace, &nudge.integration);
        let action =
            breaker::store::take_up(&mut *connection, workspace, integration, asked).await?;
        // A person who resumes an integration vouches for its login. The next rejected login opens a new action.
        if let Some(action) = action
            && !manual_action::store::dismiss_reconnect(&mut *connection, action).await?
        {
            late.insert(nudge.id);
        }
    }
    Ok(late)
}

async fn take_up_ends(connection: &mut PgConnection, nudges: &[Nudge]) -> Result<(), StoreError> {
    let mut returned = HashMap::new();
    let mut rounds: Vec<Vec<EndedAction<'_>>> = Vec::new();
    let mut count: HashMap<&MemberKey, usize> = HashMap::new();
    for nudge in nudges {
        let Some(action) = nudge.action.as_ref().filter(|_| nudge.what == What::Ended) else {
            continue;
        };
        let Some(end) = ActionEnd::of(action.status) else { continue };
        let Some(operation) = action.operation else {
            let (workspace, integration) = (&nudge.workspace, &nudge.integration);
            breaker::store::login_settled(&mut *connection, workspace, integration, action.id)
                .await?;
            continue;
        };
        if end.returned {
            returned.insert(action.task, action.note.clone().unwrap_or_default());
        }
        let took_effect = |which| {
            (end.took_effect && operation == which).then_some((action.task, action.requested_at))
        };
        // A member may appear in each round once.
        let round = count.entry(&action.key).or_default();
        if rounds.len() <= *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(EndedAction {
            key: &action.key,
            action: action.id,
            task: action.task,
            is_removal: operation == Operation::Remove,
            closed_at: action.closed_at,
            worked_at: action.done_at.unwrap_or(action.closed_at),
            by_hand: end.by_hand,
            undoes: end.undoes,
            withdrawn: end.withdrawn,
            invite: took_effect(Operation::Invite),
            role: took_effect(Operation::ChangeRole),
        });
        *round += 1;
    }
    for round in &mut rounds {
        round.sort_by_key(|ended| ended.key);
        end_actions(connection, round).await?;
    }
    retry::again::reopen(connection, &returned).await?;
    let keys: MemberKeys = count.keys().copied().collect();
    give_turn(connection, &keys).await?;
    Ok(())
}
