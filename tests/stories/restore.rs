//! A database that was restored from a backup: it knows nothing of what came after. `docs/deploy.md` says what a maintainer
//! does, so that nobody who was removed since comes back through a request of the backup.

use crate::support::{APP, WORKSPACE, World, a_failed};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::simulator::Call;

/// The statements of the page, in their order: pause everything, list, cancel, resume.
fn statements() -> Vec<String> {
    let page = include_str!("../../docs/deploy.md");
    let section = page.split("## Backup and restore").nth(1).expect("the section");
    let sql = section.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next());
    let statements = sql.expect("the statements").split(";\n");
    statements.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// The backup has an invite that waits. It was carried out later, and jo was removed again: the app shows that, and the
/// restored database does not.
async fn restored(pool: PgPool) -> (World, i64) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(9)).await;
    world.order().await;
    assert!(world.apps.person_removes(WORKSPACE, APP, "jo"));
    (world, invite)
}

async fn run(world: &World, statement: &str) -> u64 {
    let statement = sqlx::query(AssertSqlSafe(statement.to_owned()));
    statement.execute(&world.pool).await.expect("the statement is right").rows_affected()
}

#[sqlx::test(migrations = false)]
async fn what_the_backend_inserts_again_keeps_those_out_who_were_removed_after_the_backup(
    pool: PgPool,
) {
    let (world, invite) = restored(pool).await;
    for task in [
        a_failed("invite", APP, "jo").requested_minutes_ago(8).succeeded(),
        a_failed("remove", APP, "jo").requested_minutes_ago(5).succeeded(),
    ] {
        world.insert(&task).await;
    }
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
}

#[sqlx::test(migrations = false)]
async fn while_all_is_paused_after_a_restore_nobody_is_invited_until_a_person_has_looked(
    pool: PgPool,
) {
    let (world, invite) = restored(pool).await;
    let [pause, list, cancel, resume] = &statements()[..] else { panic!("{:?}", statements()) };
    assert!(run(&world, pause).await > 0);
    for _ in 0..5 {
        world.let_time_pass().await;
        world.step().await;
    }
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
    assert_eq!(run(&world, list).await, 1, "the invite is listed");
    assert!(cancel.contains("array[42, 43]"), "{cancel}");
    run(&world, &cancel.replace("array[42, 43]", &format!("array[{invite}]"))).await;
    assert!(run(&world, resume).await > 0);
    world.drive().await;
    assert_eq!(world.state(invite).await, "cancelled");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
    assert_eq!(world.integration_status(APP).await, "active");
}
