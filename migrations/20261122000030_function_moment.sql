-- A time in the form that messages for people use.
create function reconciler.moment(p_at timestamptz) returns text
    language sql stable as
$$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
$$;

comment on function reconciler.moment(timestamptz) is
    'Returns a time in the form that messages use, such as 2026-11-22 09:30:00 UTC.';
