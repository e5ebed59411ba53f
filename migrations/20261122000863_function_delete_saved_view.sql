-- A person deletes a view of their own, and an administrator one that others share: somebody has to be able to tidy up after
-- a colleague who has left. A function does it, because a role that may delete from a table may also lock it against
-- everybody. It returns whether there was such a view.
create function reconciler.delete_saved_view(p_id bigint) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_is_administrator constant boolean not null :=
        case when current_setting('role') = 'none' then pg_has_role(session_user, 'reconciler_administrator', 'member')
             else pg_has_role(current_setting('role'), 'reconciler_administrator', 'member') end;
begin
    delete from reconciler.saved_views v
    where v.id = p_id
      and (v.owner = reconciler.current_actor() or v_is_administrator and v.shared_in is not null);
    return found;
end
$$;

comment on function reconciler.delete_saved_view(bigint) is
    'Deletes a saved view of the caller; an administrator may delete any that is shared in their workspaces. Returns false '
    'if there is no such view. Example: select reconciler.delete_saved_view(7);';
