//! The trail: whatever changes is in it, nobody writes who and when, and what a verdict rests on stays as long as it does.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use crate::support::log::Log;
use crate::support::{APP, World, a_failed};
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&world.pool).await.unwrap();
}

/// A transaction in another role, as that role's login would have it.
async fn acting_as(world: &World, role: &str) -> Transaction<'static, Postgres> {
    let mut tx = world.pool.begin().await.unwrap();
    let switch = format!("set local session authorization {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(switch)).execute(&mut *tx).await.unwrap();
    tx
}

async fn refusal(tx: &mut Transaction<'static, Postgres>, statement: &str) -> String {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    let refused = sqlx::raw_sql(statement).execute(&mut **tx).await.unwrap_err();
    refused.as_database_error().unwrap().message().to_owned()
}

/// Who did it, and the details, of every line of this name.
async fn lines(world: &World, what: &str) -> Vec<(String, Value)> {
    sqlx::query_as("select actor, detail from reconciler.events where what = $1 order by id")
        .bind(what)
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn nobody_gives_who_and_when_not_even_the_daemons_login(pool: PgPool) {
    let world = World::new(pool).await;
    for (column, value) in [("at", "now()"), ("actor", "'kim'")] {
        let mut tx = acting_as(&world, "reconciler_daemon").await;
        let insert = format!(
            "insert into reconciler.events (what, workspace_id, subject, subject_id, {column})
             values ('x', 'acme', 'task', '1', {value})"
        );
        let message = refusal(&mut tx, &insert).await;
        assert!(message.starts_with("permission denied"), "{column}: {message}");
    }
    for (named, actor) in [
        ("daemon", "daemon"),
        ("kim", "kim via login reconciler_daemon"),
        ("lee via login kim", "lee via login kim via login reconciler_daemon"),
        ("", "reconciler_daemon"),
    ] {
        let mut tx = acting_as(&world, "reconciler_daemon").await;
        sqlx::query("select set_config('reconciler.actor', $1, true)")
            .bind(named)
            .execute(&mut *tx)
            .await
            .unwrap();
        let insert = "insert into reconciler.events (what, workspace_id, subject, subject_id)
                      values ('x', 'acme', 'task', '1') returning actor";
        let stamped: String = sqlx::query_scalar(insert).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(stamped, actor, "no name of another login can be given");
    }
}

#[sqlx::test(migrations = false)]
async fn what_an_action_says_cannot_be_changed_by_anybody(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    for change in [
        "instructions = 'remove kim'",
        "shown = '{}'",
        "member_id = 'kim'",
        "member_email = 'kim@example.com'",
        "application = 'x'",
        "operation = 'invite'",
        "integration_id = 'x'",
        "task_id = 7",
    ] {
        let update = format!("update reconciler.manual_actions set {change} where id = {action}");
        let mut owner = world.pool.begin().await.unwrap();
        let words = format!("what manual action {action} says and about whom cannot be changed");
        assert_eq!(refusal(&mut owner, &update).await, words, "{change}");
        for role in ["reconciler_operator", "reconciler_daemon"] {
            let mut tx = acting_as(&world, role).await;
            let message = refusal(&mut tx, &update).await;
            assert!(message.starts_with("permission denied"), "{role}: {change}: {message}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn nothing_of_the_trail_and_no_action_is_deleted_but_by_retention(pool: PgPool) {
    let (world, _) = World::with_an_action(pool).await;
    for (statement, words) in [
        ("delete from reconciler.events", "rows of events are deleted by retention only"),
        ("truncate reconciler.events", "events are append-only: truncate is refused"),
        (
            "delete from reconciler.manual_actions",
            "rows of manual_actions are deleted by retention only",
        ),
        (
            "truncate reconciler.manual_actions",
            "rows of manual_actions are deleted by retention only",
        ),
    ] {
        let mut owner = world.pool.begin().await.unwrap();
        assert_eq!(refusal(&mut owner, statement).await, words, "{statement}");
    }
}

#[sqlx::test(migrations = false)]
async fn what_the_person_was_shown_stays_in_the_trail_without_the_person(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let (_, opened) = lines(&world, "action.opened").await.remove(0);
    let hash = "select encode(sha256(convert_to(instructions, 'UTF8')), 'hex')
                from reconciler.manual_actions where id = $1";
    assert_eq!(opened["shown"]["sha256"], world.text(hash, action).await);
    assert_eq!(opened["shown"]["template"], "app_remove");
    let stored = "select instructions_hash from reconciler.manual_actions where id = $1";
    assert_eq!(opened["shown"]["hash"], world.text(stored, action).await);
    let text = opened["shown"]["text"].as_str().unwrap();
    assert!(text.starts_with("Remove {member} from an-app by hand."), "{text}");
    assert!(text.contains(&format!("actions done {action} --note")), "{text}");
    assert!(!text.contains("jo@"), "{text}");
}

#[sqlx::test(migrations = false)]
async fn a_proof_names_its_sync_and_the_start_and_hash_of_its_snapshot(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    world.person_does(&a_failed("remove", APP, "jo"));
    world.mark_done(action).await;
    world.drive().await;
    let (actor, verified) = lines(&world, "action.verified").await.remove(0);
    let hash = "select report -> 'snapshot' ->> 'hash' from reconciler.syncs where id = $1";
    let hash = world.text(hash, verified["sync_id"].as_i64().unwrap()).await;
    assert!(hash.starts_with("sha256:"), "{hash}");
    assert_eq!(
        (actor.as_str(), verified["snapshot_hash"].as_str()),
        ("daemon", Some(hash.as_str()))
    );
    let time = |name: &str| {
        verified[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    assert!(time("snapshot_started_at") > time("done_at"), "{verified}");
}

#[sqlx::test(migrations = false)]
async fn a_deadline_that_moves_or_passes_is_in_the_trail(pool: PgPool) {
    let log = Log::here();
    let (world, _) = World::with_an_action(pool).await;
    let inactive = "update reconciler.manual_actions set opened_at = now() - interval '2 h';
                    update reconciler.integration_states
                    set inactive_since = now() - interval '1 h', inactive_until = now()";
    let rewriting = "set session_replication_role = replica";
    run(&world, &format!("{rewriting}; {inactive}; reset session_replication_role")).await;
    world.upkeep().await;
    let (actor, moved) = lines(&world, "action.deadline_extended").await.remove(0);
    let time = |name: &str| {
        moved[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    let minutes = (time("due_at") - time("due_before")).num_minutes();
    assert_eq!((actor.as_str(), minutes), ("daemon", 60), "{moved}");

    run(&world, "update reconciler.manual_actions set due_at = now() - interval '1 s'").await;
    world.upkeep().await;
    let overdue = lines(&world, "action.overdue").await;
    assert_eq!((overdue.len(), overdue[0].0.as_str()), (1, "daemon"));
    assert!(log.has("actions.overdue"));
}

#[sqlx::test(migrations = false)]
async fn a_setting_is_in_the_trail_with_what_it_was_and_a_pause_with_each_reason(pool: PgPool) {
    let (world, _) = World::with_an_action(pool).await;
    let set = "update reconciler.integrations set";
    run(&world, &format!("{set} max_in_flight = 3")).await;
    run(&world, &format!("{set} max_in_flight = 5, own_account = 'bot', four_eyes = true")).await;
    let lines_of = async |what: &'static str| -> Vec<Value> {
        lines(&world, what).await.into_iter().map(|(_, detail)| detail).collect()
    };
    let second = json!({
        "max_in_flight": {"from": 3, "to": 5},
        "own_account": {"from": null, "to": "bot"},
        "four_eyes": {"from": false, "to": true},
    });
    assert_eq!(
        lines_of("integration.set").await,
        [json!({"max_in_flight": {"from": null, "to": 3}}), second]
    );
    run(&world, &format!("{set} status = 'paused', status_reason = 'maintenance'")).await;
    run(&world, &format!("{set} status_reason = 'an incident'")).await;
    let reasons: Vec<_> =
        lines_of("integration.paused").await.iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(reasons, ["maintenance", "an incident"]);
}

#[sqlx::test(migrations = false)]
async fn retention_says_what_it_deleted(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    run(&world, &format!("update reconciler.manual_actions set status = 'dismissed', note = 'no' where id = {action}")).await;
    world.drive().await;
    let age = "set session_replication_role = replica;
               update reconciler.automation_tasks set closed_at = now() - interval '91 days';
               update reconciler.members
               set desired_requested_at = now() - interval '91 days', worked_at = null, observed_membership = 'absent',
                   removed_by_hand_at = null, removal_tried_until = null;
               update reconciler.events set at = now() - interval '401 days' where what = 'task.ordered';
               reset session_replication_role";
    run(&world, age).await;
    world.upkeep().await;
    let deleted = lines(&world, "workspace.rows_deleted").await;
    assert!(deleted.iter().all(|(actor, _)| actor == "daemon"), "{deleted:?}");
    let of = |table: &str| {
        deleted
            .iter()
            .find(|(_, detail)| detail["table"] == table)
            .map(|(_, detail)| detail.clone())
    };
    assert_eq!(
        of("automation_tasks"),
        Some(json!({"table": "automation_tasks", "rows": 1, "ids": [1]}))
    );
    let members = json!({"table": "members", "rows": 1, "integrations": {APP: 1}});
    assert_eq!(of("members"), Some(members));
    let events = of("events").unwrap();
    assert_eq!((&events["rows"], &events["from_id"]), (&json!(1), &json!(2)), "{events}");
}

/// The differences name people, and go with the tasks; what a verdict rests on stays as long as the verdict is told.
#[sqlx::test(migrations = false)]
async fn a_snapshot_that_a_verdict_rests_on_is_kept_as_long_as_the_trail(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    world.mark_done(action).await;
    world.drive().await;
    let hash = "select report -> 'snapshot' ->> 'hash' from reconciler.syncs where id = $1";
    let before = world.text(hash, 1).await;
    run(&world, "insert into reconciler.syncs (workspace_id, integration_id, procedure, state, started_at, finished_at, report)
                 values ('acme', 'an-app', 'sync', 'failed', now(), now(), '{}')").await;
    let age = "update reconciler.syncs set finished_at = now() - interval '91 days'";
    run(&world, age).await;
    world.upkeep().await;
    let left = "select string_agg(id || ' ' || state || ' ' || is_reduced, ', ' order by id) from reconciler.syncs where id < $1";
    assert_eq!(world.text(left, 3).await, "1 finished true", "what read nothing is gone");
    assert_eq!(world.text(hash, 1).await, before);
    let kept = "select string_agg(key, ' ' order by key) from reconciler.syncs, jsonb_object_keys(report) key where id = $1";
    assert_eq!(world.text(kept, 1).await, "counts snapshot");
    let reduced = lines(&world, "workspace.reports_reduced").await;
    assert_eq!(reduced, [("daemon".to_owned(), json!({"rows": 1, "ids": [1]}))]);
    run(&world, &age.replace("91", "401")).await;
    world.upkeep().await;
    assert_eq!(world.text(left, 3).await, "");
    let deleted: Vec<_> = lines(&world, "workspace.rows_deleted")
        .await
        .into_iter()
        .map(|(_, one)| one["ids"].clone())
        .collect();
    assert_eq!(deleted, [json!([2]), json!([1])]);
}
