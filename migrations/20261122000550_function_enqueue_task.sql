-- The contract as one call: checks, inserts, and returns the id. For a source_id that the workspace already has, it
-- changes nothing and returns the id of the row that is there. A time without a zone is read as UTC.
create function reconciler.enqueue_task(p_task jsonb) returns bigint
    language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' as
$$
declare
    v_keys constant text[] := array[
        'workspace_id', 'source_id', 'job_id', 'integration_id', 'integration_kind', 'integration_name', 'application',
        'member_id', 'member_email', 'member_username', 'member_name', 'operation', 'entitlements', 'hub_role',
        'trigger', 'requested_at', 'failure_code', 'failure_message', 'failure_screenshot_url', 'can_retry',
        'user_required', 'traceparent', 'requested_by', 'outcome'];
    v_required constant text[] := array[
        'workspace_id', 'source_id', 'integration_id', 'integration_kind', 'integration_name', 'application',
        'member_id', 'member_email', 'operation', 'trigger', 'requested_at'];
    v_unknown text;
    v_missing text;
    v_id bigint;
begin
    if jsonb_typeof(p_task) is distinct from 'object' then
        raise exception 'a task is a JSON object, not %', coalesce(jsonb_typeof(p_task), 'null')
            using errcode = 'check_violation';
    end if;
    select string_agg(key, ', ' order by key) into v_unknown
    from jsonb_object_keys(p_task) key where key <> all (v_keys);
    if v_unknown is not null then
        raise exception 'a task has no %', v_unknown
            using errcode = 'check_violation', hint = 'It may have: ' || array_to_string(v_keys, ', ') || '.';
    end if;
    select string_agg(key, ', ' order by place) into v_missing
    from unnest(v_required) with ordinality required (key, place) where p_task ->> key is null;
    if v_missing is not null then
        raise exception 'a task needs %', v_missing using errcode = 'not_null_violation';
    end if;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, member_username, member_name, operation, entitlements, hub_role, trigger, requested_at,
         failure_code, failure_message, failure_screenshot_url, can_retry, user_required, traceparent, requested_by,
         outcome)
    select t.workspace_id, t.source_id, t.job_id, t.integration_id, t.integration_kind, t.integration_name,
           t.application, t.member_id, t.member_email, t.member_username, t.member_name, t.operation,
           coalesce(t.entitlements, '{}'), t.hub_role, t.trigger, t.requested_at, t.failure_code, t.failure_message,
           t.failure_screenshot_url, t.can_retry, t.user_required, t.traceparent, t.requested_by,
           coalesce(t.outcome, 'failed')
    from jsonb_to_record(p_task) t (
        workspace_id text, source_id text, job_id text, integration_id text, integration_kind text,
        integration_name text, application text, member_id text, member_email text, member_username text,
        member_name text, operation text, entitlements text[], hub_role text, trigger text, requested_at timestamptz,
        failure_code text, failure_message text, failure_screenshot_url text, can_retry boolean, user_required boolean,
        traceparent text, requested_by text, outcome text)
    on conflict (workspace_id, source_id) do nothing
    returning id into v_id;
    if v_id is null then
        select t.id into v_id from reconciler.automation_tasks t
        where t.workspace_id = p_task ->> 'workspace_id' and t.source_id = p_task ->> 'source_id';
    end if;
    if v_id is null then
        raise exception 'another transaction has just inserted source_id %', p_task ->> 'source_id'
            using errcode = 'serialization_failure', hint = 'Call again in a new transaction: it returns the id.';
    end if;
    return v_id;
end
$$;

comment on function reconciler.enqueue_task(jsonb) is
    'Inserts an automation task from a JSON object with the columns that the backend sets, and returns its id. For a '
    'source_id that the workspace has already, it changes nothing and returns the id of that row. Refuses unknown '
    'keys (23514) and values that break a constraint (22..., 23...). Example: select '
    'reconciler.enqueue_task(''{"workspace_id": "acme", "source_id": "job-1:u-7", "job_id": "job-1", '
    '"integration_id": "int-1", "integration_kind": "app", "integration_name": "Video", "application": '
    '"youtube_tenant", "member_id": "u-7", "member_email": "jo@example.com", "operation": "remove", "trigger": '
    '"manual", "requested_at": "2026-11-22T09:30:00Z"}'');';
