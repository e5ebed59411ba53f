-- Requests a snapshot; several requests share one row. Returns false if a person has the existing request locked and it
-- may be due too late: then the caller tries again later instead of waiting.
create function reconciler.schedule_sync(p_workspace_id text, p_integration_id text, p_due_at timestamptz, p_cause text)
    returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_id bigint;
begin
    insert into reconciler.syncs (workspace_id, integration_id, procedure, next_step_at, causes)
    select s.workspace_id, s.integration_id,
           case s.kind when 'app' then 'check_and_apply' when 'business_hub' then 'sync' end, p_due_at, array[p_cause]
    from reconciler.integration_settings s
    where s.workspace_id = p_workspace_id and s.integration_id = p_integration_id
    on conflict (workspace_id, integration_id) where state = 'requested' do nothing;
    if not found then
        select id into v_id from reconciler.syncs
        where workspace_id = p_workspace_id and integration_id = p_integration_id and state = 'requested'
        for no key update skip locked;
        if v_id is null then
            return not exists (select from reconciler.syncs
                               where workspace_id = p_workspace_id and integration_id = p_integration_id
                                 and state = 'requested' and next_step_at > p_due_at);
        end if;
        update reconciler.syncs
        set next_step_at = least(next_step_at, p_due_at),
            causes = case when p_cause = any (causes) then causes else causes || p_cause end
        where id = v_id and workspace_id = p_workspace_id;
    end if;
    perform pg_notify('reconciler', 'syncs');
    return true;
end
$$;
