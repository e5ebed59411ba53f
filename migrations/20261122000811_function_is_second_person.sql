-- Whoever makes a token has seen it and can act with it, and so can who made the token with which that was done: for them it
-- is no second person, nor are they for it. Two tokens of one maker are two persons: an administrator makes them for others.
create function reconciler.is_second_person(p_first text, p_second text) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp as
$$
    with recursive hands (of_first, actor) as (
        select h.of_first, h.actor from (values (true, p_first), (false, p_second)) h (of_first, actor)
        union
        select h.of_first, t.created_by from hands h
        join reconciler.tokens t on starts_with(h.actor, 'token:') and t.name = substr(h.actor, 7)
    )
    select not exists (
        select from hands h
        where reconciler.is_same_person(h.actor, case when h.of_first then p_second else p_first end))
$$;

comment on function reconciler.is_second_person(text, text) is
    'Returns whether an actor is another person than the first: not the same, and neither made the token of the other.';
