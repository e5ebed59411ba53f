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

grant select on reconciler.automation_tasks, reconciler.manual_actions, reconciler.syncs,
                reconciler.integrations, reconciler.events
    to reconciler_viewer, reconciler_operator, reconciler_daemon;

-- An operator moves an action, decides on a held report, pauses and resumes an integration.
grant update (status, note, assignee) on reconciler.manual_actions to reconciler_operator;
grant update (decision, decision_reason) on reconciler.syncs to reconciler_operator;
grant update (gate, gate_reason) on reconciler.integrations to reconciler_operator;

grant insert, update on reconciler.automation_tasks, reconciler.manual_actions, reconciler.syncs,
                        reconciler.integrations to reconciler_daemon;
grant delete on reconciler.automation_tasks to reconciler_daemon;
grant insert on reconciler.events to reconciler_daemon;
grant execute on function reconciler.request_sync(text, text, timestamptz),
                          reconciler.promote_waiting(text, text, text),
                          reconciler.delete_old_events(interval, integer) to reconciler_daemon;
