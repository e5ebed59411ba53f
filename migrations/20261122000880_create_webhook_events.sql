-- Cerby's webhooks that name a job, by the id of the event: a redelivery changes nothing. The members of the job are not
-- in the event, so the daemon reads the job from the backend. What cannot be read is kept here and tried again.
create table reconciler.webhook_events (
    workspace_id    text collate "C" not null,
    event_id        text collate "C" not null,
    event_type      text        not null,
    job_id          text        not null,
    error_code      text,
    occurred_at     timestamptz not null,
    received_at     timestamptz not null default clock_timestamp(),
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null default now(),
    problem         text,
    told_at         timestamptz,
    ended_at        timestamptz,
    outcome         text,
    dismissed_by    text,
    dismiss_reason  text,
    primary key (workspace_id, event_id),
    constraint workspace_id_is_1_to_63_letters_digits_hyphens_underscores
        check (char_length(workspace_id) <= 63 and workspace_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]*$'),
    constraint event_id_is_1_to_100_visible_characters check (event_id ~ '^[!-~]{1,100}$'),
    constraint event_type_is_1_to_100_characters check (char_length(event_type) between 1 and 100),
    constraint job_id_is_1_to_100_visible_characters check (job_id ~ '^[!-~]{1,100}$'),
    constraint error_code_is_at_most_200_characters check (char_length(error_code) <= 200),
    constraint problem_is_at_most_1000_characters check (char_length(problem) <= 1000),
    constraint outcome_is_tasks_no_members_given_up_or_dismissed
        check (outcome in ('tasks', 'no_members', 'given_up', 'dismissed')),
    constraint ended_events_say_how check ((ended_at is null) = (outcome is null)),
    constraint dismissed_events_say_who_and_why
        check ((coalesce(outcome, '') = 'dismissed') = (dismissed_by is not null)
               and (dismissed_by is null) = (dismiss_reason is null)),
    constraint dismiss_reason_is_at_most_2000_characters check (char_length(dismiss_reason) <= 2000)
) with (fillfactor = 70);

-- Claims share what is due out between workspaces; polls ask whether anything is due.
create index open_webhook_events_by_workspace
    on reconciler.webhook_events (workspace_id, next_attempt_at) where ended_at is null;

create index open_webhook_events_by_due_time on reconciler.webhook_events (next_attempt_at) where ended_at is null;

-- People list what is unresolved: few of very many.
create index unresolved_webhook_events_by_id on reconciler.webhook_events (workspace_id, event_id)
    where (ended_at is null or outcome = 'given_up') and problem is not null;

create index ended_webhook_events on reconciler.webhook_events (ended_at) where ended_at is not null;

comment on table reconciler.webhook_events is
    'Events of Cerby''s webhooks that name a job. Only the daemon reads them; people read unresolved_webhook_events.';

comment on column reconciler.webhook_events.next_attempt_at is
    'When the job is read again; while a replica works on the event, when another one may.';

comment on column reconciler.webhook_events.problem is 'Why no tasks were made of the event yet; null before the first attempt.';

comment on column reconciler.webhook_events.told_at is 'When webhook.unresolved was logged; null if it was not.';

comment on column reconciler.webhook_events.outcome is
    'tasks: every member of the job has its row in automation_tasks; no_members: the job changes no members; given_up: '
    'the time in which finished tasks are kept has passed; dismissed: a person ended it, with a reason.';

comment on column reconciler.webhook_events.dismissed_by is 'Who dismissed it; null if nobody did. Stamped by the database.';

comment on column reconciler.webhook_events.dismiss_reason is 'Why it was dismissed; null if it was not.';

-- What people look at when automation fails in Cerby and no task appears.
create view reconciler.unresolved_webhook_events as
select workspace_id, event_id, event_type, job_id, problem, attempts,
       case when ended_at is null then next_attempt_at end as next_attempt_at, occurred_at, received_at, ended_at
from reconciler.webhook_events
where (ended_at is null or outcome = 'given_up') and problem is not null;

comment on view reconciler.unresolved_webhook_events is
    'Events of Cerby''s webhooks whose job could not be made into tasks yet, each with the problem.';

comment on column reconciler.unresolved_webhook_events.workspace_id is 'The customer''s tenant: that of the key that signed.';

comment on column reconciler.unresolved_webhook_events.event_id is 'Id that Cerby gave the event.';

comment on column reconciler.unresolved_webhook_events.event_type is 'What happened, such as automation.failed.';

comment on column reconciler.unresolved_webhook_events.job_id is 'The job that the event names.';

comment on column reconciler.unresolved_webhook_events.problem is 'Why no tasks were made of the event, as of the latest attempt.';

comment on column reconciler.unresolved_webhook_events.attempts is 'How often the job was read. Waiting for a backend that is down does not count.';

comment on column reconciler.unresolved_webhook_events.next_attempt_at is 'When the job is read again; null once the event was given up.';

comment on column reconciler.unresolved_webhook_events.occurred_at is 'When it happened, by Cerby''s clock.';

comment on column reconciler.unresolved_webhook_events.received_at is 'When it was first received.';

comment on column reconciler.unresolved_webhook_events.ended_at is 'When it was given up; null while it is tried.';
