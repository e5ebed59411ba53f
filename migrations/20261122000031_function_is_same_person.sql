-- A person at the command line, who gives a name under the daemon's login, is the same person as the login of that
-- name.
create function reconciler.is_same_person(p_one text, p_other text) returns boolean
    language sql immutable as
$$
    select regexp_replace(p_one, '^cli:', '') = regexp_replace(p_other, '^cli:', '')
$$;

comment on function reconciler.is_same_person(text, text) is
    'Returns whether two actors are the same person, as cli:kim and the login kim are; null if one of them is null.';
