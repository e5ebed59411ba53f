-- Descriptions of what operators and the developers of the backend use. What is described next to its table in another
-- migration is left out here.

-- automation_tasks: the columns that the backend sets.

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
    'W3C trace context of the request; null if there is none. The daemon does not read it. Set by the backend.';

comment on column reconciler.automation_tasks.requested_by is
    'Who made the request; null if the backend does not say. The daemon does not read it. Set by the backend.';

-- automation_tasks: the columns that the daemon writes.

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

-- automation_tasks: valid values. Inserted values are checked until the task has its place among the requests of its
-- member.

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

-- manual_actions. What an action says about the member, the app and the work is written once, by the daemon when it
-- opens the action.

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
    'Who works or last worked on the action: a login, or cli:NAME for a person at the command line. Null if nobody '
    'claimed it, and after a release or a withdrawal. Set by a claim or a hand-over.';

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

comment on constraint note_is_at_most_10000_characters on reconciler.manual_actions is
    'note is null, or has at most 10000 characters.';

comment on constraint assignee_is_1_to_200_characters_not_blank on reconciler.manual_actions is
    'assignee is null, or has 1 to 200 characters, which are not all blanks.';

comment on constraint ended_actions_say_when on reconciler.manual_actions is
    'closed_at is null if status is open, in_progress or done, and set otherwise.';

-- syncs.

comment on column reconciler.syncs.id is 'Id of the sync, which approve and reject take. Assigned by the database.';

comment on column reconciler.syncs.workspace_id is 'The customer''s tenant in Cerby. Written by the daemon.';

comment on column reconciler.syncs.integration_id is
    'Cerby''s id of the integration that is read. Written by the daemon.';

comment on column reconciler.syncs.procedure is
    'How the integration is read: check_and_apply for an app, sync for a business_hub. Written by the daemon.';

comment on column reconciler.syncs.state is
    'requested: not started; started: the app is read; held: a person has to decide on the report; report_ready: a '
    'person decided; applying: the report is applied; finished or failed: ended. Written by the daemon; a decision '
    'sets report_ready.';

comment on column reconciler.syncs.requested_at is 'When the sync was requested. Stamped by the database.';

comment on column reconciler.syncs.next_step_at is
    'When the next step is due. It has no meaning while the sync is held and once it has ended. Written by the '
    'daemon; a decision sets it to now.';

comment on column reconciler.syncs.started_at is
    'When the snapshot started, written before the backend is asked; null while the sync is requested. A restarted '
    'snapshot has a later time. Written by the daemon.';

comment on column reconciler.syncs.running_job_id is
    'The backend''s job in flight; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.running_since is
    'When that job was started; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.report_id is
    'The backend''s id of the report that is held or applied; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.failures is
    'Number of failed steps that were tried again; a wait for the backend does not count. Written by the daemon.';

comment on column reconciler.syncs.last_error is
    'Cause of the latest step that failed or was postponed; null if there was none. A success does not clear it. '
    'Written by the daemon.';

comment on column reconciler.syncs.held_reason is
    'Why the report is or was held, as a sentence for people; null if it never was. Written by the daemon.';

comment on column reconciler.syncs.decision is
    'approved or rejected. Null until a person decides, once, while the sync is held and before held_until.';

comment on column reconciler.syncs.decision_reason is 'The reason of the person who decided; null without a decision.';

comment on column reconciler.syncs.decided_by is 'Who decided; null without a decision. Stamped by the database.';

comment on column reconciler.syncs.decided_at is
    'When the person decided; null without a decision. Stamped by the database.';

comment on column reconciler.syncs.finished_at is 'When the sync ended; null before. Written by the daemon.';

comment on column reconciler.syncs.finished_reason is
    'Why the sync ended, as a sentence for people; null before. Written by the daemon.';

comment on column reconciler.syncs.unexpected_removals is
    'Number of members whom an apply removes although nobody requested it, counted just before the apply. Null if '
    'there was no such apply. Written by the daemon.';

comment on column reconciler.syncs.lease_token is
    'Number of claims of this row so far. A worker whose claim has another number changes nothing. Written by the '
    'daemon.';

comment on column reconciler.syncs.lease_until is
    'Until when a worker has claimed this row; null if none has. Written by the daemon.';

comment on column reconciler.syncs.unreleased_claims is
    'Consecutive claims without a result, including the present one. The sync ends as failed after '
    'worker.max_unreleased_claims. Written by the daemon.';

comment on constraint procedure_is_check_and_apply_or_sync on reconciler.syncs is
    'procedure is check_and_apply or sync.';

comment on constraint state_is_known on reconciler.syncs is
    'state is requested, started, report_ready, held, applying, finished or failed.';

comment on constraint started_syncs_say_when on reconciler.syncs is 'started_at is set unless state is requested.';

comment on constraint held_syncs_say_why_and_how_long on reconciler.syncs is
    'held_reason and held_until are set if state is held.';

comment on constraint ended_syncs_say_when on reconciler.syncs is
    'finished_at is set if state is finished or failed, and null otherwise.';

comment on constraint decision_is_approved_or_rejected on reconciler.syncs is 'decision is null, approved or rejected.';

comment on constraint decisions_have_a_reason on reconciler.syncs is
    'decision_reason is set and not blank if decision is set.';

-- integrations (view).

comment on column reconciler.integrations.workspace_id is 'The customer''s tenant in Cerby. Written by the daemon.';

comment on column reconciler.integrations.integration_id is 'Cerby''s id of the integration. Written by the daemon.';

comment on column reconciler.integrations.name is 'Display name, as the latest task gives it. Written by the daemon.';

comment on column reconciler.integrations.kind is
    'app or business_hub, as the first task gave it. Written by the daemon; a person may correct it.';

comment on column reconciler.integrations.application is
    'Id of the app in the catalogue, such as youtube_tenant, as the first task gave it. Written by the daemon; a '
    'person may correct it.';

comment on column reconciler.integrations.status_reason is
    'Why the integration is not active; null while it is active. Set by the person who pauses it, otherwise written '
    'by the daemon.';

comment on column reconciler.integrations.status_until is
    'tripped: when one task is tried; probing: when another task may be tried. Null for every other status. Written '
    'by the daemon.';

comment on column reconciler.integrations.status_since is
    'Since when the integration has been active, or not active for the present reason; null if it has always been '
    'active. Stamped by the database for a pause, otherwise written by the daemon.';

comment on column reconciler.integrations.snapshot_at is
    'When the latest snapshot of the members started, complete or not; -infinity if there is none. Written by the '
    'daemon.';

-- returns.

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

-- events.

comment on column reconciler.events.id is 'Assigned by the database: a line that was appended later has a higher id.';

comment on column reconciler.events.at is 'When the line was appended. Stamped by the database.';

comment on column reconciler.events.actor is
    'Who acted: a login, cli:NAME for a person at the command line, or daemon. Stamped by the database.';

comment on column reconciler.events.what is 'Name of what happened, such as action.claimed or task.succeeded.';

comment on column reconciler.events.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.events.subject is 'What the line is about: task, action, sync, integration or workspace.';

comment on column reconciler.events.subject_id is
    'Id of the subject as text, such as 42 for a task, or the integration_id for an integration.';

comment on column reconciler.events.detail is
    'Facts about what happened, as a JSON object whose keys depend on what; {} if there are none.';

-- task_places (view).

comment on column reconciler.task_places.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.task_places.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.task_places.member_id is 'Cerby''s user id of the member.';

comment on column reconciler.task_places.task_id is 'Id of the unfinished automation task.';

comment on column reconciler.task_places.place is
    'unordered: intake has not placed it; held: a person has to decide; ready: it has its turn; blocked: behind '
    'another request or a manual action of the member.';

comment on column reconciler.task_places.next_attempt_at is
    'When a ready task is due for an attempt or for a poll of its job; null for every other place.';

comment on column reconciler.task_places.is_running is 'Whether a job of the backend is in flight for the task.';

comment on column reconciler.task_places.held_reason is
    'How the kind or application of a held task differs from its integration; null for every other place.';

-- The views of manual actions. Their columns are those of manual_actions, unless the name says otherwise.

comment on view reconciler.action_list is
    'Every manual action in one row, with its deadline and the status of its integration.';

comment on column reconciler.action_list.id is 'Id of the manual action.';

comment on column reconciler.action_list.status is
    'open, in_progress or done while unfinished; verified, attested, not_needed, dismissed, superseded or returned '
    'once ended.';

comment on column reconciler.action_list.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.action_list.app is 'Display name of the integration.';

comment on column reconciler.action_list.member_name is
    'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.action_list.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.action_list.stored_due_at is
    'The stored deadline. Sort by this column: it has an index, and due_at has none.';

comment on column reconciler.action_list.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.action_list.overdue is
    'Whether the action is unfinished and due_at has passed; also true for an action that is marked done.';

comment on column reconciler.action_list.assignee is
    'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.action_list.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.action_list.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.action_list.note is 'The latest note of a person or the daemon; null if there is none.';

comment on column reconciler.action_list.done_by is
    'Who marked the action done; null if nobody did, and after a withdrawal or a verdict of contradicted.';

comment on column reconciler.action_list.done_at is 'When the action was marked done; null if done_by is null.';

comment on column reconciler.action_list.verdict is
    'Latest verdict: confirmed, not_yet, contradicted or unverifiable; null if there is none.';

comment on column reconciler.action_list.observed is
    'What the latest verdict rests on, or which task replaced the action, as a sentence; null if there is neither.';

comment on column reconciler.action_list.reopened_count is
    'How often a verdict of contradicted opened the action again.';

comment on column reconciler.action_list.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.action_list.opened_at is 'When the action was opened.';

comment on column reconciler.action_list.closed_at is 'When the action ended; null while it is unfinished.';

comment on column reconciler.action_list.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.action_list.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.action_list.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on column reconciler.action_list.task_id is 'Id of the automation task that the action replaces.';

comment on view reconciler.my_work is
    'The open and in_progress actions that are assigned to the present person or to nobody, the earliest stored '
    'deadline first.';

comment on column reconciler.my_work.id is 'Id of the manual action.';

comment on column reconciler.my_work.status is 'open or in_progress.';

comment on column reconciler.my_work.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.my_work.overdue is 'Whether due_at has passed.';

comment on column reconciler.my_work.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.my_work.app is 'Display name of the integration.';

comment on column reconciler.my_work.member_name is 'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.my_work.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.my_work.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.my_work.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.my_work.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.my_work.note is 'The latest note of a person or the daemon; null if there is none.';

comment on column reconciler.my_work.assignee is
    'The present person, the last person who worked on an open action, or null if nobody claimed it.';

comment on column reconciler.my_work.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.my_work.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.my_work.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.overdue is
    'The open and in_progress actions whose deadline has passed, the earliest stored deadline first.';

comment on column reconciler.overdue.id is 'Id of the manual action.';

comment on column reconciler.overdue.status is 'open or in_progress.';

comment on column reconciler.overdue.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.overdue.late_by is 'How long ago due_at passed.';

comment on column reconciler.overdue.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.overdue.app is 'Display name of the integration.';

comment on column reconciler.overdue.member_name is 'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.overdue.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.overdue.assignee is 'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.overdue.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.overdue.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.overdue.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.overdue.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.overdue.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.overdue.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.contradicted is
    'The open and in_progress actions that somebody marked done and a snapshot contradicted, the earliest stored '
    'deadline first.';

comment on column reconciler.contradicted.id is 'Id of the manual action.';

comment on column reconciler.contradicted.status is 'open or in_progress.';

comment on column reconciler.contradicted.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.contradicted.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.contradicted.app is 'Display name of the integration.';

comment on column reconciler.contradicted.member_name is
    'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.contradicted.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.contradicted.observed is 'What the latest verdict rests on, as a sentence.';

comment on column reconciler.contradicted.called_done_by is 'Who made the latest statement that was contradicted.';

comment on column reconciler.contradicted.called_done_at is 'When that statement was made.';

comment on column reconciler.contradicted.times is 'How often a verdict of contradicted opened the action again.';

comment on column reconciler.contradicted.assignee is
    'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.contradicted.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.contradicted.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.contradicted.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.work_by_app is
    'The open and in_progress actions, counted by integration, operation and cause, the earliest deadline first.';

comment on column reconciler.work_by_app.app is 'Display name of the integration.';

comment on column reconciler.work_by_app.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.work_by_app.cause is
    'The failure code of the actions, or their reason if they have no code.';

comment on column reconciler.work_by_app.actions is 'Number of these actions.';

comment on column reconciler.work_by_app.unclaimed is 'How many of them are open: nobody works on them.';

comment on column reconciler.work_by_app.overdue is 'How many of them are past their deadline.';

comment on column reconciler.work_by_app.next_due_at is 'The earliest deadline of them; it may have passed.';

comment on column reconciler.work_by_app.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.work_by_app.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.work_by_app.integration_id is 'Cerby''s id of the integration.';

-- The views of syncs and tasks.

comment on view reconciler.held_reports is
    'Syncs whose report waits for a person, the earliest held_until first. Decide with approve or reject.';

comment on column reconciler.held_reports.id is 'Id of the sync, which approve and reject take.';

comment on column reconciler.held_reports.app is 'Display name of the integration.';

comment on column reconciler.held_reports.held_reason is 'Why the report is held, as a sentence.';

comment on column reconciler.held_reports.held_until is
    'Until when a person can decide. After that the sync ends and the app is read again.';


comment on column reconciler.held_reports.counts is
    'Number of people in each class of the report, as a JSON object: missing, unexpected, matched and others.';

comment on column reconciler.held_reports.started_at is 'When the snapshot started.';

comment on column reconciler.held_reports.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.held_reports.integration_id is 'Cerby''s id of the integration.';

comment on view reconciler.why_waiting is 'Every unfinished automation task, with the reason why it waits.';

comment on column reconciler.why_waiting.id is 'Id of the automation task, which cancel_task takes.';

comment on column reconciler.why_waiting.state is 'pending or running.';

comment on column reconciler.why_waiting.operation is 'invite, remove or change_role.';

comment on column reconciler.why_waiting.app is 'Display name of the integration, as the task gives it.';

comment on column reconciler.why_waiting.member_name is 'The person''s name; null if the backend gives none.';

comment on column reconciler.why_waiting.member_email is 'Email address of the member.';

comment on column reconciler.why_waiting.received_at is 'When the row was inserted.';

comment on column reconciler.why_waiting.why is
    'Why the task waits, until when, and who can change that, in sentences.';

comment on column reconciler.why_waiting.attempts is 'Number of attempts that the daemon requested from the backend.';

comment on column reconciler.why_waiting.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.why_waiting.source_id is
    'Identifies one run of a job and member, or one deprovisioning event.';

comment on column reconciler.why_waiting.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.why_waiting.member_id is 'Cerby''s user id of the member.';

-- Functions for the backend.

comment on function reconciler.enqueue_task(jsonb) is
    'Inserts an automation task from a JSON object with the columns that the backend sets, and returns its id. For a '
    'source_id that the workspace has already, it changes nothing and returns the id of that row. Refuses unknown '
    'keys (23514) and values that break a constraint (22..., 23...). Example: select '
    'reconciler.enqueue_task(''{"workspace_id": "acme", "source_id": "job-1:u-7", "job_id": "job-1", '
    '"integration_id": "int-1", "integration_kind": "app", "integration_name": "Video", "application": '
    '"youtube_tenant", "member_id": "u-7", "member_email": "jo@example.com", "operation": "remove", "trigger": '
    '"manual", "requested_at": "2026-11-22T09:30:00Z"}'');';

comment on function reconciler.task_status(text, text) is
    'Returns what became of the task with this workspace_id and source_id: its state, why it waits or ended, and its '
    'latest manual action. Returns no row if there is no such task; refuses nothing. '
    'Example: select * from reconciler.task_status(''acme'', ''job-1:u-7'');';

-- Functions for people: one row, or several. For one id, a refusal is an error with a code.

comment on function reconciler.claim(bigint, text) is
    'Makes you the assignee of an open action; with a note, also of one that a colleague works on. Returns one row in '
    'which became is in_progress. Refuses an unknown id (P0002), an action of a colleague without a note (P0403), and '
    'one that is done or has ended (P0409). '
    'Example: select * from reconciler.claim(7);';

comment on function reconciler.claim(bigint[], text) is
    'Does for several ids what claim does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.claim(array[7, 8], ''kim is on leave'');';

comment on function reconciler.release(bigint) is
    'Gives back an action that you work on. Returns one row in which became is open. Refuses an unknown id (P0002), '
    'an action of a colleague (P0403), and one that is not in_progress (P0409). '
    'Example: select * from reconciler.release(7);';

comment on function reconciler.release(bigint[]) is
    'Does for several ids what release does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.release(array[7, 8]);';

comment on function reconciler.hand_over(bigint, text, text) is
    'Gives an action to a colleague, with a note: your own, or one that nobody works on. Returns one row in which '
    'became is in_progress. Refuses an unknown id or colleague (P0002), an action of another colleague (P0403), one '
    'that is done or has ended (P0409), and a blank note (23514). '
    'Example: select * from reconciler.hand_over(7, ''kim'', ''knows the app'');';

comment on function reconciler.hand_over(bigint[], text, text) is
    'Does for several ids what hand_over does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.hand_over(array[7, 8], ''kim'', ''knows the app'');';

comment on function reconciler.mark_done(bigint, text) is
    'States that you made the change of an action; a note is optional. The app is then read to prove it, where it can '
    'be read. Returns one row in which became is done. Refuses an unknown id (P0002), an action that somebody else '
    'marked done, and one that has ended (P0409). '
    'Example: select * from reconciler.mark_done(7, ''removed in the admin console'');';

comment on function reconciler.mark_done(bigint[], text) is
    'Does for several ids what mark_done does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.mark_done(array[7, 8]);';

comment on function reconciler.withdraw(bigint) is
    'Withdraws your statement that an action is done. Returns one row in which became is open. Refuses an unknown id '
    '(P0002), the statement of somebody else (P0403), an action that is not done (P0409), and a statement that was '
    'judged (P0410). '
    'Example: select * from reconciler.withdraw(7);';

comment on function reconciler.withdraw(bigint[]) is
    'Does for several ids what withdraw does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.withdraw(array[7, 8]);';

comment on function reconciler.confirm(bigint) is
    'Confirms a colleague''s statement, which is needed where the app cannot be read and the integration has '
    'four_eyes set. The daemon then ends the action. Returns one row in which became is done. Refuses an unknown id '
    '(P0002), your own statement (P0403), an action that is not done, is confirmed already, or whose integration does '
    'not have four_eyes set (P0409). '
    'Example: select * from reconciler.confirm(7);';

comment on function reconciler.confirm(bigint[]) is
    'Does for several ids what confirm does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.confirm(array[7, 8]);';

comment on function reconciler.dismiss(bigint, text) is
    'Ends an action whose change is not to be made; the note says why. Returns one row in which became is dismissed. '
    'Refuses an unknown id (P0002), an action that has ended (P0409), and a blank note (23514). '
    'Example: select * from reconciler.dismiss(7, ''jo stays a member'');';

comment on function reconciler.dismiss(bigint[], text) is
    'Does for several ids what dismiss does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.dismiss(array[7, 8], ''both stay members'');';

comment on function reconciler.return_to_automation(bigint, text) is
    'Sends an open or in_progress action back to automation after a fix; the reason says what was fixed. Returns one '
    'row in which became is returned. Refuses an unknown id (P0002), an action of operation reconnect, one that is '
    'done or has ended (P0409), and a blank reason (23514). '
    'Example: select * from reconciler.return_to_automation(7, ''seats were bought'');';

comment on function reconciler.return_to_automation(bigint[], text) is
    'Does for several ids what return_to_automation does for one. Of several open actions in one integration, the '
    'oldest returns as the canary, and the others follow when its attempt has worked. Returns one row for each id, '
    'with what it became or why it was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.return_to_automation(array[7, 8], ''seats were bought'');';

comment on function reconciler.return_to_automation(text, text, text, text, text) is
    'Sends the open actions of an integration back to automation, the oldest as the canary; null takes every failure '
    'code or operation. Returns the id of the return, or null if there is no such action. Refuses a blank reason '
    '(23514). Example: select reconciler.return_to_automation(''acme'', ''int-1'', ''NotEnoughSeats'', null, ''seats '
    'were bought'');';

comment on function reconciler.cancel_task(bigint, text) is
    'Cancels a task: the daemon ends it, and a task in flight once nothing of it can still take effect. Returns one '
    'row in which became is cancellation requested. Refuses an unknown id (P0002), a task that has ended (P0409), and '
    'a reason that is blank or longer than 2000 characters (23514). '
    'Example: select * from reconciler.cancel_task(42, ''jo stays a member'');';

comment on function reconciler.cancel_task(bigint[], text) is
    'Does for several ids what cancel_task does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.cancel_task(array[42, 43], ''both stay members'');';

comment on function reconciler.approve(bigint, text) is
    'Approves the held report of a sync; the daemon applies it if it has not changed. Returns one row in which became '
    'is approved. Refuses an unknown id (P0002), a sync that is not held or is decided already (P0409), a decision '
    'after held_until (P0410), and a blank reason (23514). '
    'Example: select * from reconciler.approve(9, ''all of them left'');';

comment on function reconciler.approve(bigint[], text) is
    'Does for several ids what approve does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.approve(array[9, 10], ''all of them left'');';

comment on function reconciler.reject(bigint, text) is
    'Rejects the held report of a sync; the sync ends as failed, and nothing of the report is applied. Returns one '
    'row in which became is rejected. Refuses an unknown id (P0002), a sync that is not held or is decided already '
    '(P0409), a decision after held_until (P0410), and a blank reason (23514). '
    'Example: select * from reconciler.reject(9, ''the list was cut'');';

comment on function reconciler.reject(bigint[], text) is
    'Does for several ids what reject does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.reject(array[9, 10], ''the list was cut'');';

comment on function reconciler.request_sync(text, text) is
    'Requests a snapshot of an integration now; several requests share one sync. Returns one row in which became is '
    'sync requested. Refuses an unknown integration (P0002). '
    'Example: select * from reconciler.request_sync(''acme'', ''int-1'');';

comment on function reconciler.request_sync(text, text[]) is
    'Does for several ids what request_sync does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.request_sync(''acme'', array[''int-1'', ''int-2'']);';

comment on function reconciler.pause(text, text, text) is
    'Puts the tasks of an integration on hold until a person resumes it; the reason becomes its status_reason. '
    'Returns one row in which became is paused. Refuses an unknown integration (P0002), and a reason that is blank or '
    'only repeats the status_reason of another status (23514). '
    'Example: select * from reconciler.pause(''acme'', ''int-1'', ''maintenance'');';

comment on function reconciler.pause(text, text[], text) is
    'Does for several ids what pause does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.pause(''acme'', array[''int-1'', ''int-2''], ''maintenance'');';

comment on function reconciler.resume(text, text) is
    'Ends the pause of an integration; one that is not paused becomes active, and its action of operation reconnect '
    'is dismissed. A login that was rejected before a pause is still rejected after it. Returns one row in which '
    'became is active. Refuses an unknown integration (P0002). '
    'Example: select * from reconciler.resume(''acme'', ''int-1'');';

comment on function reconciler.resume(text, text[]) is
    'Does for several ids what resume does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.resume(''acme'', array[''int-1'', ''int-2'']);';

-- Functions that those above call for one row. Their refusals are errors with the same codes.

comment on function reconciler.claim_action(bigint, text) is
    'Does what claim does for one action, and returns in_progress.';

comment on function reconciler.release_action(bigint) is 'Does what release does for one action, and returns open.';

comment on function reconciler.hand_over_action(bigint, text, text) is
    'Does what hand_over does for one action, and returns in_progress.';

comment on function reconciler.withdraw_action(bigint) is 'Does what withdraw does for one action, and returns open.';

comment on function reconciler.confirm_action(bigint) is 'Does what confirm does for one action, and returns done.';

comment on function reconciler.request_cancellation(bigint, text) is
    'Does what cancel_task does for one task, and returns cancellation requested.';

comment on function reconciler.request_snapshot(text, text) is
    'Does what request_sync does for one integration, and returns sync requested.';

comment on function reconciler.returnable_actions(text, text, text, text) is
    'Returns the open actions of an integration that return_to_automation takes, the canary first; null takes every '
    'failure code or operation. Actions of operation reconnect are left out.';

comment on function reconciler.answer_each(text, text[], text, text, text, boolean) is
    'Runs a statement for each id with the privileges of the caller, and returns what each row became or why it was '
    'refused. If there is only one id, a refusal is an error.';

-- Functions that views, triggers and messages call.

comment on function reconciler.why_waiting(reconciler.automation_tasks) is
    'Returns why an unfinished task waits, until when, and who can change that, in sentences; null for a task that '
    'has ended.';

comment on function reconciler.due_time(reconciler.manual_actions, reconciler.integration_states) is
    'Returns the deadline of an action: due_at, plus the time for which its integration has not been active and which '
    'due_at does not include yet.';

comment on function reconciler.current_actor() is
    'Returns under which name the present session acts, as the trail records it: its login, daemon, or cli:NAME for a '
    'person at the command line.';

comment on function reconciler.is_daemon() is
    'Returns whether the daemon itself acts in the present transaction, and not a person.';

comment on function reconciler.is_same_person(text, text) is
    'Returns whether two actors are the same person, as cli:kim and the login kim are; null if one of them is null.';

comment on function reconciler.moment(timestamptz) is
    'Returns a time in the form that messages use, such as 2026-11-22 09:30:00 UTC.';

comment on function reconciler.next_action_statuses(text, boolean) is
    'Returns the statuses that an action can have after this one: those that the daemon may set if the second '
    'argument is true, otherwise those that a person may set. Empty if an action with this status has ended.';

comment on function reconciler.refuse_foreign_withdrawal(reconciler.manual_actions) is
    'Refuses (P0403) if the present actor is not the person who marked the action done; otherwise returns nothing.';

comment on function reconciler.refuse_foreign_claim(reconciler.manual_actions) is
    'Refuses (P0403) if the present actor is not the assignee of the action; otherwise returns nothing.';

comment on function reconciler.refuse_without_reason(reconciler.manual_actions, text, text, timestamptz) is
    'Refuses a dismissal or a return whose note was not written by the same statement (23514), and the return of an '
    'action of operation reconnect (P0409); otherwise returns nothing.';
