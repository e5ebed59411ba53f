-- Whether a text says nothing: it is empty, or has only blanks and characters that are not seen. A reason that nobody can
-- read is none. The rule is about reasons; names have constraints of their own.
create function reconciler.is_blank(p_text text) returns boolean
    language sql immutable parallel safe set search_path = pg_catalog, pg_temp as
$$
    select coalesce(p_text, '') !~ '[^\s\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]'
$$;

comment on function reconciler.is_blank(text) is
    'Returns whether a text is null, empty, or has only blanks and characters that are not seen, so that it gives no reason.';
