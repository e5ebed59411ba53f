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

create sequence reconciler.lease_tokens;
