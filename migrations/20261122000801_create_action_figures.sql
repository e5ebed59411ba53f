-- The figures of each manual action, for reports. Actions are deleted soon after their end, because they name people in an
-- app, and a report over a year would read all their texts. A row of figures is short, names only who worked on the action,
-- as the trail does, and is kept as long as the trail.
create table reconciler.action_figures (
    action_id       bigint      not null,
    workspace_id    text collate "C" not null,
    integration_id  text collate "C" not null,
    operation       text        not null,
    cause           text        not null,
    requested_at    timestamptz,
    opened_at       timestamptz not null,
    status          text        not null,
    closed_at       timestamptz,
    was_done        boolean     not null default false,
    contradicted    integer     not null default 0,
    changed_hands   integer     not null default 0,
    stretches       integer     not null default 0,
    worked_s        integer     not null default 0,
    worked_by       text,
    worked_until    timestamptz,
    is_deleted      boolean     not null default false,
    primary key (action_id, workspace_id)
) with (fillfactor = 80);

create index figures_by_opening on reconciler.action_figures (workspace_id, opened_at);

create index figures_by_request on reconciler.action_figures (workspace_id, requested_at);

-- Rows stay in the order in which actions were opened, so a small index on ranges of pages finds a period of all workspaces.
create index figures_by_time on reconciler.action_figures using brin (opened_at) with (pages_per_range = 16);

-- When somebody last stopped to work on an action.
create index figures_by_worker on reconciler.action_figures (worked_by, worked_until) where worked_by is not null;

create index figures_of_deleted_actions on reconciler.action_figures (closed_at) where is_deleted;

comment on table reconciler.action_figures is
    'The figures of each manual action, for reports, without the person whom it is about. They are kept as long as the '
    'trail.';

comment on column reconciler.action_figures.action_id is 'Id of the manual action, which may have been deleted.';

comment on column reconciler.action_figures.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.action_figures.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.action_figures.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.action_figures.cause is 'Failure code of the action, or its reason if it has no code.';

comment on column reconciler.action_figures.requested_at is 'When the change was asked for; null for reconnect.';

comment on column reconciler.action_figures.opened_at is 'When the action was opened.';

comment on column reconciler.action_figures.status is 'Status of the action, the last one if it was deleted.';

comment on column reconciler.action_figures.closed_at is 'When the action ended; null while it is unfinished.';

comment on column reconciler.action_figures.was_done is 'Whether somebody ever marked the action done.';

comment on column reconciler.action_figures.contradicted is 'How often a snapshot contradicted that it was done.';

comment on column reconciler.action_figures.changed_hands is
    'How often the action passed from one person to another while somebody worked on it.';

comment on column reconciler.action_figures.stretches is
    'How often somebody worked on the action: from a claim or hand-over until it was done, released or passed on.';

comment on column reconciler.action_figures.worked_s is
    'Seconds of work in all stretches. A stretch begins no earlier than when the same person last stopped to work on '
    'another action, and counts an hour at most.';

comment on column reconciler.action_figures.worked_by is 'Who worked in the latest stretch; null if there was none.';

comment on column reconciler.action_figures.worked_until is 'When the latest stretch ended; null if there was none.';

comment on column reconciler.action_figures.is_deleted is 'Whether retention has deleted the action.';
