-- When an action is due. The deadline stands still while the integration is not active: the daemon moves due_at once the
-- integration is active again, and until then the time without activity is added here. The function has no search path
-- of its own, so that it is inlined: lists call it for every row.
create function reconciler.due_time(a reconciler.manual_actions, d reconciler.integration_states) returns timestamptz
    language sql stable as
$$
    select case
        when (d).inactive_since is null or (a).operation = 'reconnect' or (a).closed_at is not null then (a).due_at
        else (a).due_at + greatest(coalesce((d).inactive_until, now())
                                   - greatest((d).inactive_since, (a).opened_at, (a).extended_until), interval '0')
    end
$$;

comment on function reconciler.due_time(reconciler.manual_actions, reconciler.integration_states) is
    'Returns the deadline of an action: due_at, plus the time for which its integration has not been active and which '
    'due_at does not include yet.';
