-- You hold the tasks of integrations, and say why.
create function reconciler.pause(p_workspace_id text, p_integration_ids text[], p_reason text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id, e.became, e.refused
    from reconciler.answer_each('integration', p_integration_ids::text[], $each$
        update reconciler.integrations set status = 'paused', status_reason = $3
        where workspace_id = $2 and integration_id = $1 returning status
    $each$, p_workspace_id, p_reason) e
$$;

create function reconciler.pause(p_workspace_id text, p_integration_id text, p_reason text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.pause(p_workspace_id, array[p_integration_id], p_reason)
$$;
