-- You approve held reports, and say why: each is applied if the app still shows the same.
create function reconciler.approve(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('sync', p_ids::text[], $each$
        update reconciler.syncs set decision = 'approved', decision_reason = $2
        where id = $1::bigint returning decision
    $each$, p_reason) e
$$;

create function reconciler.approve(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.approve(array[p_id], p_reason)
$$;

comment on function reconciler.approve(bigint, text) is
    'Approves the held report of a sync; the daemon applies it if it has not changed. Returns one row in which became '
    'is approved. Refuses an unknown id (P0002), a sync that is not held or is decided already (P0409), a decision '
    'after held_until (P0410), and a blank reason (23514). '
    'Example: select * from reconciler.approve(9, ''all of them left'');';

comment on function reconciler.approve(bigint[], text) is
    'Does for several ids what approve does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.approve(array[9, 10], ''all of them left'');';
