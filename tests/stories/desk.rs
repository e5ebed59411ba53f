//! What people may do, and the kinds of no that a door can tell apart.

use cerby_reconciler::manual_action::review::ActionFilter;
use cerby_reconciler::operator::desk::{Actor, Desk, DeskError, Done, RefusalKind};
use cerby_reconciler::sync::review::Filter;
use sqlx::PgPool;

use crate::support::{APP, World, a_failed};

fn kim() -> Actor {
    Actor::named("kim").expect("a name")
}

fn desk(world: &World) -> Desk {
    Desk::new(world.pool.clone().into())
}

fn kind<T: std::fmt::Debug>(ended: Result<T, DeskError>) -> RefusalKind {
    match ended {
        Err(DeskError::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

#[sqlx::test(migrations = false)]
async fn each_kind_of_no_is_told_apart(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let (desk, robin) = (desk(&world), Actor::named("robin").unwrap());
    assert_eq!(kind(desk.action(&kim(), 4711).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.done(&kim(), 4711, None).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.cancel(&kim(), 4711, "why").await), RefusalKind::NotFound);
    assert_eq!(kind(desk.approve(&kim(), 4711, "why").await), RefusalKind::NotFound);
    assert_eq!(kind(desk.dismiss(&kim(), action, " ").await), RefusalKind::Invalid);
    assert_eq!(kind(desk.note(&kim(), action, &"x".repeat(10_001)).await), RefusalKind::Invalid);
    assert_eq!(kind(desk.release(&kim(), action).await), RefusalKind::NotAllowedNow);
    desk.claim(&kim(), action, None).await.unwrap();
    assert_eq!(kind(desk.claim(&robin, action, None).await), RefusalKind::Forbidden);
    let first = desk.done(&kim(), action, Some("removed")).await.unwrap();
    assert_eq!((first.follows, first.before), (Done::Read, None));
    let again = desk.done(&kim(), action, Some("removed")).await.unwrap();
    let (who, _) = again.before.expect("it was marked before");
    assert!(who.starts_with("kim via login "), "{who}");
    assert_eq!(kind(desk.withdraw(&robin, action).await), RefusalKind::Forbidden);
    assert_eq!(kind(desk.claim(&robin, action, None).await), RefusalKind::NotAllowedNow);
    world.person_does(&a_failed("remove", APP, "jo"));
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    assert_eq!(kind(desk.withdraw(&kim(), action).await), RefusalKind::Stale);
    assert_eq!(kind(desk.dismiss(&kim(), action, "too late").await), RefusalKind::NotAllowedNow);
}

#[sqlx::test(migrations = false)]
async fn a_row_that_somebody_has_locked_is_busy_and_nobody_waits_for_ever(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let mut psql = world.pool.begin().await.unwrap();
    let lock = "select from reconciler.manual_actions where id = $1 for update";
    sqlx::query(lock).bind(action).execute(&mut *psql).await.unwrap();
    assert_eq!(kind(desk(&world).done(&kim(), action, None).await), RefusalKind::Busy);
    psql.rollback().await.unwrap();
    desk(&world).done(&kim(), action, None).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn lists_go_on_after_what_was_shown(pool: PgPool) {
    let world = World::new(pool).await;
    for member in ["ann", "bob", "cid", "dan"] {
        world.insert(&a_failed("invite", APP, member).code("NotEnoughSeats")).await;
    }
    world.drive().await;
    let (desk, mut seen, mut after) = (desk(&world), Vec::new(), None);
    loop {
        let filter = ActionFilter { after, limit: 3, ..ActionFilter::default() };
        let page = desk.actions(&kim(), filter).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.into_iter().map(|line| line.id));
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
    let app = desk.integration(&kim(), APP, None).await.unwrap();
    for _ in 0..2 {
        desk.request(&kim(), &app).await.unwrap();
        world.drive().await;
    }
    let all = Filter { limit: 1, ..Filter::default() };
    let newest = desk.syncs(&kim(), all).await.unwrap();
    let older = desk.syncs(&kim(), Filter { after: Some(newest[0].id), ..all }).await.unwrap();
    assert!(older[0].id < newest[0].id);
}
