-- Whether an active integration limits its tasks; a parameter replaces a limit that the row does not set.
create function reconciler.is_limited(s reconciler.integration_settings, d reconciler.integration_states,
                                      p_max_in_flight integer, p_starts_per_minute integer)
    returns boolean
    language sql immutable as
$$
    select d.ramp_limit is not null
           or coalesce(s.max_in_flight, p_max_in_flight) is not null
           or coalesce(s.starts_per_minute, p_starts_per_minute) is not null
$$;
