-- The filters of the lists of actions; a parameter that is null or empty leaves all. It has no search path of its own, so
-- that it is inlined: the caller orders by an index.
--
-- The index of an integration begins with its workspace, which people seldom say: it is added. Members and reasons are
-- never null, but only conditions that imply so can use their indexes: >= '', because from PostgreSQL 17 on the planner
-- drops "is not null" for such a column. Who the person behind an assignee is takes a look at the roles, too slow for
-- thousands of rows: it is done once for the caller, and for actions of whom the caller's name or login is a part, which
-- have an index.
--
-- Who asks for a workspace of others would have all of its rows read, to be shown none: that is seen before any is read.
create function reconciler.find_actions(
    p_statuses text[], p_workspace_id text, p_integration_id text, p_member text, p_operation text, p_cause text,
    p_overdue boolean, p_mine boolean, p_ids bigint[])
    returns setof reconciler.action_list
    language sql stable as
$$
    select * from reconciler.action_list
    where (coalesce(cardinality(p_statuses), 0) = 0 or status = any (p_statuses))
      and (p_workspace_id is null or workspace_id = p_workspace_id)
      and (p_workspace_id is null or coalesce(p_workspace_id = any ((select reconciler.own_workspaces())::text[]), true))
      and (p_integration_id is null
           or integration_id = p_integration_id and member_id >= ''
              and workspace_id = any (array(select i.workspace_id from reconciler.integrations i
                                            where i.integration_id = p_integration_id)))
      and (p_member is null or reason >= '' and (member_id = p_member or email_key = lower(p_member)))
      and (p_operation is null or operation = p_operation)
      and (p_cause is null or cause = p_cause)
      and (not p_overdue or overdue and stored_due_at < now())
      and (not p_mine
           or status = 'in_progress' and assignee is not null
              and (assignee_login = (select reconciler.person(reconciler.current_actor()))
                   or assignee_name = (select reconciler.person(reconciler.current_actor())))
              and reconciler.person(assignee) = (select reconciler.person(reconciler.current_actor())))
      and (coalesce(cardinality(p_ids), 0) = 0 or id = any (p_ids))
$$;

comment on function reconciler.find_actions(text[], text, text, text, text, text, boolean, boolean, bigint[]) is
    'The actions that pass all filters: statuses, workspace, integration, member (id or email), operation, cause (failure '
    'code, or reason where there is none), only overdue ones, only yours, ids. A filter that is null or empty leaves all. '
    'Example: select * from reconciler.find_actions(null, null, null, ''kim@example.com'', null, null, false, false, null).';
