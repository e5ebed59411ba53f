revoke all on schema reconciler from public;

revoke all on all tables in schema reconciler from public;

revoke execute on all functions in schema reconciler from public;

grant usage on schema reconciler
    to reconciler_daemon, reconciler_backend, reconciler_operator, reconciler_viewer;

-- Triggers and column defaults run with the caller's privileges where they do not say otherwise.
grant execute on function reconciler.current_actor(), reconciler.is_daemon(),
                          reconciler.next_action_statuses(text, boolean), reconciler.moment(timestamptz),
                          reconciler.is_blank(text),
                          reconciler.is_same_person(text, text), reconciler.person(text),
                          reconciler.refuse_foreign_withdrawal(reconciler.manual_actions),
                          reconciler.refuse_foreign_claim(reconciler.manual_actions),
                          reconciler.refuse_without_reason(reconciler.manual_actions, text, text, timestamptz)
    to reconciler_daemon, reconciler_backend, reconciler_operator;

-- The backend inserts the contract's columns, and reads only the columns that show whether a row exists.
grant insert (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, member_username, member_name, operation, entitlements, hub_role, trigger,
              requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
              traceparent, requested_by, outcome)
    on reconciler.automation_tasks to reconciler_backend;

grant select (id, workspace_id, source_id) on reconciler.automation_tasks to reconciler_backend;

grant select on reconciler.automation_tasks, reconciler.task_places, reconciler.manual_actions, reconciler.syncs,
                reconciler.integrations, reconciler.returns, reconciler.events,
                reconciler.action_figures
    to reconciler_viewer, reconciler_operator, reconciler_daemon;

-- An operator changes the status of an action, decides on a held report, requests a snapshot, pauses, resumes, limits
-- and protects an integration, cancels a task, and sends actions back to automation. The privileges are on columns and
-- not on tables, because only the daemon may lock a table.
grant update (status, note, assignee) on reconciler.manual_actions to reconciler_operator;

grant update (decision, decision_reason) on reconciler.syncs to reconciler_operator;

grant update (status, status_reason, max_in_flight, starts_per_minute, own_account, administrator_roles,
              snapshot_every_s, four_eyes, kind, application)
    on reconciler.integrations to reconciler_operator, reconciler_daemon;

grant select on reconciler.action_list, reconciler.my_work, reconciler.overdue, reconciler.contradicted,
                reconciler.work_by_app, reconciler.held_reports, reconciler.why_waiting,
                reconciler.unresolved_webhook_events, reconciler.changed_screens
    to reconciler_viewer, reconciler_operator, reconciler_daemon;

grant execute on function reconciler.due_time(reconciler.manual_actions, reconciler.integration_states),
                          reconciler.integration_status(timestamptz, text),
                          reconciler.find_actions(text[], text, text, text, text, text, boolean, boolean, bigint[]),
                          reconciler.why_waiting(reconciler.automation_tasks), reconciler.is_same_person(text, text),
                          reconciler.person(text),
                          reconciler.needs_second_person(boolean, timestamptz, timestamptz),
                          reconciler.current_actor(), reconciler.is_daemon(), reconciler.moment(timestamptz)
    to reconciler_viewer, reconciler_operator, reconciler_daemon;

grant execute on function reconciler.enqueue_task(jsonb) to reconciler_backend;

grant execute on function reconciler.task_status(text, text)
    to reconciler_backend, reconciler_viewer, reconciler_operator, reconciler_daemon;

-- What people do to one row, and the same for one or many.
grant execute on function
    reconciler.claim_action(bigint, text), reconciler.release_action(bigint),
    reconciler.hand_over_action(bigint, text, text), reconciler.withdraw_action(bigint),
    reconciler.confirm_action(bigint), reconciler.request_cancellation(bigint, text),
    reconciler.request_snapshot(text, text), reconciler.returnable_actions(text, text, text, text),
    reconciler.return_to_automation(text, text, text, text, text, bigint[]),
    reconciler.answer_each(text, text[], text, text, text, boolean),
    reconciler.claim(bigint, text), reconciler.claim(bigint[], text),
    reconciler.release(bigint), reconciler.release(bigint[]),
    reconciler.hand_over(bigint, text, text), reconciler.hand_over(bigint[], text, text),
    reconciler.mark_done(bigint, text), reconciler.mark_done(bigint[], text),
    reconciler.withdraw(bigint), reconciler.withdraw(bigint[]),
    reconciler.confirm(bigint), reconciler.confirm(bigint[]),
    reconciler.dismiss(bigint, text), reconciler.dismiss(bigint[], text),
    reconciler.cancel_task(bigint, text), reconciler.cancel_task(bigint[], text),
    reconciler.approve(bigint, text), reconciler.approve(bigint[], text),
    reconciler.reject(bigint, text), reconciler.reject(bigint[], text),
    reconciler.request_sync(text, text), reconciler.request_sync(text, text[]),
    reconciler.pause(text, text, text), reconciler.pause(text, text[], text),
    reconciler.resume(text, text), reconciler.resume(text, text[]),
    reconciler.return_to_automation(bigint, text), reconciler.return_to_automation(bigint[], text),
    reconciler.report_screen(bigint, text),
    reconciler.screen_changed(bigint, text), reconciler.screen_changed(bigint[], text),
    reconciler.dismiss_webhook_event(text, text, text),
    reconciler.dismiss_webhook(text, text, text), reconciler.dismiss_webhook(text, text[], text)
    to reconciler_operator, reconciler_daemon;

-- The columns that the backend inserted stay as they are.
grant update (state, ordered_at, needs_no_automation, attempts, next_attempt_at, last_error, superseded_by,
              cancel_reason, returned_at, trying_since, unanswered_since, effects_possible_until, closed_at,
              closed_reason)
    on reconciler.automation_tasks to reconciler_daemon;

grant insert, delete on reconciler.automation_tasks to reconciler_daemon;

grant select, insert, update, delete on reconciler.members, reconciler.integration_states to reconciler_daemon;

-- What people set is never deleted, and is changed through the view, which records it. The daemon keeps the name current.
grant select, insert, update (name) on reconciler.integration_settings to reconciler_daemon;

-- Intake orders the arrivals, and the daemon takes up the nudges.
grant select, insert, update, delete on reconciler.arrivals, reconciler.nudges to reconciler_daemon;

grant select, insert, update, delete on reconciler.outages, reconciler.webhook_events to reconciler_daemon;

grant select, update on reconciler.exclusive_work to reconciler_daemon;

grant usage on sequence reconciler.lease_tokens to reconciler_daemon;

grant insert, update on reconciler.syncs, reconciler.returns to reconciler_daemon;

-- What an action says about the work and the member stays; who did what and when is stamped.
grant insert on reconciler.manual_actions to reconciler_daemon;

grant update (status, note, assignee, verdict, verdict_at, observed, snapshots, sync_id, snapshot_hash,
              snapshot_started_at, due_at, reminded_at, extended_until)
    on reconciler.manual_actions to reconciler_daemon;

grant delete on reconciler.syncs, reconciler.action_figures to reconciler_daemon;

-- Deleting skips rows that are locked, and locks them itself; that needs the privilege to update.
grant update (is_deleted) on reconciler.action_figures to reconciler_daemon;

-- Views are the people's own. Who owns one is stamped.
grant select on reconciler.saved_views to reconciler_viewer, reconciler_operator;

grant insert (name, page, query, shared_in), update (name, page, query, shared_in) on reconciler.saved_views
    to reconciler_operator;

grant execute on function reconciler.delete_saved_view(bigint) to reconciler_operator, reconciler_daemon;

-- Who and when are stamped: no role may insert them.
grant insert (what, workspace_id, subject, subject_id, detail) on reconciler.events to reconciler_daemon;

grant execute on function reconciler.work_due(bigint, timestamptz),
                          reconciler.schedule_sync(text, text, timestamptz, text),
                          reconciler.is_limited(reconciler.integration_settings, reconciler.integration_states,
                                                integer, integer),
                          reconciler.admit(integer, integer, integer, text[]),
                          reconciler.delete_old_events(interval, integer),
                          reconciler.delete_ended_actions(interval, integer) to reconciler_daemon;
