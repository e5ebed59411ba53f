-- Only retention deletes actions, and it records what it deleted. The lines of the trail about them stay, because they
-- name nobody, and so do their figures.
create function reconciler.delete_ended_actions(p_older_than interval, p_limit integer) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_deleted bigint;
begin
    if p_older_than < interval '1 day' then
        raise exception 'ended actions are kept for at least a day, not %', p_older_than
            using errcode = 'check_violation';
    end if;
    perform set_config('reconciler.retention', 'on', true);
    with old as materialized (
        select ctid as place from reconciler.manual_actions
        where closed_at < clock_timestamp() - p_older_than
        order by closed_at
        limit p_limit
        for update skip locked
    ), deleted as (
        delete from reconciler.manual_actions a using old where a.ctid = old.place
        returning a.id, a.workspace_id, a.status
    ), recorded as (
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        select 'action.deleted', workspace_id, 'action', id::text, jsonb_build_object('status', status) from deleted
    ), kept as (
        update reconciler.action_figures f set is_deleted = true
        from deleted d where f.action_id = d.id and f.workspace_id = d.workspace_id
    )
    select count(*) into v_deleted from deleted;
    perform set_config('reconciler.retention', '', true);
    return v_deleted;
end
$$;
