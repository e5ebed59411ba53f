create table reconciler.events (
    id           bigint generated always as identity,
    at           timestamptz not null default clock_timestamp(),
    actor        text        not null default reconciler.current_actor(),
    what         text        not null,
    workspace_id text collate "C" not null,
    subject      text collate "C" not null,
    subject_id   text collate "C" not null,
    detail       jsonb       not null default '{}',
    primary key (id, workspace_id),
    constraint subject_is_known
        check (subject in ('task', 'action', 'sync', 'integration', 'workspace', 'token', 'login', 'session',
                           'webhook')),
    -- People give the name themselves. It must not break a terminal or look like the name of somebody else.
    constraint actor_is_1_to_200_characters_and_all_of_them_are_seen
        check (char_length(actor) between 1 and 200
               and actor !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]'),
    constraint detail_is_an_object check (jsonb_typeof(detail) = 'object')
);

create index events_of_a_subject on reconciler.events (subject_id, id);

-- Rows stay in the order in which they were appended, so a small index on ranges of pages finds a time.
create index events_by_time on reconciler.events using brin (at) with (pages_per_range = 16);

comment on table reconciler.events is
    'What happened to every row, append-only: who, when, what, why.';

comment on column reconciler.events.id is 'Assigned by the database: a line that was appended later has a higher id.';

comment on column reconciler.events.at is 'When the line was appended. Stamped by the database.';

comment on column reconciler.events.actor is
    'Who acted: a login, NAME via login LOGIN for a person who gave a name, token:NAME for a token, oidc:SUB for a person who '
    'signed in by OpenID Connect, or daemon. Stamped by the database.';

comment on column reconciler.events.what is 'Name of what happened, such as action.claimed or task.succeeded.';

comment on column reconciler.events.workspace_id is
    'The customer''s tenant in Cerby; empty for a token, a login or a session, which concern all of them.';

comment on column reconciler.events.subject is 
    'What the line is about: task, action, sync, integration, workspace, token, login, session or webhook.';

comment on column reconciler.events.subject_id is
    'Id of the subject as text, such as 42 for a task or a session, the integration_id for an integration, the event_id for a webhook, or '
    'the name of a token or login.';

comment on column reconciler.events.detail is
    'Facts about what happened, as a JSON object whose keys depend on what; {} if there are none.';
