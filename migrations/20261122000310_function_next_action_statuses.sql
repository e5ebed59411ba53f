-- The transitions between statuses. People and the daemon have different ones.
create function reconciler.next_action_statuses(p_status text, p_daemon boolean) returns text[]
    language sql immutable as
$$
    select case p_status
        when 'open' then case when p_daemon then array['not_needed', 'superseded', 'returned', 'dismissed']
                              else array['in_progress', 'done', 'dismissed', 'returned'] end
        when 'in_progress' then case when p_daemon then array['not_needed', 'superseded', 'dismissed']
                                     else array['open', 'done', 'dismissed', 'returned'] end
        when 'done' then case when p_daemon
                              then array['open', 'verified', 'attested', 'superseded', 'dismissed']
                              else array['open', 'in_progress', 'dismissed'] end
        else array[]::text[]
    end
$$;

comment on function reconciler.next_action_statuses(text, boolean) is
    'Returns the statuses that an action can have after this one: those that the daemon may set if the second '
    'argument is true, otherwise those that a person may set. Empty if an action with this status has ended.';
