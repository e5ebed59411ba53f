-- The status of an integration, of its setting and of the daemon's state, which may be missing. It has no search path of
-- its own, so that it is inlined: lists call it for every row.
create function reconciler.integration_status(paused_at timestamptz, status text) returns text
    language sql immutable as
$$
    select case when paused_at is not null then 'paused' else coalesce(status, 'active') end
$$;

comment on function reconciler.integration_status(timestamptz, text) is
    'Returns the status that holds for an integration: paused if a person paused it, otherwise that of its breaker.';
