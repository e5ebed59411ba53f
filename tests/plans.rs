//! The statements of the hot path at size: read by index, and only what they are about, however much is queued and
//! however much is finished. A migration that loses an index fails here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use cerby_reconciler::schema::{self, Planning};
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres};

/// The first tasks: as many as it takes for PostgreSQL to make statistics by itself.
const FIRST: &str = "
    insert into reconciler.automation_tasks
        (id, workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at)
    overriding system value
    select 1000000 + n, 'acme', 'first-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'first-' || n,
           'jo@example.com', 'remove', 'manual', now()
    from generate_series(1, 51) n;
    insert into reconciler.members (workspace_id, integration_id, member_id, member_email, ready_task_id)
    select 'acme', 'app-' || n % 5, 'first-' || n, 'jo@example.com', 1000000 + n from generate_series(1, 51) n;
    insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
    select 'acme', 'app-' || n, 'App', 'app', 'asana_tenant' from generate_series(0, 4) n;
    insert into reconciler.integration_states (workspace_id, integration_id, next_due_at)
    select workspace_id, integration_id, now() from reconciler.integration_settings";

/// What is kept: integrations, very many of which have nothing to do, finished tasks and actions, and idle members.
const KEPT: &str = "
    set session_replication_role = replica;
    insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
    select 'acme', 'app-' || n, 'App', 'app', 'asana_tenant' from generate_series(0, 49) n
    union all
    select 'idle-' || n % 1000, 'app-' || n, 'App', 'app', 'asana_tenant' from generate_series(1, 10000) n
    on conflict do nothing;
    insert into reconciler.integration_states (workspace_id, integration_id, next_snapshot_at)
    select workspace_id, integration_id, now() + interval '1 day' from reconciler.integration_settings
    on conflict do nothing;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at, ordered_at, state, closed_at, closed_reason)
    select 'acme', 's-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'member-' || n, 'jo@example.com',
           'remove', 'manual', now(), now(), case when n <= 100 then 'escalated' else 'succeeded' end, now(), 'seen'
    from generate_series(1, 20000) n;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, closed_at, task_id, requested_at)
    select 'superseded', 'invite', 'acme', 'app-' || n % 5, 'App', 'app', 'asana_tenant', 'member-' || n,
           'jo@example.com', 'manual', 'r', 'i', now(), now(), n, now() - n * interval '1 hour'
    from generate_series(1, 20000) n;
    insert into reconciler.action_figures
        (action_id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status, closed_at, is_deleted,
         worked_by, worked_until)
    select n, case when n % 2 = 0 then 'acme' else 'globex' end, 'app-' || n % 5, 'remove', 'r', at, at, 'verified', at,
           n % 2 = 0, 'operator_' || n % 200, at
    from generate_series(1, 20000) n cross join lateral (select now() - (20000 - n) * interval '1 hour' as at) t;
    insert into reconciler.members
        (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
         desired_entitlements, desired_requested_at, removal_task_id, removal_requested_at, worked_at, watch_task_id,
         watch_operation, watch_since, watch_due_at)
    select 'acme', 'app-' || n % 5, 'member-' || n, 'jo@example.com', n, 'remove', '{}', now(), n, now(), now(), n,
           'remove', now(), now() + interval '1 day'
    from generate_series(1, 20000) n;
    insert into reconciler.webhook_events
        (workspace_id, event_id, event_type, job_id, occurred_at, ended_at, outcome)
    select 'acme', 'ended-' || n, 'automation.failed', 'job-' || n, now(), now(), 'tasks'
    from generate_series(1, 20000) n";

/// What is queued: tasks due in the future, due ones, blocked ones, those whose turn it could be, and new ones; many open
/// actions, most of them in time; and what people did.
const QUEUED: &str = "
    set session_replication_role = replica;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at, ordered_at)
    select 'acme', 's-' || n, 'app-0', 'app', 'App', 'asana_tenant',
           case when n > 45000 then 'next-' || n when n between 35000 and 39999 then 'member-' || n - 10000
                else 'member-' || n end, 'jo@example.com', 'remove', 'manual', now(), now()
    from generate_series(20001, 45100) n;
    insert into reconciler.members
        (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
         desired_entitlements, desired_requested_at, ready_task_id, ready_is_removal, next_attempt_at,
         blocked_task_ids)
    select workspace_id, integration_id, member_id, member_email, id, operation, entitlements, requested_at,
           case when id <= 45000 then id end, id % 2 = 0,
           now() + case when id between 20000 and 29999 then interval '1 hour' else interval '-1 hour' end,
           case when id > 45000 then array[id] when id between 25000 and 29999 then array[id + 10000] else '{}' end
    from reconciler.automation_tasks where closed_at is null and ordered_at is not null and id not between 35000 and 39999;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, task_id)
    select 'open', 'invite', 'acme', 'app-' || 5 + n % 40, 'App', 'app', 'asana_tenant', 'asked-' || n,
           'jo@example.com', 'manual', 'r', 'i', now() + case when n % 1000 = 0 then -1 else 1 end * interval '1 day', n
    from generate_series(1, 20000) n;
    insert into reconciler.members
        (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
         desired_entitlements, desired_requested_at, worked_at, open_action_id)
    select workspace_id, integration_id, member_id, member_email, task_id, operation, '{}', now(), now(), id
    from reconciler.manual_actions where status = 'open';
    update reconciler.integration_states set next_due_at = now() where workspace_id = 'acme';
    insert into reconciler.nudges (workspace_id, integration_id, what, action_id)
    select 'acme', 'app-' || n % 5, 'ended', n from generate_series(1, 2000) n;
    insert into reconciler.webhook_events (workspace_id, event_id, event_type, job_id, occurred_at, next_attempt_at)
    select case when n % 10 = 0 then 'space-' || n % 40 else 'acme' end, 'open-' || n, 'automation.failed', 'job-' || n,
           now(), now() + case when n % 2 = 0 then interval '1 hour' else interval '-1 hour' end
    from generate_series(1, 2000) n;
    set session_replication_role = origin;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at)
    select 'acme', 'new-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'new-' || n, 'jo@example.com',
           'remove', 'manual', now()
    from generate_series(1, 2000) n";

/// Two hundred people work on a tenth of the actions. The session becomes one of them.
const CLAIMED: &str = "
    set session_replication_role = replica;
    update reconciler.manual_actions set status = 'in_progress', assignee = 'operator_' || id / 10 % 200
    where status = 'open' and id % 10 = 0;
    update reconciler.manual_actions
    set shown = '{\"hash\": \"sha256:1\", \"template\": \"a.txt\", \"source\": \"folder\"}' where status = 'in_progress';
    update reconciler.manual_actions set screen_changed_at = now(), screen_changed_by = 'kim'
    where status = 'in_progress' and id % 100 = 0;
    set session_replication_role = origin;
    vacuum analyze reconciler.manual_actions;
    set reconciler.actor = 'operator_3'";

/// What snapshots are about: done actions, syncs that ended, and one thing of each kind for upkeep to do.
const ASKED: &str = "
    set session_replication_role = replica;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, done_by, done_at, task_id)
    select 'done', 'invite', 'acme', 'app-46', 'App', 'app', 'asana_tenant', 'done-' || n, 'jo@example.com',
           'manual', 'r', 'i', now() + interval '1 day', 'jo', now(), n
    from generate_series(1, 50) n;
    insert into reconciler.syncs
        (workspace_id, integration_id, procedure, state, requested_at, started_at, finished_at, finished_reason, report)
    select 'acme', 'app-' || n % 50, 'check_and_apply', 'finished', now(), now() - n * interval '1 minute',
           now() - n * interval '1 minute', 'read', '{\"snapshot\": {\"complete\": true, \"members\": 5}}'
    from generate_series(1, 20000) n;
    insert into reconciler.syncs
        (workspace_id, integration_id, procedure, state, requested_at, started_at, held_reason, held_until)
    values ('acme', 'app-47', 'check_and_apply', 'held', now(), now(), 'many', now() - interval '1 hour');
    insert into reconciler.syncs (workspace_id, integration_id, procedure, next_step_at)
    values ('acme', 'app-48', 'check_and_apply', now());
    insert into reconciler.returns (workspace_id, integration_id, reason, canary_task_id, remaining_action_ids)
    select 'acme', 'app-' || 5 + n % 40, 'fixed', n, '{}' from generate_series(1, 20) n;
    update reconciler.members set watch_due_at = now() where member_id in ('member-1', 'member-2');
    update reconciler.integration_states
    set status = 'tripped', status_reason = 'r', status_cause = 'failures', status_until = now(),
        inactive_since = now() - interval '1 day'
    where workspace_id = 'acme' and integration_id = 'app-49';
    update reconciler.integration_states set inactive_since = now() - interval '1 day', inactive_until = now()
    where workspace_id = 'acme' and integration_id = 'app-45';
    update reconciler.integration_states set next_snapshot_at = now()
    where workspace_id = 'acme' and integration_id = 'app-44'";

/// Indexes grow by a level, and then statistics are those of a queue that was worked off, whose pages stayed: what they say
/// of a table's size holds whatever becomes of its transaction.
const WORKED_OFF: &str = "
    insert into reconciler.members
        (workspace_id, integration_id, member_id, member_email, ready_task_id, next_attempt_at)
    select 'acme', 'app-' || n % 50, 'later-' || n, 'jo@example.com', n, now() + n * interval '1 s'
    from generate_series(2000000, 2060000) n;
    begin;
    delete from reconciler.members;
    delete from reconciler.arrivals;
    delete from reconciler.nudges;
    analyze reconciler.members, reconciler.arrivals, reconciler.nudges;
    rollback";

/// The tables that grow.
const LARGE: [&str; 11] = [
    "action_figures",
    "automation_tasks",
    "members",
    "arrivals",
    "nudges",
    "events",
    "manual_actions",
    "syncs",
    "integration_settings",
    "integration_states",
    "webhook_events",
];

/// Rows of a large table that one step of a plan may read for a hundred tasks.
const MOST_ROWS: i64 = 1000;

/// Rows likewise that upkeep may read: those that wait.
const MOST_ROWS_OF_UPKEEP: i64 = 5000;

/// A statement's name, its parameters, and the pages it may touch.
type Statement = (&'static str, &'static [&'static str], i64);

const TASKS: &str = "(select array_agg(30000 + n) from generate_series(1, 100) n)";
const ESCALATED: &str = "(select array_agg(n) from generate_series(1, 100) n)";
const NEW: &str = "(select array_agg(task_id) from (select task_id from reconciler.arrivals
                    where task_id < 1000000 order by task_id limit 100) a)";
const NUDGES: &str =
    "(select array_agg(id) from (select id from reconciler.nudges order by id limit 100) n)";
const WORKSPACES: &str = "(select array_agg('acme'::text) from generate_series(1, 100))";
const INTEGRATIONS: &str = "(select array_agg('app-0'::text) from generate_series(1, 100))";
const MEMBERS: &str =
    "(select array_agg('member-' || n order by n) from generate_series(30001, 30100) n)";
const NEXT: &str =
    "(select array_agg('next-' || n order by n) from generate_series(45001, 45100) n)";
const TOKENS: &str = "(select array_agg(0::bigint) from generate_series(1, 100))";
const TEXTS: &str = "(select array_agg('seen'::text) from generate_series(1, 100))";
const LISTS: &str = "(select array_agg('{}'::text) from generate_series(1, 100))";
const OPERATIONS: &str = "(select array_agg('remove'::text) from generate_series(1, 100))";
const YES: &str = "(select array_agg(true) from generate_series(1, 100))";
const DETAILS: &str = "(select array_agg('{}'::jsonb) from generate_series(1, 100))";
const WAITS: &str = "(select array_agg(interval '1 s') from generate_series(1, 100))";
const TIMES: &str = "(select array_agg(now()) from generate_series(1, 100))";
const NUMBERS: &str = "(select array_agg(1) from generate_series(1, 100))";
const ASKED_OF_ONE: &str = "(select array_agg(id) from (select id from reconciler.manual_actions
                             where integration_id = 'app-7' and status = 'open' limit 100) a)";
const MEMBERS_OF_ONE: &str =
    "(select array_agg(member_id) from (select member_id from reconciler.manual_actions
                               where integration_id = 'app-7' and status = 'open' limit 100) a)";
const SUCCEEDED: &str = "(select array_agg('succeeded'::text) from generate_series(1, 100))";
const SUPERSEDED: &str = "(select array_agg('superseded'::text) from generate_series(1, 100))";
const CONFIRMED: &str = "(select array_agg('confirmed'::text) from generate_series(1, 100))";

/// What tasks need all the time.
const HOT: &[Statement] = &[
    ("claim_tasks", &["100", "'45 s'", "null", "null", "'{}'", "'{}'", "null"], 2_400),
    ("claim_tasks", &["100", "'45 s'", "20", "600", "'{}'", "'{}'", "null"], 2_400),
    ("hand_back_tasks", &[WORKSPACES, INTEGRATIONS, MEMBERS, TOKENS], 1_500),
    ("quarantine_members", &[WORKSPACES, INTEGRATIONS, MEMBERS, TOKENS, "'1 s'"], 2_200),
    (
        "end_requests",
        &[
            WORKSPACES,
            INTEGRATIONS,
            MEMBERS,
            TASKS,
            TOKENS,
            SUCCEEDED,
            TEXTS,
            YES,
            YES,
            TIMES,
            WAITS,
            WAITS,
            YES,
            YES,
            TIMES,
            TASKS,
            TASKS,
            TIMES,
            "true",
            TASKS,
        ],
        3_000,
    ),
    ("hold_member", &["'acme'", "'app-0'", "'member-30050'", "0"], 30),
    (
        "release_requests",
        &[
            WORKSPACES,
            INTEGRATIONS,
            MEMBERS,
            TASKS,
            TOKENS,
            WAITS,
            TEXTS,
            TEXTS,
            NUMBERS,
            YES,
            YES,
            YES,
            TIMES,
            YES,
        ],
        4_700,
    ),
    ("give_turn", &[WORKSPACES, INTEGRATIONS, NEXT], 4_800),
    ("append_events", &[TEXTS, WORKSPACES, TASKS, DETAILS], 1_400),
    ("begin_watches", &[WORKSPACES, INTEGRATIONS, MEMBERS, TASKS, OPERATIONS, WAITS], 2_500),
    ("oldest_arrivals", &["0", "100"], 300),
    ("arrivals_shared_out", &["100"], 350),
    ("read_arrivals", &[NEW], 1_700),
    ("introduce_integrations", &[NEW], 800),
    ("misfits", &[NEW], 800),
    ("hold_arrivals", &[NEW, TEXTS], 3_000),
    ("take_off_held", &["1", "'acme'"], 20),
    ("introduce_members", &[NEW], 2_000),
    ("lock_members", &[WORKSPACES, INTEGRATIONS, MEMBERS], 1_100),
    ("unfinished_requests", &[TASKS], 900),
    ("open_actions", &[ESCALATED], 1000),
    ("place_first", &[NEW, WAITS, YES], 2_200),
    ("place_tasks", &[NEW, TEXTS, WAITS, YES], 3_600),
    ("still_arrived", &[NEW], 800),
    ("take_off_arrivals", &[NEW], 800),
    ("quarantine_arrivals", &[NEW, "'1 s'"], 2_200),
    ("close_superseded", &[TASKS, TASKS], 3_600),
    ("mark_superseded", &[TASKS, TASKS], 3_900),
    ("step_back", &[TASKS, TIMES], 2_600),
    ("close_succeeded_elsewhere", &[TASKS], 4_000),
    ("supersede_actions", &[ASKED_OF_ONE, TASKS], 3_200),
    ("dismiss_reconnect", &["20001"], 50),
    (
        "write_order",
        &[
            WORKSPACES,
            INTEGRATIONS,
            MEMBERS,
            YES,
            YES,
            LISTS,
            YES,
            YES,
            YES,
            YES,
            YES,
            TASKS,
            TIMES,
            TASKS,
            TIMES,
            TASKS,
            TIMES,
        ],
        2_100,
    ),
    ("desire", &[TASKS, WAITS], 3_000),
    ("work_due", &["0", "null"], 70),
    ("claim_webhooks", &["16", "4", "'{}'", "'3 min'", "90", "'{}'", "'{}'"], 120),
    (
        "receive_webhook",
        &["'acme'", "'new'", "'automation.failed'", "'job'", "now()", "now()", "499", "null"],
        30,
    ),
    ("missing_sources", &["'acme'", TEXTS], 250),
    ("put_off_webhook", &["'acme'", "'open-1'", "'why'", "'1 s'", "1", "true"], 20),
    ("end_webhook", &["'acme'", "'open-1'", "'tasks'"], 20),
    ("nudges_shared_out", &["100"], 700),
    ("read_nudges", &[NUDGES], 1_500),
    ("delete_nudges", &[NUDGES], 900),
    ("postpone_nudges", &[NUDGES, "'1 s'"], 3_000),
    ("integrations_due_later", &[WORKSPACES, INTEGRATIONS, TIMES], 300),
    ("lower_next_due_times", &[WORKSPACES, INTEGRATIONS, TIMES], 3_000),
    (
        "end_actions",
        &[
            WORKSPACES,
            INTEGRATIONS,
            MEMBERS,
            ESCALATED,
            TASKS,
            YES,
            TIMES,
            TIMES,
            YES,
            YES,
            YES,
            TASKS,
            TIMES,
            TASKS,
            TIMES,
        ],
        2_200,
    ),
    ("reopen_tasks", &[ESCALATED, TEXTS], 2_400),
    ("lock_breaker", &["'acme'", "'app-0'", "30050", "true", "true"], 20),
    ("display_names", &["30050", "'acme'"], 20),
    ("escalate_again", &["'acme'", "'app-0'", "'member-5'", "5", "'why'"], 50),
    ("delete_finished_tasks", &["0", "100", "0"], 1_100),
];

/// What the sessions with fixed plans ask now and then.
const NOW_AND_THEN: &[Statement] = &[
    ("raise_next_due_times", &[], 900),
    ("share_outages", &["1", "'{acme}'", "'{app-7}'", "'30 s'"], 40),
    ("undecided_return", &[], 200),
    ("send_back", &[ASKED_OF_ONE, "'fixed'"], 3_200),
    ("stop_return", &["1", "'acme'", ASKED_OF_ONE], 700),
    ("update_return", &["1", "'acme'", "'released'", "1", "'{}'", "1"], 30),
];

/// The gauges of the metrics, which count no further than they are told.
const OF_GAUGES: &[Statement] = &[
    ("count_tasks", &["1000"], 4_000),
    ("oldest_waits", &["50", "1000"], 900),
    ("count_actions", &["1000"], 6_000),
    ("count_syncs", &[], 60),
    ("count_integrations", &["1000"], 60),
    ("count_inactive_integrations", &["1000"], 60),
];

/// What people ask. Their sessions plan by the statistics. Not here are what counts every unfinished action or request, by
/// app, and the list of all tasks, which sorts the ready ones.
const OF_PEOPLE: &[Statement] = &[
    (
        "list_unfinished_actions",
        &[
            "'{}'", "null", "null", "null", "null", "null", "false", "false", "'{}'", "null",
            "null", "100",
        ],
        600,
    ),
    (
        "list_ended_actions",
        &[
            "'{}'", "null", "null", "null", "null", "null", "false", "false", "'{}'", "null",
            "null", "100",
        ],
        600,
    ),
    (
        "list_unfinished_actions",
        &[
            "'{open}'", "'acme'", "'app-7'", "null", "'remove'", "null", "true", "true", "'{}'",
            "null", "null", "100",
        ],
        600,
    ),
    (
        "count_unfinished_actions",
        &["'{}'", "null", "null", "null", "null", "null", "false", "true", "'{}'", "1001"],
        100,
    ),
    (
        "count_unfinished_actions",
        &["'{}'", "null", "null", "null", "null", "null", "true", "false", "'{}'", "1001"],
        300,
    ),
    (
        "count_unfinished_actions",
        &["'{}'", "null", "null", "null", "null", "null", "false", "false", "'{}'", "1001"],
        300,
    ),
    // Few have this cause.
    (
        "list_unfinished_actions",
        &[
            "'{open}'",
            "'acme'",
            "null",
            "null",
            "'invite'",
            "'OddAnswer'",
            "false",
            "false",
            "'{}'",
            "null",
            "null",
            "100",
        ],
        100,
    ),
    (
        "list_ended_actions",
        &[
            "'{superseded}'",
            "'acme'",
            "null",
            "null",
            "'invite'",
            "'OddAnswer'",
            "false",
            "false",
            "'{}'",
            "null",
            "null",
            "100",
        ],
        100,
    ),
    (
        "list_newest_actions",
        &[
            "'{open}'", "null", "null", "null", "null", "null", "false", "false", "'{}'", "null",
            "100",
        ],
        600,
    ),
    ("people_at_work", &[], 600),
    ("list_tasks", &["'acme'", "'app-7'", "null", "null", "'{}'", "100"], 600),
    ("list_syncs", &["null", "null", "false", "null", "'{}'", "50"], 600),
    ("list_syncs", &["'acme'", "'app-7'", "false", "null", "'{}'", "50"], 600),
    ("list_syncs", &["null", "null", "true", "null", "'{}'", "50"], 600),
    ("list_returns", &["null", "null", "null", "null", "50"], 600),
    ("list_events", &["null", "null", "null", "null", "50"], 600),
    ("list_events", &["'task'", "'4711'", "'acme'", "null", "50"], 600),
    ("list_changed_screens", &["null", "200", "1000"], 600),
    ("list_changed_screens", &["'acme'", "200", "1000"], 600),
    ("list_webhooks", &["null", "null", "null", "50"], 200),
    ("list_webhooks", &["'acme'", "'acme'", "'ended-5'", "50"], 200),
    ("find_action", &["4711"], 100),
    ("figures_of_work", &["null", "now() - interval '30 days'", "now()", "5000", "14400"], 300),
    ("figures_of_work", &["'acme'", "now() - interval '30 days'", "now()", "5000", "14400"], 300),
    ("requests_of_period", &["null", "now()", "now()"], 1_000),
    ("totals_of_evidence", &["'acme'", "now() - interval '30 days'", "now()"], 300),
    ("figures_since", &[], 10),
    ("figures_of_workspace_since", &["'acme'"], 10),
    (
        "list_evidence",
        &["'acme'", "null", "now() - interval '30 days'", "now()", "null", "null", "50"],
        250,
    ),
    (
        "list_evidence",
        &[
            "'acme'",
            "false",
            "now() - interval '30 days'",
            "now()",
            "4711",
            "now() - interval '9 days'",
            "50",
        ],
        250,
    ),
    (
        "list_evidence",
        &["'acme'", "true", "now() - interval '30 days'", "now()", "null", "null", "50"],
        1_000,
    ),
    ("list_saved_views", &["'actions'"], 20),
    ("find_task", &["4711"], 100),
    ("find_sync", &["20002"], 100),
];

/// What somebody asks of a workspace that is not theirs. Lists ask by the same function, `find_actions`.
const OF_OTHERS: &[Statement] = &[(
    "count_unfinished_actions",
    &["'{}'", "'acme'", "null", "null", "null", "null", "false", "false", "'{}'", "1001"],
    20,
)];

/// What upkeep and syncs ask, in plain SQL.
const PLAIN: &[Statement] = &[
    ("request_missing_syncs", &[], 450),
    ("end_undecided_syncs", &[], 80),
    ("request_periodic_snapshots", &["86400", "'{}'", "10"], 70),
    ("extend_deadlines", &["1000"], 20),
    ("remind_of_unavailable", &["3600"], 40),
    ("remind_of_actions", &["100"], 500),
    ("sweep_members", &["90", "1000", "'acme'", "'app-2'", "'member-5'"], 700),
    ("request_watch_snapshots", &["10", "'1 h'"], 150),
    ("reduce_finished_syncs", &["90", "100"], 100),
    ("delete_reduced_syncs", &["400", "100"], 20),
    ("delete_old_events", &["90", "100"], 50),
    ("delete_old_webhooks", &["90", "100"], 5),
    ("delete_old_figures", &["90", "100"], 400),
    ("delete_ended_actions", &["90", "100"], 1_000),
    ("claim_syncs", &["10", "'45 s'", "'{}'", "null"], 30),
    ("renew_sync", &["20001", "'acme'", "0", "'1 s'"], 20),
    ("finish_sync", &["20002", "'acme'", "0", "'finished'", "'read'", "'{}'"], 40),
    ("members_of_an_integration", &["'acme'", "'app-7'"], 3_200),
    ("lock_actions", &["'acme'", "'app-7'", "now()", "0", "100", "true", "now()"], 1_300),
    ("traceparents", &["'acme'", "'app-7'", "100"], 1_300),
    (
        "write_verdicts",
        &[ASKED_OF_ONE, SUPERSEDED, CONFIRMED, TEXTS, "20002", "'sha256:0'", "'acme'"],
        2_700,
    ),
    ("observe", &["'acme'", "'app-7'", MEMBERS_OF_ONE, TEXTS, DETAILS_OF_ROLES], 1_100),
    ("move_watches", &["'acme'", "'app-0'", MEMBERS, TIMES, NUMBERS, TIMES], 700),
    ("lock_reconnect", &["'acme'", "'app-7'", "1"], 20),
    ("is_reconnect_locked", &["'acme'", "'app-7'", "1"], 20),
    ("past_snapshots", &["'acme'", "'app-7'"], 20),
    ("count_unverifiable", &["'acme'", "'app-7'", "true"], 30),
    ("mark_unverifiable", &["'acme'", "'app-7'", "3"], 30),
    ("remember_snapshot", &["'acme'", "'app-7'", "7"], 30),
    ("request_sync_at", &["'acme'", "'app-7'", "'done'", "now()"], 50),
    ("next_attestation", &["'acme'", "'app-7'", "'900 s'", "true", "now()"], 1_300),
    ("unexpected_removals", &["'acme'", "'app-7'"], 20),
];

const DETAILS_OF_ROLES: &str =
    "(select array_agg('[\"VIEWER\"]'::jsonb) from generate_series(1, 100))";

#[sqlx::test(migrations = false)]
async fn statements_of_the_hot_path_read_by_index_and_only_what_they_are_about(pool: PgPool) {
    migrate(&pool).await;
    // In sessions of their own, for they change a setting that has statements planned anew.
    pool.execute(KEPT).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, HOT).await;
    pool.execute(QUEUED).await.unwrap();
    check(&mut connection, &statements, MOST_ROWS, "made when nothing was queued").await;
    connection.execute("discard plans").await.unwrap();
    for statistics in ["made with the statistics of an empty queue", "made with true statistics"] {
        check(&mut connection, &statements, MOST_ROWS, statistics).await;
        connection.execute("vacuum analyze").await.unwrap();
    }
    connection.execute(WORKED_OFF).await.unwrap();
    connection.execute("discard plans").await.unwrap();
    check(
        &mut connection,
        &statements,
        MOST_ROWS,
        "made with the statistics of a queue worked off",
    )
    .await;
}

#[sqlx::test(migrations = false)]
async fn plans_made_when_few_tasks_had_come_suit_a_full_database(pool: PgPool) {
    migrate(&pool).await;
    pool.execute(FIRST).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, HOT).await;
    pool.execute(KEPT).await.unwrap();
    pool.execute(QUEUED).await.unwrap();
    check(&mut connection, &statements, MOST_ROWS, "made when few tasks had come").await;
}

#[sqlx::test(migrations = false)]
async fn plans_made_for_an_empty_database_suit_a_full_one(pool: PgPool) {
    migrate(&pool).await;
    // Nobody has made statistics of it.
    let mut connection = daemon(&pool).await;
    let hot = prepare(&mut connection, HOT).await;
    let now_and_then = prepare(&mut connection, NOW_AND_THEN).await;
    for statements_of in [KEPT, QUEUED, ASKED] {
        pool.execute(statements_of).await.unwrap();
    }
    check(&mut connection, &hot, MOST_ROWS, "made for an empty database").await;
    check(&mut connection, &now_and_then, MOST_ROWS_OF_UPKEEP, "made for an empty database").await;
}

#[sqlx::test(migrations = false)]
async fn gauges_count_no_further_than_they_are_told_however_much_there_is(pool: PgPool) {
    migrate(&pool).await;
    let mut connection = daemon(&pool).await;
    let gauges = prepare(&mut connection, OF_GAUGES).await;
    for statements_of in [KEPT, QUEUED, ASKED] {
        pool.execute(statements_of).await.unwrap();
    }
    check(&mut connection, &gauges, MOST_ROWS, "made for an empty database").await;
    connection.execute("vacuum analyze").await.unwrap();
    check(&mut connection, &gauges, MOST_ROWS, "made with true statistics").await;
}

#[sqlx::test(migrations = false)]
async fn what_is_asked_now_and_then_reads_by_index_and_only_what_it_is_about(pool: PgPool) {
    migrate(&pool).await;
    pool.execute(FIRST).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, NOW_AND_THEN).await;
    for statements_of in [KEPT, QUEUED, ASKED] {
        pool.execute(statements_of).await.unwrap();
    }
    check(&mut connection, &statements, MOST_ROWS_OF_UPKEEP, "made when few tasks had come").await;
    connection.execute("discard plans").await.unwrap();
    for statistics in ["made with the statistics of a few tasks", "made with true statistics"] {
        check(&mut connection, &statements, MOST_ROWS_OF_UPKEEP, statistics).await;
        connection.execute("vacuum analyze").await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn upkeep_and_syncs_read_by_index_and_only_what_they_are_about(pool: PgPool) {
    migrate(&pool).await;
    for statements_of in [FIRST, KEPT, QUEUED, ASKED, "vacuum analyze"] {
        pool.execute(statements_of).await.unwrap();
    }
    let mut connection = daemon(&pool).await;
    let plain = prepare(&mut connection, PLAIN).await;
    for plan in ["made once", "made for every value", "kept"] {
        check(&mut connection, &plain, MOST_ROWS_OF_UPKEEP, plan).await;
    }
    let mut person = pool.acquire().await.unwrap();
    for (setting, value) in schema::settings(Planning::ByStatistics) {
        person.execute(AssertSqlSafe(format!("set {setting} = '{value}'"))).await.unwrap();
    }
    for statement in CLAIMED.split(';') {
        person.execute(statement).await.unwrap();
    }
    let of_people = prepare(&mut person, OF_PEOPLE).await;
    check(&mut person, &of_people, MOST_ROWS_OF_UPKEEP, "of a person").await;
    person.execute("set role reconciler_operator").await.unwrap();
    person.execute("set reconciler.workspaces = 'globex'").await.unwrap();
    let of_others = prepare(&mut person, OF_OTHERS).await;
    check(&mut person, &of_others, 0, "of a person of another workspace").await;
    person.execute("reset role").await.unwrap();
}

/// Statistics are made by the tests alone. The server would make those of some tables while others are filled, and plans
/// would be made anew with them.
async fn migrate(pool: &PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let without_autovacuum = "
        do $$
        declare
            name text;
        begin
            for name in select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'reconciler' loop
                execute format('alter table %s set (autovacuum_enabled = false)', name);
            end loop;
        end $$";
    pool.execute(without_autovacuum).await.unwrap();
}

/// A session with the daemon's settings, and statistics of what is there now.
async fn session(pool: &PgPool) -> PoolConnection<Postgres> {
    let mut connection = daemon(pool).await;
    connection.execute("vacuum analyze").await.unwrap();
    connection
}

async fn daemon(pool: &PgPool) -> PoolConnection<Postgres> {
    let mut connection = pool.acquire().await.unwrap();
    for (setting, value) in schema::settings(Planning::Fixed) {
        connection.execute(AssertSqlSafe(format!("set {setting} = '{value}'"))).await.unwrap();
    }
    // The pool may give the session that filled the tables without triggers.
    connection.execute("set session_replication_role = origin").await.unwrap();
    connection.execute("set reconciler.actor = 'daemon'").await.unwrap();
    connection
}

/// A prepared statement, its parameters, and the pages it may touch.
struct Prepared {
    title: &'static str,
    name: String,
    parameters: &'static [&'static str],
    most: i64,
}

/// Prepares the statements, and has them planned for the tables as they are: a session keeps such a plan until
/// statistics are made anew.
async fn prepare(connection: &mut PgConnection, desired: &[Statement]) -> Vec<Prepared> {
    let queries = queries();
    let mut statements = Vec::new();
    for (number, (title, parameters, most)) in desired.iter().enumerate() {
        let name = format!("{title}_{number}");
        let prepare = format!("prepare {name} as {}", only(&queries, title));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let statement = Prepared { title, name, parameters, most: *most };
        plan(connection, &statement).await;
        statements.push(statement);
    }
    statements
}

async fn check(
    connection: &mut PgConnection,
    statements: &[Prepared],
    most_rows_of_one: i64,
    what: &str,
) {
    let mut bad = Vec::new();
    for statement in statements {
        // The first run also makes the plan. If other sessions have changed very much of the catalog meanwhile, such as
        // those of other tests that migrate, the server has emptied the caches of this session, and the first run counts
        // up to two hundred pages of the catalog that fill them again.
        plan(connection, statement).await;
        let plan = plan(connection, statement).await;
        let whole = read_whole(&plan["Plan"]);
        let (rows, touched) = (most_rows(&plan["Plan"]), touched(&plan));
        // How full pages are differs from run to run.
        let most = statement.most * 4 / 3;
        if !whole.is_empty() || rows > most_rows_of_one || touched > most {
            let title = statement.title;
            eprintln!("{title}: {plan:#}");
            let reads =
                format!("all of {whole:?}, {rows} rows of one table, {touched} pages, not {most}");
            bad.push(format!("by the plan {what}, {title} reads {reads}"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// The texts of all statements, as they are recorded.
fn queries() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let text = |entry: std::io::Result<fs::DirEntry>| {
        let recorded = fs::read_to_string(entry.unwrap().path()).unwrap();
        let recorded: Value = serde_json::from_str(&recorded).unwrap();
        recorded["query"].as_str().unwrap().to_owned()
    };
    fs::read_dir(folder).unwrap().map(text).collect()
}

/// The one statement with this name.
fn only<'a>(queries: &'a [String], name: &str) -> &'a str {
    let first_line = format!("-- {name}\n");
    let found: Vec<_> = queries.iter().filter(|query| query.starts_with(&first_line)).collect();
    assert_eq!(found.len(), 1, "statements called {name}");
    found[0]
}

/// The most rows of a large table that one node of the plan reads; what it leaves out counts too.
fn most_rows(node: &Value) -> i64 {
    let is_large = LARGE.contains(&node["Relation Name"].as_str().unwrap_or_default());
    let rows = |kind: &str| node[kind].as_i64().unwrap_or(0);
    let read = rows("Actual Rows") + rows("Rows Removed by Filter");
    let own = if is_large { read * rows("Actual Loops") } else { 0 };
    let children = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    children.iter().map(most_rows).fold(own, i64::max)
}

/// The plan with which a statement ran; what it wrote is rolled back.
async fn plan(connection: &mut PgConnection, statement: &Prepared) -> Value {
    let mut tx = connection.begin().await.unwrap();
    let mut values = Vec::new();
    for parameter in statement.parameters {
        let quoted = format!("select quote_nullable(({parameter})::text)");
        let value: String =
            sqlx::query_scalar(AssertSqlSafe(quoted)).fetch_one(&mut *tx).await.unwrap();
        values.push(value);
    }
    let arguments = match values.as_slice() {
        [] => String::new(),
        some => format!("({})", some.join(", ")),
    };
    let execute = format!("execute {}{arguments}", statement.name);
    let explain = format!("explain (analyze, buffers, format json) {execute}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    plan[0].clone()
}

/// Large tables that the plan reads from one end to the other.
fn read_whole(node: &Value) -> Vec<String> {
    let table = node["Relation Name"].as_str().unwrap_or_default();
    let is_scan = node["Node Type"] == "Seq Scan" && LARGE.contains(&table);
    let own = is_scan.then(|| table.to_owned());
    let children = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    own.into_iter().chain(children.iter().flat_map(read_whole)).collect()
}

fn touched(plan: &Value) -> i64 {
    let pages = |kind: &str| plan["Plan"][kind].as_i64().unwrap_or(0);
    pages("Shared Hit Blocks") + pages("Shared Read Blocks")
}

/// Of all that was due, and of all that came, fifty are left.
const DONE: &str = "
    update reconciler.members set next_attempt_at = now() where ready_task_id between 43001 and 43050;
    update reconciler.members set ready_task_id = null where ready_task_id is not null and next_attempt_at < now();
    delete from reconciler.arrivals where task_id not in
        (select task_id from reconciler.arrivals order by task_id desc limit 50)";

/// Pages that the done among them fill at least.
const PAGES_OF_DONE: i64 = 20;

/// The last arrival that is known to be done.
const UP_TO: &str = "(select min(task_id) - 1 from reconciler.arrivals)";

/// A statement, its parameters from the first row on, and those of who knows what is done.
const LOOKS: [(&str, &[&str], &[&str]); 3] = [
    (
        "claim_tasks",
        &["50", "'45 s'", "null", "null", "'{}'", "'{}'", "null"],
        &[
            "50",
            "'45 s'",
            "null",
            "null",
            "'{}'",
            "jsonb_build_object('acme', jsonb_build_object('app-0', jsonb_build_object(
                 'removals', now() - interval '1 s', 'others', now() - interval '1 s')))",
            "null",
        ],
    ),
    ("oldest_arrivals", &["0", "50"], &[UP_TO, "50"]),
    ("work_due", &["0", "null"], &[UP_TO, "now() - interval '1 s'"]),
];

#[sqlx::test(migrations = false)]
async fn nobody_walks_over_what_was_done_while_somebody_reads(pool: PgPool) {
    migrate(&pool).await;
    pool.execute(KEPT).await.unwrap();
    pool.execute(QUEUED).await.unwrap();
    let mut connection = session(&pool).await;
    let queries = queries();
    let mut reader = pool.begin_with("begin isolation level repeatable read").await.unwrap();
    reader.execute("select from reconciler.members limit 1").await.unwrap();
    connection.execute(DONE).await.unwrap();
    for (title, from_the_first, from_the_start) in LOOKS {
        let prepare = format!("prepare look as {}", only(&queries, title));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let look = |parameters| Prepared { title, name: "look".to_owned(), parameters, most: 0 };
        let whole = touched(&plan(&mut connection, &look(from_the_first)).await);
        let rest = touched(&plan(&mut connection, &look(from_the_start)).await);
        assert!(rest + PAGES_OF_DONE <= whole, "{title} touches {rest} pages, or {whole}");
        connection.execute("deallocate look").await.unwrap();
    }
    reader.rollback().await.unwrap();
}

/// Columns that are written all the time, and an index that would be written with them.
const WRITTEN_AND_INDEXED: &str = r"
    select c.relname || '.' || a.attname || ': ' || pg_get_indexdef(i.indexrelid)
    from pg_index i
    join pg_class c on c.oid = i.indrelid and c.relnamespace = 'reconciler'::regnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where (c.relname = 'automation_tasks' and has_column_privilege('reconciler_daemon', c.oid, a.attnum, 'UPDATE')
           or c.relname = 'members' and a.attname in ('lease_token', 'lease_until', 'unreleased_claims', 'trying_since',
                                                      'uncertain_since', 'worked_at', 'open_action_id',
                                                      'observed_at', 'watch_checks',
                                                      'watch_asked_at'))
      and pg_get_indexdef(i.indexrelid) ~ ('\m' || a.attname || '\M')";

#[sqlx::test(migrations = false)]
async fn no_index_is_written_when_a_task_is_claimed_goes_on_or_ends(pool: PgPool) {
    migrate(&pool).await;
    let indexed: Vec<String> =
        sqlx::query_scalar(WRITTEN_AND_INDEXED).fetch_all(&pool).await.unwrap();
    assert!(indexed.is_empty(), "{indexed:#?}");
    let broken = "create index closed on reconciler.automation_tasks (id) where closed_at is null";
    sqlx::query(broken).execute(&pool).await.unwrap();
    let indexed: Vec<String> =
        sqlx::query_scalar(WRITTEN_AND_INDEXED).fetch_all(&pool).await.unwrap();
    assert_eq!(indexed.len(), 1, "an index that would be written is seen");
}
