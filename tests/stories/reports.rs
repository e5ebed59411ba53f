//! Reports: the figures of manual work, and the evidence of a month.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::operator::desk::{
    Actor, AskedEvidence, AskedWork, Desk, DeskError, RefusalKind,
};
use cerby_reconciler::reports::evidence::EvidenceLine;
use cerby_reconciler::reports::period::Period;
use cerby_reconciler::reports::work::WorkFigures;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::simulator::{Member, Settings};

use crate::access::with_rows;
use crate::support::{APP, WORKSPACE, World, a_failed, apps};

fn named(name: &str) -> Actor {
    Actor::named(name).unwrap()
}

async fn run(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap();
}

/// As if what is written had happened so much earlier; no trigger sees it.
async fn earlier(pool: &PgPool, change: &str) {
    let quietly = "set session_replication_role = replica";
    run(pool, &format!("{quietly}; {change}; set session_replication_role = origin")).await;
}

/// More people in the app.
async fn world(pool: PgPool) -> World {
    let mut apps = apps();
    for id in ["ann", "bob", "cid", "dan", "eve"] {
        let member = Member::new(id, &format!("{id}@example.com")).with(&["VIEWER"]);
        apps = apps.member(WORKSPACE, APP, member);
    }
    World::with(pool, apps, Settings::default()).await
}

/// Open actions of as many members.
async fn actions(world: &World, members: &[&'static str]) -> Vec<i64> {
    let mut tasks = Vec::new();
    for member in members {
        tasks.push(world.insert(&a_failed("remove", APP, member).code("NotEnoughSeats")).await);
    }
    world.drive().await;
    let mut actions = Vec::new();
    for task in tasks {
        actions.push(world.action_of(task).await);
    }
    actions
}

/// Seconds of work and stretches of an action.
async fn worked(pool: &PgPool, action: i64) -> (i32, i32) {
    let query = "select worked_s, stretches from reconciler.action_figures where action_id = $1";
    sqlx::query_as(query).bind(action).fetch_one(pool).await.unwrap()
}

fn is_about((seconds, stretches): (i32, i32), expected: (i32, i32)) -> bool {
    stretches == expected.1 && (expected.0..expected.0 + 30).contains(&seconds)
}

async fn line(desk: &Desk) -> WorkFigures {
    let report = desk.work_report(&named("kim"), AskedWork::default()).await.unwrap();
    let [line] = &report.lines[..] else { panic!("{report:#?}") };
    line.clone()
}

#[sqlx::test(migrations = false)]
async fn work_on_actions_claimed_together_counts_once_and_not_for_the_night(pool: PgPool) {
    let world = world(pool).await;
    let (desk, kim) = (Desk::new(world.pool.clone().into()), named("kim"));
    let ids = actions(&world, &["ann", "bob", "cid", "dan", "eve"]).await;
    for id in &ids[..4] {
        desk.claim(&kim, *id, None).await.unwrap();
    }
    let claimed = "update reconciler.manual_actions set assigned_at = now() - interval '50 min' where status = 'in_progress'";
    earlier(&world.pool, claimed).await;
    desk.done(&kim, ids[0], None).await.unwrap();
    assert!(is_about(worked(&world.pool, ids[0]).await, (3000, 1)));

    // Ten minutes later the second is done, and both of the rest are in one statement.
    let stopped = |minutes: u32| {
        format!(
            "update reconciler.action_figures set worked_until = now() - interval '{minutes} min' where worked_until is not null"
        )
    };
    earlier(&world.pool, &stopped(10)).await;
    desk.done(&kim, ids[1], None).await.unwrap();
    assert!(is_about(worked(&world.pool, ids[1]).await, (600, 1)), "since the first was done");
    earlier(&world.pool, &stopped(4)).await;
    run(
        &world.pool,
        &format!(
            "begin; set local reconciler.actor = 'kim';
             update reconciler.manual_actions set status = 'done' where id in ({}, {}); commit",
            ids[2], ids[3]
        ),
    )
    .await;
    for id in &ids[2..4] {
        assert!(is_about(worked(&world.pool, *id).await, (120, 1)), "they share the time");
    }

    // Over night.
    desk.claim(&kim, ids[4], None).await.unwrap();
    earlier(&world.pool, &format!("{}; {}", claimed.replace("50 min", "16 h"), stopped(1200)))
        .await;
    desk.release(&kim, ids[4]).await.unwrap();
    assert_eq!(worked(&world.pool, ids[4]).await, (3600, 1));
    let line = line(&desk).await;
    assert_eq!((line.opened, line.open, line.measured), (5, 5, 5));
    assert!((line.minutes - (50.0 + 10.0 + 4.0 + 60.0)).abs() < 2.0, "{line:?}");
    assert!((line.minutes_saved - line.minutes).abs() < 0.01, "all are measured");
}

#[sqlx::test(migrations = false)]
async fn who_works_after_a_colleague_has_a_time_of_their_own(pool: PgPool) {
    let world = world(pool).await;
    let (desk, kim, lee) = (Desk::new(world.pool.clone().into()), named("kim"), named("lee"));
    let [first, second] = actions(&world, &["ann", "bob"]).await[..] else { panic!() };
    desk.claim(&kim, first, None).await.unwrap();
    desk.claim(&lee, second, None).await.unwrap();
    earlier(&world.pool, "update reconciler.manual_actions set assigned_at = now() - interval '20 min' where status = 'in_progress'").await;
    desk.done(&lee, second, None).await.unwrap();
    desk.claim(&lee, first, Some("kim is away")).await.unwrap();
    assert!(is_about(worked(&world.pool, first).await, (1200, 1)), "kim's work, not since lee's");
    desk.done(&lee, first, None).await.unwrap();
    assert!(is_about(worked(&world.pool, first).await, (1200, 2)));
    let line = line(&desk).await;
    assert_eq!((line.changed_hands, line.measured, line.proven), (1, 2, 0));
}

#[sqlx::test(migrations = false)]
async fn a_report_tells_proof_contradiction_and_the_time_to_revoke(pool: PgPool) {
    let world = world(pool).await;
    let desk = Desk::new(world.pool.clone().into());
    let [first, second, _] = actions(&world, &["ann", "bob", "cid"]).await[..] else { panic!() };
    world.apps.person_removes(WORKSPACE, APP, "ann");
    for id in [first, second] {
        desk.done(&named("kim"), id, None).await.unwrap();
    }
    world.drive().await;
    earlier(
        &world.pool,
        "update reconciler.action_figures set requested_at = opened_at - interval '5 h' where status = 'open';
         update reconciler.action_figures set requested_at = closed_at - interval '2 h' where status = 'verified'",
    )
    .await;
    let line = line(&desk).await;
    assert_eq!((line.opened, line.open, line.proven, line.contradicted), (3, 2, 1, 1), "{line:?}");
    assert_eq!((line.integration_id.as_str(), line.cause.as_str()), (APP, "NotEnoughSeats"));
    let revoked = line.revocations.unwrap();
    assert_eq!((revoked.proven, revoked.beyond_objective), (1, 2), "two are open for too long");
    assert_eq!((revoked.p50_s, revoked.p95_s), (Some(7200.0), Some(7200.0)));
    // Of another period there is nothing.
    let kim = named("kim");
    let year =
        AskedWork { from: Some("2020-01-01"), to: Some("2020-12-31"), ..AskedWork::default() };
    let other = desk.work_report(&kim, year);
    assert!(other.await.unwrap().lines.is_empty());
}

#[sqlx::test(migrations = false)]
async fn figures_outlive_their_action_name_nobody_and_go_with_the_trail(pool: PgPool) {
    let world = world(pool).await;
    let desk = Desk::new(world.pool.clone().into());
    let ids = actions(&world, &["ann"]).await;
    desk.dismiss(&named("kim"), ids[0], "stays").await.unwrap();
    world.drive().await;
    let before = line(&desk).await;
    let closed = |days: u32| {
        let at = format!("set closed_at = now() - interval '{days} days'");
        format!("update reconciler.manual_actions {at}; update reconciler.action_figures {at}")
    };
    earlier(&world.pool, &closed(91)).await;
    world.upkeep().await;
    let left: i64 = sqlx::query_scalar("select count(*) from reconciler.manual_actions")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(line(&desk).await, before);
    let figures: String = sqlx::query_scalar("select f::text from reconciler.action_figures f")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(!figures.contains("ann"), "{figures}");
    earlier(&world.pool, &closed(401)).await;
    world.upkeep().await;
    let report = desk.work_report(&named("kim"), AskedWork::default()).await.unwrap();
    assert!(report.lines.is_empty() && report.figures_since.is_none(), "{report:?}");
}

#[sqlx::test(migrations = false)]
async fn what_automation_did_is_counted_if_somebody_asks(pool: PgPool) {
    let world = world(pool).await;
    let desk = Desk::new(world.pool.clone().into());
    for member in ["ann", "bob"] {
        world.insert(&a_failed("remove", APP, member)).await;
    }
    actions(&world, &["cid"]).await;
    let kim = named("kim");
    let asked = AskedWork { requests: true, ..AskedWork::default() };
    let report = desk.work_report(&kim, asked).await.unwrap();
    let requests = report.lines[0].requests.unwrap();
    assert_eq!((requests.arrived, requests.succeeded, requests.escalated), (3, 2, 1));
    assert_eq!(line(&desk).await.requests, None, "nobody asked");
}

async fn with_access(pool: &PgPool, role: Role, workspaces: Option<&[&str]>) -> Actor {
    let desk = Desk::new(pool.clone().into());
    let workspaces = workspaces.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    let access = Access { role, workspaces };
    let token = desk.create_token(&named("kim"), role.as_str(), &access, 1).await.unwrap();
    desk.actor_of(token.expose_secret()).await.unwrap().unwrap()
}

#[sqlx::test(migrations = false)]
async fn nobody_reads_figures_or_evidence_of_a_foreign_workspace(pool: PgPool) {
    let pool = with_rows(pool).await;
    let desk = Desk::new(pool.clone().into());
    let bound = with_access(&pool, Role::Viewer, Some(&["acme"])).await;
    let all = with_access(&pool, Role::Administrator, None).await;
    let workspaces = async |actor, workspace| {
        let report =
            desk.work_report(actor, AskedWork { workspace, ..AskedWork::default() }).await.unwrap();
        report.lines.into_iter().map(|line| line.workspace_id).collect::<Vec<_>>()
    };
    assert_eq!(workspaces(&bound, None).await, ["acme"]);
    assert!(workspaces(&bound, Some("globex")).await.is_empty());
    assert_eq!(workspaces(&all, None).await.len(), 2);
    let globex = AskedWork { workspace: Some("globex"), requests: true, ..AskedWork::default() };
    let foreign = desk.work_report(&bound, globex).await.unwrap();
    assert_eq!(foreign.figures_since, None);

    let asked = |workspace| AskedEvidence { workspace, limit: 10, ..AskedEvidence::default() };
    let (head, lines) = desk.evidence(&bound, asked(None)).await.unwrap();
    assert_eq!((head.workspace.as_str(), head.actions(), lines.len()), ("acme", 1, 1));
    let (head, lines) = desk.evidence(&bound, asked(Some("globex"))).await.unwrap();
    assert_eq!((head.actions(), lines.len()), (0, 0));
    match desk.evidence(&all, asked(None)).await {
        Err(DeskError::Refused(refusal)) => assert_eq!(refusal.kind, RefusalKind::Invalid),
        other => panic!("whoever sees several has to name one: {other:?}"),
    }
}

/// Ids of lines with what is not proven marked.
fn ids(lines: &[EvidenceLine]) -> Vec<String> {
    let mark = |line: &EvidenceLine| if line.is_proven { "" } else { "!" };
    lines.iter().map(|line| format!("{}{}", mark(line), line.action_id)).collect()
}

#[sqlx::test(migrations = false)]
async fn evidence_begins_with_what_is_not_proven_and_loses_no_line_that_is_proven_meanwhile(
    pool: PgPool,
) {
    let pool = with_rows(pool).await;
    let desk = Desk::new(pool.clone().into());
    let reads = with_access(&pool, Role::Viewer, Some(&["acme"])).await;
    let fill = "
        insert into reconciler.manual_actions
            (id, status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
             member_email, trigger, requested_at, requested_by, reason, instructions, due_at, done_by, done_at, verdict,
             verdict_at, observed, snapshot_started_at, closed_at, task_id)
        overriding system value
        select n, case when n % 2 = 0 then 'verified' else 'open' end, 'remove', 'acme', 'an-app', 'own app', 'app',
               'asana_tenant', 'm-' || n, 'm' || n || '@example.com', 'manual', '2026-03-05 10:00Z'::timestamptz + n * interval '1 h',
               'boss', 'why', 'i', now(), 'kim', '2026-03-06 10:00Z', case when n % 2 = 0 then 'confirmed' end,
               case when n % 2 = 0 then '2026-03-06 11:00Z'::timestamptz end, 'not in the list', '2026-03-06 10:30Z',
               case when n % 2 = 0 then '2026-03-06 11:00Z'::timestamptz end, n
        from generate_series(11, 16) n";
    earlier(&pool, fill).await;
    let page = async |after| {
        let asked =
            AskedEvidence { month: Some("2026-03"), after, limit: 2, ..AskedEvidence::default() };
        desk.evidence(&reads, asked).await.unwrap().1
    };
    let first = page(None).await;
    assert_eq!(ids(&first), ["!11", "!13"]);
    assert_eq!(first[0].requested_by.as_deref(), Some("boss"));
    let proven = "update reconciler.manual_actions set status = 'verified', verdict = 'confirmed', closed_at = now() where id = 13";
    earlier(&pool, proven).await;
    let second = page(first.last().map(EvidenceLine::place)).await;
    assert_eq!(ids(&second), ["!15", "12"], "13 was proven, and 15 is still told");
    let third = page(second.last().map(EvidenceLine::place)).await;
    assert_eq!(ids(&third), ["13", "14"]);
    assert_eq!(ids(&page(third.last().map(EvidenceLine::place)).await), ["16"]);

    let march = Period::month(Some("2026-03"), "2026-12-01".parse().unwrap()).unwrap();
    let batch = async |after| desk.evidence_after(&reads, "acme", march, after, 3).await.unwrap();
    assert_eq!(ids(&batch(None).await), ["!11", "12", "13"], "in the order of the requests");
    assert_eq!(ids(&batch(Some(13)).await), ["14", "!15", "16"]);
    assert!(desk.evidence_after(&reads, "globex", march, None, 3).await.unwrap().is_empty());
}

#[sqlx::test(migrations = false)]
async fn the_action_says_who_asked_and_when(pool: PgPool) {
    let world = world(pool).await;
    let task = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
    earlier(&world.pool, "update reconciler.automation_tasks set requested_by = 'the boss'").await;
    world.drive().await;
    let action = world.action_of(task).await;
    let same: bool = sqlx::query_scalar(
        "select a.requested_at = t.requested_at and a.requested_by = 'the boss' and f.requested_at = t.requested_at
         from reconciler.manual_actions a
         join reconciler.automation_tasks t on t.id = a.task_id
         join reconciler.action_figures f on f.action_id = a.id
         where a.id = $1",
    )
    .bind(action)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(same);
    let change =
        format!("update reconciler.manual_actions set requested_by = 'x' where id = {action}");
    let refused = sqlx::raw_sql(AssertSqlSafe(change)).execute(&world.pool).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be changed"), "{refused}");
}
