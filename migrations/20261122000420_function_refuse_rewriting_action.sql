-- What an action says about the member, the app and the work must stay what the person was shown.
create function reconciler.refuse_rewriting_action() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    raise exception 'what manual action % says and about whom cannot be changed', old.id
        using errcode = 'insufficient_privilege';
end
$$;

create trigger what_actions_say_stays
    before update of id, operation, workspace_id, integration_id, integration_name, integration_kind, application,
                     member_id, member_email, member_username, member_name, entitlements, trigger, requested_at,
                     requested_by, reason, failure_code, failure_message, failure_screenshot_url, attempts,
                     instructions, shown, opened_at, task_id
    on reconciler.manual_actions
    for each row execute function reconciler.refuse_rewriting_action();
