-- Whether a person's statement needs a second person to close an action of an app that cannot be read. One person could
-- otherwise loosen the settings of the integration and then close its actions alone: an action keeps the strictest
-- settings since it was opened. The function has no search path of its own, so that it is inlined.
create function reconciler.needs_second_person(
    p_four_eyes boolean, p_loosened_at timestamptz, p_opened_at timestamptz
) returns boolean
    language sql immutable as
$$
    select p_four_eyes or coalesce(p_loosened_at >= p_opened_at, false)
$$;

comment on function reconciler.needs_second_person(boolean, timestamptz, timestamptz) is
    'Returns whether a second person has to confirm a statement about an action that was opened at that time.';
