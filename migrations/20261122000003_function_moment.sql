-- A time in the form that messages for people use.
create function reconciler.moment(p_at timestamptz) returns text
    language sql stable as
$$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
$$;
