//! How each trouble is made, and ended again.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use super::Dealer;
use super::database::{NO_SESSIONS, READ_ONLY, cut, hold_locks, insert_odd_rows, lock_table, set};
use super::trouble::{Trouble, What};
use crate::flood;
use crate::replicas::{Place, login};
use crate::tally::Tally;
use crate::world::{World, usual_faults};

/// What is told of frozen sockets, and how soon a replica must have new ones.
pub(crate) const BACK_AFTER_FROST: &str = "back after frozen sockets";
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Waits until the replica that is meant is at work: what is done to an idle one shows little. One that is never at work
/// is taken all the same.
pub(super) async fn aim(trouble: &Trouble, dealer: &Dealer) {
    const LONGEST: Duration = Duration::from_secs(1);
    let Some(replica) = trouble.what.target() else { return };
    let login = login(replica % dealer.settings.replicas());
    let holds = async {
        while !matches!(holds_a_task(&dealer.world, &login).await, Ok(true)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(LONGEST, holds).await;
}

/// Makes a trouble, and ends it. An error if it could not be made.
pub(super) async fn make(Trouble { name, what }: Trouble, dealer: &Dealer) -> anyhow::Result<()> {
    let Dealer { world, replicas, .. } = dealer;
    match what {
        What::Nothing => {}
        What::Kill { replica, .. }
        | What::Freeze { replica, .. }
        | What::FreezeSockets { replica }
        | What::Terminate { replica } => {
            let place = replicas.place(replica).context("other trouble is with the replica")?;
            strike(what, place, dealer).await?;
        }
        What::ReplicaClock { is_ahead, lasts } => replicas.clock.run_wrong(is_ahead, lasts).await?,
        What::Restart(shutdown) => world.restart_database(shutdown).await,
        What::Cut { connections } => cut(world, connections).await?,
        What::HoldLocks { lasts } => hold_locks(world, lasts).await?,
        What::LockTable { lasts } => lock_table(world, lasts).await?,
        What::NoSessions { lasts } => set(NO_SESSIONS, world, lasts).await?,
        What::ReadOnly { lasts } => set(READ_ONLY, world, lasts).await?,
        What::OddRows => insert_odd_rows(world).await?,
        What::Flood { rows } => flood::come(world, rows, &dealer.dealt).await?,
        What::Outage { .. } | What::CutList { .. } | What::SetClock(_) | What::Faults { .. } => {
            disturb_backend(what, world).await;
        }
    }
    dealer.dealt.count(name);
    Ok(())
}

/// Does something to the process in a place.
async fn strike(
    what: What,
    mut place: MutexGuard<'_, Place>,
    dealer: &Dealer,
) -> anyhow::Result<()> {
    ensure!(!place.has_ended(), "the replica does not run");
    match what {
        What::Kill { gone_for, .. } => {
            place.kill().await;
            sleep(gone_for).await;
        }
        What::Freeze { frozen_for, .. } => {
            place.signal(Signal::SIGSTOP);
            sleep(frozen_for).await;
            place.signal(Signal::SIGCONT);
        }
        What::FreezeSockets { .. } => freeze_sockets(&dealer.world, place, &dealer.dealt).await?,
        _ => drop(place.terminate().await),
    }
    Ok(())
}

async fn disturb_backend(what: What, world: &World) {
    let apps = &world.apps;
    match what {
        What::Outage { lasts } => {
            apps.set_outage(true);
            sleep(lasts).await;
            apps.set_outage(false);
        }
        What::CutList { app, members, lasts } => {
            let app = &world.plan.apps[app % world.plan.apps.len()];
            apps.cut_list(&app.workspace, &app.id, Some(members));
            sleep(lasts).await;
            apps.cut_list(&app.workspace, &app.id, None);
        }
        What::Faults { plan, lasts } => {
            apps.set_http_faults(plan);
            sleep(lasts).await;
            apps.set_http_faults(usual_faults());
        }
        What::SetClock(clock) => apps.set_clock(clock),
        _ => {}
    }
}

/// Until it is over, nothing else happens to the replica.
async fn freeze_sockets(
    world: &World,
    place: MutexGuard<'_, Place>,
    dealt: &Tally,
) -> sqlx::Result<()> {
    let frozen_at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&world.owner).await?;
    let began = Instant::now();
    let frozen = world.freezers[place.number()].freeze();
    while began.elapsed() <= BACK_WITHIN && !is_back(world, &place.login(), frozen_at).await {
        sleep(Duration::from_millis(100)).await;
    }
    dealt.took(BACK_AFTER_FROST, began.elapsed());
    frozen.cancel();
    Ok(())
}

/// Whether a replica works with a session that began after this.
async fn is_back(world: &World, login: &str, after: DateTime<Utc>) -> bool {
    let is_back = sqlx::query_scalar(
        "select exists (select from pg_stat_activity
                        where usename = $1 and backend_start > $2)",
    );
    is_back.bind(login).bind(after).fetch_one(&world.owner).await.unwrap_or(false)
}

async fn holds_a_task(world: &World, login: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from reconciler.members m
                        join soak.claims c on c.task_id = m.ready_task_id and c.token = m.lease_token
                        where m.lease_until is not null and c.login = $1)",
    )
    .bind(login)
    .fetch_one(&world.owner)
    .await
}
