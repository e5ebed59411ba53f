revoke all on schema reconciler from public;
revoke all on all tables in schema reconciler from public;
revoke execute on all functions in schema reconciler from public;

grant usage on schema reconciler
    to reconciler_daemon, reconciler_backend, reconciler_operator, reconciler_viewer;

-- Triggers and column defaults run as the caller where they do not say otherwise.
grant execute on function reconciler.current_actor(), reconciler.is_daemon(),
                          reconciler.next_action_statuses(text, boolean)
    to reconciler_daemon, reconciler_backend, reconciler_operator;

-- The backend inserts the contract's columns and sees nothing.
grant insert (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, member_username, member_name, operation, entitlements, hub_role, trigger,
              requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
              traceparent)
    on reconciler.automation_tasks to reconciler_backend;

grant select on reconciler.automation_tasks, reconciler.turns, reconciler.manual_actions, reconciler.syncs,
                reconciler.integrations, reconciler.returns, reconciler.events
    to reconciler_viewer, reconciler_operator, reconciler_daemon;

-- An operator moves an action, decides on a held report, asks for a snapshot, pauses, resumes, limits and protects an
-- integration, and sends actions back to automation.
grant update (status, note, assignee) on reconciler.manual_actions to reconciler_operator;
grant update (decision, decision_reason) on reconciler.syncs to reconciler_operator;
grant update (status, status_reason, max_in_flight, starts_per_minute, own_account, administrator_roles, snapshot_every_s)
    on reconciler.integrations to reconciler_operator;
grant execute on function reconciler.request_snapshot(text, text),
                          reconciler.returnable_actions(text, text, text, text),
                          reconciler.return_to_automation(text, text, text, text, text)
    to reconciler_operator, reconciler_daemon;

-- What the backend asked for stays as it was asked.
grant update (state, ordered_at, attempts, next_attempt_at, last_error, superseded_by, returned_at, tried_since,
              acted_until, closed_at, closed_reason)
    on reconciler.automation_tasks to reconciler_daemon;
grant insert, delete on reconciler.turns to reconciler_daemon;
grant update (turn, next_attempt_at, trying_since, running_job_id, running_since, uncertain_since, lease_token,
              lease_until, unreleased_claims)
    on reconciler.turns to reconciler_daemon;
grant usage on sequence reconciler.lease_tokens to reconciler_daemon;
grant insert on reconciler.automation_tasks to reconciler_daemon;
grant insert, update on reconciler.manual_actions, reconciler.syncs, reconciler.integrations, reconciler.returns
    to reconciler_daemon;
grant delete on reconciler.automation_tasks, reconciler.syncs to reconciler_daemon;
grant insert on reconciler.events to reconciler_daemon;
grant execute on function reconciler.work_due(bigint, timestamptz),
                          reconciler.request_sync(text, text, timestamptz, text),
                          reconciler.acted_until(text, text, text),
                          reconciler.promote_waiting(text, text, text),
                          reconciler.lock_members(text[], text[], text[]),
                          reconciler.reopen_task(text, bigint, text),
                          reconciler.is_limited(reconciler.integrations, integer, integer),
                          reconciler.admit(integer, integer, integer, text[]),
                          reconciler.decide_return(),
                          reconciler.delete_old_events(interval, integer) to reconciler_daemon;
