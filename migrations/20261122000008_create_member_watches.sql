-- Members who are looked at again after a confirmed change: somebody removed may come back, an invitation may expire.
create table reconciler.member_watches (
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    member_id      text collate "C" not null,
    task_id        bigint      not null,
    operation      text        not null,
    since          timestamptz not null default clock_timestamp(),
    looks          integer     not null default 0,
    due_at         timestamptz not null,
    asked_at       timestamptz,
    primary key (workspace_id, integration_id, member_id),
    constraint operation_is_invite_or_remove check (operation in ('invite', 'remove'))
);

comment on table reconciler.member_watches is
    'Members who are looked at again after a confirmed removal or invitation. Any snapshot after due_at is a look.';

create index watches_by_due_time on reconciler.member_watches (due_at);

grant select on reconciler.member_watches to reconciler_viewer, reconciler_operator, reconciler_daemon;
grant insert, update, delete on reconciler.member_watches to reconciler_daemon;
