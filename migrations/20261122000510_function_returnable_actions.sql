-- The actions that a return would take, the oldest first, which is the canary. An action that a person works on is left
-- out.
create function reconciler.returnable_actions(p_workspace_id text, p_integration_id text, p_failure_code text,
                                              p_operation text)
    returns setof reconciler.manual_actions
    language sql stable set search_path = pg_catalog, pg_temp as
$$
    select a.* from reconciler.manual_actions a
    where a.workspace_id = p_workspace_id and a.integration_id = p_integration_id
      and a.status = 'open' and a.operation <> 'reconnect'
      and (p_failure_code is null or a.failure_code = p_failure_code)
      and (p_operation is null or a.operation = p_operation)
    order by a.opened_at, a.id
$$;

comment on function reconciler.returnable_actions(text, text, text, text) is
    'Returns the open actions of an integration that return_to_automation takes, the canary first; null takes every '
    'failure code or operation. Actions of operation reconnect are left out.';
