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

comment on function reconciler.pause(text, text, text) is
    'Puts the tasks of an integration on hold until a person resumes it; the reason becomes its status_reason. '
    'Returns one row in which became is paused. Refuses an unknown integration (P0002), and a reason that is blank or '
    'only repeats the status_reason of another status (23514). '
    'Example: select * from reconciler.pause(''acme'', ''int-1'', ''maintenance'');';

comment on function reconciler.pause(text, text[], text) is
    'Does for several ids what pause does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.pause(''acme'', array[''int-1'', ''int-2''], ''maintenance'');';
