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

comment on column reconciler.returns.id is 'Id of the return. Assigned by the database.';

comment on column reconciler.returns.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.returns.integration_id is 'Cerby''s id of the integration whose actions return.';

comment on column reconciler.returns.failure_code is
    'Only actions with this failure code were chosen; null if the code did not matter, or if the actions were chosen '
    'by id. Set by the person.';

comment on column reconciler.returns.operation is
    'Only actions with this operation were chosen; null if it did not matter, or if the actions were chosen by id. '
    'Set by the person.';

comment on column reconciler.returns.reason is
    'What was fixed; it becomes the note of each action that returns. Set by the person.';

comment on column reconciler.returns.requested_by is
    'Who sent the actions back to automation. Stamped by the database.';

comment on column reconciler.returns.requested_at is
    'When the actions were sent back to automation. Stamped by the database.';

comment on column reconciler.returns.canary_task_id is
    'Id of the canary''s task. If the end of that task proves nothing, the next action becomes the canary. Updated by '
    'the daemon.';

comment on column reconciler.returns.remaining_action_ids is
    'Ids of the actions that have not returned yet; in state stopped they stay with people. Updated by the daemon.';

comment on column reconciler.returns.sent is
    'Number of actions that returned after the first canary. Written by the daemon.';

comment on column reconciler.returns.not_before is
    'The daemon sends no more actions before this time; -infinity if it need not wait. Written by the daemon.';

comment on column reconciler.returns.state is
    'waiting: for the canary; releasing: the other actions return in parts; released: all have returned; stopped: the '
    'rest stays with people. Written by the daemon.';

comment on column reconciler.returns.decided_at is
    'When the state became released or stopped; null before. Written by the daemon.';
