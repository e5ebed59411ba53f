-- What people did and the daemon has not taken up yet. An insert does not wait for anybody and does not block anybody.
create table reconciler.nudges (
    id             bigint generated always as identity,
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    what           text        not null,
    action_id      bigint,
    task_id        bigint,
    reason         text,
    at             timestamptz not null default clock_timestamp(),
    not_before     timestamptz not null default '-infinity',
    primary key (id, workspace_id),
    constraint what_is_known check (what in
        ('done', 'ended', 'paused', 'unpaused', 'reset', 'snapshot', 'cancelled', 'screen_changed')),
    constraint nudges_of_actions_name_one check ((what in ('done', 'ended', 'screen_changed')) = (action_id is not null)),
    constraint cancellations_say_what_and_why
        check ((what = 'cancelled') = (task_id is not null) and (what = 'cancelled') = (reason is not null))
);

create index nudges_of_an_action on reconciler.nudges (action_id) where action_id is not null;

-- Shares nudges out between integrations, so that many of one do not delay those of another. Integrations are never
-- null; the condition keeps the planner from using this index to find a single nudge. Queries say integration_id >= '':
-- from PostgreSQL 17 on, the planner drops "is not null" for such a column before it looks for an index.
create index nudges_by_integration on reconciler.nudges (workspace_id, integration_id, id) where integration_id is not null;

comment on table reconciler.nudges is
    'What people did that the daemon has to act on: an action was marked done or has ended, an integration was paused '
    'or resumed, a snapshot was asked for, a task was cancelled, a screen was reported as changed.';

-- Work that one replica does at a time takes a lock on its row here. Any role can take an advisory lock, but only the
-- daemon can lock these rows.
create table reconciler.exclusive_work (name text primary key);

insert into reconciler.exclusive_work values ('intake'), ('nudges'), ('upkeep');
