-- The inbound contract: the backend inserts the first block of columns and nothing else. Constraints are named after
-- the column, so that the database's own error names the wrong one.
create table reconciler.automation_tasks (
    id                     bigint generated always as identity,
    workspace_id           text collate "C" not null,
    source_id              text collate "C" not null,
    job_id                 text,
    integration_id         text collate "C" not null,
    integration_kind       text        not null,
    integration_name       text        not null,
    application            text        not null,
    member_id              text collate "C" not null,
    member_email           text        not null,
    member_username        text,
    member_name            text,
    operation              text        not null,
    entitlements           text[]      not null default '{}',
    hub_role               text,
    trigger                text        not null,
    requested_at           timestamptz not null,
    failure_code           text,
    failure_message        text,
    failure_screenshot_url text,
    can_retry              boolean,
    user_required          boolean,
    traceparent            text,
    requested_by           text,
    outcome                text        not null default 'failed',

    -- Written by the daemon: the progress and the end of the task. No index has any of these columns, so that updating
    -- them writes no index.
    state                  text        not null default 'pending',
    received_at            timestamptz not null default clock_timestamp(),
    ordered_at             timestamptz,
    needs_no_automation           boolean     not null default false,
    attempts               integer     not null default 0,
    next_attempt_at        timestamptz not null default now(),
    last_error             text,
    superseded_by          bigint,
    cancel_reason          text,
    returned_at            timestamptz,
    trying_since           timestamptz,
    unanswered_since       timestamptz,
    effects_possible_until timestamptz,
    closed_at              timestamptz,
    closed_reason          text,

    primary key (id, workspace_id),
    constraint source_id_is_unique_in_the_workspace unique (source_id, workspace_id),
    -- Inserted values are checked on insert only: nobody may change these columns later, and with check constraints
    -- every later update of the row would check the patterns again.
    constraint workspace_id_is_1_to_63_letters_digits_hyphens_underscores
        check (ordered_at is not null
               or char_length(workspace_id) <= 63 and workspace_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]*$'),
    constraint source_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(source_id) <= 200 and source_id collate "default" ~ '^[[:graph:]]+$'),
    constraint job_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(job_id) <= 200 and job_id collate "default" ~ '^[[:graph:]]+$'),
    constraint integration_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(integration_id) <= 200 and integration_id collate "default" ~ '^[[:graph:]]+$'),
    constraint integration_kind_is_app_or_business_hub
        check (ordered_at is not null or integration_kind in ('app', 'business_hub')),
    constraint integration_name_is_1_to_200_characters_not_blank
        check (ordered_at is not null or btrim(integration_name) <> '' and char_length(integration_name) <= 200),
    constraint integration_id_and_member_id_are_not_dots
        check (ordered_at is not null or integration_id not in ('.', '..') and member_id not in ('.', '..')),
    constraint application_is_1_to_200_characters_not_blank
        check (ordered_at is not null or btrim(application) <> '' and char_length(application) <= 200),
    constraint member_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(member_id) <= 200 and member_id collate "default" ~ '^[[:graph:]]+$'),
    constraint member_email_has_an_at_sign
        check (ordered_at is not null or member_email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
    constraint member_email_is_at_most_320_characters
        check (ordered_at is not null or char_length(member_email) <= 320),
    constraint member_username_is_at_most_320_characters
        check (ordered_at is not null or char_length(member_username) <= 320),
    constraint member_name_is_at_most_400_characters
        check (ordered_at is not null or char_length(member_name) <= 400),
    constraint operation_is_invite_remove_or_change_role
        check (ordered_at is not null or operation in ('invite', 'remove', 'change_role')),
    -- An array with another lower bound or more dimensions cannot be read as a list.
    constraint entitlements_are_a_plain_list_of_at_most_1000
        check (ordered_at is not null or cardinality(entitlements) = 0
               or array_ndims(entitlements) = 1 and array_lower(entitlements, 1) = 1 and cardinality(entitlements) <= 1000),
    constraint entitlements_are_not_null_or_empty
        check (ordered_at is not null
               or array_position(entitlements, null) is null and array_position(entitlements, '') is null),
    constraint entitlements_are_at_most_50000_characters
        check (ordered_at is not null or char_length(array_to_string(entitlements, '')) <= 50000),
    constraint entitlements_are_given_for_change_role
        check (ordered_at is not null or (operation <> 'change_role' or cardinality(entitlements) > 0)),
    constraint hub_role_is_account_owner_or_account_collaborator
        check (ordered_at is not null or hub_role in ('account_owner', 'account_collaborator')),
    constraint trigger_is_manual_workspace_policy_system_or_user_deprovisioned
        check (ordered_at is not null
               or trigger in ('manual', 'workspace_policy', 'system', 'user_deprovisioned')),
    constraint trigger_user_deprovisioned_is_for_operation_remove
        check (ordered_at is not null or (trigger <> 'user_deprovisioned' or operation = 'remove')),
    constraint requested_at_is_at_most_10_years_ago_and_5_minutes_ahead
        check (ordered_at is not null
               or isfinite(requested_at) and requested_at <= received_at + interval '5 minutes'
                  and requested_at >= received_at - interval '10 years'),
    constraint failure_code_is_at_most_200_characters
        check (ordered_at is not null or char_length(failure_code) <= 200),
    constraint failure_message_is_at_most_10000_characters
        check (ordered_at is not null or char_length(failure_message) <= 10000),
    constraint failure_screenshot_url_is_at_most_2000_characters
        check (ordered_at is not null or char_length(failure_screenshot_url) <= 2000),
    constraint failure_screenshot_url_begins_with_https_or_http
        check (ordered_at is not null or failure_screenshot_url ~* '^https?://'),
    constraint traceparent_is_at_most_200_characters
        check (ordered_at is not null or char_length(traceparent) <= 200),
    constraint requested_by_is_at_most_320_characters
        check (ordered_at is not null or char_length(requested_by) <= 320),
    constraint outcome_is_failed_or_succeeded
        check (ordered_at is not null or outcome in ('failed', 'succeeded')),

    constraint state_is_known
        check (state in ('pending', 'running', 'succeeded', 'escalated', 'superseded', 'cancelled')),
    constraint closed_tasks_say_when_and_why
        check ((state in ('succeeded', 'escalated', 'superseded', 'cancelled')) = (closed_at is not null)
               and (closed_at is null) = (closed_reason is null)),
    constraint superseded_tasks_say_by_what check (state <> 'superseded' or superseded_by is not null)
) with (fillfactor = 50, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.02);

comment on table reconciler.automation_tasks is
    'One operation for one member that automation failed to do.';

comment on column reconciler.automation_tasks.outcome is
    'failed: automation did not do it; succeeded: it did, so that the request wins over older ones and nothing is tried.';

comment on column reconciler.automation_tasks.ordered_at is 'When it got its place among the requests of its member.';

comment on column reconciler.automation_tasks.needs_no_automation is
    'Automation cannot do it: the daemon reads the member, and opens a manual action, whatever the status of the integration.';

comment on column reconciler.automation_tasks.trying_since is
    'Of a task that ended, or that stepped back for an older one: when trying began.';

comment on column reconciler.automation_tasks.unanswered_since is
    'Since when the backend gives no usable answer about its member while it answers about others.';

comment on column reconciler.automation_tasks.returned_at is
    'When a person sent it back to automation after a fix: what failed before that is no longer asked.';

-- Rows of automation_tasks that intake has not placed yet. The table is empty most of the time, and sessions keep the
-- plans that they made for an empty table. Therefore statements find rows in a lateral subquery, and `offset 0` keeps
-- the planner from joining it in another way.
create table reconciler.arrivals (
    task_id        bigint      not null,
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    member_id      text collate "C" not null,
    is_removal     boolean     not null,
    not_before     timestamptz not null default '-infinity',
    quarantined      integer     not null default 0,
    held_reason    text,
    primary key (task_id, workspace_id)
) with (vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.02);

comment on table reconciler.arrivals is
    'Rows of automation_tasks that have no place among the requests of their member yet.';

comment on column reconciler.arrivals.held_reason is
    'Why the row is held until a person decides: it says another kind or application than its integration has.';

-- Shares a backlog out between workspaces, removals first in each. Workspaces are never null; the condition keeps the
-- planner from using this index to find a single task.
create index arrivals_by_workspace
    on reconciler.arrivals (workspace_id, (not is_removal), task_id) where workspace_id is not null;

-- A claim takes no invite and no change of role of a member whose removal has not been placed yet.
create index unordered_removals on reconciler.arrivals (workspace_id, integration_id, member_id) where is_removal;

-- Rows stay in the order in which they arrived, so a small index on ranges of pages finds those of a period. Nobody changes
-- the time, so an update of a row does not write it.
create index tasks_by_arrival on reconciler.automation_tasks using brin (received_at) with (pages_per_range = 16);

create sequence reconciler.lease_tokens;

comment on column reconciler.automation_tasks.id is
    'Assigned by the database. It orders the requests of a member that have the same requested_at.';

comment on column reconciler.automation_tasks.workspace_id is
    'The customer''s tenant in Cerby, which is part of the backend''s URL. Set by the backend; required.';

comment on column reconciler.automation_tasks.source_id is
    'Identifies one run of a job and member, or one deprovisioning event; unique in the workspace. Set by the '
    'backend; required.';

comment on column reconciler.automation_tasks.job_id is
    'The backend''s job that failed; null if there is none. A task of trigger user_deprovisioned without one cannot '
    'be automated. Set by the backend.';

comment on column reconciler.automation_tasks.integration_id is
    'Cerby''s id of the integration, compared byte by byte. Set by the backend; required.';

comment on column reconciler.automation_tasks.integration_kind is
    'app or business_hub. A task is held while its integration has another kind. Set by the backend; required.';

comment on column reconciler.automation_tasks.integration_name is
    'Display name of the integration; a new name replaces the one that is known. Set by the backend; required.';

comment on column reconciler.automation_tasks.application is
    'Id of the app in the catalogue, such as youtube_tenant. A task is held while its integration has another '
    'application. Set by the backend; required.';

comment on column reconciler.automation_tasks.member_id is
    'Cerby''s user id of the member, compared byte by byte. Set by the backend; required.';

comment on column reconciler.automation_tasks.member_email is
    'Email address of the member. Set by the backend; required.';

comment on column reconciler.automation_tasks.member_username is
    'Username of the member in the app; null if it is the email. Set by the backend.';

comment on column reconciler.automation_tasks.member_name is
    'The person''s name, which only people read; null if the backend gives none. Set by the backend.';

comment on column reconciler.automation_tasks.operation is
    'What is done to the membership: invite, remove or change_role. Set by the backend; required.';

comment on column reconciler.automation_tasks.entitlements is
    'The whole desired set of role ids. Required for change_role; an invite gives these roles, and a removal does not '
    'use them. Set by the backend.';

comment on column reconciler.automation_tasks.hub_role is
    'Role that an invite gives on a business hub: account_owner or account_collaborator. Null counts as '
    'account_collaborator. Set by the backend.';

comment on column reconciler.automation_tasks.trigger is
    'Why the request was made: manual, workspace_policy, system or user_deprovisioned. Set by the backend; required.';

comment on column reconciler.automation_tasks.requested_at is
    'When the request was made. It orders the requests of a member. Set by the backend; required.';

comment on column reconciler.automation_tasks.failure_code is
    'Code of the failure that the task came with, such as NotEnoughSeats; null if the backend gives none. Later '
    'failures are in last_error. Set by the backend.';

comment on column reconciler.automation_tasks.failure_message is
    'Message of that failure, which only people read and which may contain personal data; null if the backend gives '
    'none. Set by the backend.';

comment on column reconciler.automation_tasks.failure_screenshot_url is
    'URL of a screenshot of that failure, which only people open; null if there is none. Set by the backend.';

comment on column reconciler.automation_tasks.can_retry is
    'Whether the backend expects that another attempt can succeed; null if it does not say. If failure_code is not a '
    'known code, false means that a person is needed. Set by the backend.';

comment on column reconciler.automation_tasks.user_required is
    'Whether the backend expects that a person is needed; null if it does not say. If failure_code is not a known '
    'code, true means that a person is needed. Set by the backend.';

comment on column reconciler.automation_tasks.traceparent is
    'W3C trace context of the request; null if there is none. One that cannot be read is ignored. Set by the backend.';

comment on column reconciler.automation_tasks.requested_by is
    'Who made the request; null if the backend does not say. The daemon does not read it. Set by the backend.';

comment on column reconciler.automation_tasks.state is
    'pending: the task waits for its turn or for its next attempt; running: a job of the backend is in flight; '
    'succeeded, escalated, superseded or cancelled: it has ended. Written by the daemon.';

comment on column reconciler.automation_tasks.received_at is 'When the row was inserted. Stamped by the database.';

comment on column reconciler.automation_tasks.attempts is
    'Number of attempts that the daemon requested from the backend. It is 0 again after a return to automation. '
    'Written by the daemon.';

comment on column reconciler.automation_tasks.next_attempt_at is
    'When the task is due for an attempt or for a poll of its job; for a blocked task the earliest time. It has no '
    'meaning once the task has ended. Written by the daemon.';

comment on column reconciler.automation_tasks.last_error is
    'Failure code or cause of the latest step that failed or was postponed; null if there was none. A success does '
    'not clear it. Written by the daemon.';

comment on column reconciler.automation_tasks.superseded_by is
    'Id of the task whose newer request replaces this one; null if there is none. A task in flight gets it before it '
    'ends. Written by the daemon.';

comment on column reconciler.automation_tasks.cancel_reason is
    'The reason of the person who cancelled the task; null if nobody did. A task in flight gets it before it ends. '
    'Written by the daemon.';

comment on column reconciler.automation_tasks.effects_possible_until is
    'Until when the attempts of a task that has ended may still change the app; null if there was no attempt. Written '
    'by the daemon.';

comment on column reconciler.automation_tasks.closed_at is
    'When the task ended; null while it is unfinished. Written by the daemon.';

comment on column reconciler.automation_tasks.closed_reason is
    'Why the task ended, as a sentence for people; null while it is unfinished. Written by the daemon.';

comment on constraint source_id_is_unique_in_the_workspace on reconciler.automation_tasks is
    'A workspace has each source_id once. A repeated insert uses on conflict (workspace_id, source_id) do nothing, or '
    'the function enqueue_task.';

comment on constraint workspace_id_is_1_to_63_letters_digits_hyphens_underscores on reconciler.automation_tasks is
    'workspace_id has 1 to 63 characters: a to z, A to Z, 0 to 9, - and _. The first is a letter or a digit.';

comment on constraint source_id_is_1_to_200_visible_characters on reconciler.automation_tasks is
    'source_id has 1 to 200 visible characters, without blanks and control characters.';

comment on constraint job_id_is_1_to_200_visible_characters on reconciler.automation_tasks is
    'job_id is null, or has 1 to 200 visible characters, without blanks and control characters.';

comment on constraint integration_id_is_1_to_200_visible_characters on reconciler.automation_tasks is
    'integration_id has 1 to 200 visible characters, without blanks and control characters.';

comment on constraint integration_kind_is_app_or_business_hub on reconciler.automation_tasks is
    'integration_kind is app or business_hub.';

comment on constraint integration_name_is_1_to_200_characters_not_blank on reconciler.automation_tasks is
    'integration_name has 1 to 200 characters, which are not all blanks.';

comment on constraint integration_id_and_member_id_are_not_dots on reconciler.automation_tasks is
    'integration_id and member_id are not . and not .., because both are part of a URL.';

comment on constraint application_is_1_to_200_characters_not_blank on reconciler.automation_tasks is
    'application has 1 to 200 characters, which are not all blanks.';

comment on constraint member_id_is_1_to_200_visible_characters on reconciler.automation_tasks is
    'member_id has 1 to 200 visible characters, without blanks and control characters.';

comment on constraint member_email_has_an_at_sign on reconciler.automation_tasks is
    'member_email has one @ with text on both sides, and no blanks.';

comment on constraint member_email_is_at_most_320_characters on reconciler.automation_tasks is
    'member_email has at most 320 characters.';

comment on constraint member_username_is_at_most_320_characters on reconciler.automation_tasks is
    'member_username is null, or has at most 320 characters.';

comment on constraint member_name_is_at_most_400_characters on reconciler.automation_tasks is
    'member_name is null, or has at most 400 characters.';

comment on constraint operation_is_invite_remove_or_change_role on reconciler.automation_tasks is
    'operation is invite, remove or change_role.';

comment on constraint entitlements_are_a_plain_list_of_at_most_1000 on reconciler.automation_tasks is
    'entitlements is empty, or an array of one dimension whose first index is 1, with at most 1000 role ids.';

comment on constraint entitlements_are_not_null_or_empty on reconciler.automation_tasks is
    'No element of entitlements is null or an empty string.';

comment on constraint entitlements_are_at_most_50000_characters on reconciler.automation_tasks is
    'All elements of entitlements together have at most 50000 characters.';

comment on constraint entitlements_are_given_for_change_role on reconciler.automation_tasks is
    'entitlements has at least one role id if operation is change_role.';

comment on constraint hub_role_is_account_owner_or_account_collaborator on reconciler.automation_tasks is
    'hub_role is null, account_owner or account_collaborator.';

comment on constraint trigger_is_manual_workspace_policy_system_or_user_deprovisioned on reconciler.automation_tasks is
    'trigger is manual, workspace_policy, system or user_deprovisioned.';

comment on constraint trigger_user_deprovisioned_is_for_operation_remove on reconciler.automation_tasks is
    'trigger is user_deprovisioned only if operation is remove.';

comment on constraint requested_at_is_at_most_10_years_ago_and_5_minutes_ahead on reconciler.automation_tasks is
    'requested_at is a finite time, at most 10 years before and 5 minutes after the insert.';

comment on constraint failure_code_is_at_most_200_characters on reconciler.automation_tasks is
    'failure_code is null, or has at most 200 characters.';

comment on constraint failure_message_is_at_most_10000_characters on reconciler.automation_tasks is
    'failure_message is null, or has at most 10000 characters.';

comment on constraint failure_screenshot_url_is_at_most_2000_characters on reconciler.automation_tasks is
    'failure_screenshot_url is null, or has at most 2000 characters.';

comment on constraint failure_screenshot_url_begins_with_https_or_http on reconciler.automation_tasks is
    'failure_screenshot_url is null, or begins with https:// or http://.';

comment on constraint traceparent_is_at_most_200_characters on reconciler.automation_tasks is
    'traceparent is null, or has at most 200 characters.';

comment on constraint requested_by_is_at_most_320_characters on reconciler.automation_tasks is
    'requested_by is null, or has at most 320 characters.';

comment on constraint outcome_is_failed_or_succeeded on reconciler.automation_tasks is
    'outcome is failed or succeeded.';

comment on constraint state_is_known on reconciler.automation_tasks is
    'state is pending, running, succeeded, escalated, superseded or cancelled.';

comment on constraint closed_tasks_say_when_and_why on reconciler.automation_tasks is
    'closed_at and closed_reason are set once state is succeeded, escalated, superseded or cancelled, and null before.';

comment on constraint superseded_tasks_say_by_what on reconciler.automation_tasks is
    'superseded_by is set if state is superseded.';
