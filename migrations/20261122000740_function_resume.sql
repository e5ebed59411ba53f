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

comment on function reconciler.resume(text, text) is
    'Ends the pause of an integration; one that is not paused becomes active, and its action of operation reconnect '
    'is dismissed. A login that was rejected before a pause is still rejected after it. Returns one row in which '
    'became is active. Refuses an unknown integration (P0002). '
    'Example: select * from reconciler.resume(''acme'', ''int-1'');';

comment on function reconciler.resume(text, text[]) is
    'Does for several ids what resume does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.resume(''acme'', array[''int-1'', ''int-2'']);';
