//! What is done to the database, its sessions and its rows.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;

use crate::replicas::login;
use crate::world::World;

/// More connections than there are.
const MANY: i64 = 1000;

const ODD_ROWS: &str = "
    insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal)
    values (nextval('reconciler.lease_tokens') + 1000000000, 'odd', 'odd', 'odd', true);
    insert into reconciler.nudges (workspace_id, integration_id, what, action_id)
    values ('odd', 'odd', 'done', 1000000000), ('odd', 'odd', 'ended', 1000000000)";

/// What the owner locks, as a change of the table would. Its wait for the lock has an end, because whoever comes later
/// waits behind it.
const LOCK_TABLE: [&str; 3] = [
    "begin",
    "set local lock_timeout = '5s'",
    "lock table reconciler.members in access exclusive mode",
];

/// What people may lock, as psql does with `begin` and no end.
const HOLD_LOCKS: [&str; 3] = [
    "begin",
    "select from reconciler.manual_actions where closed_at is null limit 20 for update skip locked",
    "select from reconciler.syncs where finished_at is null limit 3 for update skip locked",
];

/// A setting of the replicas' logins, and what undoes it.
pub(super) struct OfLogins(&'static str, &'static str);

pub(super) const READ_ONLY: OfLogins =
    OfLogins("set default_transaction_read_only = on", "reset default_transaction_read_only");
pub(super) const NO_SESSIONS: OfLogins = OfLogins("connection limit 0", "connection limit -1");

pub(super) async fn insert_odd_rows(world: &World) -> sqlx::Result<()> {
    sqlx::raw_sql(ODD_ROWS).execute(&world.owner).await.map(drop)
}

pub(super) async fn hold_locks(world: &World, lasts: Duration) -> sqlx::Result<()> {
    let psql = PgConnection::connect_with(&world.operator.connect_options()).await?;
    hold(psql, HOLD_LOCKS, lasts).await
}

pub(super) async fn lock_table(world: &World, lasts: Duration) -> sqlx::Result<()> {
    let owner = PgConnection::connect_with(&world.owner.connect_options()).await?;
    hold(owner, LOCK_TABLE, lasts).await
}

async fn hold(
    mut session: PgConnection,
    locks: [&'static str; 3],
    lasts: Duration,
) -> sqlx::Result<()> {
    for lock in locks {
        sqlx::query(lock).execute(&mut session).await?;
    }
    sleep(lasts).await;
    session.close().await
}

/// Sets something for the logins of the replicas and ends their sessions. In the end it is undone, however often the
/// database goes down meanwhile.
pub(super) async fn set(
    OfLogins(change, undo): OfLogins,
    world: &World,
    lasts: Duration,
) -> sqlx::Result<()> {
    let is_changed = alter(world, change).await;
    let is_cut = cut(world, MANY).await;
    sleep(lasts).await;
    while alter(world, undo).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    is_changed.and(is_cut)
}

async fn alter(world: &World, what: &str) -> sqlx::Result<()> {
    for place in 0..world.daemons.len() {
        let statement = format!("alter role {} {what}", login(place));
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&world.owner).await?;
    }
    Ok(())
}

pub(super) async fn cut(world: &World, connections: i64) -> sqlx::Result<()> {
    sqlx::query(
        "select pg_terminate_backend(pid)
         from (select pid from pg_stat_activity where usename like 'soak%' order by random() limit $1) chosen",
    )
    .bind(connections)
    .execute(&world.owner)
    .await
    .map(drop)
}
