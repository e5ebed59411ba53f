-- You let the tasks of integrations go on.
create function reconciler.resume(p_workspace_id text, p_integration_ids text[])
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id, e.became, e.refused
    from reconciler.answer_each('integration', p_integration_ids::text[], $each$
        update reconciler.integrations set status = 'active'
        where workspace_id = $2 and integration_id = $1 returning status
    $each$, p_workspace_id) e
$$;

create function reconciler.resume(p_workspace_id text, p_integration_id text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.resume(p_workspace_id, array[p_integration_id])
$$;
