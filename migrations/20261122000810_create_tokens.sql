-- Who may use the listener for operators. Only the hash of a token is stored: whoever reads this table cannot use it.
create table reconciler.tokens (
    name         text collate "C" primary key,
    role         text        not null,
    workspaces   text[],
    hash         bytea       not null unique,
    expires_at   timestamptz not null,
    created_at   timestamptz not null default clock_timestamp(),
    created_by   text        not null default reconciler.current_actor(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   text,
    constraint name_is_1_to_63_small_letters_digits_dots_hyphens_underscores
        check (char_length(name) <= 63 and name ~ '^[a-z0-9][a-z0-9._-]*$'),
    constraint role_is_viewer_operator_or_administrator check (role in ('viewer', 'operator', 'administrator')),
    constraint workspaces_are_a_plain_list_of_1_to_1000
        check (array_ndims(workspaces) = 1 and array_lower(workspaces, 1) = 1 and cardinality(workspaces) <= 1000
               and array_to_string(workspaces, ',', '') ~ '^[A-Za-z0-9][A-Za-z0-9_-]*(,[A-Za-z0-9][A-Za-z0-9_-]*)*$'),
    constraint hash_is_32_bytes check (octet_length(hash) = 32),
    constraint expires_at_is_later_than_now_and_at_most_400_days_ahead
        check (expires_at > created_at and expires_at <= created_at + interval '400 days'),
    constraint revoked_tokens_say_who_and_when check ((revoked_at is null) = (revoked_by is null))
);

comment on table reconciler.tokens is 'Bearer tokens of the API: who may use it, in which role, for which workspaces.';

comment on column reconciler.tokens.name is 'Name of the token; the trail records what it does as token:NAME. Never given twice.';

comment on column reconciler.tokens.role is 'viewer, operator or administrator.';

comment on column reconciler.tokens.workspaces is 'The workspaces that the token may see and change; null for all.';

comment on column reconciler.tokens.hash is 'SHA-256 of the token.';

comment on column reconciler.tokens.last_used_at is 'When the token was last used, to the minute; null if it never was.';

-- The workspaces of a login of people. A login without a row may see all.
create table reconciler.login_workspaces (
    login      text collate "C" primary key,
    workspaces text[]      not null,
    set_at     timestamptz not null default clock_timestamp(),
    set_by     text        not null default reconciler.current_actor(),
    constraint workspaces_are_a_plain_list_of_at_most_1000
        check (cardinality(workspaces) = 0
               or array_ndims(workspaces) = 1 and array_lower(workspaces, 1) = 1 and cardinality(workspaces) <= 1000
                  and array_position(workspaces, null) is null)
);

comment on table reconciler.login_workspaces is
    'The workspaces that a database login of people may see and change. A login without a row may see all of them. '
    'Members of reconciler_daemon and reconciler_backend are not restricted.';

comment on column reconciler.login_workspaces.login is 'Name of the database login.';

comment on column reconciler.login_workspaces.workspaces is 'Its workspaces; an empty list for none.';

comment on column reconciler.login_workspaces.set_at is 'When the row was last written. Stamped by the database.';

comment on column reconciler.login_workspaces.set_by is 'Who wrote the row last. Stamped by the database.';
