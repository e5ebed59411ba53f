-- Several actions go back to automation after a fix: one canary first, the others when it has worked.
create table reconciler.returns (
    id             bigint generated always as identity,
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    failure_code   text,
    operation      text,
    reason         text        not null,
    requested_by   text        not null default reconciler.current_actor(),
    requested_at   timestamptz not null default clock_timestamp(),
    canary_task_id bigint      not null,
    remaining_action_ids bigint[] not null,
    sent           integer     not null default 0,
    not_before     timestamptz not null default '-infinity',
    state          text        not null default 'waiting',
    decided_at     timestamptz,
    primary key (id, workspace_id),
    constraint state_is_known check (state in ('waiting', 'releasing', 'released', 'stopped')),
    constraint returns_have_a_reason check (btrim(reason) <> '')
);

create index undecided_returns on reconciler.returns (id) where state in ('waiting', 'releasing');

comment on table reconciler.returns is
    'Actions that go back to automation together: the canary''s task first; the rest are ids of actions that stay '
    'with people until it has worked.';
