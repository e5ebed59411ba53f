create table reconciler.manual_actions (
    id                     bigint generated always as identity,
    status                 text        not null default 'open',
    operation              text        not null,
    workspace_id           text collate "C" not null,
    integration_id         text collate "C" not null,
    integration_name       text        not null,
    integration_kind       text        not null,
    application            text        not null,
    member_id              text collate "C" not null,
    member_email           text        not null,
    member_username        text,
    member_name            text,
    entitlements           text[]      not null default '{}',
    trigger                text        not null,
    requested_at           timestamptz,
    requested_by           text,
    reason                 text        not null,
    failure_code           text,
    failure_message        text,
    failure_screenshot_url text,
    attempts               integer     not null default 0,
    instructions           text        not null,
    shown                  jsonb       not null default '{}',
    due_at                 timestamptz not null,
    opened_at              timestamptz not null default clock_timestamp(),
    reminded_at            timestamptz,
    assignee               text,
    assigned_at            timestamptz,
    note                   text,
    note_at                timestamptz,
    done_by                text,
    done_at                timestamptz,
    confirmed_by           text,
    confirmed_at           timestamptz,
    verdict                text,
    verdict_at             timestamptz,
    observed               text,
    snapshots              integer     not null default 0,
    reopened_count         integer     not null default 0,
    closed_at              timestamptz,
    task_id                bigint      not null,
    sync_id                bigint,
    snapshot_hash          text,
    snapshot_started_at    timestamptz,
    screen_changed_at      timestamptz,
    screen_changed_by      text,
    screen_changed_note    text,
    -- due_at already includes the inactive time of the integration up to this time.
    extended_until          timestamptz not null default '-infinity',
    -- What people search by. Row-level security lets an index find rows only by operators that cannot show anything of
    -- other rows: equality can, lower and string_to_array are not known not to.
    email_key              text generated always as (lower(member_email)) stored,
    cause                  text collate "C" not null generated always as (coalesce(failure_code, reason)) stored,
    assignee_login         text generated always as (regexp_replace(assignee, '^.* via login ', '')) stored,
    assignee_name          text generated always as (substring(assignee from '^(.*) via login ')) stored,
    -- Which text the instructions were made of. Reports that a screen has changed are counted by it.
    instructions_hash      text generated always as (shown ->> 'hash') stored,
    -- With what filters ask for, so that a list of the newest reads this index alone until its page is full.
    primary key (id, workspace_id) include (integration_id, operation, cause, status),
    constraint status_is_known check (status in
        ('open', 'in_progress', 'done', 'verified', 'attested', 'not_needed', 'dismissed', 'superseded', 'returned')),
    constraint operation_is_invite_remove_change_role_or_reconnect
        check (operation in ('invite', 'remove', 'change_role', 'reconnect')),
    constraint only_reconnect_is_about_no_member check ((operation = 'reconnect') = (member_id = '')),
    constraint verdict_is_known check (verdict in ('confirmed', 'not_yet', 'contradicted', 'unverifiable')),
    constraint done_actions_say_who_and_when
        check (status not in ('done', 'verified', 'attested') or (done_by is not null and done_at is not null)),
    constraint confirmations_say_who_and_when check ((confirmed_by is null) = (confirmed_at is null)),
    constraint verified_actions_are_confirmed
        check (status <> 'verified' or (verdict = 'confirmed' and coalesce(snapshot_started_at > done_at, false))),
    constraint reports_of_a_screen_say_who_and_when check ((screen_changed_at is null) = (screen_changed_by is null)),
    constraint screen_changed_note_is_at_most_2000_characters check (char_length(screen_changed_note) <= 2000),
    constraint note_is_at_most_10000_characters check (char_length(note) <= 10000),
    constraint assignee_is_1_to_200_characters_not_blank check (btrim(assignee) <> '' and char_length(assignee) <= 200),
    constraint ended_actions_say_when check ((status in ('open', 'in_progress', 'done')) = (closed_at is null))
) with (fillfactor = 70);

comment on table reconciler.manual_actions is
    'What a person has to do in an app, with instructions, deadline and verdict. Mark one done with: '
    'update reconciler.manual_actions set status = ''done'', note = ''...'' where id = ...';

comment on column reconciler.manual_actions.observed is 'What the latest verdict rests on: what the snapshot showed of this member, or why it showed nothing.';

comment on column reconciler.manual_actions.snapshot_hash is 'The hash of that snapshot, as the report of the sync has it.';

comment on column reconciler.manual_actions.snapshot_started_at is
    'When that snapshot started. A sync that begins anew has a later one than the verdicts it has given.';

comment on column reconciler.manual_actions.shown is
    'What the trail keeps of the instructions: which text they were made of (template, source, hash), their pictures, the '
    'link to the app''s admin page, and the text without the person.';

comment on column reconciler.manual_actions.confirmed_by is
    'Who confirmed the statement of another person, where the app cannot be read and the integration asks for it.';

comment on column reconciler.manual_actions.sync_id is 'The sync whose snapshot gave the verdict.';

-- One escalation per desired state: retries, crashes and replicas cannot open a second one.
create unique index one_unfinished_action_per_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id)
    where closed_at is null;

-- Lists of unfinished actions ask for any combination of filters, and what few actions pass is not to read all of them: this
-- index has what the filters, the deadline (due_time) and row-level security ask for, so that it is read alone. The conditions
-- on columns that are never null keep the planner from using these indexes for other queries.
create index actions_by_due_time
    on reconciler.manual_actions (due_at, id)
    include (workspace_id, integration_id, operation, cause, status, opened_at, extended_until)
    where closed_at is null and due_at is not null;

create index reopened_actions_by_due_time
    on reconciler.manual_actions (due_at, id) where closed_at is null and reopened_count > 0;

-- Counts by app, operation and cause, and who works on what, read this index alone, in its order.
create index unfinished_actions_by_cause
    on reconciler.manual_actions (workspace_id, integration_id, operation, cause, status, due_at)
    include (assignee, opened_at, extended_until)
    where closed_at is null and opened_at is not null;

-- People search by email, by id, and by cause, also among the ended actions: without an index they would read all of them
-- for what is rare. An action is seldom updated after it has ended. Reasons are never null; the conditions keep the planner
-- from using these indexes for other queries.
create index actions_by_email on reconciler.manual_actions (email_key) where reason is not null;

create index actions_by_member on reconciler.manual_actions (member_id) where reason is not null;

create index actions_by_cause
    on reconciler.manual_actions (cause, closed_at, id)
    include (workspace_id, integration_id, operation, status)
    where cause is not null;

-- Nearly all actions have ended, and the ended ones have other statuses than the unfinished ones. Without these the planner
-- takes the open ones for few, and sorts all of them instead of reading the index of deadlines.
create statistics reconciler.statuses_of_actions (mcv)
    on closed_at, status, operation, workspace_id from reconciler.manual_actions;

create statistics reconciler.causes_of_unfinished_actions (mcv)
    on closed_at, status, cause from reconciler.manual_actions;

-- The login and the name of each assignee.
create index unfinished_actions_by_assignee
    on reconciler.manual_actions (assignee_login) where closed_at is null and assignee is not null;

create index unfinished_actions_by_name_of_assignee
    on reconciler.manual_actions (assignee_name) where closed_at is null and assignee is not null;

create index reconnect_actions on reconciler.manual_actions (closed_at, id) where operation = 'reconnect';

create index unfinished_actions_of_an_integration
    on reconciler.manual_actions (workspace_id, integration_id, id)
    where closed_at is null and integration_id is not null;

create index done_actions_of_an_integration
    on reconciler.manual_actions (workspace_id, integration_id) where status = 'done' and integration_id is not null;

create index actions_of_a_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id, closed_at) where member_id is not null;

-- The latest of the ended actions: what a filter leaves out is left out in the index.
create index ended_actions
    on reconciler.manual_actions (closed_at, id)
    include (workspace_id, integration_id, operation, cause, status)
    where closed_at is not null;

-- How often each text was used for each app, and which were reported.
create index actions_by_instructions on reconciler.manual_actions (instructions_hash, application);

create index actions_with_a_changed_screen
    on reconciler.manual_actions (workspace_id, instructions_hash) where screen_changed_at is not null;

create index action_of_a_task on reconciler.manual_actions (task_id);

-- The evidence of a month, and what of it is not proven. The conditions keep the planner from using these indexes for other
-- queries about a workspace.
create index actions_by_request
    on reconciler.manual_actions (workspace_id, requested_at, id) where requested_at is not null;

create index unproven_actions_by_request
    on reconciler.manual_actions (workspace_id, requested_at, id)
    where requested_at is not null and status not in ('verified', 'not_needed');

comment on column reconciler.manual_actions.id is
    'Id of the action, which claim, mark_done and the other functions take. Assigned by the database.';

comment on column reconciler.manual_actions.status is
    'open, in_progress or done while unfinished; verified, attested, not_needed, dismissed, superseded or returned '
    'once ended. The function next_action_statuses says what people and the daemon may set.';

comment on column reconciler.manual_actions.operation is
    'invite, remove or change_role: what a person has to do in the app; reconnect: fix the login of the integration. '
    'Written by the daemon.';

comment on column reconciler.manual_actions.workspace_id is 'The customer''s tenant in Cerby. Written by the daemon.';

comment on column reconciler.manual_actions.integration_id is 'Cerby''s id of the integration. Written by the daemon.';

comment on column reconciler.manual_actions.integration_name is
    'Display name of the integration, as its task gives it. Written by the daemon.';

comment on column reconciler.manual_actions.integration_kind is
    'app or business_hub, as its task gives it. Written by the daemon.';

comment on column reconciler.manual_actions.application is
    'Id of the app in the catalogue, as its task gives it. Written by the daemon.';

comment on column reconciler.manual_actions.member_id is
    'Cerby''s user id of the member; empty for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.member_email is
    'Email address of the member; empty for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.member_username is
    'Username of the member in the app; null if it is the email, and for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.member_name is
    'The person''s name; null if it is not known, and for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.entitlements is
    'The whole desired set of role ids; empty if the request names none, and for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.trigger is
    'Why the request of its task was made: manual, workspace_policy, system or user_deprovisioned. Written by the '
    'daemon.';

comment on column reconciler.manual_actions.requested_at is
    'When the change was asked for, as its task says; null for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.requested_by is
    'Who asked for the change, as its task says; null if it does not, and for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.reason is 'Why a person is needed, as a sentence. Written by the daemon.';

comment on column reconciler.manual_actions.failure_code is
    'Code of the failure that led to the action; null if there is none. Written by the daemon.';

comment on column reconciler.manual_actions.failure_message is
    'Message of that failure, which may contain personal data; null if there is none. Written by the daemon.';

comment on column reconciler.manual_actions.failure_screenshot_url is
    'URL of a screenshot of that failure; null if there is none. Written by the daemon.';

comment on column reconciler.manual_actions.attempts is
    'Number of attempts of automation before the action was opened; 0 for reconnect. Written by the daemon.';

comment on column reconciler.manual_actions.instructions is
    'The complete steps for the person who makes the change. Written by the daemon.';

comment on column reconciler.manual_actions.due_at is
    'The stored deadline. It is extended by the time for which the integration was not active once it is active '
    'again, except for reconnect; action_list.due_at includes that time at once. Written by the daemon.';

comment on column reconciler.manual_actions.opened_at is 'When the action was opened. Stamped by the database.';

comment on column reconciler.manual_actions.reminded_at is
    'When the daemon logged action.overdue, which it does once; null before. Written by the daemon.';

comment on column reconciler.manual_actions.assignee is
    'Who works or last worked on the action: a login, or NAME via login LOGIN for a person who gave a name. Null if '
    'nobody claimed it, and after a release or a withdrawal. Set by a claim or a hand-over.';

comment on column reconciler.manual_actions.assigned_at is
    'When the assignee claimed or was given the action; null without an assignee. Stamped by the database.';

comment on column reconciler.manual_actions.note is
    'The latest note of a person or the daemon, such as the reason of a dismissal; null if there is none.';

comment on column reconciler.manual_actions.note_at is
    'When the note was written, even if its text stayed the same; null without a note. Stamped by the database.';

comment on column reconciler.manual_actions.done_by is
    'Who marked the action done; null if nobody did, and after a withdrawal or a verdict of contradicted. Stamped by '
    'the database.';

comment on column reconciler.manual_actions.done_at is
    'When the action was marked done; null if done_by is null. Stamped by the database.';

comment on column reconciler.manual_actions.confirmed_at is
    'When confirmed_by confirmed the statement; null if nobody did. Stamped by the database.';

comment on column reconciler.manual_actions.verdict is
    'Latest verdict: confirmed, not_yet, contradicted or unverifiable. Null if there is none since the action was '
    'last marked done or withdrawn. Written by the daemon.';

comment on column reconciler.manual_actions.verdict_at is
    'When that verdict was given; null without a verdict. Written by the daemon.';

comment on column reconciler.manual_actions.snapshots is
    'Number of verdicts since the action was last marked done or withdrawn, including those of failed syncs. Written '
    'by the daemon.';

comment on column reconciler.manual_actions.reopened_count is
    'How often a verdict of contradicted opened the action again. Counted by the database.';

comment on column reconciler.manual_actions.closed_at is
    'When the action ended; null while it is unfinished. Stamped by the database.';

comment on column reconciler.manual_actions.task_id is
    'Id of the automation task that the action replaces; for reconnect the task whose job met the rejected login. '
    'Written by the daemon.';

comment on column reconciler.manual_actions.screen_changed_at is
    'When somebody last reported that the app looks different from the instructions; null if nobody did. Stamped by the '
    'database.';

comment on column reconciler.manual_actions.screen_changed_by is
    'Who reported that; null if nobody did. Stamped by the database.';

comment on column reconciler.manual_actions.screen_changed_note is
    'What has changed, in the words of that person; null if they gave none.';

comment on column reconciler.manual_actions.instructions_hash is
    'Hash of the text that the instructions were made of: a text that changes has another one. Derived from shown.';

comment on column reconciler.manual_actions.extended_until is
    'due_at includes the time without activity of the integration up to here; -infinity if there was none. Written by '
    'the daemon.';

comment on constraint status_is_known on reconciler.manual_actions is
    'status is open, in_progress, done, verified, attested, not_needed, dismissed, superseded or returned.';

comment on constraint operation_is_invite_remove_change_role_or_reconnect on reconciler.manual_actions is
    'operation is invite, remove, change_role or reconnect.';

comment on constraint only_reconnect_is_about_no_member on reconciler.manual_actions is
    'member_id is empty if operation is reconnect, and only then.';

comment on constraint verdict_is_known on reconciler.manual_actions is
    'verdict is null, confirmed, not_yet, contradicted or unverifiable.';

comment on constraint done_actions_say_who_and_when on reconciler.manual_actions is
    'done_by and done_at are set if status is done, verified or attested.';

comment on constraint confirmations_say_who_and_when on reconciler.manual_actions is
    'confirmed_by and confirmed_at are both set or both null.';

comment on constraint verified_actions_are_confirmed on reconciler.manual_actions is
    'If status is verified, verdict is confirmed and snapshot_started_at is later than done_at.';

comment on constraint reports_of_a_screen_say_who_and_when on reconciler.manual_actions is
    'screen_changed_at and screen_changed_by are both set or both null.';

comment on constraint screen_changed_note_is_at_most_2000_characters on reconciler.manual_actions is
    'screen_changed_note has at most 2000 characters.';

comment on constraint note_is_at_most_10000_characters on reconciler.manual_actions is
    'note is null, or has at most 10000 characters.';

comment on constraint assignee_is_1_to_200_characters_not_blank on reconciler.manual_actions is
    'assignee is null, or has 1 to 200 characters, which are not all blanks.';

comment on constraint ended_actions_say_when on reconciler.manual_actions is
    'closed_at is null if status is open, in_progress or done, and set otherwise.';

comment on column reconciler.manual_actions.cause is
    'The failure code, or the reason of actions that have none. Computed by the database.';

comment on column reconciler.manual_actions.email_key is 'member_email in small letters, for searches. Computed by the database.';

comment on column reconciler.manual_actions.assignee_login is
    'The login of the assignee, or token:NAME; null without an assignee. Computed by the database.';

comment on column reconciler.manual_actions.assignee_name is
    'The name that the assignee gave beside the login; null if there is none. Computed by the database.';
