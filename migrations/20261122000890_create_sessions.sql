-- Who is signed in to the console. How somebody proved who they are is not part of it: a session has the actor and what the
-- actor may do, as it was when they signed in. Only the hash of the secret in the cookie is stored: whoever reads this table cannot use a session.
--
-- People see and end their own sessions, and administrators those of everybody who may see no more than they may. The daemon's login asks for them in their role.
create table reconciler.sessions (
    id            bigint      generated always as identity primary key,
    hash          bytea       not null unique,
    actor         text collate "C" not null,
    role          text        not null,
    workspaces    text[],
    email         text,
    started_at    timestamptz not null default clock_timestamp(),
    last_seen_at  timestamptz not null default clock_timestamp(),
    idle_until    timestamptz not null,
    expires_at    timestamptz not null,
    ended_at      timestamptz,
    ended_by      text,
    constraint hash_is_32_bytes check (octet_length(hash) = 32),
    constraint actor_is_a_token_or_a_person_of_the_issuer
        check (starts_with(actor, 'token:') or starts_with(actor, 'oidc:')),
    constraint email_is_1_to_320_characters check (char_length(email) between 1 and 320),
    constraint role_is_viewer_operator_or_administrator check (role in ('viewer', 'operator', 'administrator')),
    constraint workspaces_are_a_plain_list_of_1_to_1000
        check (array_ndims(workspaces) = 1 and array_lower(workspaces, 1) = 1 and cardinality(workspaces) <= 1000
               and array_to_string(workspaces, ',', '') ~ '^[A-Za-z0-9][A-Za-z0-9_-]*(,[A-Za-z0-9][A-Za-z0-9_-]*)*$'),
    constraint ended_sessions_say_who_and_when check ((ended_at is null) = (ended_by is null))
);

create index sessions_by_end on reconciler.sessions (expires_at);

create index sessions_by_actor on reconciler.sessions (actor, id);

alter table reconciler.sessions enable row level security;

create policy own_sessions on reconciler.sessions to reconciler_viewer, reconciler_operator
    using (actor = (select reconciler.current_actor()));

-- An administrator of some workspaces has no say about sessions that reach further.
create policy sessions_within_own_workspaces on reconciler.sessions to reconciler_administrator
    using (coalesce(workspaces <@ (select reconciler.own_workspaces()), (select reconciler.own_workspaces()) is null));

create policy all_sessions on reconciler.sessions to reconciler_daemon using (true);

comment on table reconciler.sessions is 'Sessions of the console: who is signed in, in which role, for which workspaces.';

comment on column reconciler.sessions.hash is 'SHA-256 of the secret in the cookie.';

comment on column reconciler.sessions.actor is
    'Who is signed in, as the trail records it: token:NAME, whose session ends with the token; or oidc:SUB for a person whom '
    'the issuer of OpenID Connect named by SUB.';

comment on column reconciler.sessions.role is 'viewer, operator or administrator.';

comment on column reconciler.sessions.workspaces is
    'The workspaces that the session may see and change; null for all.';

comment on column reconciler.sessions.email is
    'The email that the issuer gave for the person, to be shown beside the actor; null for a token.';

comment on column reconciler.sessions.last_seen_at is 'When the session was last used, to the minute.';

comment on column reconciler.sessions.idle_until is 'When the session ends unless it is used before.';

comment on column reconciler.sessions.expires_at is 'When the session ends in any case.';

comment on column reconciler.sessions.ended_at is 'When somebody ended the session; null if nobody did.';

comment on column reconciler.sessions.ended_by is 'Who ended the session; null if nobody did. Stamped by the database.';
