-- You reject held reports, and say why: nothing of them is applied.
create function reconciler.reject(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('sync', p_ids::text[], $each$
        update reconciler.syncs set decision = 'rejected', decision_reason = $2
        where id = $1::bigint returning decision
    $each$, p_reason) e
$$;

create function reconciler.reject(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.reject(array[p_id], p_reason)
$$;

comment on function reconciler.reject(bigint, text) is
    'Rejects the held report of a sync; the sync ends as failed, and nothing of the report is applied. Returns one '
    'row in which became is rejected. Refuses an unknown id (P0002), a sync that is not held or is decided already '
    '(P0409), a decision after held_until (P0410), and a blank reason (23514). '
    'Example: select * from reconciler.reject(9, ''the list was cut'');';

comment on function reconciler.reject(bigint[], text) is
    'Does for several ids what reject does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.reject(array[9, 10], ''the list was cut'');';
